//! The limits of one filter, and the ceilings above them.

use serde::{Deserialize, Serialize};

/// What one filter may use. Keys in files are written `call-ms`, `memory-mib` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Time of one call, in milliseconds: of the processor where the system tells it for a thread (Linux), by the clock
    /// elsewhere. Starting an instance may take ten times as much.
    pub call_ms: u64,
    /// Linear memory of one instance, in MiB.
    pub memory_mib: u32,
    /// Data emitted for one event, in bytes.
    pub output_bytes: u64,
    /// Emissions for one event.
    pub outputs: u32,
    /// Lines that reach the log in a second, for each company; the rest is counted.
    pub log_per_second: u32,
    /// State kept for one company: keys, values and 32 bytes an entry.
    pub state_bytes: u64,
    /// Size of the file, in MiB.
    pub module_mib: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_ms: 100,
            memory_mib: 64,
            output_bytes: 1 << 20,
            outputs: 100,
            log_per_second: 100,
            state_bytes: 16 << 20,
            module_mib: 32,
        }
    }
}

/// The keys of [`Limits`] that a file sets; the others stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the same keys as in Limits, where they are told")]
pub struct LimitsPatch {
    pub call_ms: Option<u64>,
    pub memory_mib: Option<u32>,
    pub output_bytes: Option<u64>,
    pub outputs: Option<u32>,
    pub log_per_second: Option<u32>,
    pub state_bytes: Option<u64>,
    pub module_mib: Option<u32>,
}

/// A limit that is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits.{key} = {value} is out of range: {least} to {most} is accepted (filters.limits-max)")]
pub struct LimitError {
    /// The key as written in files.
    pub key: &'static str,
    /// The value that was asked for.
    pub value: u64,
    /// The smallest that makes sense.
    pub least: u64,
    /// The host's ceiling.
    pub most: u64,
}

impl Limits {
    /// The ceilings a host has unless it is told otherwise: ten times the defaults.
    #[must_use]
    pub fn ceiling() -> Self {
        let base = Self::default();
        Self {
            call_ms: base.call_ms * 10,
            memory_mib: base.memory_mib * 10,
            output_bytes: base.output_bytes * 10,
            outputs: base.outputs * 10,
            log_per_second: base.log_per_second * 10,
            state_bytes: base.state_bytes * 10,
            module_mib: base.module_mib * 10,
        }
    }

    /// These limits with what a file sets.
    #[must_use]
    pub fn patched(self, patch: &LimitsPatch) -> Self {
        Self {
            call_ms: patch.call_ms.unwrap_or(self.call_ms),
            memory_mib: patch.memory_mib.unwrap_or(self.memory_mib),
            output_bytes: patch.output_bytes.unwrap_or(self.output_bytes),
            outputs: patch.outputs.unwrap_or(self.outputs),
            log_per_second: patch.log_per_second.unwrap_or(self.log_per_second),
            state_bytes: patch.state_bytes.unwrap_or(self.state_bytes),
            module_mib: patch.module_mib.unwrap_or(self.module_mib),
        }
    }

    /// Whether every limit makes sense and none passes the ceiling.
    ///
    /// # Errors
    /// Names the first key that doesn't.
    pub fn within(&self, ceiling: &Self) -> Result<(), LimitError> {
        let rows = [
            ("call-ms", self.call_ms, 1, ceiling.call_ms),
            ("memory-mib", self.memory_mib.into(), 1, ceiling.memory_mib.into()),
            ("output-bytes", self.output_bytes, 1, ceiling.output_bytes),
            ("outputs", self.outputs.into(), 1, ceiling.outputs.into()),
            ("log-per-second", self.log_per_second.into(), 0, ceiling.log_per_second.into()),
            ("state-bytes", self.state_bytes, 0, ceiling.state_bytes),
            ("module-mib", self.module_mib.into(), 1, ceiling.module_mib.into()),
        ];
        for (key, value, least, most) in rows {
            if value < least || value > most {
                return Err(LimitError { key, value, least, most });
            }
        }
        Ok(())
    }

    /// Bytes that one call may push to the host, or one call of the host's: what one event may emit twice over, so that
    /// the exact limit is found by counting, and room for a whole batch. It is the same for any number of events: what
    /// becomes of one must not depend on those beside it. A call that passes it is halved like any other that fails.
    pub(crate) fn call_bytes_max(&self) -> usize {
        const CALL: u64 = 64 << 20;
        let one = self.output_bytes.saturating_mul(2).saturating_add(u64::from(self.outputs) * 64 + (64 << 10));
        usize::try_from(one.max(CALL)).unwrap_or(usize::MAX)
    }

    /// Linear memory in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.memory_mib as usize) << 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_over_the_ceiling_is_named_with_its_range() {
        let limits = Limits { memory_mib: 641, ..Limits::default() };
        let error = limits.within(&Limits::ceiling()).expect_err("over the ceiling");
        assert_eq!(
            error.to_string(),
            "limits.memory-mib = 641 is out of range: 1 to 640 is accepted (filters.limits-max)"
        );
        assert!(Limits::default().within(&Limits::ceiling()).is_ok());
        assert_eq!(
            Limits { call_ms: 0, ..Limits::default() }.within(&Limits::ceiling()).expect_err("zero").key,
            "call-ms"
        );
    }

    #[test]
    fn a_file_sets_some_keys_and_an_unknown_one_is_refused() {
        let patch: LimitsPatch = toml::from_str("call-ms = 7\nstate-bytes = 9").expect("parses");
        let limits = Limits::default().patched(&patch);
        assert_eq!((limits.call_ms, limits.state_bytes, limits.outputs), (7, 9, 100));
        assert!(toml::from_str::<LimitsPatch>("call_ms = 7").is_err());
        assert_eq!(serde_json::from_str::<Limits>(r#"{"outputs":3}"#).expect("parses").outputs, 3);
    }
}
