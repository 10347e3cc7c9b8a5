//! One connection's way from its cursor through the replay pages into the live ring, without a seam.

use crate::cursor::{self, Cursor, IdCursor};
use crate::gap::{self, Floor, GapReason};
use crate::limits::TIME_SLACK_MS;
use crate::page::EncodedPage;
use crate::piece::Frames;
use crate::position::{Place, Position};
use crate::rebuild::Rebuild;
use crate::ring::{Ring, RingCursor};

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

/// What to do with a page, in this order: tell the gap, send the frames, go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Tell this first.
    pub gap: Option<Gap>,
    /// Send these.
    pub frames: Option<Frames>,
    /// Then this.
    pub next: Next,
    /// It brought the connection on, be it past what it did not ask for.
    pub moved: bool,
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
    /// Entries older than this are passed over, until it is sent one or told a place: the client asked from a time on.
    since_ms: u64,
    /// Its cursor, which nobody could place, until it is known where the gap ends.
    unknown: Option<Box<str>>,
    /// What it came with, until it was told an id.
    untold: Option<Cursor>,
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
            unknown: None,
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

    /// Reads from the time of a cursor that nobody can place, and tells so before its first event.
    #[must_use]
    pub fn unknown(before: Position, cursor: &IdCursor) -> Self {
        let (unknown, untold) = (Some(cursor.text.as_str().into()), Some(Cursor::Id(cursor.clone())));
        Self { unknown, untold, ..Self::since(before, cursor.time_ms) }
    }

    /// With the company's running number where it stands.
    #[must_use]
    pub fn counted(self, running: Option<u64>) -> Self {
        Self { running, ..self }
    }

    /// Everything up to here is done for this connection.
    #[must_use]
    pub fn sent(&self) -> Position {
        self.sent
    }

    /// So many more of this replay were sent from the ring: they were there when the ring took over.
    pub fn count(&mut self, frames: u64) {
        self.replayed += frames;
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

    /// Takes the next piece of a page that holds what lies above [`Reader::sent`]; `ring` is the ring as it is now.
    pub fn page(&mut self, page: &EncodedPage, ring: &Ring) -> Turn {
        let facts = &page.facts;
        if let Some(gap) = facts.floor.as_ref().and_then(|floor| self.turned(floor)) {
            // The page was asked for above a position that means something else by now.
            return Turn { gap: Some(gap), frames: None, next: Next::Read, moved: true };
        }
        let stood = self.sent;
        let mut gap = facts.floor.as_ref().and_then(|floor| self.floor(floor));
        // What was there is known now; what goes from here on is missed.
        self.from_earliest = false;
        let offer = page.offer(self.sent, self.since_ms);
        // A page that is not full is complete up to its commit; what came later must still be in the ring.
        let complete = !facts.full && offer.as_ref().is_none_or(|offer| offer.ends);
        let live = complete && ring.joinable(facts.last.number, page.reading().under);
        let begins = offer.as_ref().and_then(|offer| offer.before);
        if let Some(to) = begins.or_else(|| live.then(|| self.end(facts.place))) {
            gap = self.unknown.take().map(|from| unknown_cursor(Some(from.into()), to)).or(gap);
        }
        let mut frames = None;
        if let Some(offer) = offer {
            // Also over what is older than was asked for: a page full of it must not be read for ever.
            self.advance(offer.last, offer.time_ms, Some(offer.running));
            frames = offer.frames;
        }
        if live && facts.place.is_some_and(|place| place.position() >= self.sent) {
            self.running = self.running.or(Some(facts.running));
        }
        self.replayed += frames.as_ref().map_or(0, |frames| frames.count);
        if frames.is_some() {
            self.told();
        } else if gap.is_some() {
            // It has an id. What is older than it asked for is still passed over until it is sent something.
            self.untold = None;
        }
        let next = if live { Next::Live } else { Next::Read };
        Turn { gap, frames, next, moved: self.sent > stood }
    }

    /// Where a replay ends that has nothing to send: the company's place, unless it stands further.
    fn end(&self, place: Option<Place>) -> Place {
        let own = Place { generation: self.sent.generation, sequence: self.sent.sequence, time_ms: self.time_ms };
        place.filter(|place| place.position() >= self.sent).unwrap_or(own)
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
        self.unknown = None;
        self.told();
        Some(gap)
    }

    fn floor(&mut self, floor: &Floor) -> Option<Gap> {
        if !floor.above(self.sent) {
            return None;
        }
        if floor.position.sequence == 0 {
            self.begun = Some((floor.position.generation, floor.time_ms));
        }
        let older = floor.time_ms < self.since_ms;
        if older && floor.reason == GapReason::SourceLost {
            // It asked for nothing of that; what the cache has of the same stretch it is sent.
            return None;
        }
        // Trimmed from before the time it asked for: not missed.
        let older = older && floor.reason == GapReason::Trimmed;
        // A cursor that nobody could place is told of once, up to what it is sent first.
        let told = !self.from_earliest && !older && self.unknown.is_none();
        // Up to the time it asked from nobody counts which of the lost ones are older.
        let counted = self.running.filter(|_| self.time_ms >= self.since_ms);
        let gap = Gap {
            from: self.last_id(),
            to: Some(floor.place()),
            missed: gap::missed(floor, counted),
            reason: floor.reason,
        };
        self.advance(floor.position, floor.time_ms, floor.running);
        told.then_some(gap)
    }

    /// Jumps over what a connection that lags too far may not have. `began` is the company's running number where it
    /// stands, should it not have been sent anything that says so. `None` where all of that is older than the time it asked
    /// from: it missed nothing.
    pub fn overflow(&mut self, to: Position, time_ms: u64, running: u64, began: Option<u64>) -> Option<Gap> {
        let place = Place { generation: to.generation, sequence: to.sequence, time_ms };
        let counted = self.running.or(began).filter(|_| self.time_ms >= self.since_ms);
        let missed = counted.map(|had| running.saturating_sub(had));
        let gap = Gap { from: self.last_id(), to: Some(place), missed, reason: GapReason::Overflow };
        let older = time_ms < self.since_ms;
        self.advance(to, time_ms, Some(running));
        if older {
            return None;
        }
        self.told();
        Some(gap)
    }

    /// Frames from the ring were written up to here.
    pub fn live(&mut self, last: Position, time_ms: u64, running: u64) {
        self.advance(last, time_ms, Some(running));
        self.told();
    }

    /// The id a control event may carry: the company's place, unless it lies below what this connection was sent. Told
    /// once, it is where the connection stands.
    pub fn tell_place(&mut self, place: Option<Place>) -> Option<Place> {
        let place = place.filter(|place| place.position() >= self.sent)?;
        // Also where it stands there already: the client comes back with this id from now on, time included.
        (self.sent, self.time_ms, self.asked) = (place.position(), place.time_ms, None);
        self.told();
        Some(place)
    }

    /// It has an id: what it came with no longer counts, nor the time it asked from.
    fn told(&mut self) {
        (self.untold, self.since_ms) = (None, 0);
    }

    fn advance(&mut self, to: Position, time_ms: u64, running: Option<u64>) {
        if to > self.sent {
            (self.sent, self.time_ms, self.running, self.asked) = (to, time_ms, running, None);
        }
    }

    fn last_id(&self) -> Option<String> {
        match &self.untold {
            None => Some(self.as_cursor().text),
            Some(Cursor::Id(id)) => Some(id.text.clone()),
            Some(Cursor::Earliest | Cursor::Since(_) | Cursor::Unreadable) => None,
        }
    }
}

/// Takes a client that comes back straight into the ring: it names an event that the ring holds, so that everything after
/// it is there, too. `floor` is the partition's. Where filters' state may have been lost above the event, only a page tells.
#[must_use]
pub fn rejoin(
    ring: &Ring,
    id: &IdCursor,
    generation: u16,
    floor: Option<Position>,
    rebuild: Option<Rebuild>,
) -> Option<(Reader, RingCursor)> {
    let position = id.position(generation);
    let whole = floor.is_none_or(|floor| floor <= position);
    let kept = rebuild.is_none_or(|rebuild| rebuild.until.position() <= position);
    let running = ring.holds(position, id.time_ms).filter(|_| whole && kept)?;
    Some((Reader::after(position, id, Some(running)), ring.join(position)))
}

/// What a client is told whose cursor nobody can place.
#[must_use]
pub fn unknown_cursor(from: Option<String>, to: Place) -> Gap {
    Gap { from, to: Some(to), missed: None, reason: GapReason::UnknownCursor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Page;
    use crate::entry::Entry;
    use crate::page::Reading;
    use crate::position::{CommitName, StoreId, Token};
    use bytes::Bytes;

    /// As read above `above`, before the ring was ever emptied.
    fn page_above(above: u64, page: Page) -> EncodedPage {
        EncodedPage::new(Position::whole(1, above), Reading { number: 1, under: 0 }, page)
    }

    fn page(sequences: std::ops::Range<u64>, full: bool, commit: u64, floor: Option<Floor>) -> EncodedPage {
        page_above(sequences.start - 1, plain(sequences, full, commit, floor))
    }

    fn plain(sequences: std::ops::Range<u64>, full: bool, commit: u64, floor: Option<Floor>) -> Page {
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

    fn count(frames: Option<&Frames>) -> u64 {
        frames.map_or(0, |frames| frames.count)
    }

    fn reader(text: &str) -> Reader {
        let cursor = cursor::parse_id(text).unwrap();
        Reader::after(cursor.position(1), &cursor, Some(3))
    }

    #[test]
    fn a_connection_goes_live_only_when_nothing_between_page_and_ring_is_missing() {
        let mut ring = Ring::new(5, 1 << 20);
        let mut reader = reader("s-3-30");
        assert_eq!(reader.page(&page(4..6, true, 9, None), &ring).next, Next::Read, "a full page");
        assert_eq!(reader.page(&page(6..7, false, 4, None), &ring).next, Next::Read, "older than the ring's start");
        assert_eq!(reader.page(&page(7..8, false, 5, None), &ring).next, Next::Live);
        assert_eq!(reader.replayed(), 4);
        ring.reset(3);
        assert_eq!(reader.page(&page(8..9, false, 9, None), &ring).next, Next::Read, "read under another incarnation");
    }

    #[test]
    fn who_names_an_event_of_the_ring_needs_no_page_unless_something_is_gone_above_it() {
        let mut ring = Ring::new(0, 1 << 20);
        ring.append(1, &plain(3..8, false, 1, None).entries);
        let id = |text| cursor::parse_id(text).unwrap();
        let (reader, at) = rejoin(&ring, &id("s-5-50"), 1, None, None).unwrap();
        assert_eq!((reader.sent(), reader.cursor()), (Position::new(1, 5, 1), Cursor::Id(id("s-5-50"))));
        assert_eq!(at, ring.join(Position::new(1, 5, 1)));
        for (text, generation) in
            [("s-5-51", 1), ("s-2-20", 1), ("s-9-90", 1), ("at-5-0000000000050", 1), ("s-5-50", 2)]
        {
            assert!(rejoin(&ring, &id(text), generation, None, None).is_none(), "{text} of {generation}");
        }
        assert!(
            rejoin(&ring, &id("s-5-50"), 1, Some(Position::whole(1, 6)), None).is_none(),
            "the source lost something"
        );
        let until = Place { generation: 1, sequence: 6, time_ms: 60 };
        let rebuild = Some(Rebuild { until, began_ms: 0 });
        assert!(rejoin(&ring, &id("s-5-50"), 1, None, rebuild).is_none(), "state may be lost up to 6");
        assert!(rejoin(&ring, &id("s-7-70"), 1, None, rebuild).is_some());
    }

    #[test]
    fn a_floor_above_is_told_once_with_the_count() {
        let ring = Ring::new(0, 1 << 20);
        let floor =
            Floor { position: Position::new(1, 6, 1), time_ms: 60, reason: GapReason::Trimmed, running: Some(6) };
        let mut reader = reader("s-3-30");
        let turn = reader.page(&page(7..9, false, 9, Some(floor)), &ring);
        let gap = turn.gap.unwrap();
        assert_eq!((gap.from.as_deref(), gap.missed), (Some("s-3-30"), Some(3)));
        assert_eq!(gap.to, Some(Place { generation: 1, sequence: 6, time_ms: 60 }));
        assert_eq!(count(turn.frames.as_ref()), 2);
        assert_eq!(reader.page(&page(9..9, false, 9, Some(floor)), &ring).gap, None);
        let mut earliest = Reader::earliest();
        assert_eq!(earliest.page(&page(7..9, false, 9, Some(floor)), &ring).gap, None, "earliest is never a gap");
    }

    #[test]
    fn what_goes_after_the_first_page_is_missed_by_earliest_too() {
        let ring = Ring::new(0, 1 << 20);
        let mut earliest = Reader::earliest();
        assert_eq!(earliest.page(&page(1..3, true, 9, None), &ring).gap, None);
        let floor =
            Floor { position: Position::new(1, 6, 1), time_ms: 60, reason: GapReason::Trimmed, running: Some(6) };
        let gap = earliest.page(&page(7..9, false, 9, Some(floor)), &ring).gap.unwrap();
        assert_eq!((gap.missed, gap.from.as_deref()), (Some(4), Some("at-2-0000000000020")));
        let mut nothing = Reader::earliest();
        let low = Floor { position: Position::new(1, 3, 1), running: Some(3), ..floor };
        assert_eq!(nothing.page(&page(4..4, true, 9, Some(low)), &ring).gap, None);
        let gap = nothing.page(&page(7..9, false, 9, Some(floor)), &ring).gap.unwrap();
        assert_eq!((gap.missed, gap.from), (Some(3), None), "it has no id yet");
    }

    #[test]
    fn from_a_time_on_older_entries_are_passed_over_and_their_floor_is_no_gap() {
        let ring = Ring::new(0, 1 << 20);
        let floor =
            Floor { position: Position::new(1, 1, 1), time_ms: 10, reason: GapReason::Trimmed, running: Some(1) };
        let mut since = Reader::since(Position::default(), 50);
        let turn = since.page(&page(2..5, true, 9, Some(floor)), &ring);
        assert_eq!((turn.gap, count(turn.frames.as_ref()), turn.next), (None, 0, Next::Read));
        assert_eq!(since.sent(), Position::new(1, 4, 1), "the next page lies above");
        assert_eq!(since.page(&page(5..7, false, 9, Some(floor)), &ring).frames.map(|frames| frames.count), Some(2));
    }

    #[test]
    fn what_is_lost_around_the_time_it_asked_from_is_not_counted() {
        let ring = Ring::new(0, 1 << 20);
        let mut since = Reader::since(Position::default(), 50);
        since.page(&page(2..5, true, 9, None), &ring);
        let floor =
            Floor { position: Position::new(1, 9, 1), time_ms: 90, reason: GapReason::Trimmed, running: Some(9) };
        let gap = since.page(&page(10..11, false, 9, Some(floor)), &ring).gap.unwrap();
        assert_eq!(gap.missed, None, "4 was before that time, 5 to 9 were not all");
    }

    #[test]
    fn until_it_was_told_an_id_a_client_comes_back_with_what_it_asked() {
        let ring = Ring::new(0, 1 << 20);
        let mut earliest = Reader::earliest();
        earliest.page(&page_above(0, plain(1..1, false, 9, None)), &ring);
        assert_eq!(earliest.cursor(), Cursor::Earliest);
        earliest.page(&page(1..3, false, 9, None), &ring);
        assert_eq!(earliest.cursor(), Cursor::Id(earliest.as_cursor()));
        let mut since = Reader::since(Position::default(), 50);
        since.page(&page(1..3, false, 9, None), &ring);
        assert_eq!(since.cursor(), Cursor::Since(50), "older ones are passed over in silence");
        since.live(Position::new(1, 6, 1), 60, 6);
        assert!(matches!(since.cursor(), Cursor::Id(id) if id.sequence == 6));
    }

    #[test]
    fn what_the_source_lost_before_the_time_that_was_asked_for_is_no_gap() {
        let floor = |time_ms, reason| Floor { position: Position::whole(1, 1), time_ms, reason, running: None };
        for (time_ms, reason, told) in
            [(49, GapReason::SourceLost, false), (50, GapReason::SourceLost, true), (49, GapReason::StoreLost, true)]
        {
            let mut since = Reader::since(Position::default(), 50);
            let turn = since.page(&page(2..7, false, 9, Some(floor(time_ms, reason))), &Ring::new(0, 1 << 20));
            assert_eq!(turn.gap.is_some(), told, "{reason:?} up to {time_ms}");
        }
    }

    #[test]
    fn a_jump_over_what_is_older_than_was_asked_for_is_no_gap() {
        let mut since = Reader::since(Position::default(), 50);
        assert_eq!(since.overflow(Position::new(1, 4, 1), 40, 4, None), None);
        assert_eq!((since.sent(), since.cursor()), (Position::new(1, 4, 1), Cursor::Since(50)));
        let gap = since.overflow(Position::new(1, 8, 1), 80, 8, None).unwrap();
        assert_eq!((gap.reason, gap.to.map(|to| to.sequence)), (GapReason::Overflow, Some(8)));
    }

    #[test]
    fn from_the_first_event_of_that_time_on_nothing_is_left_out() {
        let ring = Ring::new(0, 1 << 20);
        let mut since = Reader::since(Position::default(), 50);
        let mut stepped_back = plain(4..8, true, 9, None);
        stepped_back.entries[3].time_ms = 45;
        let turn = since.page(&page_above(3, stepped_back), &ring);
        assert_eq!(count(turn.frames.as_ref()), 3, "5, 6, and 7, whose clock went back");
        let mut future = Reader::since(Position::default(), 1_000_000);
        assert_eq!(future.page(&page(1..4, false, 9, None), &ring).next, Next::Live);
        future.live(Position::new(1, 4, 1), 40, 4);
        future.fall_back();
        let turn = future.page(&page(5..8, false, 9, None), &ring);
        assert_eq!(count(turn.frames.as_ref()), 3, "it was live: a time it once asked from leaves out nothing");
    }

    #[test]
    fn a_gap_of_an_unknown_cursor_ends_before_the_first_event_that_follows() {
        let ring = Ring::new(0, 1 << 20);
        let cursor = cursor::parse_id("s-9999-50").unwrap();
        let floor =
            Floor { position: Position::new(1, 1, 1), time_ms: 60, reason: GapReason::Trimmed, running: Some(1) };
        let mut unknown = Reader::unknown(Position::default(), &cursor);
        let turn = unknown.page(&page(2..5, true, 9, Some(floor)), &ring);
        assert_eq!((turn.gap, count(turn.frames.as_ref()), turn.next), (None, 0, Next::Read), "all of it is older");
        assert!(turn.moved);
        let turn = unknown.page(&page(5..7, false, 9, Some(floor)), &ring);
        let to = Place { generation: 1, sequence: 4, time_ms: 50 };
        assert_eq!(turn.gap, Some(unknown_cursor(Some("s-9999-50".to_owned()), to)));
        assert_eq!((count(turn.frames.as_ref()), turn.next), (2, Next::Live));
        let mut nothing = Reader::unknown(Position::default(), &cursor);
        let place = Place { generation: 1, sequence: 4, time_ms: 40 };
        let turn = nothing.page(&page_above(0, Page { place: Some(place), ..plain(2..5, false, 9, None) }), &ring);
        assert_eq!(turn.gap.and_then(|gap| gap.to), Some(place), "where it goes live");
    }

    #[test]
    fn what_an_overflow_cost_is_counted_also_for_who_was_sent_nothing() {
        let ring = Ring::new(0, 1 << 20);
        let mut ahead = reader("at-3-0000000000030");
        ahead.running = None;
        let place = Some(Place { generation: 1, sequence: 3, time_ms: 30 });
        let facts = Page { place, running: 7, ..plain(1..1, false, 9, None) };
        assert_eq!(ahead.page(&page_above(3, facts), &ring).next, Next::Live);
        assert_eq!(
            ahead.overflow(Position::new(1, 30, 1), 300, 27, None).unwrap().missed,
            Some(20),
            "its place was the seventh's"
        );
        let new = Reader::at(Place { generation: 1, sequence: 3, time_ms: 30 });
        let missed = |began| new.clone().overflow(Position::new(1, 30, 1), 300, 27, began).and_then(|gap| gap.missed);
        assert_eq!((missed(None), missed(Some(7))), (None, Some(20)));
    }

    #[test]
    fn a_large_page_is_taken_in_pieces_and_leads_on_only_at_its_end() {
        let ring = Ring::new(0, 1 << 20);
        let mut large = plain(4..8, false, 9, None);
        large.entries.iter_mut().for_each(|entry| entry.data = vec![b'x'; crate::limits::WRITE_BYTES].into());
        let large = page_above(3, large);
        let mut reader = reader("s-3-30");
        let turns: Vec<_> = (0..4).map(|_| reader.page(&large, &ring)).collect();
        assert!(turns.iter().all(|turn| turn.moved && count(turn.frames.as_ref()) == 1));
        assert_eq!(turns.iter().filter(|turn| turn.next == Next::Live).count(), 1);
        assert_eq!((turns[3].next, reader.replayed()), (Next::Live, 4));
    }

    fn beginning(time_ms: u64) -> Option<Floor> {
        Some(Floor { position: Position::whole(1, 0), time_ms, reason: GapReason::SourceLost, running: None })
    }

    #[test]
    fn a_generation_that_began_again_with_another_stream_is_told_and_read_from_its_start() {
        let ring = Ring::new(5, 1 << 20);
        let mut ahead = reader("s-3-30");
        let turn = ahead.page(&page(4..6, false, 9, beginning(1_000_000)), &ring);
        let gap = turn.gap.unwrap();
        assert_eq!((gap.from.as_deref(), gap.reason, gap.missed), (Some("s-3-30"), GapReason::SourceLost, None));
        assert_eq!(gap.to, Some(Place { generation: 1, sequence: 0, time_ms: 1_000_000 }));
        assert_eq!((count(turn.frames.as_ref()), turn.next), (0, Next::Read));
        assert_eq!(ahead.sent(), Position::whole(1, 0));
        let turn = ahead.page(&page(1..6, false, 9, beginning(1_000_000)), &ring);
        assert_eq!(
            (turn.gap, count(turn.frames.as_ref()), turn.next),
            (None, 5, Next::Live),
            "told once, whatever the times"
        );
        let gap = ahead.page(&page(6..7, false, 9, beginning(1_000_001)), &ring).gap.unwrap();
        assert_eq!(gap.from.as_deref(), Some("at-5-0000000000050"), "and once more for the next one");
    }

    #[test]
    fn an_id_of_the_generation_reads_on_under_its_beginning() {
        let ring = Ring::new(5, 1 << 20);
        let mut after = reader("s-3-30");
        let turn = after.page(&page(4..6, false, 9, beginning(20)), &ring);
        assert_eq!((turn.gap, count(turn.frames.as_ref())), (None, 2));
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
