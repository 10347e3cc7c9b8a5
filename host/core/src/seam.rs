//! One connection's way from its cursor through the replay pages into the live ring, without a seam.

use crate::commit::Page;
use crate::cursor::{self, Cursor, IdCursor};
use crate::entry::Entry;
use crate::gap::{self, Floor, GapReason};
use crate::limits::TIME_SLACK_MS;
use crate::position::{Place, Position};
use crate::ring::Ring;

/// What a connection was told is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The last id it had, or its cursor.
    pub from: Option<String>,
    /// Where the gap ends: its new place.
    pub to: Option<Place>,
    /// How many events, where that is known.
    pub missed: Option<u64>,
    /// Why.
    pub reason: GapReason,
}

/// What comes next after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read the next page.
    Read,
    /// The ring takes over: everything up to now was sent.
    Live,
}

/// What to do with a page, in this order: tell the gap, send the entries, go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Tell this first.
    pub gap: Option<Gap>,
    /// Send these.
    pub entries: Vec<Entry>,
    /// Then this.
    pub next: Next,
}

/// Where one connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Everything up to here was sent, told as lost, or lies before its cursor.
    sent: Position,
    /// The time of that event, in milliseconds since 1970.
    time_ms: u64,
    /// The company's running number there, where it is known.
    running: Option<u64>,
    /// The cursor as the client sent it, until something was sent.
    asked: Option<Box<str>>,
    /// What it came with, until it was told an id.
    untold: Option<Cursor>,
    /// Entries older than this are passed over: the client asked from a time on.
    since_ms: u64,
    /// The floor of the first page is no gap: the client asked for whatever there is.
    from_earliest: bool,
    /// The generation it read in, and when that began, as far as a floor has told.
    begun: Option<(u16, u64)>,
    /// Events sent in this replay.
    replayed: u64,
}

impl Reader {
    /// Reads on after a position the client named.
    #[must_use]
    pub fn after(position: Position, cursor: &IdCursor, running: Option<u64>) -> Self {
        let place = Place { generation: position.generation, sequence: position.sequence, time_ms: cursor.time_ms };
        let (asked, untold) = (Some(cursor.text.as_str().into()), Some(Cursor::Id(cursor.clone())));
        Self { sent: position, running, asked, untold, ..Self::at(place) }
    }

    /// Reads on from a place: the head for a client without a cursor, or where a gap ended.
    #[must_use]
    pub fn at(place: Place) -> Self {
        let (sent, time_ms) = (place.position(), place.time_ms);
        Self {
            sent,
            time_ms,
            running: None,
            asked: None,
            untold: None,
            since_ms: 0,
            from_earliest: false,
            begun: None,
            replayed: 0,
        }
    }

    /// Reads whatever there is.
    #[must_use]
    pub fn earliest() -> Self {
        Self { from_earliest: true, untold: Some(Cursor::Earliest), ..Self::at(Place::default()) }
    }

    /// Reads from a time on; `before` is the last position that is surely older.
    #[must_use]
    pub fn since(before: Position, since_ms: u64) -> Self {
        let place = Place { generation: before.generation, sequence: before.sequence, time_ms: since_ms };
        Self { since_ms, sent: before, untold: Some(Cursor::Since(since_ms)), ..Self::at(place) }
    }

    /// Reads from the time of a cursor that nobody can place, with the place where the gap before that ends. `before` is
    /// the last position that is surely older, `first` the company's first entry above it, `head` where the company
    /// stands. `None` where the head itself lies before that time: then it reads on from there.
    #[must_use]
    pub fn unplaced(before: Position, since_ms: u64, first: Option<&Entry>, head: Place) -> Option<(Self, Place)> {
        let to = first.map_or(head, |entry| Place {
            generation: entry.position.generation,
            sequence: entry.position.sequence.saturating_sub(1),
            time_ms: since_ms.min(entry.time_ms),
        });
        (to.position() >= before).then(|| (Self::since(before, since_ms), to))
    }

    /// Everything up to here is done for this connection.
    #[must_use]
    pub fn sent(&self) -> Position {
        self.sent
    }

    /// Events sent since the replay began.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// What this client would come back with now: the last id it was told, or what it came with.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.untold.clone().unwrap_or_else(|| Cursor::Id(self.as_cursor()))
    }

    /// The place where it stands, as a cursor.
    #[must_use]
    pub fn as_cursor(&self) -> IdCursor {
        let place = Place { generation: self.sent.generation, sequence: self.sent.sequence, time_ms: self.time_ms };
        let text = self.asked.as_deref().map_or_else(|| cursor::place_id(place), str::to_owned);
        IdCursor { text, sequence: self.sent.sequence, time_ms: self.time_ms, output: self.sent.output }
    }

    /// Begins another replay: the ring has moved past this connection.
    pub fn fall_back(&mut self) {
        self.replayed = 0;
    }

    /// Takes a page that was asked for above [`Reader::sent`]. `read_under` is the ring's incarnation before the page
    /// was asked for; `ring` is the ring as it is now.
    pub fn page(&mut self, page: Page, ring: &Ring, read_under: u64) -> Turn {
        if let Some(gap) = page.floor.as_ref().and_then(|floor| self.turned(floor)) {
            // The page was asked for above a position that means something else by now.
            self.untold = None;
            return Turn { gap: Some(gap), entries: Vec::new(), next: Next::Read };
        }
        let gap = page.floor.as_ref().and_then(|floor| self.floor(floor));
        // What was there is known now; what goes from here on is missed.
        self.from_earliest = false;
        let since = self.since_ms;
        let asked = self.sent;
        let mut entries = page.entries;
        entries.retain(|entry| entry.position > asked);
        if let Some(last) = entries.last() {
            // Also over what is older than was asked for: a page full of it must not be read for ever.
            self.advance(last.position, last.time_ms, Some(last.running));
        }
        entries.retain(|entry| entry.time_ms >= since);
        self.replayed += entries.len() as u64;
        if gap.is_some() || !entries.is_empty() {
            self.untold = None;
        }
        // A page that is not full is complete up to its commit; what came later must still be in the ring.
        let live = !page.full && ring.joinable(page.last.number, read_under);
        Turn { gap, entries, next: if live { Next::Live } else { Next::Read } }
    }

    /// A store that went back behind the beginning of a generation may begin it again with another stream: what this
    /// connection stands at is a position of a stream that nobody knows any more, and all of this one lies before it.
    fn turned(&mut self, floor: &Floor) -> Option<Gap> {
        let (generation, sequence) = floor.position.event();
        if generation != self.sent.generation || sequence > 0 {
            return None;
        }
        let began = (generation, floor.time_ms);
        let another = match self.begun.replace(began).filter(|(known, _)| *known == generation) {
            Some(known) => known != began,
            // Nothing of a stream is older than the stream.
            None => self.time_ms.saturating_add(TIME_SLACK_MS) < floor.time_ms,
        };
        if !another {
            return None;
        }
        let gap = Gap { from: self.last_id(), to: Some(floor.place()), missed: None, reason: floor.reason };
        (self.sent, self.time_ms, self.running, self.asked) = (floor.position, floor.time_ms, None, None);
        Some(gap)
    }

    fn floor(&mut self, floor: &Floor) -> Option<Gap> {
        if !floor.above(self.sent) {
            return None;
        }
        // Trimmed from before the time it asked for: not missed.
        let older = floor.reason == GapReason::Trimmed && floor.time_ms < self.since_ms;
        let told = !self.from_earliest && !older;
        // Up to the time it asked from nobody counts which of the lost ones are older.
        let counted = self.running.filter(|_| self.time_ms >= self.since_ms);
        let gap = Gap {
            from: self.last_id(),
            to: Some(floor.place()),
            missed: gap::missed(floor, counted),
            reason: floor.reason,
        };
        self.advance(floor.position, floor.time_ms, floor.running);
        if floor.position.sequence == 0 {
            self.begun = Some((floor.position.generation, floor.time_ms));
        }
        told.then_some(gap)
    }

    /// Jumps over what a connection that lags too far may not have. `None` where all of that is older than the time it
    /// asked from: it missed nothing.
    pub fn overflow(&mut self, to: Position, time_ms: u64, running: u64) -> Option<Gap> {
        let place = Place { generation: to.generation, sequence: to.sequence, time_ms };
        let counted = self.running.filter(|_| self.time_ms >= self.since_ms);
        let missed = counted.map(|had| running.saturating_sub(had));
        let gap = Gap { from: self.last_id(), to: Some(place), missed, reason: GapReason::Overflow };
        let older = self.untold.is_some() && time_ms < self.since_ms;
        self.advance(to, time_ms, Some(running));
        if older {
            return None;
        }
        self.untold = None;
        Some(gap)
    }

    /// Frames from the ring were written up to here.
    pub fn live(&mut self, last: Position, time_ms: u64, running: u64) {
        self.advance(last, time_ms, Some(running));
        self.untold = None;
    }

    /// The id a control event may carry: the company's place, unless it lies below what this connection was sent. Told
    /// once, it is where the connection stands.
    pub fn tell_place(&mut self, place: Option<Place>) -> Option<Place> {
        let place = place.filter(|place| place.position() >= self.sent)?;
        // Also where it stands there already: the client comes back with this id from now on, time included.
        (self.sent, self.time_ms, self.asked, self.untold) = (place.position(), place.time_ms, None, None);
        Some(place)
    }

    fn advance(&mut self, to: Position, time_ms: u64, running: Option<u64>) {
        if to > self.sent {
            (self.sent, self.time_ms, self.running, self.asked) = (to, time_ms, running, None);
        }
    }

    fn last_id(&self) -> Option<String> {
        let anything = self.asked.is_some() || self.sent > Position::default();
        anything.then(|| self.as_cursor().text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{CommitName, StoreId, Token};
    use bytes::Bytes;

    fn page(sequences: std::ops::Range<u64>, full: bool, commit: u64, floor: Option<Floor>) -> Page {
        let entry = |sequence| Entry {
            position: Position::new(1, sequence, 1),
            time_ms: sequence * 10,
            running: sequence,
            subject: "s".into(),
            event_type: "t".into(),
            chain: 0,
            data: Bytes::new(),
        };
        Page {
            entries: sequences.map(entry).collect(),
            full,
            floor,
            place: None,
            last: CommitName { token: Token(1), number: commit },
            store: StoreId(1),
            generation: 1,
            running: 0,
            rebuild: None,
        }
    }

    fn reader(text: &str) -> Reader {
        let cursor = cursor::parse_id(text).unwrap();
        Reader::after(cursor.position(1), &cursor, Some(3))
    }

    #[test]
    fn a_connection_goes_live_only_when_nothing_between_page_and_ring_is_missing() {
        let mut ring = Ring::new(5, 1 << 20);
        let mut reader = reader("s-3-30");
        assert_eq!(reader.page(page(4..6, true, 9, None), &ring, 0).next, Next::Read, "a full page");
        assert_eq!(reader.page(page(6..7, false, 4, None), &ring, 0).next, Next::Read, "older than the ring's start");
        assert_eq!(reader.page(page(7..8, false, 5, None), &ring, 0).next, Next::Live);
        assert_eq!(reader.replayed(), 4);
        ring.reset(3);
        assert_eq!(
            reader.page(page(8..9, false, 9, None), &ring, 0).next,
            Next::Read,
            "read under another incarnation"
        );
    }

    #[test]
    fn a_floor_above_is_told_once_with_the_count() {
        let ring = Ring::new(0, 1 << 20);
        let floor =
            Floor { position: Position::new(1, 6, 1), time_ms: 60, reason: GapReason::Trimmed, running: Some(6) };
        let mut reader = reader("s-3-30");
        let turn = reader.page(page(7..9, false, 9, Some(floor)), &ring, 0);
        let gap = turn.gap.unwrap();
        assert_eq!((gap.from.as_deref(), gap.missed), (Some("s-3-30"), Some(3)));
        assert_eq!(gap.to, Some(Place { generation: 1, sequence: 6, time_ms: 60 }));
        assert_eq!(turn.entries.len(), 2);
        assert_eq!(reader.page(page(9..9, false, 9, Some(floor)), &ring, 0).gap, None);
        let mut earliest = Reader::earliest();
        assert_eq!(earliest.page(page(7..9, false, 9, Some(floor)), &ring, 0).gap, None, "earliest is never a gap");
    }

    #[test]
    fn what_goes_after_the_first_page_is_missed_by_earliest_too() {
        let ring = Ring::new(0, 1 << 20);
        let mut earliest = Reader::earliest();
        assert_eq!(earliest.page(page(1..3, true, 9, None), &ring, 0).gap, None);
        let floor =
            Floor { position: Position::new(1, 6, 1), time_ms: 60, reason: GapReason::Trimmed, running: Some(6) };
        let gap = earliest.page(page(7..9, false, 9, Some(floor)), &ring, 0).gap.unwrap();
        assert_eq!(gap.missed, Some(4));
    }

    #[test]
    fn from_a_time_on_older_entries_are_passed_over_and_their_floor_is_no_gap() {
        let ring = Ring::new(0, 1 << 20);
        let floor =
            Floor { position: Position::new(1, 1, 1), time_ms: 10, reason: GapReason::Trimmed, running: Some(1) };
        let mut since = Reader::since(Position::default(), 50);
        let turn = since.page(page(2..5, true, 9, Some(floor)), &ring, 0);
        assert_eq!((turn.gap, turn.entries.len(), turn.next), (None, 0, Next::Read));
        assert_eq!(since.sent(), Position::new(1, 4, 1), "the next page lies above");
        assert_eq!(since.page(page(5..7, false, 9, Some(floor)), &ring, 0).entries.len(), 2);
    }

    #[test]
    fn what_is_lost_around_the_time_it_asked_from_is_not_counted() {
        let ring = Ring::new(0, 1 << 20);
        let mut since = Reader::since(Position::default(), 50);
        since.page(page(2..5, true, 9, None), &ring, 0);
        let floor =
            Floor { position: Position::new(1, 9, 1), time_ms: 90, reason: GapReason::Trimmed, running: Some(9) };
        let gap = since.page(page(10..11, false, 9, Some(floor)), &ring, 0).gap.unwrap();
        assert_eq!(gap.missed, None, "4 was before that time, 5 to 9 were not all");
    }

    #[test]
    fn until_it_was_told_an_id_a_client_comes_back_with_what_it_asked() {
        let ring = Ring::new(0, 1 << 20);
        let mut earliest = Reader::earliest();
        earliest.page(page(0..0, false, 9, None), &ring, 0);
        assert_eq!(earliest.cursor(), Cursor::Earliest);
        earliest.page(page(1..3, false, 9, None), &ring, 0);
        assert_eq!(earliest.cursor(), Cursor::Id(earliest.as_cursor()));
        let mut since = Reader::since(Position::default(), 50);
        since.page(page(1..3, false, 9, None), &ring, 0);
        assert_eq!(since.cursor(), Cursor::Since(50), "older ones are passed over in silence");
        since.live(Position::new(1, 6, 1), 60, 6);
        assert!(matches!(since.cursor(), Cursor::Id(id) if id.sequence == 6));
    }

    #[test]
    fn an_unplaced_cursor_reads_from_its_time_and_the_gap_ends_before_what_comes() {
        let head = Place { generation: 1, sequence: 9, time_ms: 90 };
        let before = Position::whole(1, 4);
        let first = &page(6..7, false, 9, None).entries[0];
        let (mut reader, to) = Reader::unplaced(before, 50, Some(first), head).unwrap();
        assert_eq!(to, Place { generation: 1, sequence: 5, time_ms: 50 });
        assert_eq!(reader.tell_place(Some(to)), Some(to));
        assert_eq!(Reader::unplaced(before, 50, None, head).unwrap().1, head);
        let waits = Place { sequence: 3, ..head };
        assert_eq!(Reader::unplaced(before, 50, None, waits), None, "its backlog is older than that time");
    }

    #[test]
    fn a_jump_over_what_is_older_than_was_asked_for_is_no_gap() {
        let mut since = Reader::since(Position::default(), 50);
        assert_eq!(since.overflow(Position::new(1, 4, 1), 40, 4), None);
        assert_eq!((since.sent(), since.cursor()), (Position::new(1, 4, 1), Cursor::Since(50)));
        let gap = since.overflow(Position::new(1, 8, 1), 80, 8).unwrap();
        assert_eq!((gap.reason, gap.to.map(|to| to.sequence)), (GapReason::Overflow, Some(8)));
    }

    fn beginning(time_ms: u64) -> Option<Floor> {
        Some(Floor { position: Position::whole(1, 0), time_ms, reason: GapReason::SourceLost, running: None })
    }

    #[test]
    fn a_generation_that_began_again_with_another_stream_is_told_and_read_from_its_start() {
        let ring = Ring::new(5, 1 << 20);
        let mut ahead = reader("s-3-30");
        let turn = ahead.page(page(4..6, false, 9, beginning(1_000_000)), &ring, 0);
        let gap = turn.gap.unwrap();
        assert_eq!((gap.from.as_deref(), gap.reason, gap.missed), (Some("s-3-30"), GapReason::SourceLost, None));
        assert_eq!(gap.to, Some(Place { generation: 1, sequence: 0, time_ms: 1_000_000 }));
        assert_eq!((turn.entries.len(), turn.next), (0, Next::Read));
        assert_eq!(ahead.sent(), Position::whole(1, 0));
        let turn = ahead.page(page(1..6, false, 9, beginning(1_000_000)), &ring, 0);
        assert_eq!((turn.gap, turn.entries.len(), turn.next), (None, 5, Next::Live), "told once, whatever the times");
        let gap = ahead.page(page(6..7, false, 9, beginning(1_000_001)), &ring, 0).gap.unwrap();
        assert_eq!(gap.from.as_deref(), Some("at-5-0000000000050"), "and once more for the next one");
    }

    #[test]
    fn an_id_of_the_generation_reads_on_under_its_beginning() {
        let ring = Ring::new(5, 1 << 20);
        let mut after = reader("s-3-30");
        let turn = after.page(page(4..6, false, 9, beginning(20)), &ring, 0);
        assert_eq!((turn.gap, turn.entries.len()), (None, 2));
    }

    #[test]
    fn a_place_told_where_it_stands_is_what_it_comes_back_with() {
        let mut since = Reader::since(Position::whole(1, 8), 999);
        let place = Place { generation: 1, sequence: 8, time_ms: 80 };
        assert_eq!(since.tell_place(Some(place)), Some(place));
        assert_eq!(since.as_cursor().text, cursor::place_id(place));
    }

    #[test]
    fn a_place_is_never_told_below_what_was_sent() {
        let mut reader = reader("s-3-30");
        assert_eq!(reader.tell_place(Some(Place { generation: 1, sequence: 2, time_ms: 1 })), None);
        let place = Place { generation: 1, sequence: 8, time_ms: 80 };
        assert_eq!(reader.tell_place(Some(place)), Some(place));
        assert_eq!(reader.sent(), Position::whole(1, 8));
        assert_eq!(reader.as_cursor().text, "at-8-0000000000080");
    }
}
