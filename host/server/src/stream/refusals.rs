//! How often a client's socket did not take what was written to it: what tells a slow client from a large commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that a socket keeps and the streams over it read.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<AtomicU64>);

impl Refusals {
    /// The socket took nothing, or not all.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
