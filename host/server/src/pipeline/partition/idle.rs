//! What is looked after while nothing happens: figures, a store that went back, a reader that is stuck, an idle checkpoint.

use super::Tenure;
use crate::source::SourceError;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::idle::{Asked, Idle};
use tidegate_core::position::CommitName;
use tokio::time::Instant;

/// How long a stored message may take to arrive before its reader is taken for stuck.
const WEDGE: Duration = Duration::from_secs(1);

/// What upkeep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Nothing to do.
    Fine,
    /// The reader has to be made anew.
    ReadAgain,
    /// The store is not where it was.
    WentBack,
}

impl Tenure {
    /// Four times a second: lag, the backlog's metrics, and the checkpoint of an idle partition. `idle`: nothing that was
    /// received waits to be taken in, and what comes would be.
    pub(super) async fn upkeep(&mut self, idle: bool) -> Upkeep {
        self.look_for_overdue = true;
        for (company, head) in self.owner.waiting() {
            self.parts.metrics.backlog(company, head.waiting);
        }
        let chains = self.parts.chains.load();
        self.steps.forget_paused(|company| chains.digest(company));
        self.parts.health.paused(self.steps.paused(|company| chains.digest(company)));
        self.parts.health.can_not_run(self.failing.told(|company| match company {
            Some(company) => chains.digest(company),
            None => chains.platform().map(|chain| Arc::clone(chain.digest())),
        }));
        self.note_rebuild();
        let connected = self.source.connected();
        self.parts.health.source(connected);
        self.note_lag(connected).await;
        if self.sent > self.stored || (!self.ended && self.received_at.elapsed() < WEDGE) {
            return Upkeep::Fine;
        }
        self.received_at = Instant::now();
        // Without commits nobody else notices that the store went back.
        match self.parts.store.head().await {
            Ok(head) if head.store != self.store_id || head.last != self.stored_name() => {
                tracing::warn!(
                    stored = head.last.number,
                    expected = self.stored,
                    "the store went back; filling it again"
                );
                return Upkeep::WentBack;
            }
            Ok(_) => self.parts.health.store_answers(),
            Err(error) => {
                self.parts.health.store_failed(&error);
                return Upkeep::Fine;
            }
        }
        // Core NATS is as far as it was read: there is no checkpoint to move on, and nothing that could be stuck.
        if !connected || !idle || self.source.kind() == "core" {
            return Upkeep::Fine;
        }
        let (ended, received) = (std::mem::take(&mut self.ended), self.received);
        match self.idle().await {
            // The next reader is made already, and has not begun.
            Ok(true) if ended && received == self.received => Upkeep::Fine,
            Ok(true) => Upkeep::ReadAgain,
            Ok(false) => Upkeep::Fine,
            Err(error) => {
                self.parts.health.source_failed(&error);
                Upkeep::Fine
            }
        }
    }

    /// How much of an emptied store is still to be filled in.
    fn note_rebuild(&mut self) {
        let Some(filling) = &self.filling else { return };
        let events_left = filling.rebuild().events_left(self.parts.hub.checkpoint());
        self.parts.health.rebuilding(events_left);
        // Until then what waits may become a letter that is kept already.
        if events_left.is_none() && self.owner.waiting().next().is_none() && self.sent == self.stored {
            self.filling = None;
        }
    }

    /// How far the stored checkpoint is behind the source. Core NATS has no numbers of its own to be behind.
    async fn note_lag(&mut self, connected: bool) {
        if !connected || self.source.kind() == "core" || self.lag_at.elapsed() < WEDGE {
            return;
        }
        self.lag_at = Instant::now();
        if let Ok(Ok((last, _))) = tokio::time::timeout(WEDGE / 2, self.source.last()).await {
            let stored = self.parts.hub.checkpoint().map_or(0, |place| place.sequence);
            self.parts.metrics.source_lag(last.saturating_sub(stored));
        }
    }

    /// Moves the checkpoint of an idle partition on, or finds what no reader brings. True: make the reader anew.
    async fn idle(&mut self) -> Result<bool, SourceError> {
        let last = self.source.last().await?;
        let next = self.source.next_stored(self.received).await?.map(|(sequence, _)| sequence);
        let checkpoint = self.owner.checkpoint().sequence;
        let continuity = self.owner.continuity(&self.source.facts(checkpoint).await?);
        match self.watch.look(self.received, checkpoint, Asked { last, next, continuity }) {
            Idle::Wait => Ok(false),
            Idle::ReadAgain => Ok(true),
            Idle::Pass(sequence, time_ms) => {
                // What was asked speaks of this checkpoint's stream only if that is still there: none of what a purge took
                // unread, or of another stream, may be passed in silence.
                if !self.attached(0).await {
                    return Ok(true);
                }
                self.received = sequence;
                let commit = self.owner.plan_idle(Some((sequence, time_ms)));
                self.send(commit).await;
                Ok(false)
            }
            Idle::GiveUp(sequence) => {
                if let Some(event) = self.source.fetch(sequence).await? {
                    self.unreadable(event, "no reader could hand this stored message on").await;
                }
                Ok(true)
            }
        }
    }

    /// The name of the last stored commit.
    fn stored_name(&self) -> CommitName {
        if self.stored == self.before.number {
            self.before
        } else {
            CommitName { token: self.token, number: self.stored }
        }
    }
}
