//! Ids on the wire and the cursors that clients send back: how they are written, read, and placed.

use crate::generation::Generation;
use crate::limits::{ID_BYTES, ID_SUBJECT_BYTES, TIME_SLACK_MS};
use crate::position::{Place, Position, SEQUENCE_MAX};
use crate::rebuild::Rebuild;
use std::fmt::Write as _;

/// Writes the id of an output: `<subject>-<sequence>-<milliseconds>`, and `-<n>` for the n-th further one.
///
/// The subject part is cut to 64 bytes and never holds a `-`, so that an id splits from the right.
#[must_use]
pub fn event_id(subject: &str, position: Position, time_ms: u64) -> String {
    let mut id = String::with_capacity(subject.len() + 32);
    if subject == "at" {
        id.push('~');
    }
    for byte in subject.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        let length = if plain { 1 } else { 3 };
        if id.len() + length > ID_SUBJECT_BYTES {
            break;
        }
        if plain {
            id.push(char::from(byte));
        } else {
            write_number(&mut id, format_args!("~{byte:02X}"));
        }
    }
    write_number(&mut id, format_args!("-{}-{}", position.sequence, time_ms));
    if position.output > 1 {
        write_number(&mut id, format_args!("-{}", position.output - 1));
    }
    id
}

/// Writes a place id: `at-<sequence>-<13 digits of ms>`, everything up to here has been sent.
#[must_use]
pub fn place_id(place: Place) -> String {
    format!("at-{}-{:013}", place.sequence, place.time_ms)
}

fn write_number(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(text);
}

/// Where a client says that it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// After an output, or a place.
    Id(IdCursor),
    /// From the oldest that is there; never a gap.
    Earliest,
    /// From this time on, in milliseconds since 1970.
    Since(u64),
    /// Something that is no cursor; it is answered with a `gap`, not refused.
    Unreadable,
}

/// The readable parts of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdCursor {
    /// The id as it came, for `gap`.
    pub text: String,
    /// Sequence.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Output number as in [`Position`]; `u32::MAX` for a place.
    pub output: u32,
}

impl IdCursor {
    /// Is it the later position of two? Within a stream times go up with sequences, but for steps back below the slack:
    /// a higher sequence of a clearly older time is one of a stream that was there before.
    fn later_than(&self, other: &Self) -> bool {
        let rank = |id: &Self| (id.sequence, id.output, id.time_ms);
        let (high, low, own) = if rank(self) > rank(other) { (self, other, true) } else { (other, self, false) };
        let former = high.time_ms.saturating_add(TIME_SLACK_MS) < low.time_ms;
        own != former
    }

    /// Its position in this generation.
    #[must_use]
    pub fn position(&self, generation: u16) -> Position {
        Position::new(generation, self.sequence, self.output)
    }
}

/// Reads one id, from the right, since the subject part may be anything without `-`.
#[must_use]
pub fn parse_id(text: &str) -> Option<IdCursor> {
    if text.len() > ID_BYTES || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)) {
        return None;
    }
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str| -> Option<u64> {
        let digits = !part.is_empty() && part.len() <= 20 && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    };
    let (subject, sequence, time_ms, further) = match parts.as_slice() {
        [subject, sequence, ms] => (*subject, number(sequence)?, number(ms)?, None),
        [subject, sequence, ms, n] => (*subject, number(sequence)?, number(ms)?, Some(number(n)?)),
        _ => return None,
    };
    if subject.is_empty() || sequence > SEQUENCE_MAX {
        return None;
    }
    let output = match (subject, further) {
        ("at", None) => u32::MAX,
        ("at", Some(_)) | (_, Some(0)) => return None,
        (_, Some(n)) => u32::try_from(n).ok()?.checked_add(1).filter(|n| *n < u32::MAX)?,
        (_, None) => 1,
    };
    Some(IdCursor { text: text.to_owned(), sequence, time_ms, output })
}

/// Reads a cursor from a header or a query: an id, several ids of which the last counts, or `earliest`.
#[must_use]
pub fn parse(text: &str) -> Option<Cursor> {
    let last = text.rsplit(',').map(str::trim).find(|part| !part.is_empty());
    match last {
        None => None,
        Some("earliest") => Some(Cursor::Earliest),
        Some(id) => Some(parse_id(id).map_or(Cursor::Unreadable, Cursor::Id)),
    }
}

/// Which of several cursors counts: the later position of readable ones; a readable one beats an unreadable one.
#[must_use]
pub fn choose(cursors: impl IntoIterator<Item = Cursor>) -> Option<Cursor> {
    cursors.into_iter().reduce(|a, b| match (&a, &b) {
        (Cursor::Id(x), Cursor::Id(y)) => {
            if y.later_than(x) {
                b
            } else {
                a
            }
        }
        (Cursor::Id(_), _) | (_, Cursor::Unreadable) => a,
        (_, Cursor::Id(_)) | (Cursor::Unreadable, _) => b,
        (Cursor::Earliest | Cursor::Since(_), Cursor::Earliest | Cursor::Since(_)) => a,
    })
}

/// What is known about the place that a cursor names, gathered from the store and the source before it is placed.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The generations, oldest first.
    pub generations: Vec<Generation>,
    /// Everything up to here is stored.
    pub checkpoint: Option<Place>,
    /// For each generation: what speaks for or against the cursor's time.
    pub agrees: Vec<(u16, Option<bool>)>,
    /// The generation whose entry, or message in the source, has the cursor's very time. Where a source's clock went back,
    /// it is the only witness: times then lie outside all that is known of their surroundings.
    pub exact: Option<u16>,
    /// The source's last sequence, and whether its message at the cursor's sequence (if there still is one) has the
    /// cursor's time; asked only for a cursor above the checkpoint.
    pub source: Option<(u64, Option<bool>)>,
    /// When the source's stream was made, where it was asked. Another one than the present generation's: the store went
    /// back behind the making of that stream, and will begin its generation again.
    pub source_created_ms: Option<u64>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// After this position.
    After(Position),
    /// After this position, which the store has not reached: wait for it.
    Ahead(Position),
    /// Nobody knows: a `gap`, then from the cursor's time or from the head.
    Unknown,
}

/// Places a cursor by the table of the protocol.
#[must_use]
pub fn place(cursor: &IdCursor, evidence: &Evidence) -> Placed {
    let Some(current) = evidence.generations.last() else {
        return Placed::Unknown;
    };
    let checkpoint = evidence.checkpoint.filter(|at| at.generation == current.number).map_or(0, |at| at.sequence);
    let newer = evidence.source_created_ms.is_some_and(|created_ms| created_ms != current.created_ms);
    if newer
        && let (Some((last, Some(true))), Some(next)) = (evidence.source, current.number.checked_add(1))
        && cursor.sequence <= last
    {
        return Placed::Ahead(cursor.position(next));
    }
    if let Some(exact) = evidence.exact {
        let position = cursor.position(exact);
        return if exact == current.number && cursor.sequence > checkpoint {
            Placed::Ahead(position)
        } else {
            Placed::After(position)
        };
    }
    let verdict = |number: u16| evidence.agrees.iter().find(|(n, _)| *n == number).and_then(|(_, agrees)| *agrees);
    if cursor.sequence <= checkpoint {
        if verdict(current.number) != Some(false) && !older_than(current, cursor) {
            return Placed::After(cursor.position(current.number));
        }
    } else if let Some((last, agrees)) = evidence.source
        && !newer
        && (agrees == Some(true) || !older_than(current, cursor))
        && cursor.sequence <= last
        && agrees != Some(false)
    {
        return Placed::Ahead(cursor.position(current.number));
    }
    let older = evidence.generations.iter().rev().skip(1).find(|old| {
        cursor.sequence <= old.last_sequence
            // Of a life in which nothing came there is still the place before its first event.
            && within(cursor.time_ms, old.created_ms, old.last_ms.max(old.created_ms))
            && verdict(old.number) != Some(false)
    });
    match older {
        Some(old) => Placed::After(cursor.position(old.number)),
        None => Placed::Unknown,
    }
}

/// Must the source be asked, too? Above the checkpoint only it can know. And what the store alone would turn away may
/// stand there all the same: the index of times knows nothing of a clock that stepped back.
#[must_use]
pub fn asks_source(cursor: &IdCursor, evidence: &Evidence) -> bool {
    let Some(current) = evidence.generations.last() else { return false };
    let reached =
        evidence.checkpoint.is_some_and(|at| at.generation == current.number && cursor.sequence <= at.sequence);
    let undecided = evidence.agrees.iter().all(|(number, agrees)| *number != current.number || agrees.is_none());
    evidence.exact.is_none() && (!reached || undecided || place(cursor, evidence) == Placed::Unknown)
}

/// Takes in how the store's life began: a client without a cursor was told the place up to which the store is filled
/// again, and may come back with it before it is.
pub fn hear_rebuild(cursor: &IdCursor, evidence: &mut Evidence, rebuild: Option<Rebuild>) {
    if let Some(Rebuild { until, .. }) = rebuild
        && (until.sequence, until.time_ms) == (cursor.sequence, cursor.time_ms)
    {
        evidence.exact = evidence.exact.or(Some(until.generation));
    }
}

/// Takes in what the source says of its message, where it is of the present generation's stream.
pub fn hear_source(evidence: &mut Evidence) {
    let (Some(current), Some((_, message))) = (evidence.generations.last(), evidence.source) else { return };
    if evidence.source_created_ms != Some(current.created_ms) {
        return;
    }
    match message {
        Some(true) => evidence.exact = Some(current.number),
        Some(false) => {
            let of_current = evidence.agrees.iter_mut().find(|(number, _)| *number == current.number);
            of_current.into_iter().for_each(|(_, agrees)| *agrees = Some(false));
        }
        None => {}
    }
}

/// Nothing of a stream is older than the stream (the place before its first event carries its creation time), unless its
/// first or its newest event says that the clock went back since.
fn older_than(generation: &Generation, cursor: &IdCursor) -> bool {
    let first_ms = if generation.first_sequence > 0 { generation.first_ms } else { u64::MAX };
    let last_ms = if generation.last_sequence > 0 { generation.last_ms } else { u64::MAX };
    cursor.time_ms.saturating_add(TIME_SLACK_MS) < generation.created_ms.min(first_ms).min(last_ms)
}

fn within(time_ms: u64, from_ms: u64, to_ms: u64) -> bool {
    time_ms.saturating_add(TIME_SLACK_MS) >= from_ms && time_ms <= to_ms.saturating_add(TIME_SLACK_MS)
}

/// Lies the time of a cursor within the retention, so that reading on from it is as good as anybody can do? The source's
/// clock may be a little ahead of ours.
#[must_use]
pub fn is_retained(time_ms: u64, now_ms: u64, retention_ms: u64) -> bool {
    time_ms <= now_ms.saturating_add(TIME_SLACK_MS) && now_ms.saturating_sub(time_ms) <= retention_ms
}

/// Does a time agree with the marks around a sequence? `below`: minute of the last mark under it; `above`: minute of
/// the first mark at or over it. `None`: the index can't say. It holds the highest time so far: that a time lies below
/// its surroundings may mean that the source's clock went back.
#[must_use]
pub fn agrees_with_marks(time_ms: u64, below: Option<u64>, above: Option<u64>) -> Option<bool> {
    let low = below.map_or(0, |minute| minute.saturating_mul(60_000));
    let high = above?.saturating_add(1).saturating_mul(60_000);
    if time_ms.saturating_add(TIME_SLACK_MS) < low {
        return None;
    }
    Some(within(time_ms, low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> IdCursor {
        parse_id(text).unwrap()
    }

    #[test]
    fn the_place_up_to_which_a_store_is_filled_again_is_known_before_it_is() {
        let id = parse_id("at-74-0001000131483").unwrap();
        let generations = vec![Generation::new(1, 1_000_400_000)];
        let mut evidence = Evidence { generations, ..Evidence::default() };
        let until = Place { generation: 1, sequence: 74, time_ms: 1_000_131_483 };
        hear_rebuild(&id, &mut evidence, Some(Rebuild { until: Place { time_ms: 5, ..until }, began_ms: 0 }));
        assert_eq!(place(&id, &evidence), Placed::Unknown, "of another time");
        hear_rebuild(&id, &mut evidence, Some(Rebuild { until, began_ms: 0 }));
        assert_eq!(place(&id, &evidence), Placed::Ahead(Position::whole(1, 74)));
    }

    #[test]
    fn an_event_from_before_its_streams_making_is_known_by_its_very_time() {
        let generation = Generation { last_sequence: 9, last_ms: 9_000_000, ..Generation::new(1, 8_000_000) };
        let checkpoint = Some(Place { generation: 1, sequence: 9, time_ms: 4_400_000 });
        let mut evidence = Evidence { generations: vec![generation], checkpoint, ..Evidence::default() };
        evidence.agrees.push((1, Some(true)));
        let stepped_back = id("metrics.calculated-9-4400000");
        assert_eq!(place(&stepped_back, &evidence), Placed::Unknown, "of another stream, for all that is known");
        evidence.exact = Some(1);
        assert_eq!(place(&stepped_back, &evidence), Placed::After(stepped_back.position(1)));
    }

    #[test]
    fn a_place_from_before_its_streams_making_is_known_by_a_clock_that_is_seen_to_have_gone_back() {
        let place_id = id("at-5-0000004400005");
        let evidence = |generation: Generation| Evidence {
            generations: vec![generation],
            checkpoint: Some(Place { generation: 1, sequence: 9, time_ms: generation.last_ms }),
            agrees: vec![(1, None)],
            ..Evidence::default()
        };
        let plain = Generation {
            first_sequence: 1,
            first_ms: 8_000_001,
            last_sequence: 9,
            last_ms: 8_000_009,
            ..Generation::new(1, 8_000_000)
        };
        assert_eq!(place(&place_id, &evidence(plain)), Placed::Unknown, "of another stream, for all that is known");
        for behind in [Generation { first_ms: 4_400_001, ..plain }, Generation { last_ms: 4_400_009, ..plain }] {
            assert_eq!(place(&place_id, &evidence(behind)), Placed::After(place_id.position(1)));
        }
    }

    #[test]
    fn an_id_has_the_specified_form_and_splits_from_the_right() {
        let position = Position::new(1, 12_345, 1);
        assert_eq!(
            event_id("metrics.calculated", position, 1_699_999_999_999),
            "metrics.calculated-12345-1699999999999"
        );
        let further = event_id("metrics.q2q-7", Position::new(1, 12_345, 3), 1_699_999_999_999);
        assert_eq!(further, "metrics.q2q~2D7-12345-1699999999999-2");
        let read = id(&further);
        assert_eq!((read.sequence, read.time_ms, read.output), (12_345, 1_699_999_999_999, 3));
        assert_eq!(event_id("at", position, 5), "~at-12345-5");
        assert!(event_id(&"ä.".repeat(99), Position::new(1, SEQUENCE_MAX, u32::MAX - 1), u64::MAX).len() <= ID_BYTES);
    }

    #[test]
    fn a_place_id_says_everything_up_to_here() {
        let place = Place { generation: 1, sequence: 7, time_ms: 42 };
        assert_eq!(place_id(place), "at-7-0000000000042");
        assert_eq!(id("at-7-0000000000042").position(1), place.position());
    }

    #[test]
    fn what_is_no_id_is_unreadable_and_never_a_panic() {
        for wrong in [
            "x",
            "a-b-c",
            "-1-2",
            "a-1",
            "a-1-2-3-4",
            "a-1-2-0",
            "at-1-2-3",
            "a b-1-2",
            "ä-1-2",
            "a-99999999999999999999999-1",
            "a-281474976710656-1",
        ] {
            assert_eq!(parse(wrong), Some(Cursor::Unreadable), "{wrong}");
        }
        assert_eq!(parse(" "), None);
        assert_eq!(parse("a-1-2, b-3-4"), Some(Cursor::Id(id("b-3-4"))));
        assert_eq!(parse("earliest"), Some(Cursor::Earliest));
        assert_eq!((parse("m-1-2,"), parse(", ,")), (parse("m-1-2"), None), "an empty one says nothing");
    }

    #[test]
    fn the_later_readable_cursor_counts() {
        let (old, new) = (Cursor::Id(id("a-1-2")), Cursor::Id(id("a-3-4")));
        assert_eq!(choose([old.clone(), new.clone()]), Some(new.clone()));
        assert_eq!(choose([new.clone(), old]), Some(new.clone()));
        assert_eq!(choose([Cursor::Unreadable, new.clone()]), Some(new.clone()));
        assert_eq!(choose([new.clone(), Cursor::Unreadable]), Some(new));
        assert_eq!(choose([]), None);
    }

    #[test]
    fn a_higher_sequence_of_a_former_stream_is_not_the_later_position() {
        let (former, present) = (Cursor::Id(id("m-500-1000000")), Cursor::Id(id("m-20-9000000")));
        for cursors in [[former.clone(), present.clone()], [present.clone(), former]] {
            assert_eq!(choose(cursors), Some(present.clone()));
        }
        let stepped_back = Cursor::Id(id("m-21-8999000"));
        assert_eq!(
            choose([present, stepped_back.clone()]),
            Some(stepped_back),
            "a stream's times may step back a little"
        );
    }

    fn evidence(agrees: Option<bool>) -> Evidence {
        let mut old = Generation::new(1, 1_000_000);
        (old.last_sequence, old.last_ms) = (500, 2_000_000);
        Evidence {
            generations: vec![old, Generation::new(2, 9_000_000)],
            checkpoint: Some(Place { generation: 2, sequence: 100, time_ms: 9_500_000 }),
            agrees: vec![(2, agrees), (1, None)],
            exact: None,
            source: Some((110, None)),
            source_created_ms: None,
        }
    }

    #[test]
    fn a_cursor_is_placed_by_the_table() {
        let at = |text: &str, agrees| place(&id(text), &evidence(agrees));
        assert_eq!(at("m-50-9400000", Some(true)), Placed::After(Position::new(2, 50, 1)));
        assert_eq!(at("m-50-9400000", None), Placed::After(Position::new(2, 50, 1)));
        assert_eq!(at("m-50-9400000", Some(false)), Placed::Unknown, "the time does not agree");
        assert_eq!(at("m-105-9600000", None), Placed::Ahead(Position::new(2, 105, 1)), "the store lags");
        assert_eq!(at("m-300-1500000", Some(false)), Placed::After(Position::new(1, 300, 1)), "an older generation");
        assert_eq!(at("m-50-1500000", None), Placed::After(Position::new(1, 50, 1)), "older than the present stream");
        assert_eq!(at("m-9999-9600000", None), Placed::Unknown, "from the future");
        assert_eq!(at("m-50-5000", None), Placed::Unknown, "older than every stream that is known");
        assert_eq!(
            at("m-105-1500000", None),
            Placed::After(Position::new(1, 105, 1)),
            "ahead, but of the older stream"
        );
    }

    #[test]
    fn after_a_flush_an_id_of_a_former_stream_is_no_place_in_the_first_generation() {
        let evidence = Evidence {
            generations: vec![Generation::new(1, 9_000_000)],
            checkpoint: Some(Place { generation: 1, sequence: 100, time_ms: 9_500_000 }),
            ..Evidence::default()
        };
        assert_eq!(place(&id("at-27-0000001500000"), &evidence), Placed::Unknown);
        assert_eq!(place(&id("at-0-0000009000000"), &evidence), Placed::After(Position::whole(1, 0)));
    }

    #[test]
    fn an_id_of_a_stream_the_store_forgot_waits_for_the_next_generation() {
        let mut forgot = evidence(Some(false));
        (forgot.source, forgot.source_created_ms) = (Some((60, Some(true))), Some(20_000_000));
        assert_eq!(place(&id("m-50-20000400"), &forgot), Placed::Ahead(Position::new(3, 50, 1)));
        forgot.source = Some((160, Some(false)));
        assert_eq!(place(&id("m-150-9600000"), &forgot), Placed::Unknown, "not of that stream either");
    }

    #[test]
    fn what_is_found_time_and_all_needs_no_index_of_times() {
        let mut back = evidence(Some(false));
        assert!(asks_source(&id("m-50-5000"), &back), "the clock may have stepped back");
        back.exact = Some(2);
        assert_eq!(place(&id("m-50-5000"), &back), Placed::After(Position::new(2, 50, 1)));
        assert_eq!(place(&id("m-105-5000"), &back), Placed::Ahead(Position::new(2, 105, 1)));
        back.exact = Some(1);
        assert_eq!(place(&id("m-105-5000"), &back), Placed::After(Position::new(1, 105, 1)));
        assert!(!asks_source(&id("m-50-5000"), &back));
        assert!(!asks_source(&id("m-50-9400000"), &evidence(Some(true))), "the store's word is enough");
        assert!(asks_source(&id("m-50-9400000"), &evidence(None)));
        assert!(asks_source(&id("m-105-9600000"), &evidence(None)), "above the checkpoint");
    }

    #[test]
    fn the_source_speaks_of_its_own_stream_alone() {
        let mut heard = evidence(None);
        (heard.source, heard.source_created_ms) = (Some((110, Some(true))), Some(9_000_000));
        hear_source(&mut heard);
        assert_eq!(heard.exact, Some(2));
        let mut heard = evidence(None);
        (heard.source, heard.source_created_ms) = (Some((110, Some(true))), Some(20_000_000));
        hear_source(&mut heard);
        assert_eq!((heard.exact, heard.agrees[0].1), (None, None), "another stream");
        (heard.source, heard.source_created_ms) = (Some((110, Some(false))), Some(9_000_000));
        hear_source(&mut heard);
        assert_eq!(heard.agrees[0], (2, Some(false)));
    }

    #[test]
    fn of_a_life_without_events_its_first_place_is_known() {
        let evidence = Evidence {
            generations: vec![Generation::new(1, 1_000_000), Generation::new(2, 9_000_000)],
            checkpoint: Some(Place { generation: 2, sequence: 0, time_ms: 9_000_000 }),
            ..Evidence::default()
        };
        assert_eq!(place(&id("at-0-0000001000000"), &evidence), Placed::After(Position::whole(1, 0)));
    }

    #[test]
    fn a_time_a_little_ahead_of_our_clock_is_as_good_as_now() {
        assert!(is_retained(100, 100, 0) && is_retained(40, 100, 60) && is_retained(100 + TIME_SLACK_MS, 100, 0));
        assert!(!is_retained(39, 100, 60) && !is_retained(101 + TIME_SLACK_MS, 100, u64::MAX));
    }

    #[test]
    fn marks_speak_within_their_minute() {
        assert_eq!(agrees_with_marks(125_000, Some(1), Some(2)), Some(true));
        assert_eq!(agrees_with_marks(600_000, Some(1), Some(2)), Some(false));
        assert_eq!(agrees_with_marks(1, None, None), None);
        assert_eq!(agrees_with_marks(1, Some(100), Some(102)), None, "the clock may have gone back");
    }
}
