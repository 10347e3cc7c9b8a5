//! Sends planned commits to the store in their order, several in flight, and makes each live once it is stored.

mod flight;

use super::{Parts, follow};
use crate::store::StoreError;
use flight::{Flights, Landed};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::commit::{Commit, CommitAnswer};
use tidegate_core::position::StoreId;
use tidegate_core::window::Step;
use tokio::sync::mpsc;
use tokio::task::unconstrained;

/// The first pause before the store is asked again, and the longest.
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// What the owner hears of its commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Everything up to this number is stored.
    Stored(u64),
    /// The store stands elsewhere: take a new token and read everything again.
    Refused {
        /// The highest number that may ever have been stored.
        doubtful: u64,
    },
    /// Another host owns the partition.
    NotOwner,
}

/// Takes commits in order until one is refused or the sender is gone. A store that does not answer is asked again, with
/// the same commits under the same names, for as long as it takes.
pub async fn run(
    parts: Arc<Parts>,
    store_id: StoreId,
    mut planned: mpsc::Receiver<Commit>,
    answers: mpsc::Sender<Answer>,
) {
    let store = Arc::clone(&parts.store);
    let mut flights = Flights::new(move |commit: Arc<Commit>| {
        let store = Arc::clone(&store);
        // What has to reach the store in order is not to be sent back in the middle to let other tasks run.
        Box::pin(unconstrained(async move { store.commit(&commit).await }))
    });
    let (in_flight, mut wait, mut more) = (parts.store.commits_in_flight(), AGAIN, true);
    while more || flights.len() > 0 {
        let landed = tokio::select! {
            biased;
            landed = flights.land() => landed,
            commit = planned.recv(), if more && flights.len() < in_flight => {
                match commit {
                    Some(commit) => flights.push(commit).await,
                    None => more = false,
                }
                continue;
            }
        };
        let landed = match landed {
            Ok(landed) => landed,
            Err((number, error)) => {
                tell_failure(&parts, number, &error);
                tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
                wait = (wait * 2).min(AGAIN_MAX);
                continue;
            }
        };
        wait = AGAIN;
        parts.metrics.commit(landed.sent_at.elapsed());
        parts.health.commits(Ok(()));
        let answer = settle(&parts, store_id, landed, flights.highest_sent()).await;
        if answers.send(answer).await.is_err() || !matches!(answer, Answer::Stored(_)) {
            return;
        }
    }
}

/// Makes a stored commit live.
async fn settle(parts: &Parts, store_id: StoreId, landed: Landed, highest_sent: u64) -> Answer {
    let Landed { commit, answer, first, .. } = landed;
    let number = commit.name.number;
    match answer {
        CommitAnswer::Stored(places) => {
            // The places in the answer to a repeat are of that moment, and later commits may have been stored by then.
            let step = if first { parts.hub.announce(store_id, &commit, &places) } else { Step::Hole };
            match step {
                Step::Append | Step::Ignore => {}
                Step::Hole | Step::Reset => read_on(parts).await,
            }
            count(parts, &commit);
            Answer::Stored(number)
        }
        CommitAnswer::NotOwner => Answer::NotOwner,
        // Where it was sent once it never had an effect, and so nothing that was sent behind it. Otherwise it may have been
        // stored, and all that, and be lost since.
        CommitAnswer::Refused => Answer::Refused { doubtful: if first { number - 1 } else { highest_sent } },
    }
}

fn tell_failure(parts: &Parts, number: u64, error: &StoreError) {
    if matches!(error, StoreError::Corrupt(_)) {
        tracing::error!(commit = number, error = %error, "a commit failed; trying again");
    } else {
        tracing::warn!(commit = number, error = %error, "a commit failed; trying again");
    }
    parts.health.commits(Err(error));
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
