//! What hosts keep for one another in an object store: copies of the modules that run, and which chains ran.

use super::super::SourceError;
use super::api;
use super::choice::make;
use crate::source::nats::Nats;
use async_nats::jetstream::object_store::{GetErrorKind, ObjectStore};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use serde_json::json;
use std::fmt::Display;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

/// The bucket.
const BUCKET: &str = "TIDEGATE_MODULES";
/// Its stream, and what the subjects of contents and of notes about them begin with (ADR-20).
const STREAM: &str = "OBJ_TIDEGATE_MODULES";
const CONTENTS: &str = "$O.TIDEGATE_MODULES.C.";
const NOTES: &str = "$O.TIDEGATE_MODULES.M.";
/// The longest thing that is read back, in bytes: a chain of large modules.
const BYTES_MAX: u64 = 1 << 30;

/// The object store; found or made at first use.
#[derive(Debug)]
pub(super) struct Shared {
    nats: Nats,
    context: async_nats::jetstream::Context,
    bucket: OnceCell<Bucket>,
}

struct Bucket(ObjectStore);

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(BUCKET)
    }
}

impl Shared {
    pub(super) fn new(nats: Nats) -> Self {
        Self { context: async_nats::jetstream::new(nats.client().clone()), nats, bucket: OnceCell::new() }
    }

    async fn bucket(&self) -> Result<&ObjectStore, SourceError> {
        let bucket = self.bucket.get_or_try_init(|| async {
            if api::stream_info(&self.nats, STREAM).await?.is_none() {
                // As the client library makes it, in words that an old server understands, too.
                let wanted = json!({
                    "name": STREAM, "subjects": [format!("{CONTENTS}>"), format!("{NOTES}>")],
                    "retention": "limits", "storage": "file", "discard": "new", "num_replicas": 1,
                    "allow_rollup_hdrs": true, "allow_direct": true, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
                });
                make(&self.nats, STREAM, &wanted, &[]).await?;
            }
            self.context.get_object_store(BUCKET).await.map(Bucket).map_err(away)
        });
        bucket.await.map(|bucket| &bucket.0)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, SourceError> {
        let object = match self.bucket().await?.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(away(error)),
        };
        let mut bytes = Vec::new();
        object.take(BYTES_MAX).read_to_end(&mut bytes).await.map_err(away)?;
        Ok(Some(bytes.into()))
    }

    /// The names of all that is kept. To list a bucket its server reads it from end to end, and copies of modules make it
    /// gigabytes. The subjects of notes say as much, unless one of them is of something that a tool deleted: then there are
    /// more notes than contents. ([`Shared::delete`] leaves none.)
    pub(super) async fn names(&self) -> Result<Vec<String>, SourceError> {
        let bucket = self.bucket().await?;
        let notes = api::subjects(&self.nats, STREAM, &format!("{NOTES}>")).await?;
        let contents = api::subjects(&self.nats, STREAM, &format!("{CONTENTS}>")).await?;
        let name = |note: &String| String::from_utf8(URL_SAFE.decode(note.strip_prefix(NOTES)?).ok()?).ok();
        if notes.len() <= contents.len()
            && let Some(names) = notes.iter().map(name).collect()
        {
            return Ok(names);
        }
        let list = bucket.list().await.map_err(away)?;
        list.map_ok(|object| object.name).try_collect().await.map_err(away)
    }

    pub(super) async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), SourceError> {
        let mut reader = bytes;
        self.bucket().await?.put(name, &mut reader).await.map(drop).map_err(away)
    }

    /// Deletes something, its note first: without it there is nothing of that name. What another host has kept under that
    /// name meanwhile stays.
    pub(super) async fn delete(&self, name: &str) -> Result<(), SourceError> {
        #[derive(Deserialize)]
        struct Note {
            #[serde(default)]
            nuid: String,
        }
        self.bucket().await?;
        let subject = format!("{NOTES}{}", URL_SAFE.encode(name));
        let Some(last) = api::last_message(&self.nats, STREAM, &subject).await? else { return Ok(()) };
        api::purge(&self.nats, STREAM, &subject, Some(last.sequence)).await?;
        match serde_json::from_slice(&last.payload) {
            Ok(Note { nuid }) if !nuid.is_empty() => {
                api::purge(&self.nats, STREAM, &format!("{CONTENTS}{nuid}"), None).await
            }
            Ok(_) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }
}

fn away(error: impl Display) -> SourceError {
    SourceError::Away(format!("object store {BUCKET}: {error}"))
}
