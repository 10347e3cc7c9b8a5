//! The pages of one company's replay that its connections share: which of them may take which, and when one is read.
//!
//! A connection that takes a page read for another one is as if it had asked when that reading began and been answered
//! late. So a page is shared only within one incarnation of the ring (whatever turns a history empties the rings), only
//! if the connection stands where it stands by what was known then, and at the live end only as long as it leads into the
//! ring.

use crate::limits::{PAGES_BYTES, PAGES_MS, READS_AT_ONCE};
use crate::page::{EncodedPage, Reading};
use crate::position::Position;
use crate::ring::Ring;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a connection needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Where it stands: entries above this.
    pub above: Position,
    /// Readings up to this number began before the store said where it stands: it may have gone back in between. 0 where
    /// it stands by what the live window knows.
    pub placed: u64,
    /// The reading that told it last where the stream ended: the same word again is of no use. 0 before the first.
    pub told: u64,
    /// It has only just come: it may as well be read for from a little below, where others that just came begin, too.
    pub begins: bool,
}

impl Need {
    /// From where a page is read for it. Connections that were cut together stand within a few events of one another;
    /// read for from the same place, they stand at the same place after it, the end of the page.
    fn from(&self, entries: usize) -> Position {
        let Position { generation, sequence, .. } = self.above;
        let stride = entries as u64;
        if !self.begins || sequence == 0 || stride == 0 {
            return self.above;
        }
        // Below the event itself: whether the company has it is asked, too.
        Position::whole(generation, (sequence - 1) / stride * stride).min(self.above)
    }
}

/// What to do for a connection that needs a page.
#[derive(Debug, Clone)]
pub enum Look {
    /// Take this one.
    Kept(Arc<EncodedPage>),
    /// Wait for the reading with this number, then look again.
    Wait(u64),
    /// Read a page above this position.
    Read(Position, Reading),
}

/// A reading that has not come back.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    above: Position,
    reading: Reading,
}

/// The pages that are kept, and those that are being read.
#[derive(Debug, Default)]
pub struct Pages {
    /// Oldest first, each with when it came.
    kept: VecDeque<(Arc<EncodedPage>, u64)>,
    weight: usize,
    under_way: Vec<UnderWay>,
    readings: u64,
}

impl Pages {
    /// Finds a page for a connection, or has one read of at most so many `entries`.
    pub fn look(&mut self, need: &Need, ring: &Ring, entries: usize) -> Look {
        let found = self.kept.iter().rev().find(|(page, _)| serves(page, need, ring));
        if let Some((page, _)) = found {
            return Look::Kept(Arc::clone(page));
        }
        let from = need.from(entries);
        if let Some(read) = self.under_way.iter().find(|read| will_serve(read, need, from, ring)) {
            return Look::Wait(read.reading.number);
        }
        match self.under_way.first() {
            Some(oldest) if self.under_way.len() >= READS_AT_ONCE => Look::Wait(oldest.reading.number),
            _ => {
                self.readings += 1;
                let reading = Reading { number: self.readings, under: ring.incarnation() };
                self.under_way.push(UnderWay { above: from, reading });
                Look::Read(from, reading)
            }
        }
    }

    /// A reading has ended, with a page or without. The page is kept for a while, unless there is no `room` for it.
    /// `now_ms` is of a clock that only goes on.
    pub fn ended(&mut self, number: u64, page: Option<&Arc<EncodedPage>>, room: usize, now_ms: u64) {
        self.under_way.retain(|read| read.reading.number != number);
        let Some(page) = page.filter(|page| page.weight() <= room.min(PAGES_BYTES)) else { return };
        self.weight += page.weight();
        self.kept.push_back((Arc::clone(page), now_ms));
        while self.weight > PAGES_BYTES {
            self.drop_oldest();
        }
    }

    /// The number of the reading that began last.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.readings
    }

    /// Drops the pages that were kept for long enough.
    pub fn age(&mut self, now_ms: u64) {
        while self.kept.front().is_some_and(|(_, came_ms)| now_ms.saturating_sub(*came_ms) >= PAGES_MS) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((page, _)) = self.kept.pop_front() {
            self.weight -= page.weight();
        }
    }

    /// Memory that the kept ones take, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }
}

/// May a connection take this page, although another one had it read?
#[must_use]
pub fn serves(page: &EncodedPage, need: &Need, ring: &Ring) -> bool {
    let Reading { number, under } = page.reading();
    let leads_on = page.last() > need.above || (number > need.told && ring.joinable(page.facts.last.number, under));
    under == ring.incarnation() && number > need.placed && page.reaches(need.above) && leads_on
}

/// Will a page that is being read for another connection most likely serve this one? Where it does not, a page is read
/// from where the connection stands.
fn will_serve(read: &UnderWay, need: &Need, from: Position, ring: &Ring) -> bool {
    read.reading.under == ring.incarnation()
        && read.reading.number > need.placed.max(need.told)
        && (read.above == from || read.above == need.above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Page;
    use crate::entry::Entry;
    use crate::position::{CommitName, StoreId, Token};

    const ENTRIES: usize = 10;

    fn page(sequences: std::ops::RangeInclusive<u64>, full: bool, commit: u64) -> Page {
        let entry = |sequence| Entry {
            position: Position::new(1, sequence, 1),
            time_ms: sequence * 10,
            running: sequence,
            subject: "s".into(),
            event_type: "t".into(),
            chain: 0,
            data: bytes::Bytes::new(),
        };
        Page {
            entries: sequences.map(entry).collect(),
            full,
            floor: None,
            place: None,
            last: CommitName { token: Token(1), number: commit },
            store: StoreId(1),
            generation: 1,
            running: 0,
            rebuild: None,
        }
    }

    fn need(sequence: u64) -> Need {
        Need { above: Position::new(1, sequence, 1), placed: 0, told: 0, begins: false }
    }

    fn begins(sequence: u64) -> Need {
        Need { begins: true, ..need(sequence) }
    }

    /// Reads a page for this need; panics where none is to be read.
    fn read(pages: &mut Pages, need: &Need, ring: &Ring) -> (Position, Reading) {
        match pages.look(need, ring, ENTRIES) {
            Look::Read(above, reading) => (above, reading),
            other => panic!("{other:?}"),
        }
    }

    fn arrives(pages: &mut Pages, (above, reading): (Position, Reading), page: Page) -> Arc<EncodedPage> {
        let page = Arc::new(EncodedPage::new(above, reading, page));
        pages.ended(reading.number, Some(&page), usize::MAX, reading.number * 10);
        page
    }

    fn kept(look: Look) -> Option<u64> {
        match look {
            Look::Kept(page) => Some(page.reading().number),
            Look::Wait(_) | Look::Read(..) => None,
        }
    }

    #[test]
    fn a_page_is_read_once_however_many_need_it() {
        let (mut pages, ring) = (Pages::default(), Ring::new(9, 1 << 20));
        let first = read(&mut pages, &need(20), &ring);
        for _ in 0..500 {
            assert!(matches!(pages.look(&need(20), &ring, ENTRIES), Look::Wait(1)));
        }
        arrives(&mut pages, first, page(21..=30, true, 9));
        for sequence in 20..30 {
            assert_eq!(kept(pages.look(&need(sequence), &ring, ENTRIES)), Some(1), "within it, above {sequence}");
        }
        assert!(matches!(pages.look(&need(30), &ring, ENTRIES), Look::Read(..)), "nothing of it lies above 30");
        assert!(matches!(pages.look(&need(19), &ring, ENTRIES), Look::Read(..)), "20 may be missing in it");
    }

    #[test]
    fn connections_cut_within_a_few_events_are_read_for_from_one_place() {
        let (mut pages, ring) = (Pages::default(), Ring::new(99, 1 << 20));
        let first = read(&mut pages, &begins(27), &ring);
        assert_eq!(first.0, Position::whole(1, 20));
        for sequence in 21..=30 {
            assert!(matches!(pages.look(&begins(sequence), &ring, ENTRIES), Look::Wait(1)), "at {sequence}");
        }
        assert!(matches!(pages.look(&begins(31), &ring, ENTRIES), Look::Read(above, _) if above.sequence == 30));
        arrives(&mut pages, first, page(21..=30, true, 99));
        assert!(matches!(pages.look(&begins(0), &ring, ENTRIES), Look::Read(above, _) if above.sequence == 0));
    }

    #[test]
    fn only_so_many_pages_of_a_company_are_read_at_a_time() {
        let (mut pages, ring) = (Pages::default(), Ring::new(9, 1 << 20));
        for at in 0..READS_AT_ONCE as u64 {
            read(&mut pages, &need(100 * at), &ring);
        }
        assert!(matches!(pages.look(&need(7_000), &ring, ENTRIES), Look::Wait(1)));
        pages.ended(1, None, 0, 0);
        assert!(matches!(pages.look(&need(7_000), &ring, ENTRIES), Look::Read(..)), "one that failed makes room");
    }

    #[test]
    fn the_end_of_a_replay_is_shared_only_while_it_leads_into_the_ring() {
        let (mut pages, mut ring) = (Pages::default(), Ring::new(5, 1));
        let first = read(&mut pages, &need(20), &ring);
        arrives(&mut pages, first, page(21..=23, false, 6));
        assert_eq!(kept(pages.look(&need(23), &ring, ENTRIES)), Some(1), "the word that there is nothing more");
        let told = Need { told: 1, ..need(23) };
        assert!(matches!(pages.look(&told, &ring, ENTRIES), Look::Read(..)), "it had that word");
        ring.append(7, &page(24..=24, false, 7).entries);
        ring.append(8, &page(25..=25, false, 8).entries);
        assert_eq!(kept(pages.look(&need(20), &ring, ENTRIES)), Some(1), "what is in it is still true");
        assert!(kept(pages.look(&need(23), &ring, ENTRIES)).is_none(), "24 is in neither of them");
    }

    #[test]
    fn no_page_is_shared_over_a_turn_of_the_history() {
        let (mut pages, mut ring) = (Pages::default(), Ring::new(5, 1 << 20));
        let first = read(&mut pages, &need(20), &ring);
        let late = read(&mut pages, &need(40), &ring);
        arrives(&mut pages, first, page(21..=30, true, 6));
        ring.reset(4);
        let (_, again) = read(&mut pages, &need(20), &ring);
        assert_eq!((again.number, again.under), (3, ring.incarnation()));
        assert!(matches!(pages.look(&need(40), &ring, ENTRIES), Look::Read(..)), "nor one under way since before");
        arrives(&mut pages, late, page(41..=43, false, 6));
        assert!(kept(pages.look(&need(42), &ring, ENTRIES)).is_none());
    }

    #[test]
    fn who_was_placed_by_the_store_takes_no_page_of_before() {
        let (mut pages, ring) = (Pages::default(), Ring::new(5, 1 << 20));
        let first = read(&mut pages, &need(20), &ring);
        let placed = Need { placed: pages.begun(), ..need(20) };
        let (_, own) = read(&mut pages, &placed, &ring);
        assert_eq!(own.number, 2, "the one under way began before, too");
        arrives(&mut pages, first, page(21..=30, true, 6));
        assert!(matches!(pages.look(&placed, &ring, ENTRIES), Look::Wait(2)));
    }

    #[test]
    fn pages_are_dropped_by_weight_and_age() {
        let (mut pages, ring) = (Pages::default(), Ring::new(9, 1 << 20));
        let large = |pages: &mut Pages, at: u64| {
            let mut page = page(at + 1..=at + 1, true, 9);
            page.entries[0].data = vec![b'x'; PAGES_BYTES / 3].into();
            let read = read(pages, &need(at), &ring);
            arrives(pages, read, page);
        };
        for at in [10, 20, 30, 40] {
            large(&mut pages, at);
        }
        assert!(pages.weight() <= PAGES_BYTES);
        assert!(
            kept(pages.look(&need(10), &ring, ENTRIES)).is_none()
                && kept(pages.look(&need(40), &ring, ENTRIES)).is_some()
        );
        large(&mut pages, 50);
        pages.age(40 + PAGES_MS);
        assert!(
            kept(pages.look(&need(40), &ring, ENTRIES)).is_none()
                && kept(pages.look(&need(50), &ring, ENTRIES)).is_some()
        );
        pages.age(60 + PAGES_MS);
        assert_eq!(pages.weight(), 0);
    }
}
