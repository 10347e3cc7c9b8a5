//! From what wasmtime says of a failed call to what a deployer reads: a kind, a sentence, a backtrace in source lines.

use crate::imports::Host;
use crate::limiter::{Refused, TABLE_ELEMENTS_MAX};
use crate::limits::Limits;
use crate::time::Stop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use wasmtime::{Trap, WasmBacktrace};

/// Frames told.
const FRAMES_MAX: usize = 32;
/// Symbols of the machinery between a panic and the line that caused it.
const MACHINERY: [&str; 8] = [
    "core::panicking",
    "core::result::unwrap_failed",
    "core::option::",
    "std::panicking",
    "std::sys::backtrace",
    "__rustc",
    "rust_begin_unwind",
    "abort",
];
/// The longest name of a function that is told; generic ones run to kilobytes.
const FUNCTION_BYTES_MAX: usize = 160;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The time of the whole run was over: nobody's fault.
    Budget,
    /// The filter's fault.
    Failed(Failure),
}

/// A filter's fault in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The word for metrics.
    pub(crate) kind: &'static str,
    /// What happened.
    pub(crate) text: String,
    /// Where, if it is known.
    pub(crate) backtrace: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), backtrace: None }
    }
}

/// Runs what code from outside may bring down; the error is the words of the panic.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let words =
            panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let words = words.unwrap_or("no words").to_owned();
        tracing::error!(words, "the host panicked over a filter");
        words
    })
}

/// What an error of wasmtime means.
pub(crate) fn explain(error: &wasmtime::Error, host: &mut Host, limits: &Limits) -> CallError {
    let refused = host.limiter.take_refused();
    let stop = error.downcast_ref::<Stop>().copied();
    if stop == Some(Stop::Budget) {
        return CallError::Budget;
    }
    let trace = error.downcast_ref::<WasmBacktrace>();
    let (kind, mut text) = if stop == Some(Stop::CallLimit) {
        ("timeout", overtime(host.time.allowed(), limits))
    } else if let Some(refused) = refused {
        let what = match refused {
            Refused::Memory => format!("memory beyond {} MiB (memory-mib)", limits.memory_mib),
            Refused::Table => format!("tables of over {TABLE_ELEMENTS_MAX} elements"),
        };
        ("memory", format!("it was refused {what} and gave up: {}", cause(error)))
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (trap_kind(*trap), trap_text(*trap))
    } else if cause(error).contains("fuel allocated for hostcalls") {
        (
            "output",
            format!(
                "it hands over more bytes than output-bytes ({}) and outputs ({}) allow",
                limits.output_bytes, limits.outputs
            ),
        )
    } else if trace.is_some() {
        ("trap", cause(error))
    } else if cause(error).starts_with("realloc") {
        ("garbage", format!("its `cabi_realloc` gives memory that can't be used: {}", cause(error)))
    } else {
        // The guest had returned: what it left could not be read.
        ("garbage", format!("its result can't be read: {}", cause(error)))
    };
    if let Some(words) = host.log.last_error() {
        text.push_str("; it said: ");
        text.push_str(words);
    }
    CallError::Failed(Failure { kind, text, backtrace: trace.and_then(backtrace) })
}

fn overtime(allowed: Duration, limits: &Limits) -> String {
    let ms = limits.call_ms;
    if allowed == Duration::from_millis(ms) {
        return format!("it ran longer than {ms} ms (call-ms)");
    }
    format!("it ran longer than {} ms (a start may take ten times call-ms, which is {ms})", allowed.as_millis())
}

fn cause(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}

fn trap_kind(trap: Trap) -> &'static str {
    match trap {
        Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer
        | Trap::InvalidChar => "garbage",
        _ => "trap",
    }
}

fn trap_text(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "it gave up (`unreachable`: a panic or an abort)".into(),
        Trap::StackOverflow => "its stack overflowed".into(),
        other => other.to_string(),
    }
}

/// One line a frame, the innermost first, without the machinery of panics.
fn backtrace(trace: &WasmBacktrace) -> Option<String> {
    let mut lines = Vec::new();
    for frame in trace.frames() {
        if frame.symbols().is_empty() {
            let name = frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), demangled);
            let offset = frame.module_offset().map_or_else(String::new, |offset| format!(" at offset {offset:#x}"));
            lines.push((name, offset));
        }
        for symbol in frame.symbols() {
            let name = symbol.name().or_else(|| frame.func_name()).map_or_else(|| "(unknown)".into(), demangled);
            let place = match (symbol.file(), symbol.line(), symbol.column()) {
                (Some(file), Some(line), Some(column)) => format!(" at {}:{line}:{column}", readable(file)),
                (Some(file), Some(line), None) => format!(" at {}:{line}", readable(file)),
                (Some(file), None, _) => format!(" at {}", readable(file)),
                (None, ..) => String::new(),
            };
            lines.push((name, place));
        }
    }
    let first = lines.iter().position(|(name, _)| !MACHINERY.iter().any(|machine| name.contains(machine)));
    let told = lines.iter().skip(first.unwrap_or(0)).take(FRAMES_MAX);
    let text = told.map(|(name, place)| format!("{name}{place}")).collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then_some(text)
}

fn demangled(name: &str) -> String {
    readable(&format!("{:#}", rustc_demangle::demangle(name)))
}

/// A name as a module holds it, in a line of ours.
fn readable(name: &str) -> String {
    let mut told = name[..name.floor_char_boundary(FUNCTION_BYTES_MAX)].replace(char::is_control, " ");
    if name.len() > FUNCTION_BYTES_MAX {
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_module_stay_in_their_line() {
        assert_eq!(demangled("a\r\nTidegate-Company: b\x1b[2J"), "a  Tidegate-Company: b [2J");
        assert!(demangled(&"ä".repeat(100_000)).len() <= FUNCTION_BYTES_MAX + 3);
        assert_eq!(demangled("_ZN4core3fmt5Write9write_str17h0123456789abcdefE"), "core::fmt::Write::write_str");
    }
}
