//! The queue between a source's reader and the intake: bounded in items and in bytes.

use super::Item;
use std::sync::Arc;
use tidegate_core::limits::{FEED_BYTES, FEED_ITEMS};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Semaphore, mpsc};

/// The intake is gone: nobody reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// The reader's end.
#[derive(Debug)]
pub struct Feed {
    to: mpsc::Sender<(Item, u32)>,
    room: Arc<Semaphore>,
}

/// The intake's end.
#[derive(Debug)]
pub struct Items {
    from: mpsc::Receiver<(Item, u32)>,
    room: Arc<Semaphore>,
}

/// An empty queue.
#[must_use]
pub fn feed() -> (Feed, Items) {
    feed_of(FEED_ITEMS)
}

/// An empty queue for at most so many items.
#[must_use]
pub(super) fn feed_of(items: usize) -> (Feed, Items) {
    let (to, from) = mpsc::channel(items);
    let room = Arc::new(Semaphore::new(FEED_BYTES as usize));
    (Feed { to, room: Arc::clone(&room) }, Items { from, room })
}

impl Feed {
    /// Hands an item on; waits while the queue is full. One that is larger than all the room waits for all of it.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub async fn send(&self, item: Item) -> Result<(), Closed> {
        let weight = weight(&item);
        let room = tokio::select! {
            biased;
            room = self.room.acquire_many(weight) => room,
            () = self.to.closed() => return Err(Closed),
        };
        // Given back by the intake, when the item leaves the queue.
        room.map_err(|_closed| Closed)?.forget();
        self.to.send((item, weight)).await.map_err(|_closed| Closed)
    }

    /// Ends when the intake is gone.
    pub async fn closed(&self) {
        self.to.closed().await;
    }
}

impl Items {
    /// The next item; `None` when the reader has ended. Dropping it loses nothing.
    pub async fn recv(&mut self) -> Option<Item> {
        let (item, weight) = self.from.recv().await?;
        self.room.add_permits(weight as usize);
        Some(item)
    }

    /// An item that waits already.
    ///
    /// # Errors
    /// Nothing waits now, or the reader has ended.
    pub fn try_recv(&mut self) -> Result<Item, TryRecvError> {
        let (item, weight) = self.from.try_recv()?;
        self.room.add_permits(weight as usize);
        Ok(item)
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }
}

fn weight(item: &Item) -> u32 {
    match item {
        Item::Event(event) | Item::Unreadable { event, .. } => {
            u32::try_from(event.weight()).unwrap_or(u32::MAX).min(FEED_BYTES)
        }
        Item::Lost(_) | Item::Unheard(_) | Item::Deleted(_) | Item::Attached(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use tidegate_core::event::SourceEvent;

    fn event(bytes: usize) -> Item {
        let payload = Bytes::from(vec![0; bytes]);
        Item::Event(SourceEvent { sequence: 1, time_ms: 0, subject: "s".into(), headers: Bytes::new(), payload })
    }

    #[tokio::test]
    async fn a_queue_of_large_events_is_full_by_bytes() {
        let (feed, mut items) = feed();
        let half = FEED_BYTES as usize / 2;
        feed.send(event(half)).await.unwrap();
        assert!(feed.send(event(half)).now_or_never().is_none(), "with its head it passes the bound");
        assert!(feed.send(Item::Lost(None)).now_or_never().is_some(), "what weighs nothing is let in");
        assert!(items.recv().await.is_some());
        assert!(feed.send(event(half)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_event_larger_than_all_room_passes_alone() {
        let (feed, mut items) = feed();
        feed.send(event(FEED_BYTES as usize * 2)).await.unwrap();
        assert!(feed.send(event(1)).now_or_never().is_none());
        assert!(items.try_recv().is_ok() && items.is_empty());
        feed.send(event(1)).await.unwrap();
        drop(items);
        assert_eq!(feed.send(event(1)).await, Err(Closed));
    }
}
