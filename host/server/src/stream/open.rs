//! Where a stream begins: gathers what is known about a client's cursor and places it.

use super::Streams;
use crate::store::StoreError;
use tidegate_core::cursor::{self, Cursor, Evidence, IdCursor, Placed};
use tidegate_core::event::Company;
use tidegate_core::gap::GapReason;
use tidegate_core::generation::Generation;
use tidegate_core::position::Position;
use tidegate_core::seam::{Gap, Reader};

/// Where a stream begins, and what has to be told before its first event.
#[derive(Debug)]
pub struct Opening {
    /// Reads on from here.
    pub reader: Reader,
    /// Told first.
    pub gap: Option<Gap>,
    /// The store has not reached the cursor yet.
    pub ahead: bool,
}

/// Places a cursor for a company.
///
/// # Errors
/// The store could not be asked.
pub async fn open(streams: &Streams, company: &Company, cursor: &Cursor) -> Result<Opening, StoreError> {
    match cursor {
        Cursor::Earliest => Ok(Opening { reader: Reader::earliest(), gap: None, ahead: false }),
        Cursor::Since(since_ms) => since(streams, *since_ms).await,
        Cursor::Unreadable => unknown(streams, company, None).await,
        Cursor::Id(id) => by_id(streams, company, id).await,
    }
}

async fn since(streams: &Streams, since_ms: u64) -> Result<Opening, StoreError> {
    let before = before(streams, since_ms).await?;
    Ok(Opening { reader: Reader::since(before, since_ms), gap: None, ahead: false })
}

/// The last position that is surely older than a time.
async fn before(streams: &Streams, since_ms: u64) -> Result<Position, StoreError> {
    let mark = streams.store.mark_before(since_ms).await?;
    Ok(mark.map_or_else(Position::default, |mark| Position::whole(mark.generation, mark.sequence)))
}

async fn by_id(streams: &Streams, company: &Company, id: &IdCursor) -> Result<Opening, StoreError> {
    let (evidence, running) = gather(streams, company, id).await?;
    Ok(match cursor::place(id, &evidence) {
        Placed::After(position) => Opening { reader: Reader::after(position, id, running), gap: None, ahead: false },
        Placed::Ahead(position) => Opening { reader: Reader::after(position, id, None), gap: None, ahead: true },
        Placed::Unknown => {
            let head = streams.store.head().await?;
            let now = (head.store, head.generation().map_or(0, |generation| generation.number));
            if streams.hub.end().is_none_or(|end| (end.window.store, end.window.generation) != now) {
                // It may be of a generation that this host has not heard of yet.
                return Err(StoreError::Away("the partition was not read yet".into()));
            }
            unknown(streams, company, Some(id)).await?
        }
    })
}

/// Nobody knows the cursor: a gap, then from its time where that is readable and within the retention, else from the head.
async fn unknown(streams: &Streams, company: &Company, id: Option<&IdCursor>) -> Result<Opening, StoreError> {
    let now_ms = streams.clock.now_ms();
    let within = |ms: &u64| *ms <= now_ms && now_ms - ms <= streams.settings.retention_ms;
    let from = id.map(|id| id.text.clone());
    let mut head = streams.hub.place(company);
    let mut placed = None;
    if let Some(since_ms) = id.map(|id| id.time_ms).filter(within) {
        let before = before(streams, since_ms).await?;
        let page = streams.store.page(company, before, 1).await?;
        head = page.place;
        placed = head.and_then(|head| Reader::unplaced(before, since_ms, page.entries.first(), head));
    }
    let (reader, to) = match placed {
        Some((reader, to)) => (reader, Some(to)),
        None => (head.map_or_else(Reader::earliest, Reader::at), head),
    };
    let gap = Gap { from, to, missed: None, reason: GapReason::UnknownCursor };
    Ok(Opening { reader, gap: Some(gap), ahead: false })
}

/// What speaks for or against a cursor, cheapest first: the company's own entry, the index of times, the source.
async fn gather(streams: &Streams, company: &Company, id: &IdCursor) -> Result<(Evidence, Option<u64>), StoreError> {
    let Some(mut end) = streams.hub.end() else {
        return Err(StoreError::Away("the partition was not read yet".into()));
    };
    if end.checkpoint.is_none_or(|place| place.sequence < id.sequence) {
        // The client may come from a host that is further than this one.
        let head = streams.store.head().await?;
        (end.generations, end.checkpoint) = (head.generations, head.checkpoint);
    }
    if end.generations.is_empty() {
        // A store that was emptied knows no generation until its owner has begun to fill it again.
        return Err(StoreError::Away("the store is empty, and the source was not read yet".into()));
    }
    let mut evidence =
        Evidence { generations: end.generations.clone(), checkpoint: end.checkpoint, ..Evidence::default() };
    let mut running = None;
    for generation in &end.generations {
        let agrees = if id.output != u32::MAX
            && let Some(entry) = streams.store.entry(company, id.position(generation.number)).await?
        {
            if entry.time_ms == id.time_ms {
                running = Some(entry.running);
                evidence.exact = Some(generation.number);
            }
            Some(entry.time_ms == id.time_ms)
        } else {
            by_marks(streams, generation, id).await?
        };
        evidence.agrees.push((generation.number, agrees));
    }
    let current = end.generations.last().map_or(0, |generation| generation.number);
    let above = end.checkpoint.is_none_or(|place| place.generation != current || place.sequence < id.sequence);
    if cursor::asks_source(id, &evidence) {
        // Below the checkpoint a source that can't answer leaves the question open, which accepts the cursor.
        let facts = streams.source.facts(id.sequence).await.ok();
        let message = facts.and_then(|facts| facts.checkpoint_ms).map(|ms| ms == id.time_ms);
        evidence.source_created_ms = facts.map(|facts| facts.created_ms);
        evidence.source = match streams.source.last().await {
            Ok((last, _)) => Some((last, message)),
            // It may just be ahead of a store that lags: called unknown, it would be told of a gap that is none.
            Err(error) if above && evidence.agrees.iter().all(|(_, agrees)| *agrees != Some(true)) => {
                return Err(StoreError::Away(format!("the cursor is above the checkpoint, and {error}")));
            }
            Err(_) => None,
        };
        cursor::hear_source(&mut evidence);
    }
    Ok((evidence, running))
}

async fn by_marks(streams: &Streams, generation: &Generation, id: &IdCursor) -> Result<Option<bool>, StoreError> {
    if id.sequence == 0 {
        return Ok(Some(id.time_ms.abs_diff(generation.created_ms) <= tidegate_core::limits::TIME_SLACK_MS));
    }
    let (below, above) = streams.store.marks_around(generation.number, id.sequence).await?;
    Ok(cursor::agrees_with_marks(id.time_ms, below.map(|mark| mark.minute), above.map(|mark| mark.minute)))
}
