//! The live window of one company: frames of the newest commits, shared by all its connections.
//!
//! A connection holds a cursor into the ring and no queue of its own.

use crate::entry::Entry;
use crate::piece::{Frames, Piece};
use crate::position::Position;
use std::collections::VecDeque;

/// Frames of one commit.
#[derive(Debug, Clone)]
struct Segment {
    piece: Piece,
    /// Number of the commit.
    commit: u64,
}

/// What a connection finds at its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Frames to write.
    Frames(Frames),
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
    /// The first frame since it was emptied, and the company's running number before it.
    began: Option<(Position, u64)>,
}

impl Ring {
    /// An empty ring after commit number `end`, which keeps about so many bytes.
    #[must_use]
    pub fn new(end: u64, bytes_max: usize) -> Self {
        Self { segments: VecDeque::new(), first: 0, bytes: 0, bytes_max, dropped: end, incarnation: 0, began: None }
    }

    /// Empties it: everything up to commit number `end` has to be read from the cache.
    pub fn reset(&mut self, end: u64) {
        self.first += self.segments.len() as u64;
        self.segments.clear();
        self.bytes = 0;
        self.dropped = end;
        self.incarnation += 1;
        self.began = None;
    }

    /// Appends a commit's outputs; entries at or below what it holds are left out.
    pub fn append(&mut self, commit: u64, entries: &[Entry]) {
        let newest = self.newest();
        let new = entries.iter().filter(|entry| newest.is_none_or(|newest| entry.position > newest));
        if self.began.is_none() {
            self.began = entries.first().map(|first| (first.position, first.running.saturating_sub(1)));
        }
        for piece in Piece::of(new) {
            self.bytes += piece.bytes();
            self.segments.push_back(Segment { piece, commit });
        }
        while self.bytes > self.bytes_max && self.segments.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front() {
            self.first += 1;
            self.bytes -= oldest.piece.bytes();
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
        let passed = self.segments.partition_point(|segment| segment.piece.last() <= sent);
        RingCursor { incarnation: self.incarnation, segment: self.first + passed as u64 }
    }

    /// The company's running number at exactly this position, if the ring holds the event there, of that source time.
    #[must_use]
    pub fn holds(&self, position: Position, time_ms: u64) -> Option<u64> {
        let before = self.segments.partition_point(|segment| segment.piece.last() < position);
        let piece = &self.segments.get(before)?.piece;
        let (at, running, at_ms) = piece.stop(piece.passed(position).checked_sub(1)?)?;
        ((at, at_ms) == (position, time_ms)).then_some(running)
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
            let passed = segment.piece.passed(sent);
            let Some(frames) = segment.piece.take(passed, bytes_max) else {
                cursor.segment += 1;
                continue;
            };
            if passed + frames.count as usize == segment.piece.len() {
                cursor.segment += 1;
            }
            return Read::Frames(frames);
        }
    }

    /// How many frames lie above a position: how far a connection lags.
    #[must_use]
    pub fn lag(&self, sent: Position) -> usize {
        let passed = self.segments.partition_point(|segment| segment.piece.last() <= sent);
        self.segments.range(passed..).map(|segment| segment.piece.len() - segment.piece.passed(sent)).sum()
    }

    /// The newest position it holds.
    #[must_use]
    pub fn newest(&self) -> Option<Position> {
        self.segments.back().map(|segment| segment.piece.last())
    }

    /// The company's running number where a connection stands that was sent nothing yet, if that is known: it came when the
    /// ring was empty, and all frames since then lie above it.
    #[must_use]
    pub fn running_at(&self, cursor: &RingCursor, sent: Position) -> Option<u64> {
        let (first, before) = self.began?;
        (cursor.incarnation == self.incarnation && first > sent).then_some(before)
    }

    /// The company's running number at the newest frame; `None` while the ring is empty.
    #[must_use]
    pub fn running(&self) -> Option<u64> {
        self.segments.back().map(|segment| segment.piece.running())
    }

    /// Position, running number and source time before the newest `frames` frames, or a few more: where a connection
    /// jumps to that may not lag further. Never between two outputs of one event, since a place speaks of whole events.
    #[must_use]
    pub fn before_newest(&self, frames: usize) -> Option<(Position, u64, u64)> {
        let stops = || {
            self.segments.iter().rev().flat_map(|segment| {
                let piece = &segment.piece;
                (0..piece.len()).rev().filter_map(|frame| piece.stop(frame))
            })
        };
        let Some(newest) = frames.checked_sub(1) else { return stops().next() };
        // The oldest of the newest ones, and the one before it that is of another event.
        let oldest = stops().nth(newest)?;
        stops().skip(frames).find(|(position, ..)| position.event() != oldest.0.event())
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
    use crate::limits::WRITE_BYTES;
    use bytes::Bytes;

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
        while let Read::Frames(Frames { count, last, running, time_ms, .. }) = ring.read(cursor, *sent, 100) {
            assert!(last > *sent);
            assert_eq!((running, time_ms), (last.sequence, last.sequence), "of the last frame, not of the commit");
            (*sent, total) = (last, total + count);
        }
        total
    }

    #[test]
    fn an_event_is_held_by_position_and_time_until_it_drops_out() {
        let mut ring = Ring::new(0, 1 << 20);
        ring.append(1, &entries(1..=3));
        ring.append(2, &entries(5..=6));
        let at = |sequence| Position::new(1, sequence, 1);
        assert_eq!((ring.holds(at(2), 2), ring.holds(at(5), 5), ring.holds(at(6), 6)), (Some(2), Some(5), Some(6)));
        assert_eq!((ring.holds(at(4), 4), ring.holds(at(7), 7)), (None, None), "there is none");
        assert_eq!(ring.holds(at(2), 3), None, "of another time: of another stream");
        assert_eq!(ring.holds(Position::whole(1, 2), 2), None, "a place is no event");
        ring.reset(2);
        assert_eq!(ring.holds(at(5), 5), None);
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
    fn a_commit_larger_than_a_write_is_read_in_pieces_and_drops_out_as_one() {
        let mut all = entries(1..=4);
        all.iter_mut().for_each(|entry| entry.data = vec![b'x'; WRITE_BYTES].into());
        let mut ring = Ring::new(0, WRITE_BYTES * 4);
        let mut sent = Position::default();
        let mut cursor = ring.join(sent);
        ring.append(7, &all);
        assert!(!ring.joinable(6, 0) && ring.joinable(7, 0), "its beginning dropped out");
        assert_eq!(ring.read(&mut cursor, sent, WRITE_BYTES), Read::Behind);
        sent = Position::new(1, 1, 1);
        let mut cursor = ring.join(sent);
        assert_eq!(drain(&ring, &mut cursor, &mut sent), 3);
    }

    #[test]
    fn who_came_to_an_empty_ring_knows_how_many_there_were() {
        let mut ring = Ring::new(0, 1 << 20);
        let (early, place) = (ring.join(Position::whole(1, 3)), Position::whole(1, 3));
        assert_eq!((ring.running(), ring.running_at(&early, place)), (None, None));
        ring.append(1, &entries(5..=6));
        assert_eq!((ring.running(), ring.running_at(&early, place)), (Some(6), Some(4)));
        assert_eq!(ring.running_at(&early, Position::whole(1, 5)), None, "it stands further");
        ring.reset(1);
        assert_eq!(ring.running_at(&early, place), None);
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
