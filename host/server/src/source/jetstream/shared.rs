//! What hosts keep for one another in an object store: copies of the modules that run, and which chains ran.

use super::super::SourceError;
use super::api;
use super::choice::make;
use crate::source::nats::Nats;
use async_nats::jetstream::object_store::{DeleteErrorKind, GetErrorKind, ObjectStore};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde_json::json;
use std::fmt::Display;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

/// The bucket.
const BUCKET: &str = "TIDEGATE_MODULES";
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
            let stream = format!("OBJ_{BUCKET}");
            if api::stream_info(&self.nats, &stream).await?.is_none() {
                // As the client library makes it, in words that an old server understands, too.
                let wanted = json!({
                    "name": stream, "subjects": [format!("$O.{BUCKET}.C.>"), format!("$O.{BUCKET}.M.>")],
                    "retention": "limits", "storage": "file", "discard": "new", "num_replicas": 1,
                    "allow_rollup_hdrs": true, "allow_direct": true, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
                });
                make(&self.nats, &stream, &wanted, &[]).await?;
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

    pub(super) async fn names(&self) -> Result<Vec<String>, SourceError> {
        let list = self.bucket().await?.list().await.map_err(away)?;
        list.map_ok(|object| object.name).try_collect().await.map_err(away)
    }

    pub(super) async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), SourceError> {
        let mut reader = bytes;
        self.bucket().await?.put(name, &mut reader).await.map(drop).map_err(away)
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), SourceError> {
        match self.bucket().await?.delete(name).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
            Err(error) => Err(away(error)),
        }
    }
}

fn away(error: impl Display) -> SourceError {
    SourceError::Away(format!("object store {BUCKET}: {error}"))
}
