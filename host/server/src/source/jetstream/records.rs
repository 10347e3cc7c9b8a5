//! Small records that hosts share, each changed only by who saw its last version: a key-value bucket, whose layout is
//! NATS' own (ADR-8), so that its tools show it.

use super::super::{Record, Records, SourceError};
use super::api;
use super::choice::make;
use super::publisher::failure;
use crate::source::nats::Nats;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The bucket.
const BUCKET: &str = "TIDEGATE_RELEASES";
/// Its stream.
const STREAM: &str = "KV_TIDEGATE_RELEASES";
/// What its keys' subjects begin with.
const PREFIX: &str = "$KV.TIDEGATE_RELEASES.";

/// So long one look may read; a thousand folders take several.
const PIECE: Duration = Duration::from_millis(400);

/// A folder's subject: its name may hold dots in a row, which a subject may not.
fn subject(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "/"))
}

/// The bucket; found or made at first use.
#[derive(Debug)]
pub(super) struct SharedRecords {
    nats: Nats,
    context: async_nats::jetstream::Context,
    /// When the bucket that was looked at last was made.
    created: Mutex<Option<String>>,
}

impl SharedRecords {
    pub(super) fn new(nats: Nats) -> Self {
        Self { context: async_nats::jetstream::new(nats.client().clone()), nats, created: Mutex::default() }
    }

    /// What was changed after `after`, where that was given by this bucket, else everything; a piece of it.
    pub(super) async fn changed(&self, after: u64) -> Result<Records, SourceError> {
        let Some(info) = api::stream_info(&self.nats, STREAM).await? else {
            return Ok(Records { anew: true, ..Records::default() });
        };
        // A bucket that was made anew counts from the beginning again.
        let anew = self.is_another(&info.created) || info.state.last_seq < after;
        let mut records = Records { changed: Vec::new(), last: info.state.last_seq, anew, more: false };
        let mut from = if anew { 1 } else { after + 1 };
        let began = Instant::now();
        while from <= info.state.last_seq {
            if began.elapsed() >= PIECE {
                // The rest is told next time.
                (records.last, records.more) = (from - 1, true);
                break;
            }
            let found = api::message_from(&self.nats, STREAM, from, &format!("{PREFIX}>")).await?;
            let Some(message) = found else { break };
            from = message.sequence + 1;
            let Some(name) = message.subject.strip_prefix(PREFIX) else { continue };
            // A tool that deletes or purges a key leaves an empty message in its place.
            let (name, revision) = (name.replace('/', "."), message.sequence);
            records.last = records.last.max(revision);
            records.changed.push(Record { name, revision, bytes: message.payload });
        }
        Ok(records)
    }

    /// Writes a record whose last version is `revision` (0: there is none). `None`: it has another one.
    pub(super) async fn put(&self, name: &str, bytes: Bytes, revision: u64) -> Result<Option<u64>, SourceError> {
        self.make().await?;
        if !self.nats.connected() {
            return Err(SourceError::Away("NATS is not connected".into()));
        }
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string().as_str());
        let sent = self.context.publish_with_headers(subject(name), headers, bytes).await;
        let acknowledged = match sent {
            Ok(acknowledged) => self.nats.while_connected(acknowledged.into_future()).await?,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(acknowledged) => Ok(Some(acknowledged.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Is this another bucket than the one that was looked at before?
    fn is_another(&self, created: &str) -> bool {
        let mut known = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        let another = known.as_deref().is_some_and(|known| known != created);
        *known = Some(created.to_owned());
        another
    }

    async fn make(&self) -> Result<(), SourceError> {
        if api::stream_info(&self.nats, STREAM).await?.is_none() {
            let wanted = json!({
                "name": STREAM, "description": "what was deployed to folders of filters", "subjects": [format!("{PREFIX}>")],
                "retention": "limits", "storage": "file", "discard": "new", "num_replicas": 1, "max_msgs_per_subject": 1,
                "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true,
                "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
            });
            make(&self.nats, STREAM, &wanted, &[]).await?;
            tracing::info!(bucket = BUCKET, "made the bucket in which hosts share what was deployed");
        }
        Ok(())
    }
}
