//! Makes batches of what the reader hands over: up to 256 events, one millisecond, or a mebibyte; more events under load.

use crate::source::Item;
use crate::source::feed::Items;
use std::collections::VecDeque;
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
    /// Taken from the queue already, but in no batch yet.
    ahead: VecDeque<Item>,
}

impl Intake {
    /// Reads from this queue.
    #[must_use]
    pub fn new(items: Items) -> Self {
        Self { items, ahead: VecDeque::new() }
    }

    /// Does nothing wait that was received?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.items.is_empty()
    }

    /// Waits until something is there, or the reader has ended. Dropping it loses nothing.
    pub async fn ready(&mut self) {
        if self.ahead.is_empty() && self.items.wait().await {
            self.items.take(BATCH_EVENTS, &mut self.ahead);
        }
    }

    /// Takes what [`Intake::ready`] waited for. A batch of events fills for up to [`BATCH_WAIT_MS`] to [`BATCH_EVENTS`], and
    /// to `most` with what waits already. To be awaited to its end.
    pub async fn take(&mut self, most: usize) -> Next {
        match self.ahead.pop_front() {
            None => Next::Ended,
            Some(Item::Event(event)) => Next::Events(self.fill(event, most).await),
            Some(Item::Lost(count)) => Next::Lost(count),
            Some(Item::Unheard(number)) => Next::Unheard(number),
            Some(Item::Deleted(count)) => Next::Deleted(count),
            Some(Item::Unreadable { event, reason }) => Next::Unreadable(event, reason),
            Some(Item::Attached(facts)) => Next::Attached(facts),
        }
    }

    async fn fill(&mut self, first: SourceEvent, most: usize) -> Vec<SourceEvent> {
        let mut bytes = first.weight();
        let mut batch = Vec::with_capacity(BATCH_EVENTS);
        batch.push(first);
        let until = Instant::now() + Duration::from_millis(BATCH_WAIT_MS);
        while batch.len() < most {
            // Beyond the usual size a batch takes small events only: what they become has to fit one commit.
            let usual = batch.len() < BATCH_EVENTS;
            let bytes_max = if usual { BATCH_BYTES } else { BATCH_BYTES / 2 };
            if self.ahead.is_empty() {
                self.items.take(most - batch.len(), &mut self.ahead);
            }
            if self.ahead.is_empty() {
                let more = usual && tokio::time::timeout_at(until, self.items.wait()).await.unwrap_or(false);
                if !more {
                    break;
                }
                continue;
            }
            let next = self
                .ahead
                .pop_front_if(|item| matches!(item, Item::Event(event) if bytes + event.weight() <= bytes_max));
            let Some(Item::Event(event)) = next else { break };
            bytes += event.weight();
            batch.push(event);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::feed::feed;
    use bytes::Bytes;
    use tidegate_core::limits::BATCH_EVENTS_LOADED;

    fn event(sequence: u64, bytes: usize) -> Item {
        let payload = Bytes::from(vec![0; bytes]);
        Item::Event(SourceEvent { sequence, time_ms: 0, subject: "s".into(), headers: Bytes::new(), payload })
    }

    /// Sequences of the next batch.
    async fn batch(intake: &mut Intake, most: usize) -> (u64, u64) {
        intake.ready().await;
        match intake.take(most).await {
            Next::Events(events) => (events[0].sequence, events[events.len() - 1].sequence),
            other => panic!("expected events, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_batch_takes_what_waits_up_to_its_bound_and_the_next_one_goes_on() {
        let (feed, items) = feed();
        feed.send_all((1..=1_500).map(|n| event(n, 10))).await.unwrap();
        let mut intake = Intake::new(items);
        assert_eq!(batch(&mut intake, BATCH_EVENTS).await, (1, 256));
        assert_eq!(batch(&mut intake, BATCH_EVENTS_LOADED).await, (257, 1_006));
        assert_eq!(batch(&mut intake, BATCH_EVENTS_LOADED).await, (1_007, 1_500));
        assert!(intake.is_empty());
        drop(feed);
        intake.ready().await;
        assert!(matches!(intake.take(BATCH_EVENTS).await, Next::Ended));
    }

    #[tokio::test]
    async fn a_batch_ends_before_what_is_no_event_and_before_too_many_bytes() {
        let (feed, items) = feed();
        let large = BATCH_BYTES / 400;
        let mut sent: Vec<Item> = (1..=2).map(|n| event(n, 10)).collect();
        sent.push(Item::Lost(Some(7)));
        sent.extend((3..=300).map(|n| event(n, large)));
        feed.send_all(sent).await.unwrap();
        let mut intake = Intake::new(items);
        assert_eq!(batch(&mut intake, BATCH_EVENTS_LOADED).await, (1, 2));
        intake.ready().await;
        assert!(matches!(intake.take(BATCH_EVENTS_LOADED).await, Next::Lost(Some(7))));
        assert_eq!(batch(&mut intake, BATCH_EVENTS_LOADED).await, (3, 258), "no more than usual of large ones");
        assert_eq!(batch(&mut intake, BATCH_EVENTS_LOADED).await, (259, 300));
    }
}
