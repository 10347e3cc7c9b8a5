//! The stream of dead letters: made when missing, written with ids, listed.

use super::super::SourceError;
use super::super::letter::{LetterMessage, RETRIED_SUBJECT, Retried, StoredLetter};
use super::super::letter_ids::{self, LetterIds};
use super::api;
use super::choice::make;
use super::publisher::failure;
use crate::source::headers;
use crate::source::nats::Nats;
use crate::source::subject::DEAD_LETTERS;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate_core::entry::DeadLetter;

/// Where dead letters are kept.
pub const DEAD_STREAM: &str = "TIDEGATE_DLQ";
/// How long they are kept: long enough to look after a holiday.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many are kept; the oldest goes first.
const LETTERS_MAX: i64 = 1_000_000;
/// How long a repeat is recognised: an outbox that could not be emptied repeats what it sent.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(3600);

/// Letters asked for at a time while all ids are read: each answer holds a whole letter.
const IDS_AT_ONCE: usize = 16;

/// The dead letters on JetStream.
#[derive(Debug)]
pub struct DeadStream {
    nats: Nats,
    context: async_nats::jetstream::Context,
    made: AtomicBool,
}

impl DeadStream {
    /// The dead letters over this connection; nothing is asked or made yet.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        Self { context: async_nats::jetstream::new(nats.client().clone()), nats, made: AtomicBool::new(false) }
    }

    /// Is JetStream there, so that letters can be kept in it?
    ///
    /// # Errors
    /// [`SourceError::Away`] while the server can't be asked.
    pub async fn available(&self) -> Result<bool, SourceError> {
        match api::ask::<serde_json::Value>(&self.nats, "INFO", &serde_json::Value::Null).await? {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.says_no_jetstream() => Ok(false),
            Err(refusal) => Err(SourceError::Away(format!("asking for JetStream: {refusal}"))),
        }
    }

    /// Keeps a letter; returns once it is acknowledged. The same letter again within an hour is recognised.
    ///
    /// # Errors
    /// [`SourceError`] as for any publish.
    pub async fn publish(&self, letter: &DeadLetter) -> Result<(), SourceError> {
        self.ensure().await?;
        let message = LetterMessage::new(letter, self.nats.max_payload());
        let sent =
            async { self.context.publish_with_headers(message.subject, message.headers, message.payload).await?.await };
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => {
                if error.kind() == PublishErrorKind::StreamNotFound {
                    self.made.store(false, Ordering::Relaxed);
                }
                Err(failure(&error))
            }
        }
    }

    /// The letters above this place, oldest first.
    ///
    /// # Errors
    /// [`SourceError::Away`] while the stream can't be asked.
    pub async fn list(&self, after: u64, limit: usize) -> Result<Vec<StoredLetter>, SourceError> {
        let mut letters = Vec::new();
        if api::stream_info(&self.nats, DEAD_STREAM).await?.is_none() {
            return Ok(letters);
        }
        let mut after = after;
        while letters.len() < limit
            && let Some(message) = api::message_from(&self.nats, DEAD_STREAM, after + 1, DEAD_LETTERS).await?
        {
            after = message.sequence;
            let lines = headers::lines_of_block(&message.block);
            letters.push(StoredLetter::parse(message.sequence, message.time_ms, &lines, message.payload));
        }
        Ok(letters)
    }

    /// The first and the last place.
    ///
    /// # Errors
    /// [`SourceError::Away`] while the stream can't be asked.
    pub async fn places(&self) -> Result<(u64, u64), SourceError> {
        let info = api::stream_info(&self.nats, DEAD_STREAM).await?;
        Ok(info.map_or((1, 0), |info| (info.first_sequence(), info.state.last_seq)))
    }

    /// Which letters were retried, as noted above this place, oldest retry first.
    ///
    /// # Errors
    /// [`SourceError::Away`] while the stream can't be asked.
    pub async fn retried(&self, after: u64) -> Result<Vec<Retried>, SourceError> {
        let mut all = Vec::new();
        if api::stream_info(&self.nats, DEAD_STREAM).await?.is_none() {
            return Ok(all);
        }
        let mut after = after;
        while let Some(note) = api::message_from(&self.nats, DEAD_STREAM, after + 1, RETRIED_SUBJECT).await? {
            after = note.sequence;
            let lines = headers::lines_of_block(&note.block);
            all.extend(Retried::of(&StoredLetter::parse(note.sequence, note.time_ms, &lines, note.payload)));
        }
        Ok(all)
    }

    /// The ids of all kept letters.
    ///
    /// # Errors
    /// [`SourceError::Away`] while the stream can't be asked.
    pub async fn ids(&self) -> Result<LetterIds, SourceError> {
        let mut ids = LetterIds::default();
        let Some(info) = api::stream_info(&self.nats, DEAD_STREAM).await? else { return Ok(ids) };
        let newest = info.state.last_seq.saturating_sub(letter_ids::IDS_MAX as u64) + 1;
        let places = info.state.first_seq.max(newest)..=info.state.last_seq;
        // By question and answer, not by a consumer: an odd message that somebody else put there must not stop it.
        let asked = stream::iter(places).map(|place| api::message_at(&self.nats, DEAD_STREAM, place));
        let mut answers = asked.buffer_unordered(IDS_AT_ONCE);
        while let Some(message) = answers.try_next().await? {
            if let Some(message) = message {
                let lines = headers::lines_of_block(&message.block);
                ids.add(&StoredLetter::parse(message.sequence, message.time_ms, &lines, Bytes::new()).id);
            }
        }
        Ok(ids)
    }

    async fn ensure(&self) -> Result<(), SourceError> {
        if self.made.load(Ordering::Relaxed) {
            return Ok(());
        }
        // One that is there is left as the operators want it.
        if api::stream_info(&self.nats, DEAD_STREAM).await?.is_none() {
            let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let wanted = json!({
                "name": DEAD_STREAM, "subjects": [DEAD_LETTERS], "retention": "limits", "storage": "file", "discard": "old",
                "num_replicas": 1, "max_age": nanoseconds(KEPT), "duplicate_window": nanoseconds(DUPLICATE_WINDOW),
                "max_consumers": -1, "max_msgs": LETTERS_MAX, "max_bytes": -1,
            });
            make(&self.nats, DEAD_STREAM, &wanted, &["subjects"]).await?;
        }
        self.made.store(true, Ordering::Relaxed);
        Ok(())
    }
}
