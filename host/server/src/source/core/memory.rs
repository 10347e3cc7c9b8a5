//! What was received on core NATS and is not committed: it outlives the reader that received it.

use super::queue::{Queue, Waiting};
use crate::source::{Item, headers, own, subject};
use async_nats::Message;
use std::sync::Arc;
use tidegate_core::event::SourceEvent;
use tidegate_core::uncommitted::Uncommitted;

/// The memory, and what the present reader fills.
#[derive(Debug)]
pub(super) struct Memory {
    subjects: Arc<[String]>,
    /// The subject of the last event: most have the one before.
    subject: Arc<str>,
    uncommitted: Uncommitted<SourceEvent>,
    queue: Option<Arc<Queue>>,
}

/// What a reader finds in it.
pub(super) enum Next {
    /// An item, with its time.
    Item(Item, u64),
    /// Nothing for now.
    Nothing,
    /// The reader's time is over.
    Ended,
}

impl Memory {
    pub(super) fn new(subjects: Arc<[String]>) -> Self {
        Self { subjects, subject: Arc::from(""), uncommitted: Uncommitted::default(), queue: None }
    }

    /// A reader listens from now on, after this number, and fills this queue; nothing of an earlier one is handed on any more.
    pub(super) fn listen(&mut self, queue: &Arc<Queue>, after: u64) {
        let crowded = !self.uncommitted.is_through();
        self.end(crowded);
        self.uncommitted.listen(after);
        self.queue = Some(Arc::clone(queue));
    }

    pub(super) fn committed(&mut self, number: u64) {
        self.uncommitted.committed(number);
    }

    /// Nothing above this number is committed: the next reader hands it on, and what waits, before anything new.
    pub(super) fn take_back(&mut self, above: u64) {
        let crowded = !self.uncommitted.is_through();
        self.uncommitted.take_back(above);
        self.end(crowded);
    }

    pub(super) fn forget(&mut self) {
        self.uncommitted.forget();
        self.queue = None;
    }

    /// Ends the present reader; what waits for it is kept, unless something of an earlier one still does (`crowded`): one full queue
    /// is as much as memory is to hold.
    fn end(&mut self, crowded: bool) {
        let Some(queue) = self.queue.take() else { return };
        if crowded {
            return self.uncommitted.wait([None]);
        }
        while let Some(waiting) = queue.pop() {
            match waiting {
                Waiting::Lost(_) => self.uncommitted.wait([None]),
                Waiting::Message(pattern, message, time_ms) => {
                    let event = self.event(pattern, message, 0, time_ms);
                    self.uncommitted.wait(event.map(Some));
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.messages())
    }

    fn is_read_by(&self, queue: &Arc<Queue>) -> bool {
        self.queue.as_ref().is_some_and(|present| Arc::ptr_eq(present, queue))
    }

    /// Whether nothing is to be handed on before the loss of what nobody heard: it takes this number, and is handed on.
    pub(super) fn unheard(&mut self, queue: &Arc<Queue>, number: u64) -> Option<Item> {
        let unheard = self.is_read_by(queue) && self.uncommitted.pop_loss();
        unheard.then(|| {
            self.uncommitted.hand_on(number, None);
            Item::Unheard(number)
        })
    }

    /// What this reader hands on next, under this number.
    pub(super) fn next(&mut self, queue: &Arc<Queue>, number: u64, now_ms: u64) -> Next {
        if !self.is_read_by(queue) {
            return Next::Ended;
        }
        if let Some(again) = self.uncommitted.pop() {
            // Its time goes with its number.
            let event = again.map(|event| SourceEvent { sequence: number, time_ms: now_ms, ..event });
            return self.hand_on(number, event, None, now_ms);
        }
        while let Some(waiting) = queue.pop() {
            match waiting {
                Waiting::Lost(count) => return self.hand_on(number, None, count, now_ms),
                Waiting::Message(pattern, message, time_ms) => {
                    if let Some(event) = self.event(pattern, message, number, time_ms) {
                        return self.hand_on(number, Some(event), None, time_ms);
                    }
                }
            }
        }
        Next::Nothing
    }

    fn hand_on(&mut self, number: u64, event: Option<SourceEvent>, count: Option<u64>, time_ms: u64) -> Next {
        self.uncommitted.hand_on(number, event.clone());
        Next::Item(event.map_or(Item::Lost(count), Item::Event), time_ms)
    }

    /// `None`: a second copy of a message, by a pattern that overlaps another.
    fn event(&mut self, pattern: usize, message: Message, sequence: u64, time_ms: u64) -> Option<SourceEvent> {
        let given = message.subject.as_str();
        if self.subjects[..pattern].iter().any(|earlier| subject::matches(earlier, given)) {
            return None;
        }
        if *self.subject != *given {
            self.subject = given.into();
        }
        Some(SourceEvent {
            sequence,
            time_ms,
            subject: Arc::clone(&self.subject),
            headers: headers::lines(message.headers.as_ref()),
            payload: own(message.payload),
        })
    }
}
