//! The model source: one stream that can be purged and made again, and everything it ever held.

use crate::filters;
use crate::wire::{self, Wire};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;

/// One life of the stream, with all it ever held.
pub(crate) struct Stream {
    pub(crate) created_ms: u64,
    /// First sequence it still holds.
    pub(crate) first: u64,
    events: Vec<SourceEvent>,
    /// Taken out of the middle by an operator.
    deleted: BTreeSet<u64>,
    /// The highest sequence that any reader was given.
    read: u64,
}

impl Stream {
    fn new(created_ms: u64) -> Self {
        Self { created_ms, first: 1, events: Vec::new(), deleted: BTreeSet::new(), read: 0 }
    }

    pub(crate) fn last(&self) -> u64 {
        self.events.len() as u64
    }

    /// Also what was purged: for the checks.
    pub(crate) fn ever(&self, sequence: u64) -> Option<&SourceEvent> {
        self.events.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }

    pub(crate) fn held(&self, sequence: u64) -> Option<&SourceEvent> {
        self.ever(sequence).filter(|event| event.sequence >= self.first && !self.is_deleted(event.sequence))
    }

    pub(crate) fn is_deleted(&self, sequence: u64) -> bool {
        self.deleted.contains(&sequence)
    }

    /// The first message of a configured subject above this one.
    pub(crate) fn next_for_us(&self, after: u64) -> Option<&SourceEvent> {
        (after + 1..=self.last()).filter_map(|sequence| self.held(sequence)).find(|event| !foreign(event))
    }
}

/// The subject that is configured. Its `-` may not show in an id, which is read from the right.
pub(crate) const SUBJECT: &str = "metrics.q2q-7";

/// All lives, the present one last.
pub(crate) struct Source {
    pub(crate) streams: Vec<Stream>,
    /// Which life each time belongs to, of events and of beginnings: no time is given twice.
    times: BTreeMap<u64, u32>,
    /// How far the server's clock is off, in ms.
    pub(crate) clock: i64,
    /// It has been set back, or a host's that gives events their times.
    pub(crate) stepped_back: bool,
    /// There is no stream at all, but core NATS.
    pub(crate) wire: Option<Wire>,
}

/// Is this message of a subject that nobody configured?
pub(crate) fn foreign(event: &SourceEvent) -> bool {
    &*event.subject == "other"
}

/// Does every reader hang at this message? The client library drops its connection on it.
pub(crate) fn odd(event: &SourceEvent) -> bool {
    filters::read(event).1 & filters::ODD != 0
}

impl Source {
    pub(crate) fn new(now: u64) -> Self {
        let times = BTreeMap::from([(now, 0)]);
        Self { streams: vec![Stream::new(now)], times, clock: 0, stepped_back: false, wire: None }
    }

    pub(crate) fn without_a_stream() -> Self {
        Self { wire: Some(Wire::default()), ..Self::new(wire::CREATED_MS) }
    }

    /// A time of the server's clock that was not given before.
    fn time(&mut self, now: u64, life: u32) -> u64 {
        let mut time_ms = now.saturating_add_signed(self.clock);
        while self.times.contains_key(&time_ms) {
            time_ms += 1;
        }
        self.times.insert(time_ms, life);
        time_ms
    }

    pub(crate) fn now(&self) -> &Stream {
        &self.streams[self.streams.len() - 1]
    }

    fn now_mut(&mut self) -> &mut Stream {
        let last = self.streams.len() - 1;
        &mut self.streams[last]
    }

    pub(crate) fn publish(&mut self, now: u64, draw: u32) {
        let subject = if draw % 13 == 5 && draw & filters::ODD == 0 { "other" } else { SUBJECT };
        if let Some(wire) = &mut self.wire {
            if subject == SUBJECT {
                wire.publish(now, draw);
            }
            return;
        }
        let life = self.streams.len() as u32 - 1;
        let time_ms = self.time(now, life);
        let stream = self.now_mut();
        stream.events.push(SourceEvent {
            sequence: stream.last() + 1,
            time_ms,
            subject: subject.into(),
            headers: Bytes::new(),
            payload: filters::payload(life, draw),
        });
    }

    pub(crate) fn recreate(&mut self, now: u64) {
        let created_ms = self.time(now, self.streams.len() as u32);
        self.streams.push(Stream::new(created_ms));
    }

    /// A reader was given this.
    pub(crate) fn was_read(&mut self, sequence: u64) {
        let stream = self.now_mut();
        stream.read = stream.read.max(sequence);
    }

    /// An operator deletes a message that nobody has read: so it is certain what may be known of it.
    pub(crate) fn delete(&mut self, pick: usize) -> Option<u64> {
        let stream = self.now_mut();
        let unread: Vec<u64> = (stream.read + 1..=stream.last()).collect();
        let sequence = *unread.get(pick % unread.len().max(1))?;
        stream.deleted.insert(sequence);
        Some(sequence)
    }

    /// Removes everything below a sequence.
    pub(crate) fn purge(&mut self, below: u64) {
        let stream = self.now_mut();
        stream.first = stream.first.max(below.min(stream.last() + 1));
    }

    pub(crate) fn facts(&self, checkpoint: u64) -> StreamFacts {
        let stream = self.now();
        StreamFacts {
            created_ms: stream.created_ms,
            first_sequence: stream.first,
            first_ms: stream.ever(stream.first.min(stream.last())).map(|event| event.time_ms),
            last_sequence: stream.last(),
            checkpoint_ms: stream.held(checkpoint).map(|event| event.time_ms),
        }
    }

    pub(crate) fn by_creation(&self, created_ms: u64) -> Option<(u32, &Stream)> {
        self.streams.iter().enumerate().find(|(_, s)| s.created_ms == created_ms).map(|(n, s)| (n as u32, s))
    }

    /// Which life of the stream a time belongs to: lives are minutes apart.
    pub(crate) fn life_at(&self, time_ms: u64) -> u32 {
        if let Some(life) = self.times.get(&time_ms) {
            return *life;
        }
        self.streams.iter().rposition(|stream| stream.created_ms <= time_ms).unwrap_or(0) as u32
    }
}
