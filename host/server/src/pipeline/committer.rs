//! Sends planned commits to the store, one after the other, and makes each live once it is stored.

use super::{Parts, follow};
use crate::store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::commit::{Commit, CommitAnswer};
use tidegate_core::position::StoreId;
use tidegate_core::window::Step;
use tokio::sync::mpsc;

/// The longest pause before the store is asked again.
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// What the owner hears of its commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Everything up to this number is stored.
    Stored(u64),
    /// The store stands elsewhere: take a new token and read everything again.
    Refused {
        /// It was sent once, and had no effect. None that comes after it was ever sent.
        certain: bool,
    },
    /// Another host owns the partition.
    NotOwner,
}

/// Takes commits in order until one is refused or the sender is gone. A store that does not answer is asked again, with
/// the same commit under the same name, for as long as it takes.
pub async fn run(
    parts: Arc<Parts>,
    store_id: StoreId,
    mut planned: mpsc::Receiver<Commit>,
    answers: mpsc::Sender<Answer>,
) {
    while let Some(commit) = planned.recv().await {
        let (answer, certain) = send(&parts, &commit).await;
        let answer = match answer {
            CommitAnswer::Stored(places) => {
                match parts.hub.announce(store_id, &commit, &places) {
                    Step::Append | Step::Ignore => {}
                    Step::Hole | Step::Reset => read_on(&parts).await,
                }
                count(&parts, &commit);
                Answer::Stored(commit.name.number)
            }
            CommitAnswer::NotOwner => Answer::NotOwner,
            CommitAnswer::Refused => Answer::Refused { certain },
        };
        if answers.send(answer).await.is_err() || !matches!(answer, Answer::Stored(_)) {
            return;
        }
    }
}

/// Sends it until there is an answer; with whether that is the answer to the first try.
async fn send(parts: &Parts, commit: &Commit) -> (CommitAnswer, bool) {
    let (mut wait, mut first) = (Duration::from_millis(20), true);
    loop {
        let began = Instant::now();
        match parts.store.commit(commit).await {
            Ok(answer) => {
                parts.metrics.commit(began.elapsed());
                parts.health.commits(Ok(()));
                return (answer, first);
            }
            Err(error) => {
                first = false;
                if matches!(error, StoreError::Corrupt(_)) {
                    tracing::error!(commit = commit.name.number, error = %error, "a commit failed; trying again");
                } else {
                    tracing::warn!(commit = commit.name.number, error = %error, "a commit failed; trying again");
                }
                parts.health.commits(Err(&error));
                tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
                wait = (wait * 2).min(AGAIN_MAX);
            }
        }
    }
}

/// The window does not end where this commit begins: what the store says brings it there, however long that takes. Without
/// it nobody would be told of this commit before the next one.
async fn read_on(parts: &Parts) {
    loop {
        let read = async { follow::catch_up(parts.store.as_ref(), &parts.hub, &parts.store.head().await?).await };
        let Err(error) = read.await else { return };
        parts.health.store_failed(&error);
        tracing::warn!(error = %error, "the live window lags behind the store, which can't be read; trying again");
        tokio::time::sleep(AGAIN_MAX).await;
    }
}

fn count(parts: &Parts, commit: &Commit) {
    let metrics = &parts.metrics;
    metrics.events_received(commit.counts.received);
    metrics.events_emitted(commit.counts.emitted);
    for (reason, events) in &commit.drops {
        metrics.events_dropped(reason, *events);
    }
    let mut kinds: HashMap<&str, u64> = HashMap::new();
    for letter in commit.dead.iter().chain(&commit.dead_before).take(commit.counts.dead as usize) {
        *kinds.entry(&letter.kind).or_default() += 1;
    }
    for (kind, events) in kinds {
        metrics.dead_letters(kind, events);
    }
    for letter in &commit.dead {
        tracing::warn!(
            subject = %letter.source.subject,
            sequence = letter.source.sequence,
            companyId = letter.company.as_ref().map(tidegate_core::event::Company::as_str),
            module = letter.module.as_deref(),
            kind = %letter.kind,
            reason = %letter.reason,
            "dead letter"
        );
    }
    for letter in commit.dead.iter().chain(&commit.dead_before).filter(|letter| letter.module.is_some()) {
        metrics.filter_error(&letter.kind);
    }
    if !commit.dead.is_empty() {
        parts.letters.notify_one();
    }
    let mut outputs = 0;
    for part in &commit.parts {
        outputs += part.outputs.len() as u64;
        if let Some(last) = part.outputs.last() {
            tracing::debug!(
                companyId = %part.company,
                eventType = %last.event_type,
                events = part.outputs.len(),
                recipients = parts.hub.recipients(&part.company),
                "Broadcast complete"
            );
        }
    }
    metrics.outputs(outputs);
}
