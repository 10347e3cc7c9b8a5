//! The lives of the stream: which one this is, and what tells them apart.

use crate::position::Place;

/// One life of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Its number, from 1.
    pub number: u16,
    /// When the stream was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// First sequence that was committed in it; 0 while none was.
    pub first_sequence: u64,
    /// Time of that sequence.
    pub first_ms: u64,
    /// Last sequence that was committed in it.
    pub last_sequence: u64,
    /// Time of that sequence.
    pub last_ms: u64,
}

impl Generation {
    /// A generation of which nothing was committed yet.
    #[must_use]
    pub fn new(number: u16, created_ms: u64) -> Self {
        Self { number, created_ms, first_sequence: 0, first_ms: 0, last_sequence: 0, last_ms: 0 }
    }

    /// The place before its first event: `at-0-<creation of the stream>`.
    #[must_use]
    pub fn start(&self) -> Place {
        Place { generation: self.number, sequence: 0, time_ms: self.created_ms }
    }
}

/// What a source says of its stream when a reader is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFacts {
    /// When the stream was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// First sequence it still holds (last + 1 when it is empty).
    pub first_sequence: u64,
    /// Time of the message there; of the last one it gave when it is empty. `None` where nobody knows.
    pub first_ms: Option<u64>,
    /// Last sequence it ever gave.
    pub last_sequence: u64,
    /// Time of the message at the checkpoint's sequence; `None` when it is gone (or never was).
    pub checkpoint_ms: Option<u64>,
}

/// What the comparison with the stored checkpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// The same stream: read on after the checkpoint.
    Same,
    /// The same stream, but it no longer holds what follows the checkpoint: `first_sequence - 1` is a floor.
    Passed,
    /// Another stream under the same name, or reused sequences: a new generation begins.
    Recreated,
}

/// Is this the stream that the checkpoint speaks of?
#[must_use]
pub fn compare(current: &Generation, checkpoint: Option<Place>, stream: &StreamFacts) -> Continuity {
    if current.created_ms != stream.created_ms {
        return Continuity::Recreated;
    }
    if let Some(checkpoint) = checkpoint.filter(|place| place.sequence > 0) {
        // A server that lost its last writes hands the same sequences out again.
        if stream.last_sequence < checkpoint.sequence {
            return Continuity::Recreated;
        }
        if stream.checkpoint_ms.is_some_and(|ms| ms != checkpoint.time_ms) {
            return Continuity::Recreated;
        }
    }
    // Also before the first event: what the stream no longer holds when a rebuild begins is gone.
    if stream.first_sequence > checkpoint.map_or(0, |place| place.sequence) + 1 {
        return Continuity::Passed;
    }
    Continuity::Same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(first: u64, last: u64, ms: Option<u64>) -> StreamFacts {
        StreamFacts { created_ms: 5, first_sequence: first, first_ms: None, last_sequence: last, checkpoint_ms: ms }
    }

    #[test]
    fn a_recreated_stream_is_never_taken_for_the_old_one() {
        let old = Generation::new(1, 5);
        let at = Some(Place { generation: 1, sequence: 10, time_ms: 100 });
        assert_eq!(compare(&old, at, &stream(1, 20, Some(100))), Continuity::Same);
        assert_eq!(compare(&old, at, &stream(1, 9, None)), Continuity::Recreated);
        assert_eq!(compare(&old, at, &stream(1, 20, Some(101))), Continuity::Recreated);
        assert_eq!(compare(&Generation::new(1, 4), at, &stream(1, 20, Some(100))), Continuity::Recreated);
        assert_eq!(compare(&old, at, &stream(15, 20, None)), Continuity::Passed);
        assert_eq!(compare(&old, at, &stream(11, 20, None)), Continuity::Same);
        assert_eq!(compare(&old, None, &stream(1, 20, None)), Continuity::Same);
        assert_eq!(compare(&old, Some(old.start()), &stream(7, 20, None)), Continuity::Passed);
    }
}
