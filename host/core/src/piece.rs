//! Frames of a company's consecutive entries in one piece of memory: encoded once, written by all its connections.

use crate::entry::Entry;
use crate::frame;
use crate::limits::WRITE_BYTES;
use crate::position::Position;
use bytes::Bytes;
use std::ops::Range;

/// Some frames, and where each ends.
///
/// No larger than what a connection takes at a time, so that one that stands still holds on to no more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    bytes: Bytes,
    /// Each frame's position, its end in `bytes`, and the source time of its event.
    frames: Vec<(Position, u32, u64)>,
    /// Running number of the last.
    running: u64,
}

/// Frames that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// Their bytes, in one piece.
    pub bytes: Bytes,
    /// How many they are.
    pub count: u64,
    /// Position of the first.
    pub first: Position,
    /// Position of the last.
    pub last: Position,
    /// Running number of the last.
    pub running: u64,
    /// Source time of the last, in milliseconds since 1970: with `last` it says where the connection stands.
    pub time_ms: u64,
}

impl Piece {
    /// Encodes entries, in order, into pieces of about [`WRITE_BYTES`] (but of at least one frame).
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Self> {
        let mut pieces = Vec::new();
        let (mut bytes, mut frames, mut running) = (Vec::new(), Vec::new(), 0);
        for entry in entries {
            let begun = bytes.len();
            frame::event(&mut bytes, entry);
            if bytes.len() > WRITE_BYTES && begun > 0 {
                let next = bytes.split_off(begun);
                let full = std::mem::replace(&mut bytes, next);
                pieces.push(Self::new(full, std::mem::take(&mut frames), running));
            }
            frames.push((entry.position, bytes.len() as u32, entry.time_ms));
            running = entry.running;
        }
        if !frames.is_empty() {
            pieces.push(Self::new(bytes, frames, running));
        }
        pieces
    }

    fn new(bytes: Vec<u8>, frames: Vec<(Position, u32, u64)>, running: u64) -> Self {
        // Without room to spare: a piece is kept for a while.
        Self { bytes: Bytes::from(bytes.into_boxed_slice()), frames, running }
    }

    /// How many frames it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Does it hold none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of the frames.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Memory that it takes, with what is noted about each frame.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.frames.len() * size_of::<(Position, u32, u64)>()
    }

    /// Position of the last frame.
    #[must_use]
    pub fn last(&self) -> Position {
        self.frames.last().map_or_else(Position::default, |(position, ..)| *position)
    }

    /// Running number of the last frame.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.running
    }

    /// How many of the frames lie at or below a position.
    #[must_use]
    pub fn passed(&self, position: Position) -> usize {
        self.frames.partition_point(|(at, ..)| *at <= position)
    }

    /// The first frame at or after this one whose event is of this time or later; their number if there is none.
    #[must_use]
    pub fn first_since(&self, frame: usize, time_ms: u64) -> usize {
        let found = self.frames.iter().skip(frame).position(|(.., at_ms)| *at_ms >= time_ms);
        found.map_or(self.frames.len(), |skipped| frame + skipped)
    }

    /// Position, running number and source time of one frame.
    #[must_use]
    pub fn stop(&self, frame: usize) -> Option<(Position, u64, u64)> {
        let (position, _, time_ms) = self.frames.get(frame)?;
        Some((*position, self.running - (self.frames.len() - frame - 1) as u64, *time_ms))
    }

    /// Frames from this one on that fit into so many bytes, but at least one; nothing behind the last.
    #[must_use]
    pub fn take(&self, first: usize, bytes_max: usize) -> Option<Frames> {
        let start = self.start(first);
        let rest = self.frames.get(first..).filter(|rest| !rest.is_empty())?;
        let fitting = rest.partition_point(|(_, end, _)| (end - start) as usize <= bytes_max).max(1);
        self.cut(first..first + fitting)
    }

    /// Exactly these frames; nothing if there are none.
    #[must_use]
    pub fn cut(&self, frames: Range<usize>) -> Option<Frames> {
        let (last, running, time_ms) = self.stop(frames.end.checked_sub(1)?)?;
        let (first, ..) = self.stop(frames.start)?;
        let count = frames.len() as u64;
        let (start, end) = (self.start(frames.start), self.start(frames.end));
        (count > 0).then(|| Frames {
            bytes: self.bytes.slice(start as usize..end as usize),
            count,
            first,
            last,
            running,
            time_ms,
        })
    }

    /// Where a frame begins in `bytes`.
    fn start(&self, frame: usize) -> u32 {
        frame.checked_sub(1).and_then(|before| self.frames.get(before)).map_or(0, |(_, end, _)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u64, bytes: usize) -> Vec<Entry> {
        let entry = |n| Entry {
            position: Position::new(1, n, 1),
            time_ms: n * 10,
            running: n + 100,
            subject: "s".into(),
            event_type: "t".into(),
            chain: 0,
            data: vec![b'x'; bytes].into(),
        };
        (1..=count).map(entry).collect()
    }

    #[test]
    fn pieces_are_no_larger_than_a_write_but_for_a_large_frame() {
        let all = entries(500, 1_000);
        let pieces = Piece::of(&all);
        assert!(pieces.len() > 7 && pieces.iter().all(|piece| piece.bytes() <= WRITE_BYTES));
        assert_eq!(pieces.iter().map(Piece::len).sum::<usize>(), 500);
        let mut plain = Vec::new();
        all.iter().for_each(|entry| frame::event(&mut plain, entry));
        let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.cut(0..piece.len()).unwrap().bytes).collect();
        assert_eq!(joined, plain);
        let large = Piece::of(&entries(3, WRITE_BYTES * 2));
        assert_eq!(large.iter().map(Piece::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(Piece::of(&[]).is_empty());
    }

    #[test]
    fn a_frame_knows_where_it_stands() {
        let piece = Piece::of(&entries(9, 10)).remove(0);
        assert_eq!(piece.stop(0), Some((Position::new(1, 1, 1), 101, 10)));
        assert_eq!(piece.stop(8), Some((piece.last(), piece.running(), 90)));
        assert_eq!(piece.stop(9), None);
        assert_eq!(piece.passed(Position::whole(1, 4)), 4);
        assert_eq!((piece.first_since(2, 55), piece.first_since(7, 1), piece.first_since(0, 91)), (5, 7, 9));
    }

    #[test]
    fn what_is_taken_fits_but_is_at_least_one_frame() {
        let piece = Piece::of(&entries(9, 10)).remove(0);
        let one = piece.take(3, 1).unwrap();
        assert_eq!((one.count, one.last, one.running, one.time_ms), (1, Position::new(1, 4, 1), 104, 40));
        let two = piece.take(3, one.bytes.len() * 2).unwrap();
        assert_eq!((two.count, two.last.sequence), (2, 5));
        assert_eq!((piece.take(9, 100), piece.cut(4..4)), (None, None));
    }
}
