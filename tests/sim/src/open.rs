//! Opening a connection: evidence about the cursor is gathered, and the table of cursors places it.

use crate::env::Env;
use crate::host::{Host, RETENTION_MS};
use crate::mutant::Mutant;
use tidegate_core::cursor::{self, Cursor, Evidence, IdCursor, Placed};
use tidegate_core::event::Company;
use tidegate_core::gap::GapReason;
use tidegate_core::position::{Place, Position};
use tidegate_core::seam::{self, Gap, Reader};

/// Where a connection begins.
pub(crate) struct Opened {
    pub(crate) reader: Reader,
    /// Told first.
    pub(crate) gap: Option<Gap>,
    /// It stands by what the live window knows; else the store was asked.
    pub(crate) by_window: bool,
}

/// `None` while the store holds nothing to place a cursor by.
pub(crate) fn open(env: &Env, host: &Host, company: &Company, cursor: &Cursor) -> Option<Opened> {
    let head = env.store.head();
    let place = env.store.place(company)?;
    let plain = |reader| Some(Opened { reader, gap: None, by_window: false });
    match cursor {
        Cursor::Earliest => Some(Opened { by_window: true, ..plain(Reader::earliest())? }),
        Cursor::Since(ms) => plain(Reader::since(before(env, *ms), *ms)),
        Cursor::Unreadable => {
            let gap = Gap { from: None, to: Some(place), missed: None, reason: GapReason::UnknownCursor };
            Some(Opened { gap: Some(gap), ..plain(Reader::at(place))? })
        }
        Cursor::Id(id) => {
            // The client may come from a host that is further than this one.
            let hub = &host.hub;
            let by_window = hub.checkpoint.is_some_and(|place| place.sequence >= id.sequence);
            let (generations, checkpoint) = match by_window {
                true => (hub.generations.clone(), hub.checkpoint),
                false => (head.generations.clone(), head.checkpoint),
            };
            let mut evidence = evidence(env, company, id, generations, checkpoint);
            cursor::hear_rebuild(id, &mut evidence, if by_window { hub.rebuild } else { head.rebuild });
            if hub.generation() != head.generation().map(|generation| generation.number)
                && (by_window && cursor::asks_source(id, &evidence) || cursor::place(id, &evidence) == Placed::Unknown)
            {
                // It may be of a generation that this host has not heard of yet.
                return None;
            }
            let evidence =
                if cursor::asks_source(id, &evidence) { with_source(env, host, id, evidence) } else { evidence };
            match cursor::place(id, &evidence) {
                Placed::Ahead(_) if env.mutant == Some(Mutant::AheadIsUnknown) => Some(unknown(env, host, id, place)),
                Placed::After(position) | Placed::Ahead(position) => {
                    let running = env.store.entry(company, position).map(|entry| entry.running);
                    Some(Opened { by_window, ..plain(Reader::after(position, id, running))? })
                }
                Placed::Unknown => Some(unknown(env, host, id, place)),
            }
        }
    }
}

/// Nobody knows it: from its time where that lies within the retention, else from the head.
fn unknown(env: &Env, host: &Host, id: &IdCursor, head: Place) -> Opened {
    let now_ms = env.now.saturating_add_signed(host.clock);
    let recent = id.time_ms <= now_ms && now_ms - id.time_ms <= RETENTION_MS;
    let before = recent.then(|| before(env, id.time_ms)).filter(|before| head.position() >= *before);
    if let Some(before) = before {
        return Opened { reader: Reader::unknown(before, id), gap: None, by_window: false };
    }
    let gap = seam::unknown_cursor(Some(id.text.clone()), head);
    Opened { reader: Reader::at(head), gap: Some(gap), by_window: false }
}

fn before(env: &Env, ms: u64) -> Position {
    env.store.mark_before(ms).map_or_else(Position::default, |mark| Position::whole(mark.generation, mark.sequence))
}

fn evidence(
    env: &Env,
    company: &Company,
    id: &IdCursor,
    generations: Vec<tidegate_core::generation::Generation>,
    checkpoint: Option<Place>,
) -> Evidence {
    let mut evidence = Evidence { generations, checkpoint, ..Evidence::default() };
    for generation in evidence.generations.clone() {
        let entry = env.store.entry(company, id.position(generation.number)).map(|e| e.time_ms == id.time_ms);
        if entry == Some(true) {
            evidence.exact = Some(generation.number);
        }
        let marks = || {
            if id.sequence == 0 {
                return Some(id.time_ms == generation.created_ms);
            }
            let (below, above) = env.store.marks_around(generation.number, id.sequence);
            cursor::agrees_with_marks(id.time_ms, below.map(|m| m.minute), above.map(|m| m.minute))
        };
        evidence.agrees.push((generation.number, entry.or_else(marks)));
    }
    evidence
}

fn with_source(env: &Env, host: &Host, id: &IdCursor, mut evidence: Evidence) -> Evidence {
    let facts = host.facts(env, id.sequence);
    let last = if env.source.wire.is_some() { host.numbering.number() } else { facts.last_sequence };
    evidence.source = Some((last, facts.checkpoint_ms.map(|time_ms| time_ms == id.time_ms)));
    evidence.source_created_ms = Some(facts.created_ms);
    cursor::hear_source(&mut evidence);
    evidence
}
