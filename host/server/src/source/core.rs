//! The source on core NATS: one subscription per subject, numbers of our own, and honesty about what was lost.

mod memory;
mod queue;

use super::embedded::DeadLog;
use super::feed::Feed;
use super::jetstream::DeadStream;
use super::letter::{LetterMessage, Retried, StoredLetter};
use super::letter_ids::LetterIds;
use super::nats::{ConnectionCounts, Nats, REQUEST_TIMEOUT};
use super::{Item, Publish, Published, Source, SourceError, headers, subject};
use crate::clock::Clock;
use async_nats::Message;
use async_nats::client::PublishErrorKind;
use futures_util::future::BoxFuture;
use futures_util::stream::select_all;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use memory::{Memory, Next};
use queue::Queue;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;
use tidegate_core::numbering::Numbering;
use tokio::sync::watch;

/// A log that never existed before was made at this time: on core NATS every life is the same one.
const CREATED_MS: u64 = 1;
/// The pause between two tries to reach a server whose subscriptions are being made anew.
const RETRY: Duration = Duration::from_millis(50);
/// How long a reader waits for a connection before it says that there is none.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The source on core NATS.
#[derive(Debug)]
pub struct Core {
    nats: Nats,
    subjects: Arc<[String]>,
    clock: Clock,
    dead: DeadStream,
    kept: Option<Arc<DeadLog>>,
    used: Mutex<Numbering>,
    memory: Mutex<Memory>,
}

impl Core {
    /// The source over this connection. Dead letters go to JetStream where that is; otherwise they are published for
    /// whoever listens, and kept in this log if one is given.
    ///
    /// # Errors
    /// [`SourceError::Refused`] for subjects that can't be a source.
    pub fn new(nats: Nats, subjects: &[String], clock: Clock, kept: Option<Arc<DeadLog>>) -> Result<Self, SourceError> {
        subject::check(subjects).map_err(SourceError::Refused)?;
        let dead = DeadStream::new(nats.clone());
        let subjects: Arc<[String]> = subject::reduce(subjects).into();
        let memory = Mutex::new(Memory::new(Arc::clone(&subjects)));
        Ok(Self { dead, nats, subjects, clock, kept, used: Mutex::default(), memory })
    }

    fn used(&self) -> Numbering {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages wait in the queue.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.memory().waiting()
    }

    fn use_number(&self, number: u64, time_ms: u64) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).give(number, time_ms);
    }

    fn facts_up_to(last_sequence: u64) -> StreamFacts {
        StreamFacts { created_ms: CREATED_MS, first_sequence: 1, first_ms: None, last_sequence, checkpoint_ms: None }
    }

    async fn read_on(&self, after: u64, to: Feed) -> Result<(), SourceError> {
        self.nats.wait_connected(CONNECT_WAIT).await?;
        let mut counts = self.nats.watch();
        let told = *counts.borrow_and_update();
        let mut subscriptions = Vec::new();
        for (at, pattern) in self.subjects.iter().enumerate() {
            let subscription = self.nats.client().subscribe(pattern.clone()).await;
            let subscription =
                subscription.map_err(|error| SourceError::Away(format!("subscribing to {pattern}: {error}")))?;
            subscriptions.push(subscription.map(move |message| (at, message)));
        }
        flush(&self.nats).await?;
        let messages = select_all(subscriptions);
        let queue = Arc::new(Queue::default());
        // From here on nothing of an earlier reader is numbered any more.
        self.memory().listen(&queue, after);
        // What was published before somebody listened may be lost: that takes a number below the first event's.
        let now_ms = self.clock.now_ms();
        let begins = self.used().begin(after, now_ms);
        self.use_number(begins, now_ms);
        if to.send(Item::Attached(Self::facts_up_to(begins))).await.is_err() {
            return Ok(());
        }
        // Side by side: the client's own queue drops what comes and tells of it only roughly, so ours takes it at once.
        tokio::select! {
            end = self.receive(messages, told, counts, &queue) => end,
            () = self.hand_on(begins, &queue, &to) => Ok(()),
        }
    }

    /// Moves what comes into the queue, each loss in its place, until the connection ends for good.
    async fn receive(
        &self,
        mut messages: impl Stream<Item = (usize, Message)> + Unpin,
        mut told: ConnectionCounts,
        mut counts: watch::Receiver<ConnectionCounts>,
        queue: &Queue,
    ) -> Result<(), SourceError> {
        loop {
            tokio::select! {
                biased;
                next = messages.next() => {
                    let Some((pattern, message)) = next else {
                        return Err(SourceError::Away("the subscriptions ended".into()));
                    };
                    queue.push(pattern, message, self.clock.now_ms());
                }
                changed = counts.changed() => {
                    if changed.is_err() {
                        return Err(SourceError::Away("the connection to NATS ended".into()));
                    }
                    let now = *counts.borrow_and_update();
                    // What the client still holds came before.
                    while let Some(Some((pattern, message))) = messages.next().now_or_never() {
                        queue.push(pattern, message, self.clock.now_ms());
                    }
                    if lost(told, now) {
                        queue.lose(None);
                    }
                    told = now;
                }
            }
        }
    }

    /// Hands on what was taken back and then what waits in the queue, numbered on after `begins`, until nobody takes it.
    async fn hand_on(&self, begins: u64, queue: &Arc<Queue>, to: &Feed) {
        let unheard = self.memory().unheard(queue, begins);
        if let Some(item) = unheard
            && to.send(item).await.is_err()
        {
            return;
        }
        for number in begins + 1.. {
            let Some(item) = self.next(queue, number, to).await else { return };
            // Until the subscriptions are there again more may be lost: who comes meanwhile is told, too.
            if matches!(item, Item::Lost(_)) {
                self.listening_again().await;
            }
            if to.send(item).await.is_err() {
                return;
            }
        }
    }

    /// What is handed on under this number. `None`: nobody takes it any more.
    async fn next(&self, queue: &Arc<Queue>, number: u64, to: &Feed) -> Option<Item> {
        loop {
            {
                // Numbered and remembered in one step: whoever takes it back meanwhile finds it there or in the queue.
                let mut memory = self.memory();
                match memory.next(queue, number, self.clock.now_ms()) {
                    Next::Item(item, time_ms) => {
                        self.use_number(number, time_ms);
                        return Some(item);
                    }
                    Next::Nothing => {}
                    Next::Ended => return None,
                }
            }
            tokio::select! {
                biased;
                () = to.closed() => return None,
                () = queue.filled() => {}
            }
        }
    }

    /// Waits until the server has taken the subscriptions.
    async fn listening_again(&self) {
        while self.nats.wait_connected(CONNECT_WAIT).await.is_err() || flush(&self.nats).await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn publish_all(&self, messages: &[Publish]) -> Result<Published, (Published, SourceError)> {
        let mut published = Published::default();
        if !self.nats.connected() {
            // The client would keep them and send them later, when the publisher has long been told that it failed.
            return Err((published, SourceError::Away("NATS is not connected".into())));
        }
        for message in messages {
            let mut headers = headers::map(&message.headers);
            if let Some(id) = message.id.as_deref().and_then(|id| id.parse::<async_nats::HeaderValue>().ok()) {
                headers.insert("Nats-Msg-Id", id);
            }
            let (subject, payload) = (message.subject.clone(), message.payload.clone());
            let sent = if headers.is_empty() {
                self.nats.client().publish(subject, payload).await
            } else {
                self.nats.client().publish_with_headers(subject, headers, payload).await
            };
            if let Err(error) = sent {
                let error = match error.kind() {
                    PublishErrorKind::MaxPayloadExceeded => {
                        SourceError::Refused(format!("larger than the NATS server takes: {error}"))
                    }
                    _ => SourceError::Away(error.to_string()),
                };
                // What was handed over before is on its way, but only a flush makes that sure.
                return match flush(&self.nats).await {
                    Ok(()) => Err((published, error)),
                    Err(_) => Err((Published::default(), error)),
                };
            }
            published.add(None);
        }
        flush(&self.nats).await.map_err(|error| (Published::default(), error))?;
        Ok(published)
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), SourceError> {
        if self.dead.available().await? {
            return self.dead.publish(letter).await;
        }
        if let Some(kept) = &self.kept {
            kept.append(letter).await?;
        }
        let message = LetterMessage::new(letter, self.nats.max_payload());
        let sent = self.nats.client().publish_with_headers(message.subject, message.headers, message.payload).await;
        sent.map_err(|error| SourceError::Away(error.to_string()))?;
        flush(&self.nats).await
    }
}

/// Was something lost between the two counts? Nobody knows how much: of many messages that it drops the client tells
/// only some.
fn lost(before: ConnectionCounts, now: ConnectionCounts) -> bool {
    now.disconnects != before.disconnects || now.dropped != before.dropped
}

async fn flush(nats: &Nats) -> Result<(), SourceError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, nats.client().flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(SourceError::Away(error.to_string())),
        Err(_) => Err(SourceError::Away("NATS took nothing in time".into())),
    }
}

impl Source for Core {
    fn kind(&self) -> &'static str {
        "core"
    }

    fn facts(&self, checkpoint_sequence: u64) -> BoxFuture<'_, Result<StreamFacts, SourceError>> {
        let last_sequence = self.used().number().max(checkpoint_sequence);
        async move { Ok(Self::facts_up_to(last_sequence)) }.boxed()
    }

    fn read(&self, after: u64, to: Feed) -> BoxFuture<'_, Result<(), SourceError>> {
        self.read_on(after, to).boxed()
    }

    fn next_stored(&self, _after: u64) -> BoxFuture<'_, Result<Option<(u64, u64)>, SourceError>> {
        async { Ok(None) }.boxed()
    }

    fn fetch(&self, _sequence: u64) -> BoxFuture<'_, Result<Option<SourceEvent>, SourceError>> {
        async { Ok(None) }.boxed()
    }

    fn publish<'a>(&'a self, messages: &'a [Publish]) -> BoxFuture<'a, Result<Published, (Published, SourceError)>> {
        self.publish_all(messages).boxed()
    }

    fn publish_dead<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<(), SourceError>> {
        self.bury(letter).boxed()
    }

    fn dead_letters(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredLetter>, SourceError>> {
        async move {
            if self.dead.available().await? {
                return self.dead.list(after, limit).await;
            }
            match &self.kept {
                Some(kept) => kept.list(after, limit).await,
                None => Ok(Vec::new()),
            }
        }
        .boxed()
    }

    fn dead_places(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        async move {
            if self.dead.available().await? {
                return self.dead.places().await;
            }
            Ok(self.kept.as_ref().map_or((1, 0), |kept| kept.places()))
        }
        .boxed()
    }

    fn retried(&self, after: u64) -> BoxFuture<'_, Result<Vec<Retried>, SourceError>> {
        async move {
            if self.dead.available().await? {
                return self.dead.retried(after).await;
            }
            match &self.kept {
                Some(kept) => kept.retried(after).await,
                None => Ok(Vec::new()),
            }
        }
        .boxed()
    }

    fn dead_ids(&self) -> BoxFuture<'_, Result<LetterIds, SourceError>> {
        async move {
            if self.dead.available().await? {
                return self.dead.ids().await;
            }
            match &self.kept {
                Some(kept) => kept.ids().await,
                None => Ok(LetterIds::default()),
            }
        }
        .boxed()
    }

    fn connected(&self) -> bool {
        self.nats.connected()
    }

    fn saw(&self, number: u64) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).saw(number);
    }

    fn committed(&self, sequence: u64) {
        self.memory().committed(sequence);
    }

    fn take_back(&self, above: u64) {
        self.memory().take_back(above);
    }

    fn forget(&self) {
        self.memory().forget();
    }

    fn last(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        let used = self.used();
        async move { Ok((used.number(), used.time_ms())) }.boxed()
    }
}
