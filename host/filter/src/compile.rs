//! Compiles components: a bounded number at a time, and none for longer than it may take.

use crate::error::LoadError;
use crate::trap::caught;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wasmtime::component::Component;

/// The longest that compiling one file takes, where the settings say nothing: what holds an interpreter takes up to 40 s on
/// a busy machine.
const TIME_MAX: Duration = Duration::from_secs(120);

/// Threads that compile, and for how long each may.
pub(crate) struct Compiler {
    wasm: wasmtime::Engine,
    slots: Arc<Slots>,
    time_max: Duration,
}

/// How many more may begin.
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One that was taken, and is given back.
struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

impl Compiler {
    pub(crate) fn new(wasm: wasmtime::Engine, time_max: Option<Duration>) -> Self {
        // One that was given up must not keep the others out.
        let free = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2);
        let slots = Arc::new(Slots { free: Mutex::new(free), freed: Condvar::new() });
        Self { wasm, slots, time_max: time_max.unwrap_or(TIME_MAX) }
    }

    /// Compiles on a thread of its own. The code generator can't be stopped: where it takes too long, nobody waits for it any
    /// more, and it keeps its slot until it is done.
    pub(crate) fn compile(&self, component: Vec<u8>) -> Result<Component, LoadError> {
        let slot = self.slot()?;
        let (done, result) = sync_channel(1);
        let wasm = self.wasm.clone();
        let thread = std::thread::Builder::new().name("compile".into()).spawn(move || {
            let compiled = caught(|| Component::from_binary(&wasm, &component));
            drop(slot);
            // Nobody may wait any more.
            done.send(compiled).ok();
        });
        thread.map_err(|error| LoadError::Host(format!("no thread to compile on: {error}")))?;
        match result.recv_timeout(self.time_max) {
            Ok(Ok(compiled)) => compiled.map_err(|error| LoadError::Compile(not_compiled(&format!("{error:#}")))),
            Ok(Err(words)) => Err(LoadError::Compile(format!("the code generator gave up ({words})"))),
            Err(RecvTimeoutError::Timeout) => Err(LoadError::Compile(format!(
                "that takes over {}, the most that compiling may take (filters.compile-timeout): make it smaller, or split its \
                 largest functions",
                in_words(self.time_max)
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                Err(LoadError::Compile("the code generator ended without a word".into()))
            }
        }
    }

    /// Waits for a slot as long as a compile may take.
    fn slot(&self) -> Result<Slot, LoadError> {
        let until = Instant::now() + self.time_max;
        let mut free = self.slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LoadError::Host(
                    "other modules that take too long are still being compiled: try again later".into(),
                ));
            }
            (free, _) = self.slots.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Ok(Slot(Arc::clone(&self.slots)))
    }
}

fn in_words(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{} s", time.as_secs()) } else { format!("{} ms", time.as_millis()) }
}

/// With the way out, where the file wants what no filter gets.
fn not_compiled(error: &str) -> String {
    let off = ["not enabled", "must be enabled", "disabled", "disallowed"].iter().any(|word| error.contains(word));
    if !off {
        return error.to_owned();
    }
    format!(
        "{error}; threads, garbage collection, exceptions and proposals that are no standard yet are switched off for \
         filters: build without them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with one function of many nested blocks and locals.
    fn large() -> Vec<u8> {
        let body = "(local.set 0 (i32.add (i32.mul (local.get 0) (local.get 1)) (i32.const 7)))".repeat(50_000);
        wat::parse_str(format!("(component (core module (func (param i32 i32) {body})))")).expect("parses")
    }

    #[test]
    fn what_takes_too_long_is_given_up_and_others_go_on() {
        let wasm = wasmtime::Engine::default();
        let compiler = Compiler::new(wasm.clone(), Some(Duration::from_millis(1)));
        let told = compiler.compile(large()).map(drop).expect_err("too long").to_string();
        assert!(told.contains("over 1 ms") && told.contains("filters.compile-timeout"), "{told}");
        // Its slot is held until it is done; there is another one, for those who have the time.
        let patient = Compiler { wasm, slots: Arc::clone(&compiler.slots), time_max: Duration::from_secs(60) };
        let small = wat::parse_str("(component)").expect("parses");
        assert!(patient.compile(small).is_ok());
        let free = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2);
        let until = Instant::now() + Duration::from_secs(60);
        while *compiler.slots.free.lock().expect("not poisoned") < free {
            assert!(Instant::now() < until, "the slot is never given back");
            std::thread::yield_now();
        }
    }

    #[test]
    fn no_more_than_the_slots_are_compiled_at_a_time() {
        let compiler = Compiler::new(wasmtime::Engine::default(), Some(Duration::from_millis(1)));
        *compiler.slots.free.lock().expect("not poisoned") = 0;
        let told = compiler.compile(Vec::new()).map(drop).expect_err("no slot");
        assert!(matches!(&told, LoadError::Host(text) if text.contains("try again later")), "{told}");
    }
}
