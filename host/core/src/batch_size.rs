//! How many events the next batch may have when more of them wait than one usual batch takes.
//!
//! A larger batch costs each of its events less: fewer calls of the store, fewer hand-overs between threads. But a company
//! has a fixed time for its part of a batch, and what does not fit one commit waits in a backlog. So a batch grows while all
//! of it was quickly through, and shrinks at once where it was not.

use crate::limits::{BATCH_EVENTS, BATCH_EVENTS_LOADED, BATCH_QUICK_MS, COMMIT_BYTES, COMMIT_OUTPUTS};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRan {
    /// Its events.
    pub events: usize,
    /// What its companies' chains made of them.
    pub outputs: usize,
    /// Bytes of that.
    pub bytes: usize,
    /// Something of it did not fit the commit.
    pub left: bool,
    /// From its begin to the end of its chains, in milliseconds.
    pub millis: u64,
}

/// The bound of the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(usize);

impl Default for BatchSize {
    fn default() -> Self {
        Self(BATCH_EVENTS)
    }
}

impl BatchSize {
    /// Events that the next batch may have, where so many wait already.
    #[must_use]
    pub fn events(self) -> usize {
        self.0
    }

    /// Takes note of a batch that ran.
    pub fn ran(&mut self, batch: BatchRan) {
        // Would so many events like these fill more than three quarters of a commit?
        let fill = |events: usize| {
            let of = |now: usize, most: usize| now * events * 4 > most * 3 * batch.events;
            of(batch.outputs, COMMIT_OUTPUTS) || of(batch.bytes, COMMIT_BYTES)
        };
        let next = (self.0 * 2).min(BATCH_EVENTS_LOADED);
        if batch.left || batch.millis > BATCH_QUICK_MS {
            self.0 = BATCH_EVENTS;
        } else if fill(batch.events) {
            self.0 = (self.0 / 2).max(BATCH_EVENTS);
        } else if batch.events >= self.0 && batch.millis * 2 <= BATCH_QUICK_MS && !fill(next) {
            self.0 = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(size: BatchSize) -> BatchRan {
        let events = size.events();
        BatchRan { events, outputs: events, bytes: events * 200, left: false, millis: 1 }
    }

    fn grown() -> BatchSize {
        let mut size = BatchSize::default();
        for _ in 0..10 {
            size.ran(full(size));
        }
        size
    }

    #[test]
    fn it_grows_while_full_batches_are_quickly_through_and_no_further_than_a_commit() {
        let mut size = BatchSize::default();
        size.ran(BatchRan { events: BATCH_EVENTS - 1, ..full(size) });
        assert_eq!(size, BatchSize::default(), "no more was there");
        assert_eq!(grown().events(), BATCH_EVENTS_LOADED);
    }

    #[test]
    fn it_does_not_grow_past_what_its_outputs_need_of_a_commit() {
        for ran in [|events| (events * 3, 0), |events| (events, events * (COMMIT_BYTES / 400))] {
            let mut size = BatchSize::default();
            for _ in 0..10 {
                let (outputs, bytes) = ran(size.events());
                size.ran(BatchRan { outputs, bytes, ..full(size) });
                let (outputs, bytes) = ran(size.events());
                assert!(outputs <= COMMIT_OUTPUTS && bytes <= COMMIT_BYTES, "{outputs} outputs, {bytes} bytes");
            }
        }
        let mut size = grown();
        size.ran(BatchRan { outputs: COMMIT_OUTPUTS / 5 * 4, ..full(size) });
        assert_eq!(size.events(), BATCH_EVENTS_LOADED / 2, "it fitted, but the next one may not");
    }

    #[test]
    fn it_shrinks_at_once_where_chains_were_slow_or_something_had_to_wait() {
        for ran in [BatchRan { left: true, ..full(grown()) }, BatchRan { millis: BATCH_QUICK_MS + 1, ..full(grown()) }]
        {
            let mut size = grown();
            size.ran(ran);
            assert_eq!(size, BatchSize::default());
        }
        let mut size = grown();
        size.ran(BatchRan { millis: BATCH_QUICK_MS, ..full(size) });
        assert_eq!(size, grown(), "neither quick nor slow");
    }
}
