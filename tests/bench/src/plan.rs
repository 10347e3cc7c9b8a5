//! How long and how often is measured.

use std::time::Duration;

/// For every row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Only to see that everything works: figures of short measurements say little.
    pub(crate) quick: bool,
}

impl Plan {
    /// How often each side is measured, in turn.
    pub(crate) fn rounds(self) -> u32 {
        if self.quick { 2 } else { 5 }
    }

    /// Time before a measurement, in which everything gets going.
    pub(crate) fn warm(self) -> Duration {
        Duration::from_millis(if self.quick { 200 } else { 500 })
    }

    /// Time of one measurement.
    pub(crate) fn time(self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 3 })
    }

    /// Events of one measurement that counts them.
    pub(crate) fn events(self) -> u64 {
        if self.quick { 50_000 } else { 300_000 }
    }
}
