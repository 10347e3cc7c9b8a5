//! Opening a connection: evidence about the cursor is gathered, and the table of cursors places it.

use crate::env::Env;
use crate::host::{Host, RETENTION_MS};
use crate::mutant::Mutant;
use tidegate_core::cursor::{self, Cursor, Evidence, IdCursor, Placed};
use tidegate_core::event::Company;
use tidegate_core::gap::GapReason;
use tidegate_core::position::{Place, Position};
use tidegate_core::seam::{Gap, Reader};

/// Where a connection begins.
pub(crate) struct Opened {
    pub(crate) reader: Reader,
    /// Told first.
    pub(crate) gap: Option<Gap>,
}

/// `None` while the store holds nothing to place a cursor by.
pub(crate) fn open(env: &Env, host: &Host, company: &Company, cursor: &Cursor) -> Option<Opened> {
    let head = env.store.head();
    let place = env.store.place(company)?;
    let plain = |reader| Some(Opened { reader, gap: None });
    match cursor {
        Cursor::Earliest => plain(Reader::earliest()),
        Cursor::Since(ms) => plain(Reader::since(before(env, *ms), *ms)),
        Cursor::Unreadable => {
            let gap = Gap { from: None, to: Some(place), missed: None, reason: GapReason::UnknownCursor };
            Some(Opened { reader: Reader::at(place), gap: Some(gap) })
        }
        Cursor::Id(id) => {
            let evidence = evidence(env, company, id, head.generations, head.checkpoint);
            match cursor::place(id, &evidence) {
                Placed::Ahead(_) if env.mutant == Some(Mutant::AheadIsUnknown) => {
                    Some(unknown(env, host, company, id, place))
                }
                Placed::After(position) | Placed::Ahead(position) => {
                    let running = env.store.entry(company, position).map(|entry| entry.running);
                    plain(Reader::after(position, id, running))
                }
                Placed::Unknown => Some(unknown(env, host, company, id, place)),
            }
        }
    }
}

/// Nobody knows it: from its time where that lies within the retention, else from the head.
fn unknown(env: &Env, host: &Host, company: &Company, id: &IdCursor, head: Place) -> Opened {
    let now_ms = env.now.saturating_add_signed(host.clock);
    let recent = id.time_ms <= now_ms && now_ms - id.time_ms <= RETENTION_MS;
    let placed = recent.then(|| before(env, id.time_ms)).and_then(|before| {
        let page = env.store.page(company, before, 1, None);
        Reader::unplaced(before, id.time_ms, page.entries.first(), head)
    });
    let (reader, to) = placed.unwrap_or_else(|| (Reader::at(head), head));
    let gap = Gap { from: Some(id.text.clone()), to: Some(to), missed: None, reason: GapReason::UnknownCursor };
    Opened { reader, gap: Some(gap) }
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
    if cursor::asks_source(id, &evidence) {
        let stream = env.source.now();
        let message = stream.held(id.sequence).map(|event| event.time_ms == id.time_ms);
        evidence.source = Some((stream.last(), message));
        evidence.source_created_ms = Some(stream.created_ms);
        cursor::hear_source(&mut evidence);
    }
    evidence
}
