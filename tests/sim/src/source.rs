//! The model source: one stream that can be purged and made again, and everything it ever held.

use crate::filters;
use bytes::Bytes;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;

/// One life of the stream, with all it ever held.
pub(crate) struct Stream {
    pub(crate) created_ms: u64,
    /// First sequence it still holds.
    pub(crate) first: u64,
    events: Vec<SourceEvent>,
}

impl Stream {
    pub(crate) fn last(&self) -> u64 {
        self.events.len() as u64
    }

    /// Also what was purged: for the checks.
    pub(crate) fn ever(&self, sequence: u64) -> Option<&SourceEvent> {
        self.events.get(usize::try_from(sequence.checked_sub(1)?).ok()?)
    }

    pub(crate) fn held(&self, sequence: u64) -> Option<&SourceEvent> {
        self.ever(sequence).filter(|event| event.sequence >= self.first)
    }
}

/// All lives, the present one last.
pub(crate) struct Source {
    pub(crate) streams: Vec<Stream>,
}

/// Is this message of a subject that nobody configured?
pub(crate) fn foreign(event: &SourceEvent) -> bool {
    &*event.subject == "other"
}

impl Source {
    pub(crate) fn new(now: u64) -> Self {
        Self { streams: vec![Stream { created_ms: now, first: 1, events: Vec::new() }] }
    }

    pub(crate) fn now(&self) -> &Stream {
        &self.streams[self.streams.len() - 1]
    }

    fn now_mut(&mut self) -> &mut Stream {
        let last = self.streams.len() - 1;
        &mut self.streams[last]
    }

    pub(crate) fn publish(&mut self, time_ms: u64, draw: u32) {
        let life = self.streams.len() as u32 - 1;
        let stream = self.now_mut();
        let subject = if draw % 13 == 5 { "other" } else { "metrics.m" };
        stream.events.push(SourceEvent {
            sequence: stream.last() + 1,
            time_ms,
            subject: subject.into(),
            headers: Bytes::new(),
            payload: filters::payload(life, draw),
        });
    }

    pub(crate) fn recreate(&mut self, now: u64) {
        self.streams.push(Stream { created_ms: now, first: 1, events: Vec::new() });
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
        self.streams.iter().rposition(|stream| stream.created_ms <= time_ms).unwrap_or(0) as u32
    }
}
