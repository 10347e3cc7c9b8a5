//! Makes batches of what the reader hands over: up to 256 events, one millisecond, or a mebibyte; more events under
//! load, and fewer where nothing else is to be done.

use crate::source::Item;
use crate::source::feed::Items;
use std::collections::VecDeque;
use std::time::Duration;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;
use tidegate_core::limits::{BATCH_BYTES, BATCH_EVENTS, BATCH_EVENTS_IDLE, BATCH_WAIT_MS};
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
    /// When the first of those was.
    since: Instant,
}

impl Intake {
    /// Reads from this queue.
    #[must_use]
    pub fn new(items: Items) -> Self {
        Self { items, ahead: VecDeque::new(), since: Instant::now() }
    }

    /// Does nothing wait that was received?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.items.is_empty()
    }

    /// Waits until there is a batch, or something else than an event, or the reader has ended. A batch of events fills for up
    /// to [`BATCH_WAIT_MS`] to [`BATCH_EVENTS`]; where nothing is on its way to the store, [`BATCH_EVENTS_IDLE`] are enough:
    /// nobody gains by waiting. Dropping it loses nothing.
    pub async fn ready(&mut self, idle: bool) {
        if self.ahead.is_empty() {
            if !self.items.wait().await {
                return;
            }
            self.since = Instant::now();
            self.items.take(BATCH_EVENTS, &mut self.ahead);
        }
        let until = self.since + Duration::from_millis(BATCH_WAIT_MS);
        while !self.is_enough(if idle { BATCH_EVENTS_IDLE } else { BATCH_EVENTS })
            && tokio::time::timeout_at(until, self.items.wait()).await.unwrap_or(false)
        {
            self.items.take(BATCH_EVENTS - self.ahead.len(), &mut self.ahead);
        }
    }

    /// Can no more join the batch, or need not?
    fn is_enough(&self, events: usize) -> bool {
        let mut bytes = 0;
        self.ahead.len() >= events
            || self.ahead.iter().any(|item| match item {
                Item::Event(event) => {
                    bytes += event.weight();
                    bytes >= BATCH_BYTES
                }
                _ => true,
            })
    }

    /// Takes what [`Intake::ready`] waited for, and of events that wait already up to `most`.
    pub fn take(&mut self, most: usize) -> Next {
        match self.ahead.pop_front() {
            None => Next::Ended,
            Some(Item::Event(event)) => Next::Events(self.fill(event, most)),
            Some(Item::Lost(count)) => Next::Lost(count),
            Some(Item::Unheard(number)) => Next::Unheard(number),
            Some(Item::Deleted(count)) => Next::Deleted(count),
            Some(Item::Unreadable { event, reason }) => Next::Unreadable(event, reason),
            Some(Item::Attached(facts)) => Next::Attached(facts),
        }
    }

    fn fill(&mut self, first: SourceEvent, most: usize) -> Vec<SourceEvent> {
        let mut bytes = first.weight();
        let mut batch = Vec::with_capacity(BATCH_EVENTS);
        batch.push(first);
        while batch.len() < most {
            // Beyond the usual size a batch takes small events only: what they become has to fit one commit.
            let bytes_max = if batch.len() < BATCH_EVENTS { BATCH_BYTES } else { BATCH_BYTES / 2 };
            if self.ahead.is_empty() {
                self.items.take(most - batch.len(), &mut self.ahead);
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
        intake.ready(false).await;
        match intake.take(most) {
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
        intake.ready(false).await;
        assert!(matches!(intake.take(BATCH_EVENTS), Next::Ended));
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
        intake.ready(false).await;
        assert!(matches!(intake.take(BATCH_EVENTS_LOADED), Next::Lost(Some(7))));
        assert_eq!(batch(&mut intake, BATCH_EVENTS_LOADED).await, (3, 258), "no more than usual of large ones");
        assert_eq!(batch(&mut intake, BATCH_EVENTS_LOADED).await, (259, 300));
    }
    #[tokio::test(start_paused = true)]
    async fn a_batch_fills_for_a_moment_unless_enough_is_there_and_the_store_has_nothing_to_do() {
        let (feed, items) = feed();
        let mut intake = Intake::new(items);
        let enough = BATCH_EVENTS_IDLE as u64;
        for (events, idle, waits) in [(1, true, true), (enough, true, false), (enough, false, true)] {
            feed.send_all((1..=events).map(|n| event(n, 10))).await.unwrap();
            let began = Instant::now();
            intake.ready(idle).await;
            assert_eq!(began.elapsed() >= Duration::from_millis(BATCH_WAIT_MS), waits, "{events} events, idle: {idle}");
            assert!(matches!(intake.take(BATCH_EVENTS), Next::Events(batch) if batch.len() as u64 == events));
        }
        // What was waited for counts, too, when it is asked again.
        feed.send_all((1..=enough).map(|n| event(n, 10))).await.unwrap();
        assert!(futures_util::poll!(Box::pin(intake.ready(false))).is_pending());
        assert!(futures_util::poll!(Box::pin(intake.ready(true))).is_ready());
    }
}
