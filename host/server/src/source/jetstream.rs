//! The source on JetStream: one stream, one ordered reader, publishes that are acknowledged.

mod api;
mod choice;
mod dead;
mod publisher;
mod reader;
mod records;
mod shared;

pub use choice::{CAPTURE_STREAM, Choice, Wanted, choose, consider};
pub use dead::{DEAD_STREAM, DeadStream};
use records::SharedRecords;
use shared::Shared;

use super::feed::Feed;
use super::letter::{Retried, StoredLetter};
use super::letter_ids::LetterIds;
use super::nats::Nats;
use super::{Publish, Published, Records, Source, SourceError, subject};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, try_join_all};
use std::time::Duration;
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;

/// The source on a stream of JetStream.
#[derive(Debug)]
pub struct JetStream {
    nats: Nats,
    context: async_nats::jetstream::Context,
    stream: String,
    subjects: Vec<String>,
    wanted: Wanted,
    dead: DeadStream,
    shared: Shared,
    records: SharedRecords,
}

/// What `doctor` tells about the stream.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StreamDescription {
    /// Its name.
    pub name: String,
    /// Its own subjects.
    pub subjects: Vec<String>,
    /// Streams it is filled from.
    pub sources: Vec<String>,
    /// Copies the servers keep.
    pub replicas: u64,
    /// `limits`, `interest` or `workqueue`.
    pub retention: String,
    /// `file` or `memory`.
    pub storage: String,
    /// How long messages are kept; `None` for ever.
    pub max_age: Option<Duration>,
    /// How long a repeated `Nats-Msg-Id` is recognised.
    pub duplicate_window: Duration,
    /// Messages it holds.
    pub messages: u64,
    /// Bytes it holds.
    pub bytes: u64,
    /// Last sequence it ever gave.
    pub last_sequence: u64,
    /// Version of the server, `(major, minor)`.
    pub server_version: (u32, u32),
}

impl JetStream {
    /// The source on this stream, as [`choose`] named it.
    #[must_use]
    pub fn new(nats: Nats, stream: String, wanted: Wanted) -> Self {
        let context = async_nats::jetstream::new(nats.client().clone());
        let dead = DeadStream::new(nats.clone());
        let (shared, records) = (Shared::new(nats.clone()), SharedRecords::new(nats.clone()));
        Self { subjects: subject::reduce(&wanted.subjects), nats, context, stream, wanted, dead, shared, records }
    }

    /// The stream's name.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// What the stream is like, for `doctor`.
    ///
    /// # Errors
    /// [`SourceError::Away`] while it can't be asked or is not there.
    pub async fn describe(&self) -> Result<StreamDescription, SourceError> {
        let info = self.info().await?;
        let origins = info.config.sources.into_iter().chain(info.config.mirror);
        Ok(StreamDescription {
            name: info.config.name,
            subjects: info.config.subjects,
            sources: origins.map(|origin| origin.name).collect(),
            replicas: info.config.num_replicas,
            retention: info.config.retention,
            storage: info.config.storage,
            max_age: Some(info.config.max_age).filter(|age| *age > 0).map(Duration::from_nanos),
            duplicate_window: Duration::from_nanos(info.config.duplicate_window),
            messages: info.state.messages,
            bytes: info.state.bytes,
            last_sequence: info.state.last_seq,
            server_version: self.nats.server_version(),
        })
    }

    async fn info(&self) -> Result<api::StreamInfo, SourceError> {
        match api::stream_info(&self.nats, &self.stream).await? {
            Some(info) => Ok(info),
            None => Err(SourceError::Away(format!("there is no stream {} any more", self.stream))),
        }
    }

    async fn facts_now(&self, checkpoint_sequence: u64) -> Result<StreamFacts, SourceError> {
        let info = self.info().await?;
        let created_ms = api::milliseconds(&info.created).ok_or_else(|| {
            SourceError::Away(format!("stream {}: its creation time can't be read: {}", self.stream, info.created))
        })?;
        let checkpoint = match checkpoint_sequence {
            0 => None,
            sequence => api::message_at(&self.nats, &self.stream, sequence).await?,
        };
        let empty = info.state.messages == 0;
        let first_ts = if empty { &info.state.last_ts } else { &info.state.first_ts };
        Ok(StreamFacts {
            created_ms,
            first_sequence: info.first_sequence(),
            // The time of no message at all is written as the year 1.
            first_ms: api::milliseconds(first_ts).filter(|_| info.state.last_seq > 0),
            last_sequence: info.state.last_seq,
            checkpoint_ms: checkpoint.map(|message| message.time_ms),
        })
    }

    /// Does the stream hold nothing but what is ours? Then a sequence that is missing was deleted.
    fn owns_all_of(&self, config: &api::StreamConfig) -> bool {
        let covered = |held: &String| self.subjects.iter().any(|wanted| subject::covers(wanted, held));
        config.sources.is_empty() && config.mirror.is_none() && config.subjects.iter().all(covered)
    }

    /// The first stored message above `after` that is ours.
    async fn next_message(&self, after: u64) -> Result<Option<api::StoredMessage>, SourceError> {
        let asked = self.subjects.iter().map(|subject| api::message_from(&self.nats, &self.stream, after + 1, subject));
        let found = try_join_all(asked).await?;
        Ok(found.into_iter().flatten().min_by_key(|message| message.sequence))
    }
}

impl Source for JetStream {
    fn kind(&self) -> &'static str {
        "jetstream"
    }

    fn facts(&self, checkpoint_sequence: u64) -> BoxFuture<'_, Result<StreamFacts, SourceError>> {
        self.facts_now(checkpoint_sequence).boxed()
    }

    fn read(&self, after: u64, to: Feed) -> BoxFuture<'_, Result<(), SourceError>> {
        reader::read(self, after, to).boxed()
    }

    fn next_stored(&self, after: u64) -> BoxFuture<'_, Result<Option<(u64, u64)>, SourceError>> {
        async move { Ok(self.next_message(after).await?.map(|message| (message.sequence, message.time_ms))) }.boxed()
    }

    fn fetch(&self, sequence: u64) -> BoxFuture<'_, Result<Option<SourceEvent>, SourceError>> {
        async move { Ok(api::message_at(&self.nats, &self.stream, sequence).await?.map(api::StoredMessage::into_event)) }.boxed()
    }

    fn publish<'a>(&'a self, messages: &'a [Publish]) -> BoxFuture<'a, Result<Published, (Published, SourceError)>> {
        publisher::publish(self, messages).boxed()
    }

    fn publish_dead<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<(), SourceError>> {
        self.dead.publish(letter).boxed()
    }

    fn dead_letters(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredLetter>, SourceError>> {
        self.dead.list(after, limit).boxed()
    }

    fn dead_places(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        self.dead.places().boxed()
    }

    fn retried(&self, after: u64) -> BoxFuture<'_, Result<Vec<Retried>, SourceError>> {
        self.dead.retried(after).boxed()
    }

    fn shared<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, SourceError>> {
        self.shared.get(name).boxed()
    }

    fn shared_names(&self) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        self.shared.names().boxed()
    }

    fn share<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), SourceError>> {
        async move { self.shared.put(name, &bytes).await }.boxed()
    }

    fn unshare<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        self.shared.delete(name).boxed()
    }

    fn records(&self, after: u64) -> BoxFuture<'_, Result<Records, SourceError>> {
        self.records.changed(after).boxed()
    }

    fn put_record<'a>(
        &'a self,
        name: &'a str,
        bytes: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, SourceError>> {
        self.records.put(name, bytes, revision).boxed()
    }

    fn dead_ids(&self) -> BoxFuture<'_, Result<LetterIds, SourceError>> {
        self.dead.ids().boxed()
    }

    fn connected(&self) -> bool {
        self.nats.connected()
    }

    fn last(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        async move {
            let state = self.info().await?.state;
            Ok((state.last_seq, api::milliseconds(&state.last_ts).unwrap_or(0)))
        }
        .boxed()
    }
}
