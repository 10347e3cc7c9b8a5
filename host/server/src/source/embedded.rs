//! The source without NATS: an append-only log in `data.dir`, synced before a publish is acknowledged.

mod dead;
mod log;
mod reader;
mod record;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub use dead::DeadLog;
pub use log::{Log, LogOptions};

use super::feed::Feed;
use super::letter::{Retried, StoredLetter};
use super::letter_ids::LetterIds;
use super::{Item, Publish, Published, Source, SourceError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reader::Cursor;
use std::sync::Arc;
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;
use writer::Line;

/// The source on a log of our own, with a second log for the dead letters.
#[derive(Debug)]
pub struct Embedded {
    log: Log,
    dead: Arc<DeadLog>,
}

impl Embedded {
    /// The source on these two logs. Both wait for their writers when they are dropped.
    #[must_use]
    pub fn new(log: Log, dead: Arc<DeadLog>) -> Self {
        Self { log, dead }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    async fn read_on(&self, after: u64, to: Feed) -> Result<(), SourceError> {
        let mut tail = self.log.watch();
        let facts = self.log.facts(after).await?;
        if to.send(Item::Attached(facts)).await.is_err() {
            return Ok(());
        }
        let mut cursor = Cursor::after(after);
        loop {
            let last = tail.borrow_and_update().last_sequence;
            while cursor.next() <= last {
                let page = self.log.page(&mut cursor, last).await?;
                if to.send_all(page).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                () = to.closed() => return Ok(()),
                changed = tail.changed() => {
                    if changed.is_err() {
                        return Err(SourceError::Away("the log was closed".into()));
                    }
                }
            }
        }
    }
}

impl Source for Embedded {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn facts(&self, checkpoint_sequence: u64) -> BoxFuture<'_, Result<StreamFacts, SourceError>> {
        self.log.facts(checkpoint_sequence).boxed()
    }

    fn read(&self, after: u64, to: Feed) -> BoxFuture<'_, Result<(), SourceError>> {
        self.read_on(after, to).boxed()
    }

    fn next_stored(&self, after: u64) -> BoxFuture<'_, Result<Option<(u64, u64)>, SourceError>> {
        async move {
            let tail = self.log.tail();
            let next = (after + 1).max(tail.first_sequence);
            if next > tail.last_sequence {
                return Ok(None);
            }
            Ok(self.log.event(next).await?.map(|event| (event.sequence, event.time_ms)))
        }
        .boxed()
    }

    fn fetch(&self, sequence: u64) -> BoxFuture<'_, Result<Option<SourceEvent>, SourceError>> {
        self.log.event(sequence).boxed()
    }

    fn publish<'a>(&'a self, messages: &'a [Publish]) -> BoxFuture<'a, Result<Published, (Published, SourceError)>> {
        let lines = messages.iter().map(|message| Line {
            subject: message.subject.clone(),
            headers: match &message.id {
                None => message.headers.clone(),
                Some(id) => {
                    let id = super::headers::escape_value(id.as_bytes());
                    [format!("Nats-Msg-Id: {id}\n").as_bytes(), &message.headers].concat().into()
                }
            },
            payload: message.payload.clone(),
        });
        let lines: Vec<Line> = lines.collect();
        async move {
            if lines.is_empty() {
                return Ok(Published::default());
            }
            let accepted = lines.len() as u64;
            match self.log.append(lines).await {
                Ok((first, last)) => Ok(Published { accepted, first: Some(first), last: Some(last) }),
                Err(error) => Err((Published::default(), error)),
            }
        }
        .boxed()
    }

    fn publish_dead<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<(), SourceError>> {
        self.dead.append(letter).boxed()
    }

    fn dead_letters(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredLetter>, SourceError>> {
        self.dead.list(after, limit).boxed()
    }

    fn dead_places(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        let places = self.dead.places();
        async move { Ok(places) }.boxed()
    }

    fn retried(&self, after: u64) -> BoxFuture<'_, Result<Vec<Retried>, SourceError>> {
        self.dead.retried(after).boxed()
    }

    fn dead_ids(&self) -> BoxFuture<'_, Result<LetterIds, SourceError>> {
        self.dead.ids().boxed()
    }

    fn connected(&self) -> bool {
        true
    }

    fn last(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        let tail = self.log.tail();
        async move { Ok((tail.last_sequence, tail.last_ms)) }.boxed()
    }
}
