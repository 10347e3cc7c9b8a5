//! How often a client's socket did not take what was written to it: what tells a slow client from a large commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A count that a socket keeps and the streams over it read.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    count: AtomicU64,
    waits: AtomicBool,
    stalled: AtomicBool,
}

impl Refusals {
    /// The socket took nothing, or not all.
    pub fn add(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How often so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Does it not take what is written now?
    pub fn waits(&self, waits: bool) {
        self.0.waits.store(waits, Ordering::Relaxed);
    }

    /// Is something written that it has not taken yet?
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// It took nothing for so long that it is closed.
    pub fn stall(&self) {
        self.0.stalled.store(true, Ordering::Relaxed);
    }

    /// Is it closed for that?
    #[must_use]
    pub fn stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }
}
