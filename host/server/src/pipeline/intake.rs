//! Makes batches of what the reader hands over: up to 256 events, one millisecond, or a mebibyte.

use crate::source::Item;
use crate::source::feed::Items;
use std::time::Duration;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;
use tidegate_core::limits::{BATCH_BYTES, BATCH_EVENTS, BATCH_WAIT_MS};
use tokio::time::Instant;

/// What comes next in the order of the stream.
#[derive(Debug)]
pub enum Next {
    /// Events, one after the other.
    Events(Vec<SourceEvent>),
    /// A message that can't be an event, with the reason.
    Unreadable(SourceEvent, String),
    /// The source lost something here.
    Lost(Option<u64>),
    /// Nobody listened before this number.
    Unheard(u64),
    /// Messages were deleted one by one here.
    Deleted(u64),
    /// A consumer was made anew: compare the stream first.
    Attached(StreamFacts),
    /// The reader has ended.
    Ended,
}

/// Takes items from the reader's queue.
#[derive(Debug)]
pub struct Intake {
    items: Items,
    /// Taken already, but not of the batch before it.
    ahead: Option<Item>,
}

impl Intake {
    /// Reads from this queue.
    #[must_use]
    pub fn new(items: Items) -> Self {
        Self { items, ahead: None }
    }

    /// Does nothing wait that was received?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ahead.is_none() && self.items.is_empty()
    }

    /// Waits until something is there, or the reader has ended. Dropping it loses nothing.
    pub async fn ready(&mut self) {
        if self.ahead.is_none() {
            self.ahead = self.items.recv().await;
        }
    }

    /// Takes what [`Intake::ready`] waited for; a batch of events fills up to [`BATCH_WAIT_MS`]. To be awaited to its end.
    pub async fn take(&mut self) -> Next {
        match self.ahead.take() {
            None => Next::Ended,
            Some(Item::Event(event)) => Next::Events(self.fill(event).await),
            Some(Item::Lost(count)) => Next::Lost(count),
            Some(Item::Unheard(number)) => Next::Unheard(number),
            Some(Item::Deleted(count)) => Next::Deleted(count),
            Some(Item::Unreadable { event, reason }) => Next::Unreadable(event, reason),
            Some(Item::Attached(facts)) => Next::Attached(facts),
        }
    }

    async fn fill(&mut self, first: SourceEvent) -> Vec<SourceEvent> {
        let mut bytes = first.weight();
        let mut batch = vec![first];
        let until = Instant::now() + Duration::from_millis(BATCH_WAIT_MS);
        while batch.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
            let item = match self.items.try_recv() {
                Ok(item) => item,
                Err(_) => match tokio::time::timeout_at(until, self.items.recv()).await {
                    Ok(Some(item)) => item,
                    Ok(None) | Err(_) => break,
                },
            };
            match item {
                Item::Event(event) if bytes + event.weight() <= BATCH_BYTES => {
                    bytes += event.weight();
                    batch.push(event);
                }
                other => {
                    self.ahead = Some(other);
                    break;
                }
            }
        }
        batch
    }
}
