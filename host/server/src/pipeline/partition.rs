//! One tenure as owner, from reading the store's head to giving the partition up.

mod backlog;
mod batch;
mod budget;
mod idle;
mod reader;

use super::chains::ChainRunner;
use super::committer::{self, Answer};
use super::failing::Failing;
use super::intake::Next;
use super::rebuild::Filling;
use super::states::States;
use super::steps::{Overdue, StepDone};
use super::{End, Parts, wait_or_stop};
use crate::modules::Chains;
use crate::modules::keeper::Names;
use crate::source::{Source, SourceError};
use crate::store::StoreError;
use batch::Batch;
use idle::Upkeep;
use reader::tell_continuity;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::batch_size::BatchSize;
use tidegate_core::budget::Budgets;
use tidegate_core::commit::{Commit, CompanyHead, Head};
use tidegate_core::event::Company;
use tidegate_core::idle::IdleWatch;
use tidegate_core::limits::COMMITS_IN_FLIGHT;
use tidegate_core::owner::Owner;
use tidegate_core::position::{CommitName, StoreId, Token};
use tidegate_core::rebuild::Rebuild;
use tidegate_core::turns::Turns;
use tidegate_core::uncommitted::Known;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The work of one tenure.
struct Tenure {
    parts: Arc<Parts>,
    source: Arc<dyn Source>,
    store_id: StoreId,
    token: Token,
    /// The chains whose digests the owner knows.
    named: Option<Arc<Chains>>,
    /// The newest commit on its way that names chains, and these.
    naming: Option<(u64, Names)>,
    owner: Owner,
    runner: ChainRunner,
    states: States,
    failing: Failing,
    steps: Turns,
    budgets: Budgets,
    step_done: (mpsc::Sender<StepDone>, mpsc::Receiver<StepDone>),
    overdue: (mpsc::Sender<Overdue>, mpsc::Receiver<Overdue>),
    /// It is time to look for inputs that waited too long where nobody works them off.
    look_for_overdue: bool,
    /// The commit that took the last ones out: more of them are looked for once it is stored.
    expiry: Option<u64>,
    planned: mpsc::Sender<Commit>,
    answers: mpsc::Receiver<Answer>,
    /// The commit that the tenure began after.
    before: CommitName,
    /// Number of the last stored commit.
    stored: u64,
    /// Number of the last planned commit.
    sent: u64,
    /// Last sequence the reader handed over.
    received: u64,
    received_at: Instant,
    /// When the lag was looked at.
    lag_at: Instant,
    /// Looks for what is stored and has not arrived.
    watch: IdleWatch,
    /// The store's life has just begun: nothing before is missed that it does not tell.
    begun: bool,
    /// The last sequence of each commit on its way.
    checkpoints: VecDeque<(u64, u64)>,
    /// The last sequence that is committed.
    committed: u64,
    /// How the store's life begins, until that is committed.
    first: Option<Rebuild>,
    /// Readers that ended in a row without an event.
    failed_readers: u32,
    /// One of them has just ended, and nobody has asked yet what it should have brought.
    ended: bool,
    /// How many events the next batch may have.
    size: BatchSize,
    /// A batch, or the rest of one, that waits for a platform chain or for room on the way to the store.
    pending: Option<Batch>,
    /// The platform chain could not be run: the batch that waits for it is not tried again before.
    rests_until: Option<Instant>,
    /// The store began empty and is being filled.
    filling: Option<Filling>,
}

/// Reads the store, attaches to the source and works until something ends it.
pub async fn run(parts: &Arc<Parts>, token: Token, known: &mut Known, stop: &CancellationToken) -> End {
    let source = Arc::clone(&parts.source);
    let (head, companies) = match begin(parts).await {
        Ok(read) => read,
        Err(error) => {
            parts.health.store_failed(&error);
            wait_or_stop(Duration::from_millis(500), stop).await;
            return if stop.is_cancelled() { End::Stopped } else { End::Again };
        }
    };
    parts.health.store_answers();
    if !known.begin(head.last, token) {
        // Whoever committed may have received what this host remembers.
        source.forget();
    }
    let checkpoint = head.checkpoint.map_or(0, |place| place.sequence);
    let facts = match source.facts(checkpoint).await {
        Ok(facts) => facts,
        Err(SourceError::Refused(story)) => return End::Refused(story),
        Err(error) => {
            parts.health.source_failed(&error);
            tracing::warn!(error = %error, "the source can't be reached; trying again");
            wait_or_stop(Duration::from_millis(500), stop).await;
            return if stop.is_cancelled() { End::Stopped } else { End::Again };
        }
    };
    if let Err(error) = parts.modules.own(head.chains.clone()).await {
        tracing::warn!(error = %error, "copies of the chains that the last commit names can't be asked for; trying again");
        wait_or_stop(Duration::from_millis(500), stop).await;
        return if stop.is_cancelled() { End::Stopped } else { End::Again };
    }
    let (store_id, before) = (head.store, head.last);
    let fresh = head.checkpoint.is_none();
    let (owner, continuity) = Owner::attach(token, head.clone(), companies, &facts, parts.settings.owner);
    tell_continuity(parts, continuity, &owner);
    let filling = tokio::select! {
        filling = Filling::begin(parts, &head, &owner) => filling,
        () = stop.cancelled() => return End::Stopped,
    };
    let filling = match filling {
        Ok(filling) => filling,
        Err(error) => {
            parts.health.source_failed(&error);
            tracing::warn!(error = %error, "the kept dead letters can't be read; trying again");
            wait_or_stop(Duration::from_millis(500), stop).await;
            return if stop.is_cancelled() { End::Stopped } else { End::Again };
        }
    };
    // Room for what steps and upkeep add to the commits in flight, so that no send waits while an answer could be taken.
    let (planned, to_commit) = mpsc::channel(COMMITS_IN_FLIGHT * 4);
    let (answer, answers) = mpsc::channel(COMMITS_IN_FLIGHT * 4);
    let committing = committer::run(Arc::clone(parts), store_id, to_commit, answer);
    let committer = AbortOnDropHandle::new(parts.tasks.spawn_handle("committer", committing));
    let mut tenure = Tenure {
        runner: ChainRunner::new(Arc::clone(&parts.guests), parts.metrics.clone(), parts.onlooker.clone()),
        states: States::new(Arc::clone(&parts.store), parts.pool.clone()),
        failing: Failing::default(),
        steps: Turns::default(),
        budgets: Budgets::new(parts.settings.budget),
        step_done: mpsc::channel(16),
        overdue: mpsc::channel(1),
        look_for_overdue: true,
        expiry: None,
        planned,
        answers,
        before,
        stored: before.number,
        sent: before.number,
        received: owner.checkpoint().sequence,
        received_at: Instant::now(),
        lag_at: Instant::now(),
        watch: IdleWatch::default(),
        failed_readers: 0,
        ended: false,
        size: BatchSize::default(),
        pending: None,
        rests_until: None,
        filling,
        begun: false,
        checkpoints: VecDeque::new(),
        committed: owner.checkpoint().sequence,
        first: None,
        parts: Arc::clone(parts),
        source,
        store_id,
        token,
        named: None,
        naming: None,
        owner,
    };
    tenure.take_chains();
    if fresh && let Some(rebuild) = tenure.filling.as_ref().map(Filling::rebuild) {
        if tenure.source.kind() == "core" {
            // Nothing is filled in there, and its life begins once somebody listens.
            (tenure.filling, tenure.first) = (None, Some(rebuild));
        } else {
            let commit = tenure.owner.plan_first(rebuild, true);
            tenure.send(commit).await;
        }
    } else {
        parts.health.owner(true);
    }
    let end = tenure.work(stop).await;
    tenure.finish(end, committer).await
}

/// Reads everything, and brings the live window to where the tenure begins.
async fn begin(parts: &Parts) -> Result<(Head, Vec<(Company, CompanyHead)>), StoreError> {
    let (head, companies) = super::read_whole(parts.store.as_ref()).await?;
    super::follow::catch_up(parts.store.as_ref(), &parts.hub, &head).await?;
    Ok((head, companies))
}

impl Tenure {
    /// Reads and commits until the host stops, the store refuses, or the source has to be read anew.
    async fn work(&mut self, stop: &CancellationToken) -> End {
        let mut reader = self.read();
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.name_chains().await;
            self.begin_steps();
            self.begin_expiry();
            let (full, idle) = (self.sent - self.stored >= COMMITS_IN_FLIGHT as u64, self.sent == self.stored);
            // Without a platform chain nothing is taken in: the stream buffers. Everything else goes on.
            let routed = self.parts.chains.load().platform().is_some();
            let rested = self.rests_until.is_none_or(|until| until <= Instant::now());
            if !full && let Some(batch) = self.pending.take_if(|batch| (routed && rested) || batch.is_begun()) {
                self.run_batch(batch).await;
                continue;
            }
            let chains = Arc::clone(&self.parts.chains.changed());
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                answer = self.answers.recv() => match answer {
                    Some(Answer::Stored(number)) => self.stored_up_to(number),
                    Some(Answer::NotOwner) => return End::NotOwner,
                    Some(Answer::Refused { certain }) => {
                        tracing::warn!(commit = self.stored + 1, "a commit was refused; reading the store again under a new token");
                        // Where it was sent before, that may have been stored, and be lost since: what it held is lost.
                        let doubtful = if certain { self.stored } else { self.stored + 1 };
                        let sent = self.checkpoints.iter().take_while(|(number, _)| *number <= doubtful);
                        let above = sent.map(|(_, sequence)| *sequence).fold(self.committed, u64::max);
                        self.source.take_back(above);
                        return End::Again;
                    }
                    None => {
                        self.source.forget();
                        return End::Again;
                    }
                },
                done = self.step_done.1.recv() => if let Some(done) = done { self.step(done).await },
                overdue = self.overdue.1.recv() => if let Some(overdue) = overdue { self.expire(overdue).await },
                () = reader.intake.ready(idle), if !full && routed && self.pending.is_none() => match reader.intake.take(self.size.events()) {
                    Next::Events(events) => self.batch(events).await,
                    Next::Unreadable(event, reason) => self.unreadable(event, &reason).await,
                    Next::Lost(count) => self.lost(count, 0).await,
                    Next::Unheard(number) => if !self.begun { self.lost(None, number).await },
                    Next::Deleted(count) => self.deleted(count),
                    Next::Attached(facts) => if !self.attached(facts.last_sequence).await { reader = self.read(); },
                    Next::Ended => {
                        reader.tell_failure(&self.parts).await;
                        (self.failed_readers, self.ended) = (self.failed_readers + 1, true);
                        reader = self.read();
                    }
                },
                _ = tick.tick() => match self.upkeep(routed && self.pending.is_none() && reader.is_through(self.ended)).await {
                    Upkeep::Fine => {}
                    Upkeep::ReadAgain => reader = self.read(),
                    Upkeep::WentBack => {
                        // Nothing is on its way.
                        self.source.take_back(self.committed);
                        return End::Again;
                    }
                },
                () = chains.notified() => {}
            }
        }
    }

    /// Lets the next commit name the chains that run now. What waits behind a batch that was begun runs through the older
    /// ones.
    fn take_chains(&mut self) {
        let chains = self.parts.chains.load();
        if !self.named.as_ref().is_some_and(|named| Arc::ptr_eq(named, &chains)) {
            self.owner.set_chains(chains.names());
            self.named = Some(chains);
        }
    }

    /// Names new chains in a commit of their own, so that a swap is stored even if no event comes.
    async fn name_chains(&mut self) {
        let begun = self.pending.as_ref().is_some_and(Batch::is_begun);
        if !begun && self.first.is_none() {
            self.take_chains();
            if self.owner.names_chains() {
                let commit = self.owner.plan_idle(None);
                self.send(commit).await;
            }
        }
    }

    fn stored_up_to(&mut self, number: u64) {
        self.stored = number;
        while let Some((_, sequence)) = self.checkpoints.pop_front_if(|(commit, _)| *commit <= number) {
            self.committed = self.committed.max(sequence);
        }
        self.source.committed(self.committed);
        self.parts.health.owner(true);
        self.states.stored(number);
        self.look_for_overdue |= self.expiry.take_if(|expiry| *expiry <= number).is_some();
        let modules = &self.parts.modules;
        drop(self.naming.take_if(|(named_in, names)| *named_in <= number && modules.committed(names.clone())));
    }

    async fn send(&mut self, mut commit: Commit) {
        if let Some(filling) = &self.filling {
            filling.withhold(&mut commit);
        }
        self.sent = commit.name.number;
        self.checkpoints.extend(commit.checkpoint.map(|place| (self.sent, place.sequence)));
        if let Some(names) = &commit.chains {
            self.naming = Some((self.sent, names.clone()));
        }
        // The committer is gone only after it answered, and that answer ends the tenure.
        drop(self.planned.send(commit).await);
    }

    /// Lets commits on their way come to their end.
    async fn finish(mut self, end: End, committer: AbortOnDropHandle<()>) -> End {
        if end == End::Stopped {
            drop(self.planned);
            let rest = async { while self.answers.recv().await.is_some() {} };
            if tokio::time::timeout(Duration::from_secs(2), rest).await.is_err() {
                tracing::warn!("commits on their way were given up; they are made again at the next start");
            }
        }
        drop(committer);
        end
    }
}
