//! The reader of a tenure, and what it hands over besides events.

use super::Tenure;
use crate::pipeline::Parts;
use crate::pipeline::intake::Intake;
use crate::source::feed::feed;
use crate::source::{Source, SourceError};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate_core::event::{Fault, SourceEvent};
use tidegate_core::generation::Continuity;
use tidegate_core::owner::{Owner, Routed};
use tidegate_core::position::Place;
use tidegate_core::rebuild::Rebuild;
use tidegate_core::record::Pass;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// The pause after the first reader that ended, and how often is looked whether a source is back.
const READ_AGAIN_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a reader is made anew, give or take half of it: several readers have to fail before a message is
/// given up that none of them can hand on.
const READ_AGAIN_MAX: Duration = Duration::from_secs(1);

/// A reader and the queue it fills.
pub(super) struct Reader {
    pub(super) intake: Intake,
    /// Its rest is over.
    begun: Arc<AtomicBool>,
    failure: Option<tokio::sync::oneshot::Receiver<Result<(), SourceError>>>,
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    /// It reads and does not rest, or the one before it has ended; and nothing that it handed over waits to be taken in.
    pub(super) fn is_through(&self, ended: bool) -> bool {
        (ended || self.begun.load(Ordering::Relaxed)) && self.intake.is_empty()
    }

    /// Tells why it ended.
    pub(super) async fn tell_failure(&mut self, parts: &Parts) {
        if let Some(failure) = self.failure.take()
            && let Ok(Err(error)) = failure.await
        {
            parts.health.source_failed(&error);
            tracing::warn!(error = %error, "the reader ended; starting again from the checkpoint");
        }
    }
}

/// Waits, the longer the more readers ended in a row, and no longer than until a source that is away is back.
async fn rest(source: &dyn Source, failed_readers: u32) {
    let pause = (READ_AGAIN_MIN * 2u32.saturating_pow(failed_readers.min(8))).min(READ_AGAIN_MAX);
    let until = Instant::now() + pause.mul_f64(0.5 + rand::random::<f64>());
    let away = !source.connected();
    while Instant::now() < until && !(away && source.connected()) {
        tokio::time::sleep_until(until.min(Instant::now() + READ_AGAIN_MIN)).await;
    }
}

impl Tenure {
    /// Starts a reader after what was received.
    pub(super) fn read(&mut self) -> Reader {
        let (to, items) = feed();
        let (source, after) = (Arc::clone(&self.source), self.received);
        let (failed, failure) = tokio::sync::oneshot::channel();
        let (failed_readers, begun) = (self.failed_readers, Arc::new(AtomicBool::new(false)));
        let begins = Arc::clone(&begun);
        let reading = async move {
            if failed_readers > 0 {
                rest(&*source, failed_readers).await;
            }
            begins.store(true, Ordering::Relaxed);
            let end = source.read(after, to).await;
            // Nobody listens when the tenure has ended.
            drop(failed.send(end));
        };
        let task = AbortOnDropHandle::new(self.parts.tasks.spawn_handle("reader", reading));
        Reader { intake: Intake::new(items), begun, failure: Some(failure), _task: task }
    }

    pub(super) async fn unreadable(&mut self, event: SourceEvent, reason: &str) {
        if event.sequence <= self.received {
            return;
        }
        (self.received, self.received_at) = (event.sequence, Instant::now());
        self.watch.arrived();
        self.failed_readers = 0;
        let fault = Fault { kind: "unreadable", reason: reason.into(), module: None, backtrace: None };
        let commit = self.owner.plan_batch(&[event], vec![Routed::Dead(fault)], &Pass::default(), HashMap::new());
        self.send(commit).await;
    }

    /// Tells a loss, which takes this number, or the next one where that is higher.
    pub(super) async fn lost(&mut self, count: Option<u64>, number: u64) {
        tracing::warn!(count, "the source lost events; every stream is told");
        self.parts.metrics.source_lost(count);
        self.owner.source_lost(number, self.parts.clock.now_ms());
        self.received = self.received.max(self.owner.checkpoint().sequence);
        let commit = self.owner.plan_idle(None);
        self.send(commit).await;
    }

    /// An operator took single messages out: nothing that a client could still expect.
    pub(super) fn deleted(&self, count: u64) {
        tracing::warn!(count, "messages were deleted from the stream before they were read");
        self.parts.metrics.source_deleted(count);
    }

    /// A consumer was made, at this sequence: is it the stream the checkpoint speaks of? False: read again from where it
    /// begins.
    pub(super) async fn attached(&mut self, number: u64) -> bool {
        let checkpoint = self.owner.checkpoint();
        let facts = match self.source.facts(checkpoint.sequence).await {
            Ok(facts) => facts,
            Err(error) => {
                self.parts.health.source_failed(&error);
                return false;
            }
        };
        self.parts.health.source(true);
        let continuity = self.owner.compare(&facts);
        tell_continuity(&self.parts, continuity, &self.owner);
        self.begun = self.first.is_some();
        if let Some(first) = self.first.take() {
            let until = Place { sequence: number, time_ms: self.parts.clock.now_ms(), ..first.until };
            let commit = self.owner.plan_first(Rebuild { until, ..first }, false);
            self.send(commit).await;
        }
        if self.owner.has_news() {
            let commit = self.owner.plan_idle(None);
            self.send(commit).await;
        }
        let same = self.owner.checkpoint().sequence == self.received || continuity == Continuity::Same;
        self.received = self.owner.checkpoint().sequence.max(if same { self.received } else { 0 });
        same
    }
}

pub(super) fn tell_continuity(parts: &Parts, continuity: Continuity, owner: &Owner) {
    let (checkpoint, generation) = (owner.checkpoint().sequence, owner.generation().number);
    match continuity {
        Continuity::Same => {}
        Continuity::Passed => {
            tracing::error!(
                checkpoint,
                "the stream no longer holds what follows the checkpoint; every stream is told with a gap"
            );
            parts.health.stream_broke(format!(
                "messages up to {checkpoint} were purged or passed by the retention before this host read them"
            ));
        }
        Continuity::Recreated => {
            tracing::error!(
                generation,
                "the stream was recreated or hands sequences out again; a new generation begins, with a gap for every stream"
            );
            parts
                .health
                .stream_broke(format!("it was made anew or hands sequences out again: generation {generation} began"));
        }
    }
}
