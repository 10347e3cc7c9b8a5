//! The source behind a connection to NATS whose server may not be there yet: chosen once it can be asked.

use super::core::Core;
use super::embedded::DeadLog;
use super::feed::Feed;
use super::jetstream::{JetStream, StreamDescription, Wanted, choose};
use super::letter::{Retried, StoredLetter};
use super::letter_ids::LetterIds;
use super::nats::Nats;
use super::{Publish, Published, Records, Source, SourceError};
use crate::clock::Clock;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;

/// How long one call waits for a connection before it says that there is none.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// JetStream or core NATS, as the server's streams and the configuration say.
#[derive(Debug)]
pub struct Chosen {
    nats: Nats,
    wanted: Wanted,
    clock: Clock,
    kept: Option<Arc<DeadLog>>,
    source: OnceLock<Behind>,
    /// The highest sequence that was seen committed, also before the choice.
    seen: AtomicU64,
    choosing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Behind {
    JetStream(Box<JetStream>),
    Core(Box<Core>),
}

impl Behind {
    fn source(&self) -> &dyn Source {
        match self {
            Self::JetStream(source) => source.as_ref(),
            Self::Core(source) => source.as_ref(),
        }
    }
}

impl Chosen {
    /// Chooses nothing yet; every call that needs the server does. `kept` keeps dead letters where there is no JetStream.
    #[must_use]
    pub fn new(nats: Nats, wanted: Wanted, clock: Clock, kept: Option<Arc<DeadLog>>) -> Self {
        Self {
            nats,
            wanted,
            clock,
            kept,
            source: OnceLock::new(),
            seen: AtomicU64::new(0),
            choosing: tokio::sync::Mutex::new(()),
        }
    }

    /// The chosen source; the choice is made at the first call that reaches the server, and stands.
    ///
    /// # Errors
    /// [`SourceError::Away`] while the server can't be asked, [`SourceError::Refused`] where its streams and the
    /// configuration do not fit: that is an error of the configuration.
    pub async fn choose(&self) -> Result<&dyn Source, SourceError> {
        self.behind().await.map(Behind::source)
    }

    /// The stream's description, for `doctor`; `None` on core NATS.
    ///
    /// # Errors
    /// As [`Chosen::choose`].
    pub async fn describe(&self) -> Result<Option<StreamDescription>, SourceError> {
        match self.behind().await? {
            Behind::JetStream(source) => source.describe().await.map(Some),
            Behind::Core(_) => Ok(None),
        }
    }

    async fn behind(&self) -> Result<&Behind, SourceError> {
        if let Some(source) = self.source.get() {
            return Ok(source);
        }
        self.nats.wait_connected(CONNECT_WAIT).await?;
        // One at a time: two callers at once would both make the stream.
        let _turn = self.choosing.lock().await;
        if let Some(source) = self.source.get() {
            return Ok(source);
        }
        let chosen = match choose(&self.nats, &self.wanted).await? {
            Some(stream) => {
                tracing::info!(stream, "reading from JetStream");
                Behind::JetStream(Box::new(JetStream::new(self.nats.clone(), stream, self.wanted.clone())))
            }
            None => {
                tracing::warn!(
                    "no stream holds the source subjects: reading from core NATS, where events published while this host is away, \
                     disconnected or slow are lost; nats.capture = true makes them durable"
                );
                Behind::Core(Box::new(Core::new(
                    self.nats.clone(),
                    &self.wanted.subjects,
                    self.clock.clone(),
                    self.kept.clone(),
                )?))
            }
        };
        let source = self.source.get_or_init(|| chosen);
        source.source().saw(self.seen.load(Ordering::SeqCst));
        Ok(source)
    }
}

impl Source for Chosen {
    fn kind(&self) -> &'static str {
        self.source.get().map_or("nats", |source| source.source().kind())
    }

    fn facts(&self, checkpoint_sequence: u64) -> BoxFuture<'_, Result<StreamFacts, SourceError>> {
        async move { self.choose().await?.facts(checkpoint_sequence).await }.boxed()
    }

    fn read(&self, after: u64, to: Feed) -> BoxFuture<'_, Result<(), SourceError>> {
        async move { self.choose().await?.read(after, to).await }.boxed()
    }

    fn next_stored(&self, after: u64) -> BoxFuture<'_, Result<Option<(u64, u64)>, SourceError>> {
        async move { self.choose().await?.next_stored(after).await }.boxed()
    }

    fn fetch(&self, sequence: u64) -> BoxFuture<'_, Result<Option<SourceEvent>, SourceError>> {
        async move { self.choose().await?.fetch(sequence).await }.boxed()
    }

    fn publish<'a>(&'a self, messages: &'a [Publish]) -> BoxFuture<'a, Result<Published, (Published, SourceError)>> {
        async move {
            let source = self.choose().await.map_err(|error| (Published::default(), error))?;
            source.publish(messages).await
        }
        .boxed()
    }

    fn publish_dead<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<(), SourceError>> {
        async move { self.choose().await?.publish_dead(letter).await }.boxed()
    }

    fn dead_letters(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredLetter>, SourceError>> {
        async move { self.choose().await?.dead_letters(after, limit).await }.boxed()
    }

    fn dead_places(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        async move { self.choose().await?.dead_places().await }.boxed()
    }

    fn retried(&self, after: u64) -> BoxFuture<'_, Result<Vec<Retried>, SourceError>> {
        async move { self.choose().await?.retried(after).await }.boxed()
    }

    fn shared<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, SourceError>> {
        async move { self.choose().await?.shared(name).await }.boxed()
    }

    fn shared_names(&self) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        async move { self.choose().await?.shared_names().await }.boxed()
    }

    fn share<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), SourceError>> {
        async move { self.choose().await?.share(name, bytes).await }.boxed()
    }

    fn unshare<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        async move { self.choose().await?.unshare(name).await }.boxed()
    }

    fn records(&self, after: u64) -> BoxFuture<'_, Result<Records, SourceError>> {
        async move { self.choose().await?.records(after).await }.boxed()
    }

    fn put_record<'a>(
        &'a self,
        name: &'a str,
        bytes: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, SourceError>> {
        async move { self.choose().await?.put_record(name, bytes, revision).await }.boxed()
    }

    fn dead_ids(&self) -> BoxFuture<'_, Result<LetterIds, SourceError>> {
        async move { self.choose().await?.dead_ids().await }.boxed()
    }

    fn connected(&self) -> bool {
        self.nats.connected()
    }

    fn saw(&self, sequence: u64) {
        self.seen.fetch_max(sequence, Ordering::SeqCst);
        if let Some(source) = self.source.get() {
            source.source().saw(sequence);
        }
    }

    fn committed(&self, sequence: u64) {
        if let Some(source) = self.source.get() {
            source.source().committed(sequence);
        }
    }

    fn take_back(&self, above: u64) {
        if let Some(source) = self.source.get() {
            source.source().take_back(above);
        }
    }

    fn forget(&self) {
        if let Some(source) = self.source.get() {
            source.source().forget();
        }
    }

    fn last(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        async move { self.choose().await?.last().await }.boxed()
    }
}
