//! A guest written by hand, in which the first byte of a payload says what happens to the event.

use crate::{Chain, Engine, EngineSettings, Filter, InstancePool, Limits, OnError, PoolSettings, Role, Worker};
use bytes::Bytes;
use std::sync::{Arc, LazyLock};
use tidegate_core::event::{Company, Input, SourceEvent, Verdict};
use tidegate_hostile::WORLD;
pub(crate) use tidegate_hostile::with_world;

/// One engine for all tests: starting one and compiling the guest takes time.
pub(crate) static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(EngineSettings::default()).expect("an engine"));

const GUEST: &str = include_str!("guest.wat");

/// The guest for a company's chain.
pub(crate) fn guest() -> Vec<u8> {
    with_world(GUEST, WORLD)
}

/// The guest with another text in it.
pub(crate) fn changed_guest(from: &str, to: &str) -> Vec<u8> {
    changed_guests(&[(from, to)])
}

/// The guest with other texts in it.
pub(crate) fn changed_guests(changes: &[(&str, &str)]) -> Vec<u8> {
    let (mut guest, mut world) = (GUEST.to_owned(), WORLD.to_owned());
    for (from, to) in changes {
        assert!(guest.contains(from) || world.contains(from), "{from}");
        (guest, world) = (guest.replace(from, to), world.replace(from, to));
    }
    with_world(&guest, &world)
}

/// The guest for the platform chain: without state.
pub(crate) fn platform_guest() -> Vec<u8> {
    let lines: Vec<_> = GUEST.lines().filter(|line| !line.ends_with(";;state")).collect();
    with_world(&lines.join("\n"), WORLD)
}

/// The platform's guest, in which `k` names these companies.
pub(crate) fn platform_guest_with_companies(list: &str) -> Vec<u8> {
    let lines: Vec<_> = GUEST.lines().filter(|line| !line.ends_with(";;state")).collect();
    let moved = lines
        .join("\n")
        .replace(r#"(data (i32.const 200) "a/b")"#, &format!(r#"(data (i32.const 65536) "{list}")"#))
        .replace("(i32.const 200) (i32.const 3)", &format!("(i32.const 65536) (i32.const {})", list.len()))
        .replace("(i32.store (i32.const 1044) (i32.const 1024))", "(i32.store (i32.const 1044) (i32.const 131072))");
    with_world(&moved, WORLD)
}

pub(crate) fn filter(name: &str, limits: Limits, on_error: OnError) -> Arc<Filter> {
    let code = ENGINE.load(&guest(), Role::Company, &limits).expect("the guest loads");
    Arc::new(Filter::new(&ENGINE, name, code, "{}", limits, on_error).expect("the filter starts"))
}

pub(crate) fn chain(filters: Vec<Arc<Filter>>) -> Chain {
    Chain::new(filters, Role::Company).expect("a chain")
}

/// The defaults, with time enough for a machine that does much else.
pub(crate) fn limits() -> Limits {
    Limits { call_ms: 10_000, ..Limits::default() }
}

/// A chain of one guest with these limits.
pub(crate) fn single() -> Chain {
    chain(vec![filter("10-poison", limits(), OnError::DeadLetter)])
}

pub(crate) fn worker() -> Worker {
    Worker::new(ENGINE.clone(), InstancePool::new(PoolSettings::default()))
}

pub(crate) fn company() -> Company {
    Company::new("acme").expect("a company")
}

pub(crate) fn source(sequence: u64, payload: &str) -> SourceEvent {
    SourceEvent {
        sequence,
        time_ms: 1_700_000_000_000 + sequence,
        subject: "metrics.calculated".into(),
        headers: Bytes::from_static(b"a: b\n"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// Inputs with these payloads, from sequence 1 on.
pub(crate) fn inputs<'a>(payloads: impl IntoIterator<Item = &'a str>) -> Vec<Input> {
    let input = |(index, payload): (usize, &str)| {
        let source = source(index as u64 + 1, payload);
        let data = source.payload.clone();
        Input { source, emission: 0, company: company(), event_type: "metric".into(), data }
    };
    payloads.into_iter().enumerate().map(input).collect()
}

/// A verdict in a few words: `=data,data`, `-reason`, or `!kind`.
pub(crate) fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Emitted(outputs) => {
            let data: Vec<_> = outputs.iter().map(|output| String::from_utf8_lossy(&output.data)).collect();
            format!("={}", data.join(","))
        }
        Verdict::Dropped { reason, .. } => format!("-{reason}"),
        Verdict::Dead(fault) => format!("!{}", fault.kind),
    }
}
