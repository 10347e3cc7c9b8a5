//! A page of a company's replay, encoded: read once, sent to all its connections that stand in it.

use crate::commit::Page;
use crate::piece::{Frames, Piece};
use crate::position::{Place, Position};

/// An encoded page. It says what was true when it was read, and is as good later for whoever takes that into account:
/// [`crate::seam::Reader::page`] does.
#[derive(Debug)]
pub struct EncodedPage {
    /// All of the page but its entries.
    pub facts: Page,
    above: Position,
    read: Reading,
    pieces: Vec<Piece>,
}

/// One reading of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its number within the company: readings that began later have higher ones.
    pub number: u64,
    /// The ring's incarnation before it began.
    pub under: u64,
}

/// What a connection takes of a page at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The frames; none where all there is here is older than was asked for.
    pub(crate) frames: Option<Frames>,
    /// The place before the first of them.
    pub(crate) before: Option<Place>,
    /// Position of the last entry here, sent or passed over.
    pub(crate) last: Position,
    /// Its running number.
    pub(crate) running: u64,
    /// Its source time, in milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// Nothing of the page is left after this.
    pub(crate) ends: bool,
}

impl EncodedPage {
    /// Encodes a page that was asked for above a position.
    #[must_use]
    pub fn new(above: Position, read: Reading, mut page: Page) -> Self {
        let pieces = Piece::of(&page.entries);
        page.entries = Vec::new();
        Self { facts: page, above, read, pieces }
    }

    /// It holds everything above this position, as far as it goes.
    #[must_use]
    pub fn above(&self) -> Position {
        self.above
    }

    /// Which reading it is of.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.read
    }

    /// Position of its last entry; where it was asked for above when it has none.
    #[must_use]
    pub fn last(&self) -> Position {
        self.pieces.last().map_or(self.above, Piece::last)
    }

    /// Has it anything for a connection that stands here: entries, or the word that there are none?
    #[must_use]
    pub fn reaches(&self, position: Position) -> bool {
        self.above <= position && (self.last() > position || !self.facts.full)
    }

    /// Running number and source time of the entry at exactly this position, if the page holds it.
    #[must_use]
    pub fn entry(&self, position: Position) -> Option<(u64, u64)> {
        let piece = self.pieces.iter().find(|piece| piece.last() >= position)?;
        let (at, running, time_ms) = piece.stop(piece.passed(position).checked_sub(1)?)?;
        (at == position).then_some((running, time_ms))
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.pieces.iter().map(|piece| size_of::<Piece>() + piece.weight()).sum::<usize>()
    }

    /// What a connection at this position takes next, from the first entry of that time on; `None` where the page has
    /// nothing above it.
    pub(crate) fn offer(&self, sent: Position, since_ms: u64) -> Option<Offer> {
        let at = self.pieces.partition_point(|piece| piece.last() <= sent);
        let piece = self.pieces.get(at)?;
        let first = piece.first_since(piece.passed(sent), since_ms);
        let (last, running, time_ms) = piece.stop(piece.len() - 1)?;
        let before = piece.stop(first).map(|(first, _, first_ms)| Place {
            generation: first.generation,
            sequence: first.sequence.saturating_sub(1),
            time_ms: first_ms,
        });
        let ends = at + 1 == self.pieces.len();
        Some(Offer { frames: piece.cut(first..piece.len()), before, last, running, time_ms, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::limits::WRITE_BYTES;
    use crate::position::{CommitName, StoreId};

    fn page(sequences: std::ops::RangeInclusive<u64>, full: bool) -> EncodedPage {
        let entry = |sequence| Entry {
            position: Position::new(1, sequence, 1),
            time_ms: sequence * 10,
            running: sequence + 100,
            subject: "s".into(),
            event_type: "t".into(),
            chain: 0,
            data: vec![b'x'; WRITE_BYTES / 4].into(),
        };
        let above = Position::whole(1, sequences.start() - 1);
        let facts = Page {
            entries: sequences.map(entry).collect(),
            full,
            floor: None,
            place: None,
            last: CommitName::default(),
            store: StoreId(1),
            generation: 1,
            running: 0,
            rebuild: None,
        };
        EncodedPage::new(above, Reading { number: 1, under: 0 }, facts)
    }

    #[test]
    fn a_page_is_taken_piece_by_piece_from_wherever_a_connection_stands_in_it() {
        let page = page(11..=20, true);
        let (mut sent, mut taken) = (Position::new(1, 12, 1), Vec::new());
        while let Some(offer) = page.offer(sent, 0) {
            let frames = offer.frames.unwrap();
            assert!(frames.bytes.len() <= WRITE_BYTES && frames.last == offer.last);
            assert_eq!(offer.before.unwrap().sequence, sent.sequence);
            assert_eq!(offer.ends, offer.last.sequence == 20);
            (sent, taken) = (offer.last, [taken, vec![frames.count]].concat());
        }
        assert_eq!(taken.iter().sum::<u64>(), 8);
        assert!(taken.len() > 2, "{taken:?}");
    }

    #[test]
    fn what_is_older_than_was_asked_for_is_passed_over() {
        let page = page(11..=20, true);
        let older = page.offer(Position::whole(1, 10), 1_000).unwrap();
        assert_eq!((older.frames, older.before), (None, None));
        let offer = page.offer(Position::whole(1, 10), 120).unwrap();
        assert_eq!(offer.before.map(|place| (place.sequence, place.time_ms)), Some((11, 120)));
        assert_eq!(offer.frames.unwrap().count + 1, offer.last.sequence - 10);
    }

    #[test]
    fn a_page_says_what_it_reaches_and_holds() {
        let full = page(11..=20, true);
        let reaches = |page: &EncodedPage, sequence| page.reaches(Position::new(1, sequence, 1));
        assert!(!reaches(&full, 10), "11 might be one of two outputs");
        assert!(full.reaches(Position::whole(1, 10)) && reaches(&full, 19) && !reaches(&full, 20));
        assert!(reaches(&page(11..=20, false), 20), "there is nothing more");
        assert_eq!(full.entry(Position::new(1, 15, 1)), Some((115, 150)));
        assert_eq!((full.entry(Position::new(1, 15, 2)), full.entry(Position::new(1, 21, 1))), (None, None));
    }
}
