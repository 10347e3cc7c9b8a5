//! Where a stream begins: gathers what is known about a client's cursor and places it.

use super::{Streams, pages};
use crate::hub::{End, Live};
use crate::store::StoreError;
use std::sync::Arc;
use tidegate_core::commit::Head;
use tidegate_core::cursor::{self, Cursor, Evidence, IdCursor, Placed};
use tidegate_core::event::Company;
use tidegate_core::generation::Generation;
use tidegate_core::pages::Need;
use tidegate_core::position::Position;
use tidegate_core::seam::{self, Gap, Reader};

/// Where a stream begins, and what has to be told before its first event.
#[derive(Debug)]
pub struct Opening {
    /// Reads on from here.
    pub reader: Reader,
    /// Told first.
    pub gap: Option<Gap>,
    /// The store has not reached the cursor yet.
    pub ahead: bool,
    /// Readings of pages up to this number began before the store was asked; 0 where what the live window knows was enough.
    pub placed: u64,
}

impl Opening {
    fn at(reader: Reader, placed: u64) -> Self {
        Self { reader, gap: None, ahead: false, placed }
    }
}

/// Places a cursor for a company.
///
/// # Errors
/// The store could not be asked.
pub async fn open(streams: &Arc<Streams>, live: &Arc<Live>, cursor: &Cursor) -> Result<Opening, StoreError> {
    match cursor {
        Cursor::Earliest => Ok(Opening::at(Reader::earliest(), 0)),
        Cursor::Since(since_ms) => {
            let before = before(streams, *since_ms).await?;
            Ok(Opening::at(Reader::since(before, *since_ms), live.readings_begun()))
        }
        Cursor::Unreadable => live_with_gap(streams, live, None),
        Cursor::Id(id) => by_id(streams, live, id).await,
    }
}

/// The last position that is surely older than this time.
async fn before(streams: &Streams, time_ms: u64) -> Result<Position, StoreError> {
    let mark = streams.store.mark_before(time_ms).await?;
    Ok(mark.map_or_else(Position::default, |mark| Position::whole(mark.generation, mark.sequence)))
}

async fn by_id(streams: &Arc<Streams>, live: &Arc<Live>, id: &IdCursor) -> Result<Opening, StoreError> {
    let Known { evidence, running, by_window } = gather(streams, live, id).await?;
    let placed_by = if by_window { 0 } else { live.readings_begun() };
    match cursor::place(id, &evidence) {
        Placed::After(position) => Ok(Opening::at(Reader::after(position, id, running), placed_by)),
        Placed::Ahead(position) => {
            Ok(Opening { ahead: true, ..Opening::at(Reader::after(position, id, None), placed_by) })
        }
        Placed::Unknown => {
            window_knows(streams).await?;
            unknown(streams, live, id).await
        }
    }
}

/// A cursor that nothing speaks for may be of a generation that this host has not heard of yet.
async fn window_knows(streams: &Streams) -> Result<(), StoreError> {
    let head = streams.store.head().await?;
    let now = (head.store, head.generation().map_or(0, |generation| generation.number));
    match streams.hub.end() {
        Some(end) if (end.window.store, end.window.generation) == now => Ok(()),
        _ => Err(away("the partition was not read yet")),
    }
}

/// Nobody knows the cursor: a gap, then from its time where that is within the retention, else live.
async fn unknown(streams: &Streams, live: &Live, id: &IdCursor) -> Result<Opening, StoreError> {
    let retained = cursor::is_retained(id.time_ms, streams.clock.now_ms(), streams.settings.retention_ms);
    if retained {
        let before = before(streams, id.time_ms).await?;
        // The company may stand below that: what waits in its backlog is older.
        if streams.hub.place(live.company()).is_some_and(|place| place.position() >= before) {
            return Ok(Opening::at(Reader::unknown(before, id), live.readings_begun()));
        }
    }
    live_with_gap(streams, live, Some(id.text.clone()))
}

fn live_with_gap(streams: &Streams, live: &Live, from: Option<String>) -> Result<Opening, StoreError> {
    let place = streams.hub.live_from(live.company()).ok_or_else(|| away("the partition was not read yet"))?;
    let gap = seam::unknown_cursor(from, place);
    Ok(Opening { gap: Some(gap), ..Opening::at(Reader::at(place), 0) })
}

fn away(what: &str) -> StoreError {
    StoreError::Away(what.to_owned())
}

/// What is known about a cursor.
struct Known {
    evidence: Evidence,
    /// The company's running number there.
    running: Option<u64>,
    /// Generations and checkpoint are those of the live window; else the store was asked.
    by_window: bool,
}

/// What speaks for or against a cursor, cheapest first: the company's own entry, the index of times, the source.
async fn gather(streams: &Arc<Streams>, live: &Arc<Live>, id: &IdCursor) -> Result<Known, StoreError> {
    let mut end = streams.hub.end().ok_or_else(|| away("the partition was not read yet"))?;
    let by_window = end.checkpoint.is_some_and(|place| place.sequence >= id.sequence);
    if !by_window {
        // The client may come from a host that is further than this one.
        let head = streams.store.head().await?;
        (end.generations, end.checkpoint, end.rebuild) = (head.generations, head.checkpoint, head.rebuild);
    }
    let Some(current) = end.generations.last().copied() else {
        // A store that was emptied knows no generation until its owner has begun to fill it again.
        return Err(away("the store is empty, and the source was not read yet"));
    };
    let mut running = at_the_beginning(&end, id);
    let mut evidence =
        Evidence { generations: end.generations.clone(), checkpoint: end.checkpoint, ..Evidence::default() };
    let placed = if by_window { 0 } else { live.readings_begun() };
    // Newest first: where the very entry is found, nothing else needs to be asked.
    for generation in end.generations.iter().rev() {
        let entry = match id.output {
            u32::MAX => None,
            _ if generation.number == current.number => {
                on_page(streams, live, id.position(current.number), placed).await?
            }
            _ => {
                let entry = streams.store.entry(live.company(), id.position(generation.number)).await?;
                entry.map(|entry| (entry.running, entry.time_ms))
            }
        };
        let agrees = match entry {
            Some((number, time_ms)) if time_ms == id.time_ms => {
                (running, evidence.exact) = (Some(number), Some(generation.number));
                Some(true)
            }
            Some(_) => Some(false),
            None => by_marks(streams, generation, id).await?,
        };
        evidence.agrees.push((generation.number, agrees));
        if evidence.exact.is_some() {
            break;
        }
    }
    cursor::hear_rebuild(id, &mut evidence, end.rebuild);
    if cursor::asks_source(id, &evidence) {
        if by_window {
            window_knows(streams).await?;
        }
        let above = end.checkpoint.is_none_or(|at| at.generation != current.number || at.sequence < id.sequence);
        ask_source(streams, id, &mut evidence).await;
        if above && evidence.source.is_none() && evidence.agrees.iter().all(|(_, agrees)| *agrees != Some(true)) {
            // It may just be ahead of a store that lags: called unknown, it would be told of a gap that is none.
            return Err(away("the cursor is above the checkpoint, and the source can't be asked"));
        }
        cursor::hear_source(&mut evidence);
    }
    Ok(Known { evidence, running, by_window })
}

/// Before the first event there ever was, a company had no entries; unless the cache was filled again since.
fn at_the_beginning(end: &End, id: &IdCursor) -> Option<u64> {
    let first = end.generations.first().is_some_and(|first| first.number == 1) && end.generations.len() == 1;
    let whole = end.rebuild.is_none_or(|rebuild| rebuild.until.sequence == 0);
    (id.sequence == 0 && first && whole).then_some(0)
}

/// Running number and time of the company's entry at a position, from the page that is read for it anyway.
async fn on_page(
    streams: &Arc<Streams>,
    live: &Arc<Live>,
    at: Position,
    placed: u64,
) -> Result<Option<(u64, u64)>, StoreError> {
    let above = Position { output: at.output.saturating_sub(1), ..at };
    let page = pages::page(streams, live, Need { above, placed, told: 0, begins: true }).await?;
    Ok(page.entry(at))
}

/// The generation that an id of a company is of, and whether anything speaks for that; `None` while there is none. Unlike
/// [`open`] it needs no live window, and asks for everything anew.
///
/// # Errors
/// The store could not be asked.
pub async fn generation_of(
    streams: &Streams,
    company: &Company,
    head: &Head,
    id: &IdCursor,
) -> Result<Option<(u16, bool)>, StoreError> {
    let mut evidence =
        Evidence { generations: head.generations.clone(), checkpoint: head.checkpoint, ..Evidence::default() };
    let Some(current) = head.generation() else { return Ok(None) };
    for generation in head.generations.iter().rev() {
        let entry = streams.store.entry(company, id.position(generation.number)).await?;
        let agrees = match entry {
            Some(entry) if entry.time_ms == id.time_ms => {
                evidence.exact = Some(generation.number);
                break;
            }
            Some(_) => Some(false),
            None => by_marks(streams, generation, id).await?,
        };
        evidence.agrees.push((generation.number, agrees));
    }
    if cursor::asks_source(id, &evidence) {
        ask_source(streams, id, &mut evidence).await;
        cursor::hear_source(&mut evidence);
    }
    Ok(Some(match cursor::place(id, &evidence) {
        Placed::After(position) | Placed::Ahead(position) => (position.generation, true),
        Placed::Unknown => (current.number, false),
    }))
}

/// What the source says of the cursor; nothing where it can't be asked, which below the checkpoint accepts the cursor.
async fn ask_source(streams: &Streams, id: &IdCursor, evidence: &mut Evidence) {
    let facts = streams.source.facts(id.sequence).await.ok();
    evidence.source_created_ms = facts.map(|facts| facts.created_ms);
    let message = facts.and_then(|facts| facts.checkpoint_ms).map(|ms| ms == id.time_ms);
    evidence.source = streams.source.last().await.ok().map(|(last, _)| (last, message));
}

async fn by_marks(streams: &Streams, generation: &Generation, id: &IdCursor) -> Result<Option<bool>, StoreError> {
    if id.sequence == 0 {
        return Ok(Some(id.time_ms.abs_diff(generation.created_ms) <= tidegate_core::limits::TIME_SLACK_MS));
    }
    let (below, above) = streams.store.marks_around(generation.number, id.sequence).await?;
    Ok(cursor::agrees_with_marks(id.time_ms, below.map(|mark| mark.minute), above.map(|mark| mark.minute)))
}
