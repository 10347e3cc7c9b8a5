//! Records of a batch, read from a filter's memory and written there whole.
//!
//! The code that wasmtime derives for a record finds the instance's memory anew for each of its fields, of which an event
//! has twelve on its way in and eleven on its way out. With it an event that is passed on unchanged takes 210 ns, with this 72
//! (in batches of 64). What it takes for that is `__internal`, which the derived code itself is made of: an upgrade of wasmtime may
//! break the build, and a change of the layout the test.
#![allow(unsafe_code, reason = "traits that promise a layout: two thirds of what calling a filter takes")]

use crate::bindings::v2::tidegate::filter::types::{Emission, Event, Place, Span, Verdict, VerdictKind};
use crate::imports::Host;
use std::mem::MaybeUninit;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext};
use wasmtime::component::{ComponentType, Func, Instance, Lift, Lower, TypedFunc};
use wasmtime::{Result, Store};

/// Sizes that the canonical ABI gives the records: each field at a multiple of its alignment, little-endian.
const EVENT: usize = 56;
const EMISSION: usize = 28;
const VERDICT: usize = 16;

const _: () = assert!(Event::SIZE32 == EVENT && Emission::SIZE32 == EMISSION && Verdict::SIZE32 == VERDICT);

/// A record that is read or written whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole<T>(pub(crate) T);

/// The result of a batch.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct BatchResult {
    pub(crate) verdicts: Vec<Whole<Verdict>>,
    pub(crate) emissions: Vec<Whole<Emission>>,
    pub(crate) bytes: Vec<u8>,
}

/// An instance's `process`.
pub(crate) struct Process(Func);

/// What it is called with, and what it gives.
type Typed<'a> = TypedFunc<(&'a [Whole<Event>], &'a [u8]), (BatchResult,)>;

impl Process {
    /// That of this instance.
    ///
    /// # Errors
    /// It exports none of this type.
    pub(crate) fn of(instance: &Instance, store: &mut Store<Host>) -> Result<Self> {
        let typed: Typed<'static> = instance.get_typed_func(store, "process")?;
        Ok(Self(*typed.func()))
    }

    /// Calls it.
    ///
    /// # Errors
    /// What the guest, its limits or its deadline end it with.
    pub(crate) fn call(&self, store: &mut Store<Host>, events: &[Whole<Event>], bytes: &[u8]) -> Result<BatchResult> {
        // SAFETY: it was found under this very type; a lifetime is no part of what is checked.
        let typed = unsafe { Typed::new_unchecked(self.0) };
        typed.call(store, (events, bytes)).map(|(result,)| result)
    }
}

// SAFETY: layout, flat form and the check against a component's own types are the derived ones.
unsafe impl<T: ComponentType> ComponentType for Whole<T> {
    type Lower = T::Lower;

    const ABI: CanonicalAbiInfo = T::ABI;
    const MAY_REQUIRE_REALLOC: bool = T::MAY_REQUIRE_REALLOC;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        T::typecheck(ty, types)
    }
}

fn write(event: &Event, to: &mut [u8; EVENT]) {
    let spans = [event.subject, event.headers, event.company, event.event_type, event.payload];
    for (to, Span { offset, length }) in to.as_chunks_mut::<8>().0.iter_mut().zip(spans) {
        *to = (u64::from(offset) | u64::from(length) << 32).to_le_bytes();
    }
    to[40..48].copy_from_slice(&event.sequence.to_le_bytes());
    to[48..].copy_from_slice(&event.time_ms.to_le_bytes());
}

// SAFETY: all bytes of a record are written, and none beside them: slices check both.
unsafe impl Lower for Whole<Event> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        self.0.linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, _: InterfaceType, offset: usize) -> Result<()> {
        write(&self.0, cx.get(offset));
        Ok(())
    }

    fn linear_store_list_to_memory<T>(
        cx: &mut LowerContext<'_, T>,
        _: InterfaceType,
        offset: usize,
        items: &[Self],
    ) -> Result<()> {
        let to = &mut cx.as_slice_mut()[offset..][..items.len() * EVENT];
        for (to, event) in to.as_chunks_mut().0.iter_mut().zip(items) {
            write(&event.0, to);
        }
        Ok(())
    }
}

/// The 32 bits at a place of a record.
fn number<const N: usize>(record: &[u8; N], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&record[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn span<const N: usize>(record: &[u8; N], at: usize) -> Span {
    Span { offset: number(record, at), length: number(record, at + 4) }
}

/// `None`: it is no such record.
fn verdict(record: &[u8; VERDICT]) -> Option<Verdict> {
    let kind = match record[0] {
        0 => VerdictKind::Drop,
        1 => VerdictKind::Emit,
        2 => VerdictKind::Error,
        _ => return None,
    };
    Some(Verdict { kind, text: span(record, 4), emissions: number(record, 12) })
}

/// `None`: it is no such record.
fn emission(record: &[u8; EMISSION]) -> Option<Emission> {
    let data_place = match record[16] {
        0 => Place::Input,
        1 => Place::Output,
        _ => return None,
    };
    Some(Emission { event_type: span(record, 0), companies: span(record, 8), data_place, data: span(record, 20) })
}

/// Reads a record whole. What is no such record goes to the derived code, which has the words for it.
macro_rules! lift {
    ($($record:ident with $read:ident),*) => ($(
        // SAFETY: nothing but the bytes of the record is read, by slices, and each of its values checked.
        unsafe impl Lift for Whole<$record> {
            fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, src: &Self::Lower) -> Result<Self> {
                $record::linear_lift_from_flat(cx, ty, src).map(Self)
            }

            fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
                match bytes.as_array().and_then($read) {
                    Some(record) => Ok(Self(record)),
                    None => $record::linear_lift_from_memory(cx, ty, bytes).map(Self),
                }
            }
        }
    )*)
}

lift! { Verdict with verdict, Emission with emission }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::bindings::v2::{FilterIndices, tidegate::filter::types};
    use crate::log::LogWindow;
    use crate::tests::guest::{ENGINE, with_world};
    use crate::time::CallTime;
    use crate::world::linker;
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use tidegate_hostile::WORLD;
    use tidegate_hostile::fuzz::{Random, rounds};
    use wasmtime::component::Component;

    /// Its result is its input: the records of the events as its bytes, and the bytes, 44 for each event, as its records.
    const MIRROR: &str = r#"(module
      (memory (export "memory") 4)
      (global $bump (mut i32) (i32.const 4096))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $bump)
        (global.set $bump (i32.and (i32.add (i32.add (global.get $bump) (local.get 3)) (i32.const 7)) (i32.const -8))))
      (func (export "describe") (result i32) (i32.const 0))
      (func (export "init") (param i32 i32) (result i32) (i32.const 0))
      (func (export "process") (param $events i32) (param $count i32) (param $bytes i32) (param $length i32) (result i32)
        (i32.store (i32.const 1024) (local.get $bytes)) (i32.store (i32.const 1028) (local.get $count))
        (i32.store (i32.const 1032) (i32.add (local.get $bytes) (i32.mul (local.get $count) (i32.const 16))))
        (i32.store (i32.const 1036) (local.get $count))
        (i32.store (i32.const 1040) (local.get $events))
        (i32.store (i32.const 1044) (i32.mul (local.get $count) (i32.const 56)))
        (global.set $bump (i32.const 4096))
        (i32.const 1024)))"#;

    fn random_span(random: &mut Random) -> Span {
        let mut number = || (random.number() >> 32) as u32;
        Span { offset: number(), length: number() }
    }

    fn random_event(random: &mut Random) -> Event {
        let [subject, headers, company, event_type, payload] = [(); 5].map(|()| random_span(random));
        let [sequence, time_ms] = [(); 2].map(|()| random.number());
        Event { subject, headers, company, event_type, payload, sequence, time_ms }
    }

    /// Bytes that are mostly records.
    fn random_records(random: &mut Random, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count * (VERDICT + EMISSION)).map(|_| random.byte()).collect();
        let (verdicts, emissions) = bytes.split_at_mut(count * VERDICT);
        let wrong = random.below(4) == 0;
        let mut kind = |cases: u8| if wrong { random.byte() % (cases + 1) } else { random.byte() % cases };
        verdicts.chunks_mut(VERDICT).for_each(|verdict| verdict[0] = kind(3));
        emissions.chunks_mut(EMISSION).for_each(|emission| emission[16] = kind(2));
        bytes
    }

    #[test]
    fn records_are_what_the_derived_code_makes_of_them() {
        let core = with_world(MIRROR, WORLD);
        let component = crate::component::component(&core).unwrap();
        let wasm = &ENGINE.0.wasm;
        let pre = linker(wasm).unwrap().instantiate_pre(&Component::new(wasm, &*component).unwrap()).unwrap();
        let indices = FilterIndices::new(&pre).unwrap();
        // What a failed call leaves is not called again.
        let instance = || {
            let window = Arc::new(LogWindow::new(1, Instant::now()));
            let host = Host::new(&Limits::default(), window, CallTime::begin(Duration::from_secs(60), None));
            let mut store = Store::new(wasm, host);
            store.set_epoch_deadline(1_000_000);
            let instance = pre.instantiate(&mut store).unwrap();
            (instance, store)
        };
        let (mut right, mut refused) = (0, 0);
        rounds(500, |random| {
            let count = random.below(5);
            let events: Vec<Event> = (0..count).map(|_| random_event(random)).collect();
            let bytes = random_records(random, count);
            let whole: Vec<Whole<Event>> = events.iter().copied().map(Whole).collect();
            let (one, mut store) = instance();
            let derived = indices.load(&mut store, &one).unwrap();
            let expected = derived.call_process(&mut store, &events, &bytes);
            let (other, mut store) = instance();
            let process = Process::of(&other, &mut store).unwrap();
            match (expected, process.call(&mut store, &whole, &bytes)) {
                (Ok(expected), Ok(found)) => {
                    let found = types::BatchResult {
                        verdicts: found.verdicts.into_iter().map(|Whole(verdict)| verdict).collect(),
                        emissions: found.emissions.into_iter().map(|Whole(emission)| emission).collect(),
                        bytes: found.bytes,
                    };
                    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
                    right += 1;
                }
                (Err(expected), Err(found)) => {
                    assert_eq!(found.to_string(), expected.to_string());
                    refused += 1;
                }
                (expected, found) => panic!("{expected:?} {found:?}"),
            }
        });
        assert!(right > 100 && refused > 20, "{right} {refused}");
    }
}
