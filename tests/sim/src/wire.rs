//! The model of core NATS: what was published, who listens, and which numbers hosts gave. It keeps nothing for anybody.

use crate::filters;
use crate::source::SUBJECT;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use tidegate_core::event::{Company, SourceEvent};
use tidegate_core::owner::Routed;
use tidegate_core::position::Token;

/// When the stream was made that there is none of: every life is the same one.
pub(crate) const CREATED_MS: u64 = 1;

struct Message {
    time_ms: u64,
    payload: Bytes,
}

impl Message {
    fn event(&self, sequence: u64, time_ms: u64) -> SourceEvent {
        let (subject, payload) = (SUBJECT.into(), self.payload.clone());
        SourceEvent { sequence, time_ms, subject, headers: Bytes::new(), payload }
    }
}

/// What one tenure's readers did.
#[derive(Default)]
struct Given {
    /// Which message each number was given to, and the event it became.
    events: BTreeMap<u64, (usize, SourceEvent)>,
    /// How often something may have been lost: nobody listened before, or it was told.
    losses: u64,
}

/// Everything that was ever published; the checks know it, hosts only hear it.
#[derive(Default)]
pub(crate) struct Wire {
    messages: Vec<Message>,
    given: HashMap<Token, Given>,
}

impl Wire {
    pub(crate) fn publish(&mut self, time_ms: u64, draw: u32) {
        self.messages.push(Message { time_ms, payload: filters::payload(0, draw) });
    }

    /// How many messages there were.
    pub(crate) fn length(&self) -> usize {
        self.messages.len()
    }

    /// A reader of this tenure gives a message its number.
    pub(crate) fn give(&mut self, token: Token, number: u64, message: usize, time_ms: u64) -> SourceEvent {
        let event = self.messages[message].event(number, time_ms);
        self.given.entry(token).or_default().events.insert(number, (message, event.clone()));
        event
    }

    /// Something may have been lost for this tenure.
    pub(crate) fn may_lose(&mut self, token: Token) {
        self.given.entry(token).or_default().losses += 1;
    }

    /// How often that was.
    pub(crate) fn losses(&self, token: Token) -> u64 {
        self.given.get(&token).map_or(0, |given| given.losses)
    }

    /// The events that a tenure gave these numbers, and which messages they are.
    pub(crate) fn given(
        &self,
        token: Token,
        numbers: RangeInclusive<u64>,
    ) -> impl Iterator<Item = &(usize, SourceEvent)> {
        let given = self.given.get(&token).filter(|_| !numbers.is_empty());
        given.into_iter().flat_map(move |given| given.events.range(numbers.clone()).map(|(_, given)| given))
    }

    /// For each company the time of the newest of these messages that was for it.
    pub(crate) fn times(&self, messages: std::ops::Range<usize>, companies: &[Company]) -> BTreeMap<Company, u64> {
        let mut times = BTreeMap::new();
        for message in &self.messages[messages] {
            if let Routed::Inputs(inputs) = filters::route(&message.event(0, message.time_ms), companies) {
                times.extend(inputs.into_iter().map(|input| (input.company, message.time_ms)));
            }
        }
        times
    }
}

/// What comes next to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Message(usize),
    /// Messages were lost here.
    Lost,
}

/// One subscription: what it will hear, from a message on, but for those that are lost on the way.
pub(crate) struct Ear {
    next: usize,
    /// From which message to before which one; none yet while the connection is down.
    lost: VecDeque<(usize, Option<usize>)>,
    /// The last number that was given.
    pub(crate) number: u64,
}

impl Ear {
    /// Listens from now on; `number` stands for all that went before.
    pub(crate) fn new(wire: &Wire, number: u64) -> Self {
        Self { next: wire.length(), lost: VecDeque::new(), number }
    }

    /// Takes what comes next.
    pub(crate) fn take(&mut self, wire: &Wire) -> Option<Heard> {
        if let Some((_, end)) = self.lost.front().copied().filter(|(from, _)| *from <= self.next) {
            // Until it listens again more may be lost.
            self.next = end?;
            self.lost.pop_front();
            return Some(Heard::Lost);
        }
        let message = self.next;
        (message < wire.length()).then(|| {
            self.next += 1;
            Heard::Message(message)
        })
    }

    /// Everything that it has received and not handed on: messages, and losses between them.
    pub(crate) fn rest(&mut self, wire: &Wire) -> Vec<Option<usize>> {
        let heard = |heard| if let Heard::Message(message) = heard { Some(message) } else { None };
        std::iter::from_fn(|| self.take(wire).map(heard)).collect()
    }

    /// Nothing is left to take.
    pub(crate) fn is_through(&self, wire: &Wire) -> bool {
        self.next == wire.length() && self.lost.is_empty()
    }

    fn is_down(&self) -> bool {
        self.lost.back().is_some_and(|(_, end)| end.is_none())
    }

    /// The connection is lost.
    pub(crate) fn unplug(&mut self, wire: &Wire) {
        if !self.is_down() {
            self.lost.push_back((wire.length(), None));
        }
    }

    /// It is there again.
    pub(crate) fn plug(&mut self, wire: &Wire) {
        if let Some((_, end @ None)) = self.lost.back_mut() {
            *end = Some(wire.length());
        }
    }

    /// It holds no more than so many of those that wait for it: the rest is lost.
    pub(crate) fn flood(&mut self, wire: &Wire, holds: usize) {
        if self.is_down() {
            return;
        }
        let lost = self.lost.back().and_then(|(_, end)| *end).unwrap_or(0);
        let from = (self.next + holds).max(lost);
        if from < wire.length() {
            self.lost.push_back((from, Some(wire.length())));
        }
    }
}
