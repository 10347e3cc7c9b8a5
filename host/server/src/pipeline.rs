//! The partition's work: intake, chains, commit, hub. One host does it at a time; the others stand by.

pub mod chains;
pub mod committer;
pub mod failing;
pub mod follow;
pub mod guests;
pub mod intake;
pub mod partition;
pub mod rebuild;
pub mod shown;
pub mod states;
pub mod steps;
pub mod upkeep;

use crate::clock::Clock;
use crate::health::Health;
use crate::hub::Hub;
use crate::modules::ChainsCell;
use crate::modules::watch::KeeperLine;
use crate::source::Source;
use crate::store::{LeaseAnswer, Store, StoreError};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use follow::{Follower, Turn};
use guests::Guests;
use shown::Onlooker;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::backlog::Caps;
use tidegate_core::budget::BudgetSettings;
use tidegate_core::commit::{CompanyHead, Head};
use tidegate_core::event::Company;
use tidegate_core::owner::OwnerSettings;
use tidegate_core::position::Token;
use tidegate_core::uncommitted::Known;
use tidegate_filter::InstancePool;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How soon the lease is asked for after a tenure, or when it should have ended.
const AGAIN: Duration = Duration::from_millis(50);
/// How often a stand-by asks for the lease and compares its window with the store; at least once a second.
const LOOK: Duration = Duration::from_millis(500);

/// Everything the partition's work needs.
pub struct Parts {
    /// The replay cache.
    pub store: Arc<dyn Store>,
    /// The source.
    pub source: Arc<dyn Source>,
    /// The live end.
    pub hub: Arc<Hub>,
    /// The chains as of now, and a bell that rings when they change.
    pub chains: ChainsCell,
    /// Who decides which chains those are.
    pub modules: KeeperLine,
    /// Threads for the batches.
    pub guests: Arc<Guests>,
    /// Threads for the backlogs, so that one slow company never takes a batch's.
    pub backlog_guests: Arc<Guests>,
    /// Where the instances of all those threads are between calls.
    pub pool: InstancePool,
    /// What is counted.
    pub metrics: Metrics,
    /// Who sees every verdict.
    pub onlooker: Onlooker,
    /// What is up.
    pub health: Health,
    /// The time.
    pub clock: Clock,
    /// This host's identity.
    pub host: String,
    /// Rings when the outbox has something.
    pub letters: Notify,
    /// Settings.
    pub settings: PipelineSettings,
    /// Its tasks.
    pub tasks: Tasks,
}

/// Settings of the partition's work.
#[derive(Debug, Clone, Copy)]
pub struct PipelineSettings {
    /// How long a lease holds without renewal.
    pub lease: Duration,
    /// What shapes a commit.
    pub owner: OwnerSettings,
    /// How long the replay cache keeps events.
    pub retention: Duration,
    /// Entries a company may have there.
    pub entries_max: u64,
    /// Bytes a company may have there.
    pub bytes_max: u64,
    /// From how long ago an empty store is filled again.
    pub rebuild: Duration,
    /// The longest event, in bytes.
    pub event_bytes_max: usize,
    /// How many of its events a chain may fail at.
    pub budget: BudgetSettings,
}

impl PipelineSettings {
    /// The caps of each company's backlog.
    #[must_use]
    pub fn caps(&self) -> Caps {
        self.owner.backlog
    }
}

/// Why the partition's work came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The host stops.
    Stopped,
    /// Another host owns it.
    NotOwner,
    /// Begin again from what the store says.
    Again,
    /// Streams and configuration do not fit: what, and the way out. No waiting mends that.
    Refused(String),
}

/// Owns the partition whenever it may, and follows its owner for the rest of the time, until the host stops.
pub async fn run(parts: Arc<Parts>) {
    let stop = parts.tasks.token();
    let mut follower: Option<Follower> = None;
    let mut known = Known::default();
    while !stop.is_cancelled() {
        let token = Token(rand::random());
        let lease_ms = parts.settings.lease.as_millis() as u64;
        let wait = match parts.store.acquire(&parts.host, token, lease_ms).await {
            Ok(LeaseAnswer::Granted { epoch }) => {
                // The owner knows what it commits; nobody needs to tell it.
                follower = None;
                parts.health.store_answers();
                parts.metrics.owner(true);
                tracing::info!(epoch, "owner of the partition");
                let end = own(&parts, token, &mut known, &stop).await;
                parts.health.owner(false);
                parts.metrics.owner(false);
                // The commit that may have failed is given up with the tenure.
                parts.health.commits(Ok(()));
                parts.health.rebuilding(None);
                match end {
                    End::Stopped => {
                        release(&parts, token).await;
                        return;
                    }
                    End::Refused(story) => {
                        release(&parts, token).await;
                        parts.tasks.refuse(story);
                        return;
                    }
                    End::Again => {}
                    End::NotOwner => {
                        parts.source.forget();
                        tracing::warn!("the lease is no longer this host's; standing by");
                        parts.health.paused(Vec::new());
                        parts.health.can_not_run(Vec::new());
                    }
                }
                AGAIN
            }
            Ok(LeaseAnswer::Held { holder, for_ms }) => {
                // It receives what this host did, and may commit it.
                parts.source.forget();
                tracing::debug!(holder, for_ms, "another host owns the partition; standing by");
                let began = Instant::now();
                parts.health.store_answers();
                parts.health.owned_elsewhere();
                follower.get_or_insert_with(|| Follower::new(&parts)).compare().await;
                Duration::from_millis(for_ms).saturating_sub(began.elapsed()).clamp(AGAIN, LOOK)
            }
            Err(error) => {
                parts.health.store_failed(&error);
                // That it does not answer, whoever asks it says once.
                if !matches!(error, StoreError::Away(_)) {
                    tracing::warn!(error = %error, "the lease can't be had from the replay cache; trying again");
                }
                LOOK
            }
        };
        let until = Instant::now() + wait;
        let turn = async {
            match &mut follower {
                Some(follower) => follower.follow(until).await,
                None => {
                    tokio::time::sleep_until(until).await;
                    Turn::Time
                }
            }
        };
        tokio::select! {
            turn = turn => if turn == Turn::Released { tracing::info!("the owner gave the partition back") },
            () = stop.cancelled() => return,
        }
    }
}

/// The partition's head and its companies' as of one moment: read again if a commit came in between.
pub(crate) async fn read_whole(store: &dyn Store) -> Result<(Head, Vec<(Company, CompanyHead)>), StoreError> {
    loop {
        let before = store.head().await?;
        let companies = store.companies().await?;
        let head = store.head().await?;
        if (before.store, before.last) == (head.store, head.last) {
            return Ok((head, companies));
        }
    }
}

/// Works under a lease that is renewed beside it; trimming and dead letters go on for as long.
async fn own(parts: &Arc<Parts>, token: Token, known: &mut Known, stop: &CancellationToken) -> End {
    let _trim = AbortOnDropHandle::new(parts.tasks.spawn_handle("trim", upkeep::trim(Arc::clone(parts), token)));
    let _letters =
        AbortOnDropHandle::new(parts.tasks.spawn_handle("dead letters", upkeep::letters(Arc::clone(parts), token)));
    tokio::select! {
        end = partition::run(parts, token, known, stop) => end,
        () = lose_lease(parts, token) => End::NotOwner,
    }
}

/// Renews the lease three times in its time; ends when it is no longer ours.
async fn lose_lease(parts: &Parts, token: Token) {
    let lease_ms = parts.settings.lease.as_millis() as u64;
    loop {
        tokio::time::sleep(parts.settings.lease / 3).await;
        match parts.store.renew(token, lease_ms).await {
            Ok(true) => parts.health.store_answers(),
            Ok(false) => return,
            // Fencing is by token, not by time: without an answer the work goes on as far as it can.
            Err(error) => parts.health.store_failed(&error),
        }
    }
}

async fn release(parts: &Parts, token: Token) {
    let release: Result<Result<(), StoreError>, _> =
        tokio::time::timeout(Duration::from_secs(1), parts.store.release(token)).await;
    if !matches!(release, Ok(Ok(()))) {
        tracing::warn!("the lease could not be given back; a stand-by waits for its end");
    }
}

/// Waits, or less if the host stops.
pub(crate) async fn wait_or_stop(wait: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = stop.cancelled() => {}
    }
}
