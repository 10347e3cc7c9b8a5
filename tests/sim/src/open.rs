//! Opening a connection: evidence about the cursor is gathered, and the table of cursors places it.

use crate::env::Env;
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
    /// The place that `ready` carries.
    pub(crate) ready: Option<Place>,
}

/// `None` while the store holds nothing to place a cursor by.
pub(crate) fn open(env: &Env, company: &Company, cursor: Option<&Cursor>) -> Option<Opened> {
    let head = env.store.head();
    let place = env.store.place(company)?;
    let plain = |reader| Some(Opened { reader, gap: None, ready: None });
    match cursor {
        None => Some(Opened { reader: Reader::at(place), gap: None, ready: Some(place) }),
        Some(Cursor::Earliest) => plain(Reader::earliest()),
        Some(Cursor::Since(ms)) => plain(Reader::since(before(env, *ms), *ms)),
        Some(Cursor::Unreadable) => {
            let gap = Gap { from: None, to: Some(place), missed: None, reason: GapReason::UnknownCursor };
            Some(Opened { reader: Reader::at(place), gap: Some(gap), ready: None })
        }
        Some(Cursor::Id(id)) => {
            let evidence = evidence(env, company, id, head.generations, head.checkpoint);
            match cursor::place(id, &evidence) {
                Placed::After(position) | Placed::Ahead(position) => {
                    let running = env.store.entry(company, position).map(|entry| entry.running);
                    plain(Reader::after(position, id, running))
                }
                Placed::Unknown => {
                    let gap = Gap {
                        from: Some(id.text.clone()),
                        to: Some(place),
                        missed: None,
                        reason: GapReason::UnknownCursor,
                    };
                    Some(Opened { reader: Reader::at(place), gap: Some(gap), ready: None })
                }
            }
        }
    }
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
    let stream = env.source.now();
    let message = match id.sequence {
        0 => Some(id.time_ms == stream.created_ms),
        sequence => stream.held(sequence).map(|event| event.time_ms == id.time_ms),
    };
    let agrees = generations
        .iter()
        .map(|generation| {
            let entry = env.store.entry(company, id.position(generation.number)).map(|e| e.time_ms == id.time_ms);
            let marks = || {
                let (below, above) = env.store.marks_around(generation.number, id.sequence);
                cursor::agrees_with_marks(id.time_ms, below.map(|m| m.minute), above.map(|m| m.minute))
            };
            let source = || message.filter(|_| generation.created_ms == stream.created_ms);
            (generation.number, entry.or_else(marks).or_else(source))
        })
        .collect();
    let source = Some((stream.last(), message));
    Evidence { generations, checkpoint, agrees, exact: None, source, source_created_ms: Some(stream.created_ms) }
}
