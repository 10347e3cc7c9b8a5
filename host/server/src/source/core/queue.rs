//! What was received on core NATS and not handed on yet: bounded, with each loss in the place where it happened.

use async_nats::Message;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Messages it holds at most: a few seconds of a full host.
const MESSAGES_MAX: usize = 65_536;
/// Payload bytes it holds at most.
const BYTES_MAX: usize = 64 << 20;

/// What comes next.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A message, with the number of the pattern that brought it and the time it came, in milliseconds since 1970.
    Message(usize, Message, u64),
    /// A loss; `None`: nobody knows how many.
    Lost(Option<u64>),
}

/// The queue. Once full it takes nothing more until half of it is gone, so that a flood makes few losses of many.
#[derive(Debug, Default)]
pub(super) struct Queue {
    held: Mutex<Held>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Held {
    waiting: VecDeque<Waiting>,
    messages: usize,
    bytes: usize,
    full: bool,
}

impl Queue {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message, or counts it as lost.
    pub(super) fn push(&self, pattern: usize, message: Message, now_ms: u64) {
        self.held().push(pattern, message, now_ms);
        self.filled.notify_one();
    }

    /// Something was lost after all that is here. Losses with nothing between them are one.
    pub(super) fn lose(&self, count: Option<u64>) {
        self.held().lose(count);
        self.filled.notify_one();
    }

    /// Takes the oldest.
    pub(super) fn pop(&self) -> Option<Waiting> {
        self.held().pop()
    }

    #[cfg(test)]
    pub(super) fn messages(&self) -> usize {
        self.held().messages
    }

    /// Waits until something was added since the last time.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

impl Held {
    fn push(&mut self, pattern: usize, message: Message, now_ms: u64) {
        let most = if self.full { (MESSAGES_MAX / 2, BYTES_MAX / 2) } else { (MESSAGES_MAX, BYTES_MAX) };
        self.full = self.messages >= most.0 || self.bytes >= most.1;
        if self.full {
            self.lose(Some(1));
            return;
        }
        self.messages += 1;
        self.bytes += message.payload.len();
        self.waiting.push_back(Waiting::Message(pattern, message, now_ms));
    }

    fn lose(&mut self, count: Option<u64>) {
        match self.waiting.back_mut() {
            Some(Waiting::Lost(before)) => *before = before.zip(count).map(|(before, count)| before + count),
            _ => self.waiting.push_back(Waiting::Lost(count)),
        }
    }

    fn pop(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front();
        if let Some(Waiting::Message(_, message, _)) = &next {
            self.messages -= 1;
            self.bytes -= message.payload.len();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(bytes: usize) -> Message {
        Message {
            subject: "a".into(),
            reply: None,
            payload: Bytes::from(vec![0; bytes]),
            headers: None,
            status: None,
            description: None,
            length: bytes,
        }
    }

    /// Takes everything, as runs: events (positive) and losses (negative; 0: nobody knows how many).
    fn runs(queue: &mut Held) -> Vec<i64> {
        let mut runs: Vec<i64> = Vec::new();
        while let Some(next) = queue.pop() {
            match (next, runs.last_mut()) {
                (Waiting::Message(..), Some(run)) if *run > 0 => *run += 1,
                (Waiting::Message(..), _) => runs.push(1),
                (Waiting::Lost(count), _) => runs.push(-(count.unwrap_or(0) as i64)),
            }
        }
        runs
    }

    #[test]
    fn what_does_not_fit_is_counted_where_it_would_have_stood() {
        let mut queue = Held::default();
        for _ in 0..MESSAGES_MAX + 10 {
            queue.push(0, message(1), 0);
        }
        queue.pop();
        queue.push(0, message(1), 0);
        for _ in 0..MESSAGES_MAX / 2 {
            queue.pop();
        }
        queue.push(0, message(1), 0);
        let half = (MESSAGES_MAX / 2) as i64;
        assert_eq!(runs(&mut queue), [half - 1, -11, 1], "it takes on only once half of it is gone");
        assert_eq!((queue.messages, queue.bytes), (0, 0));
    }

    #[test]
    fn large_messages_fill_it_by_their_bytes() {
        let mut queue = Held::default();
        for _ in 0..70 {
            queue.push(0, message(1 << 20), 0);
        }
        assert_eq!(runs(&mut queue), [64, -6]);
    }

    #[test]
    fn a_loss_of_unknown_size_makes_the_whole_unknown() {
        let mut queue = Held::default();
        queue.lose(Some(3));
        queue.lose(Some(4));
        queue.push(0, message(1), 0);
        queue.lose(Some(3));
        queue.lose(None);
        queue.lose(Some(1));
        assert_eq!(runs(&mut queue), [-7, 1, 0]);
    }
}
