//! The queue between a source's reader and the intake: bounded in items and in bytes.
//!
//! Both ends take and give many items under one lock: at full load an item costs far less than a channel's would.

use super::Item;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_core::limits::{FEED_BYTES, FEED_ITEMS};
use tokio::sync::Notify;

/// The intake is gone: nobody reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// The reader's end. There is one.
#[derive(Debug)]
pub struct Feed(Arc<Shared>);

/// The intake's end. There is one.
#[derive(Debug)]
pub struct Items(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: Mutex<Held>,
    /// Something was added that the intake waits for, or the reader has ended.
    filled: Notify,
    /// There is room that the reader waits for, or the intake is gone.
    freed: Notify,
    /// The intake is gone.
    left: Notify,
}

#[derive(Debug)]
struct Held {
    waiting: VecDeque<(Item, usize)>,
    bytes: usize,
    items_max: usize,
    /// The reader waits for room.
    is_full: bool,
    /// The intake waits for items.
    is_wanted: bool,
    reader_gone: bool,
    intake_gone: bool,
}

impl Held {
    /// One that is larger than all the room waits for all of it; one that weighs nothing needs none.
    fn has_room(&self, weight: usize) -> bool {
        let fits = weight == 0 || self.bytes == 0 || self.bytes + weight <= FEED_BYTES;
        fits && self.waiting.len() < self.items_max
    }

    fn take(&mut self) -> Option<Item> {
        let (item, weight) = self.waiting.pop_front()?;
        self.bytes -= weight;
        Some(item)
    }

    /// Should the reader be told of room? Not before half of it is free: it then adds many at once.
    fn tells_of_room(&mut self) -> bool {
        let half = self.waiting.len() <= self.items_max / 2 && self.bytes <= FEED_BYTES / 2;
        half && std::mem::take(&mut self.is_full)
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty queue.
#[must_use]
pub fn feed() -> (Feed, Items) {
    feed_of(FEED_ITEMS)
}

/// An empty queue for at most so many items.
#[must_use]
pub(super) fn feed_of(items_max: usize) -> (Feed, Items) {
    let held = Held {
        waiting: VecDeque::new(),
        bytes: 0,
        items_max,
        is_full: false,
        is_wanted: false,
        reader_gone: false,
        intake_gone: false,
    };
    let (filled, freed, left) = (Notify::new(), Notify::new(), Notify::new());
    let shared = Arc::new(Shared { held: Mutex::new(held), filled, freed, left });
    (Feed(Arc::clone(&shared)), Items(shared))
}

impl Feed {
    /// Hands an item on; waits while the queue is full.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub async fn send(&self, item: Item) -> Result<(), Closed> {
        self.send_all([item]).await
    }

    /// Hands items on in their order; waits while the queue is full.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone: nobody reads what was handed on.
    pub async fn send_all(&self, items: impl IntoIterator<Item = Item, IntoIter: Send> + Send) -> Result<(), Closed> {
        let mut items = items.into_iter().peekable();
        loop {
            {
                let mut held = self.0.held();
                if held.intake_gone {
                    return Err(Closed);
                }
                while let Some((item, weight)) = items.next_if(|item| held.has_room(weight(item))).map(weighed) {
                    held.bytes += weight;
                    held.waiting.push_back((item, weight));
                }
                if !held.waiting.is_empty() && std::mem::take(&mut held.is_wanted) {
                    self.0.filled.notify_one();
                }
                if items.peek().is_none() {
                    return Ok(());
                }
                held.is_full = true;
            }
            self.0.freed.notified().await;
        }
    }

    /// Ends when the intake is gone.
    pub async fn closed(&self) {
        while !self.0.held().intake_gone {
            self.0.left.notified().await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.held().reader_gone = true;
        self.0.filled.notify_one();
    }
}

impl Items {
    /// The next item; `None` when the reader has ended. Dropping it loses nothing.
    pub async fn recv(&mut self) -> Option<Item> {
        while self.wait().await {
            if let Some(item) = self.try_recv() {
                return Some(item);
            }
        }
        None
    }

    /// Waits until something is there; `false` when the reader has ended and nothing will be.
    pub async fn wait(&mut self) -> bool {
        loop {
            {
                let mut held = self.0.held();
                if !held.waiting.is_empty() {
                    return true;
                }
                if held.reader_gone {
                    return false;
                }
                held.is_wanted = true;
            }
            self.0.filled.notified().await;
        }
    }

    /// An item that waits already.
    pub fn try_recv(&mut self) -> Option<Item> {
        let mut held = self.0.held();
        let item = held.take();
        if held.tells_of_room() {
            self.0.freed.notify_one();
        }
        item
    }

    /// Takes what waits already, up to so many items.
    pub fn take(&mut self, most: usize, to: &mut VecDeque<Item>) {
        let mut held = self.0.held();
        let count = held.waiting.len().min(most);
        to.extend((0..count).filter_map(|_| held.take()));
        if held.tells_of_room() {
            self.0.freed.notify_one();
        }
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.held().waiting.is_empty()
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        let mut held = self.0.held();
        held.intake_gone = true;
        held.waiting.clear();
        held.bytes = 0;
        drop(held);
        self.0.freed.notify_one();
        self.0.left.notify_one();
    }
}

fn weighed(item: Item) -> (Item, usize) {
    let weight = weight(&item);
    (item, weight)
}

fn weight(item: &Item) -> usize {
    match item {
        Item::Event(event) | Item::Unreadable { event, .. } => event.weight(),
        Item::Lost(_) | Item::Unheard(_) | Item::Deleted(_) | Item::Attached(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use tidegate_core::event::SourceEvent;

    fn numbered(sequence: u64, bytes: usize) -> Item {
        let payload = Bytes::from(vec![0; bytes]);
        Item::Event(SourceEvent { sequence, time_ms: 0, subject: "s".into(), headers: Bytes::new(), payload })
    }

    fn event(bytes: usize) -> Item {
        numbered(1, bytes)
    }

    #[tokio::test]
    async fn a_queue_of_large_events_is_full_by_bytes() {
        let (feed, mut items) = feed();
        let half = FEED_BYTES / 2;
        feed.send(event(half)).await.unwrap();
        assert!(feed.send(event(half)).now_or_never().is_none(), "with its head it passes the bound");
        assert!(feed.send(Item::Lost(None)).now_or_never().is_some(), "what weighs nothing is let in");
        assert!(items.recv().await.is_some());
        assert!(feed.send(event(half)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_event_larger_than_all_room_passes_alone() {
        let (feed, mut items) = feed();
        feed.send(event(FEED_BYTES * 2)).await.unwrap();
        assert!(feed.send(event(1)).now_or_never().is_none());
        assert!(items.try_recv().is_some() && items.is_empty());
        feed.send(event(1)).await.unwrap();
        drop(items);
        assert_eq!(feed.send(event(1)).await, Err(Closed));
        feed.closed().await;
    }

    #[tokio::test]
    async fn all_items_come_in_order_through_any_bound_however_they_are_taken() {
        for most in [1, 2, 7, 64] {
            let (feed, mut items) = feed_of(most);
            let sending = async move {
                for chunk in (1..=1_000).collect::<Vec<u64>>().chunks(33) {
                    feed.send_all(chunk.iter().map(|n| numbered(*n, 10))).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let taking = async move {
                let (mut taken, mut next) = (VecDeque::new(), 1);
                while items.wait().await {
                    if next % 3 == 0 {
                        taken.extend(items.recv().await);
                    } else {
                        items.take(5, &mut taken);
                    }
                    assert!(!taken.is_empty());
                    for item in taken.drain(..) {
                        assert!(matches!(item, Item::Event(event) if event.sequence == next));
                        next += 1;
                    }
                }
                assert_eq!(next, 1_001, "through a bound of {most}");
            };
            tokio::join!(sending, taking);
        }
    }

    #[tokio::test]
    async fn a_reader_that_waits_for_room_hears_that_nobody_reads_on() {
        let (feed, items) = feed_of(1);
        feed.send(event(1)).await.unwrap();
        let mut waiting = Box::pin(feed.send(event(1)));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(items);
        assert_eq!(waiting.await, Err(Closed));
    }
}
