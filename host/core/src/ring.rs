//! The live window of one company: frames of the newest commits, shared by all its connections.
//!
//! A connection holds a cursor into the ring and no queue of its own. The frames of one commit lie in one piece, so
//! that a connection takes them all with one clone of a pointer.

use crate::entry::Entry;
use crate::frame;
use crate::position::Position;
use bytes::Bytes;
use std::collections::VecDeque;

/// The frames of one commit.
#[derive(Debug, Clone)]
struct Segment {
    bytes: Bytes,
    /// Each frame's position, its end in `bytes`, and the source time of its event.
    frames: Vec<(Position, u32, u64)>,
    running: u64,
    /// Number of the commit.
    commit: u64,
}

impl Segment {
    fn last(&self) -> Position {
        self.frames.last().map_or_else(Position::default, |(position, ..)| *position)
    }
}

/// What a connection finds at its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Frames to write, in one piece.
    Frames {
        /// Their bytes.
        bytes: Bytes,
        /// How many they are.
        count: u64,
        /// Position of the last.
        last: Position,
        /// Running number of the last.
        running: u64,
        /// Source time of the last, in milliseconds since 1970: with `last` it says where the connection stands.
        time_ms: u64,
    },
    /// Nothing new.
    Empty,
    /// The ring has moved past the cursor: read on from the replay cache.
    Behind,
}

/// Where a connection reads next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingCursor {
    incarnation: u64,
    segment: u64,
}

/// The newest frames of one company.
#[derive(Debug)]
pub struct Ring {
    segments: VecDeque<Segment>,
    /// Absolute number of the first segment.
    first: u64,
    bytes: usize,
    bytes_max: usize,
    /// Number of the newest commit of which something of this company dropped out, or is not in here at all.
    dropped: u64,
    /// Changes whenever the ring was emptied: what was read before says nothing about it.
    incarnation: u64,
}

impl Ring {
    /// An empty ring after commit number `end`, which keeps about so many bytes.
    #[must_use]
    pub fn new(end: u64, bytes_max: usize) -> Self {
        Self { segments: VecDeque::new(), first: 0, bytes: 0, bytes_max, dropped: end, incarnation: 0 }
    }

    /// Empties it: everything up to commit number `end` has to be read from the cache.
    pub fn reset(&mut self, end: u64) {
        self.first += self.segments.len() as u64;
        self.segments.clear();
        self.bytes = 0;
        self.dropped = end;
        self.incarnation += 1;
    }

    /// Appends a commit's outputs; entries at or below what it holds are left out.
    pub fn append(&mut self, commit: u64, entries: &[Entry]) {
        let newest = self.segments.back().map(Segment::last);
        let mut bytes = Vec::with_capacity(entries.iter().map(|e| e.data.len() + 128).sum());
        let mut frames = Vec::with_capacity(entries.len());
        let mut running = 0;
        for entry in entries.iter().filter(|entry| newest.is_none_or(|newest| entry.position > newest)) {
            frame::event(&mut bytes, entry);
            frames.push((entry.position, bytes.len() as u32, entry.time_ms));
            running = entry.running;
        }
        if frames.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        self.segments.push_back(Segment { bytes: bytes.into(), frames, running, commit });
        while self.bytes > self.bytes_max && self.segments.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front() {
            self.first += 1;
            self.bytes -= oldest.bytes.len();
            self.dropped = oldest.commit;
        }
    }

    /// May a connection that holds everything up to commit number `complete`, as read under `incarnation`, go live?
    /// Only if nothing above it has dropped out.
    #[must_use]
    pub fn joinable(&self, complete: u64, incarnation: u64) -> bool {
        self.dropped <= complete && self.incarnation == incarnation
    }

    /// Changes whenever the ring was emptied.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// A cursor for a connection that was sent everything up to `sent`.
    #[must_use]
    pub fn join(&self, sent: Position) -> RingCursor {
        let passed = self.segments.partition_point(|segment| segment.last() <= sent);
        RingCursor { incarnation: self.incarnation, segment: self.first + passed as u64 }
    }

    /// Takes what stands at the cursor above `sent`, at most about `bytes_max` (but at least one frame).
    #[must_use]
    pub fn read(&self, cursor: &mut RingCursor, sent: Position, bytes_max: usize) -> Read {
        if cursor.incarnation != self.incarnation || cursor.segment < self.first {
            return Read::Behind;
        }
        loop {
            let Some(segment) = self.segments.get((cursor.segment - self.first) as usize) else {
                return Read::Empty;
            };
            let skipped = segment.frames.partition_point(|(position, ..)| *position <= sent);
            if skipped == segment.frames.len() {
                cursor.segment += 1;
                continue;
            }
            let start = if skipped == 0 { 0 } else { segment.frames[skipped - 1].1 };
            let fitting =
                segment.frames[skipped..].partition_point(|(_, end, _)| (end - start) as usize <= bytes_max).max(1);
            let (last, end, time_ms) = segment.frames[skipped + fitting - 1];
            let left = segment.frames.len() - skipped - fitting;
            if left == 0 {
                cursor.segment += 1;
            }
            return Read::Frames {
                bytes: segment.bytes.slice(start as usize..end as usize),
                count: fitting as u64,
                last,
                running: segment.running - left as u64,
                time_ms,
            };
        }
    }

    /// How many frames lie above a position: how far a connection lags.
    #[must_use]
    pub fn lag(&self, sent: Position) -> usize {
        let passed = self.segments.partition_point(|segment| segment.last() <= sent);
        let above = |segment: &Segment| segment.frames.len() - segment.frames.partition_point(|(p, ..)| *p <= sent);
        self.segments.range(passed..).map(above).sum()
    }

    /// The newest position it holds.
    #[must_use]
    pub fn newest(&self) -> Option<Position> {
        self.segments.back().map(Segment::last)
    }

    /// Position, running number and source time before the newest `frames` frames, or a few more: where a connection jumps to that
    /// may not lag further. Never between two outputs of one event, since a place speaks of whole events.
    #[must_use]
    pub fn before_newest(&self, frames: usize) -> Option<(Position, u64, u64)> {
        let mut left = frames;
        for segment in self.segments.iter().rev() {
            let length = segment.frames.len();
            let event = |back: usize| segment.frames[length - back].0.event();
            while left > 0 && left < length && event(left) == event(left + 1) {
                left += 1;
            }
            if left < length {
                let (position, _, time_ms) = segment.frames[length - left - 1];
                return Some((position, segment.running - left as u64, time_ms));
            }
            left -= length;
        }
        None
    }

    /// Bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(sequences: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        let entry = |sequence| Entry {
            position: Position::new(1, sequence, 1),
            time_ms: sequence,
            running: sequence,
            subject: "s".into(),
            event_type: "t".into(),
            chain: 0,
            data: Bytes::from_static(b"0123456789"),
        };
        sequences.map(entry).collect()
    }

    fn drain(ring: &Ring, cursor: &mut RingCursor, sent: &mut Position) -> u64 {
        let mut total = 0;
        while let Read::Frames { count, last, running, time_ms, .. } = ring.read(cursor, *sent, 100) {
            assert!(last > *sent);
            assert_eq!((running, time_ms), (last.sequence, last.sequence), "of the last frame, not of the commit");
            (*sent, total) = (last, total + count);
        }
        total
    }

    #[test]
    fn a_cursor_reads_every_frame_once_in_order() {
        let mut ring = Ring::new(0, 1 << 20);
        let mut sent = Position::whole(1, 3);
        let mut cursor = ring.join(sent);
        ring.append(1, &entries(1..=5));
        ring.append(2, &entries(6..=9));
        assert_eq!(ring.lag(sent), 6);
        assert_eq!(drain(&ring, &mut cursor, &mut sent), 6);
        assert_eq!(sent, Position::new(1, 9, 1));
        ring.append(3, &entries(8..=10));
        assert_eq!(drain(&ring, &mut cursor, &mut sent), 1, "what it holds already is left out");
    }

    #[test]
    fn a_cursor_the_ring_has_passed_is_told_so() {
        let mut ring = Ring::new(0, 100);
        let sent = Position::default();
        let mut cursor = ring.join(sent);
        for n in 1..=9 {
            ring.append(n, &entries(n..=n));
        }
        assert_eq!(ring.read(&mut cursor, sent, 100), Read::Behind);
        assert!(!ring.joinable(3, 0));
        assert!(ring.joinable(9, 0));
        let (before, running, _) = ring.before_newest(1).unwrap();
        assert_eq!((before.sequence, running), (8, 8));
    }

    #[test]
    fn a_jump_never_ends_within_an_event() {
        let mut ring = Ring::new(0, 1 << 20);
        let mut all = entries(1..=4);
        (all[2].position, all[3].position) = (Position::new(1, 2, 2), Position::new(1, 2, 3));
        ring.append(1, &all);
        assert_eq!(ring.before_newest(1), Some((Position::new(1, 1, 1), 1, 1)));
        assert_eq!(ring.before_newest(3), Some((Position::new(1, 1, 1), 1, 1)));
        assert_eq!(ring.before_newest(0).map(|(_, running, _)| running), Some(4));
        assert_eq!(ring.before_newest(4), None);
    }

    #[test]
    fn an_emptied_ring_accepts_nobody_who_read_before() {
        let mut ring = Ring::new(5, 1 << 20);
        let read_under = ring.incarnation();
        let mut cursor = ring.join(Position::default());
        ring.reset(3);
        assert!(!ring.joinable(9, read_under));
        assert_eq!(ring.read(&mut cursor, Position::default(), 100), Read::Behind);
    }
}
