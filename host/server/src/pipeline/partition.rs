//! One tenure as owner, from reading the store's head to giving the partition up.

use super::chains::ChainRunner;
use super::committer::{self, Answer};
use super::failing::Failing;
use super::intake::{Intake, Next};
use super::rebuild::Filling;
use super::states::States;
use super::steps::{self, Overdue, StepDone};
use super::{End, Parts, wait_or_stop};
use crate::modules::keeper::Names;
use crate::source::feed::feed;
use crate::source::{Source, SourceError};
use crate::store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::backlog;
use tidegate_core::commit::{Commit, CompanyHead, Head};
use tidegate_core::event::{Company, Fault, Input, SourceEvent, Verdict};
use tidegate_core::fanout;
use tidegate_core::generation::Continuity;
use tidegate_core::idle::{Asked, Idle, IdleWatch};
use tidegate_core::limits::COMMITS_IN_FLIGHT;
use tidegate_core::owner::{Owner, Ran, Routed};
use tidegate_core::position::{CommitName, Place, StoreId, Token};
use tidegate_core::rebuild::Rebuild;
use tidegate_core::record::Pass;
use tidegate_core::turns::Turns;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How long a stored message may take to arrive before its reader is taken for stuck.
const WEDGE: Duration = Duration::from_secs(1);
/// The longest pause before a reader is made anew.
const READ_AGAIN_MAX: Duration = Duration::from_secs(5);
/// How long a platform chain that could not be run is left alone; meanwhile everything else goes on.
const PLATFORM_AGAIN: Duration = Duration::from_millis(200);

/// The work of one tenure.
struct Tenure {
    parts: Arc<Parts>,
    source: Arc<dyn Source>,
    store_id: StoreId,
    token: Token,
    /// The chains whose digests the owner knows.
    named: Option<Arc<crate::modules::Chains>>,
    /// The newest commit on its way that names chains, and these.
    naming: Option<(u64, Names)>,
    owner: Owner,
    runner: ChainRunner,
    states: States,
    failing: Failing,
    steps: Turns,
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
    /// Since the last reader, or the last tenure, nobody listened.
    unheard: bool,
    /// How the store's life begins, until that is committed.
    first: Option<Rebuild>,
    /// Readers that ended in a row without an event.
    failed_readers: u32,
    /// A batch, or the rest of one, that waits for a platform chain or for room on the way to the store.
    pending: Option<Batch>,
    /// The platform chain could not be run: the batch that waits for it is not tried again before.
    rests_until: Option<Instant>,
    /// The store began empty and is being filled.
    filling: Option<Filling>,
}

/// Reads the store, attaches to the source and works until something ends it.
pub async fn run(parts: &Arc<Parts>, token: Token, stop: &CancellationToken) -> End {
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
        runner: ChainRunner::new(Arc::clone(&parts.guests), parts.metrics.clone()),
        states: States::new(Arc::clone(&parts.store), parts.pool.clone()),
        failing: Failing::default(),
        steps: Turns::default(),
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
        pending: None,
        rests_until: None,
        filling,
        unheard: true,
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
            let full = self.sent - self.stored >= COMMITS_IN_FLIGHT as u64;
            // Without a platform chain nothing is taken in: the stream buffers. Everything else goes on.
            let routed = self.parts.chains.load().platform().is_some();
            let rested = self.rests_until.is_none_or(|until| until <= Instant::now());
            if !full && let Some(batch) = self.pending.take_if(|batch| (routed && rested) || batch.routed.is_some()) {
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
                    Some(Answer::Refused) | None => {
                        tracing::warn!(commit = self.stored + 1, "a commit was refused; reading the store again under a new token");
                        return End::Again;
                    }
                },
                done = self.step_done.1.recv() => if let Some(done) = done { self.step(done).await },
                overdue = self.overdue.1.recv() => if let Some(overdue) = overdue { self.expire(overdue).await },
                () = reader.intake.ready(), if !full && routed && self.pending.is_none() => match reader.intake.take().await {
                    Next::Events(events) => self.batch(events).await,
                    Next::Unreadable(event, reason) => self.unreadable(event, &reason).await,
                    Next::Lost(count) => self.lost(count, 0).await,
                    Next::Deleted(count) => self.deleted(count),
                    Next::Attached(facts) => if !self.attached(facts.last_sequence).await { reader = self.read_again(); },
                    Next::Ended => {
                        self.failed_readers += 1;
                        let pause = Duration::from_millis(50) * 2u32.saturating_pow(self.failed_readers.min(8));
                        reader.failed(&self.parts, pause.min(READ_AGAIN_MAX), stop).await;
                        reader = self.read_again();
                    }
                },
                _ = tick.tick() => match self.upkeep(routed && reader.intake.is_empty() && self.pending.is_none()).await {
                    Upkeep::Fine => {}
                    Upkeep::ReadAgain => reader = self.read_again(),
                    Upkeep::WentBack => return End::Again,
                },
                () = chains.notified() => {}
            }
        }
    }

    /// Starts a reader in place of one that has ended: nobody listens in between.
    fn read_again(&mut self) -> Reader {
        self.unheard = true;
        self.read()
    }

    /// Starts a reader after what was received.
    fn read(&mut self) -> Reader {
        let (to, items) = feed();
        let (source, after) = (Arc::clone(&self.source), self.received);
        let (failed, failure) = tokio::sync::oneshot::channel();
        let reading = async move {
            let end = source.read(after, to).await;
            // Nobody listens when the tenure has ended.
            drop(failed.send(end));
        };
        let task = AbortOnDropHandle::new(self.parts.tasks.spawn_handle("reader", reading));
        Reader { intake: Intake::new(items), failure: Some(failure), _task: task }
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
        let begun = self.pending.as_ref().is_some_and(|batch| batch.routed.is_some());
        if !begun && self.first.is_none() {
            self.take_chains();
            if self.owner.names_chains() {
                let commit = self.owner.plan_idle(None);
                self.send(commit).await;
            }
        }
    }

    /// Takes a batch in.
    async fn batch(&mut self, events: Vec<SourceEvent>) {
        // A reader that was made anew may hand over again what is already planned.
        let events: Vec<SourceEvent> = events.into_iter().filter(|event| event.sequence > self.received).collect();
        let Some(last) = events.last() else { return };
        (self.received, self.received_at) = (last.sequence, Instant::now());
        self.watch.arrived();
        self.failed_readers = 0;
        let events = self.skip_old(events).await;
        if !events.is_empty() {
            self.run_batch(Batch { events, routed: None }).await;
        }
    }

    /// Runs a batch through the chains as they are now (the switch point of a swap) and plans its commit; what does not
    /// fit one stays pending, with the same chains.
    async fn run_batch(&mut self, batch: Batch) {
        let Batch { mut events, routed } = batch;
        let mut routed = match routed {
            Some(routed) => routed,
            None => match self.route(events).await {
                Ok((given, routed)) => {
                    events = given;
                    routed
                }
                Err(batch) => {
                    self.pending = Some(batch);
                    return;
                }
            },
        };
        // What a platform filter hands to many companies weighs many times its event.
        let fitting = fanout::fitting(&mut routed.results);
        let (later, results) = (events.split_off(fitting), routed.results.split_off(fitting));
        if !later.is_empty() {
            let (chains, pass) = (Arc::clone(&routed.chains), routed.pass.clone());
            self.pending = Some(Batch { events: later, routed: Some(RoutedBatch { results, chains, pass }) });
        }
        self.run_companies_of(&events, routed).await;
    }

    /// Runs events through the platform chain of this moment. Without one they come back, to wait.
    async fn route(&mut self, events: Vec<SourceEvent>) -> Result<(Vec<SourceEvent>, RoutedBatch), Batch> {
        let chains = self.parts.chains.load();
        let Some(platform) = chains.platform() else {
            tracing::error!(
                "the platform chain can't load and has no last good version: the partition waits until it can"
            );
            return Err(Batch { events, routed: None });
        };
        self.take_chains();
        let (oversized, events) = self.refuse_oversized(events);
        let events = Arc::new(events);
        let ran = match events.is_empty() {
            true => Ok((Vec::new(), Pass::of(super::chains::chain_number(&platform)))),
            false => self.runner.platform(&platform, &events).await,
        };
        let mut events: Vec<SourceEvent> = Arc::unwrap_or_clone(events);
        let (mut results, pass) = match ran {
            Ok(ran) => ran,
            Err(reason) => {
                tracing::warn!(reason, "the platform chain could not run; trying again");
                self.failing.failed(None, platform.digest(), reason);
                self.rests_until = Some(Instant::now() + PLATFORM_AGAIN);
                events.extend(oversized);
                events.sort_unstable_by_key(|event| event.sequence);
                return Err(Batch { events, routed: None });
            }
        };
        self.failing.ran(None);
        merge_oversized(&mut events, &mut results, oversized, self.parts.settings.event_bytes_max);
        Ok((events, RoutedBatch { results, chains, pass }))
    }

    /// Runs what fits one commit through the companies' chains, and plans that commit.
    async fn run_companies_of(&mut self, events: &[SourceEvent], routed: RoutedBatch) {
        let ran = self.run_companies(&routed.chains, &routed.results).await;
        let kept: Vec<Company> = ran.iter().filter(|(_, ran)| wrote(ran)).map(|(company, _)| company.clone()).collect();
        let commit = self.owner.plan_batch(events, routed.results, &routed.pass, ran);
        for company in kept {
            // A part that ran but had to wait after all left its writes in memory.
            let waits = commit.parts.iter().any(|part| part.company == company && !part.backlog_add.is_empty());
            if waits {
                self.states.forget(&company);
            } else {
                self.states.planned(&company, commit.name.number);
            }
        }
        self.send(commit).await;
    }

    async fn run_companies(
        &mut self,
        chains: &Arc<crate::modules::Chains>,
        routed: &[Routed],
    ) -> HashMap<Company, Ran> {
        let mut parts: HashMap<Company, Vec<Input>> = HashMap::new();
        for routed in routed {
            if let Routed::Inputs(inputs) = routed {
                for input in inputs.iter().filter(|input| !self.waits(chains, &input.company)) {
                    parts.entry(input.company.clone()).or_default().push(input.clone());
                }
            }
        }
        self.runner.companies(chains, &mut self.states, &mut self.failing, parts).await
    }

    /// Must a company's inputs wait: behind others, or for another chain than the one that paused it?
    fn waits(&self, chains: &crate::modules::Chains, company: &Company) -> bool {
        let paused = || chains.digest(company).is_some_and(|digest| self.steps.is_paused(company, &digest));
        self.owner.waits(company) || paused()
    }

    fn refuse_oversized(&self, events: Vec<SourceEvent>) -> (Vec<SourceEvent>, Vec<SourceEvent>) {
        let most = self.parts.settings.event_bytes_max;
        events.into_iter().partition(|event| event.payload.len() > most)
    }

    /// While an empty store is filled, what is older than the rebuild's window is passed over.
    async fn skip_old(&mut self, mut events: Vec<SourceEvent>) -> Vec<SourceEvent> {
        let too_old = self.filling.as_mut().map_or(0, |filling| filling.too_old(&events));
        let kept = events.split_off(too_old);
        if let Some(last) = events.last() {
            let commit = self.owner.plan_skip(last.sequence, last.time_ms);
            self.send(commit).await;
        }
        kept
    }

    async fn unreadable(&mut self, event: SourceEvent, reason: &str) {
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
    async fn lost(&mut self, count: Option<u64>, number: u64) {
        tracing::warn!(count, "the source lost events; every stream is told");
        self.parts.metrics.source_lost(count);
        self.owner.source_lost(number, self.parts.clock.now_ms());
        self.received = self.received.max(self.owner.checkpoint().sequence);
        let commit = self.owner.plan_idle(None);
        self.send(commit).await;
    }

    /// An operator took single messages out: nothing that a client could still expect.
    fn deleted(&self, count: u64) {
        tracing::warn!(count, "messages were deleted from the stream before they were read");
        self.parts.metrics.source_deleted(count);
    }

    /// A consumer was made, at this sequence: is it the stream the checkpoint speaks of? False: read again from where it
    /// begins.
    async fn attached(&mut self, number: u64) -> bool {
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
        if let Some(first) = self.first.take() {
            let until = Place { sequence: number, time_ms: self.parts.clock.now_ms(), ..first.until };
            let commit = self.owner.plan_first(Rebuild { until, ..first }, false);
            self.send(commit).await;
            self.unheard = false;
        }
        if self.owner.has_news() {
            let commit = self.owner.plan_idle(None);
            self.send(commit).await;
        }
        // Only now somebody listens again: what was published until this moment is gone where the source keeps nothing.
        if std::mem::take(&mut self.unheard) && self.source.kind() == "core" {
            self.lost(None, number).await;
        }
        let same = self.owner.checkpoint().sequence == self.received || continuity == Continuity::Same;
        self.received = self.owner.checkpoint().sequence.max(if same { self.received } else { 0 });
        same
    }

    async fn step(&mut self, done: StepDone) {
        match &done.tried {
            Some((_, Ok(()))) => self.failing.ran(Some(&done.company)),
            Some((chain, Err(reason))) => self.failing.failed(Some(&done.company), chain, reason.clone()),
            None => {}
        }
        if done.inputs.is_empty() {
            self.steps.ended_empty(&done.company, done.again, done.paused.as_ref());
            if let Some(state) = done.state {
                self.states.put(&done.company, state);
            }
            return;
        }
        match self.owner.plan_step(&done.company, &done.inputs, &done.verdicts, done.writes.clone(), &done.pass) {
            Ok(commit) => {
                self.steps.ended(&done.company, commit.name.number, done.paused.as_ref());
                if !done.writes.is_empty() {
                    self.states.planned(&done.company, commit.name.number);
                }
                if let Some(state) = done.state {
                    self.states.put(&done.company, state);
                }
                self.parts.metrics.backlog(&done.company, self.owner.company(&done.company).waiting);
                self.send(commit).await;
            }
            Err(tidegate_core::owner::TooBig) => {
                self.states.forget(&done.company);
                self.steps.too_big(&done.company, done.inputs.len());
            }
        }
    }

    fn begin_steps(&mut self) {
        if self.sent - self.stored >= COMMITS_IN_FLIGHT as u64 {
            return;
        }
        // Not those that no commit names yet: should this host die, what a step made of them would be followed by older ones.
        let Some(chains) = self.named.clone() else { return };
        for (company, chain, inputs) in steps::next(&mut self.steps, &self.owner, &chains, self.stored) {
            let (parts, done, caps) = (Arc::clone(&self.parts), self.step_done.0.clone(), self.parts.settings.caps());
            let states = self.states.take(&company);
            self.parts.tasks.spawn("backlog step", async move {
                let state = if chain.is_stateful() { states.await } else { Some(tidegate_filter::ChainState::new()) };
                match state {
                    Some(state) => steps::run(parts, company, chain, inputs, Some(state), caps, done).await,
                    None => {
                        // Its state is in a commit on its way, or the store does not answer.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        drop(done.send(StepDone::nothing(company)).await);
                    }
                }
            });
        }
    }

    /// Looks at a backlog that nobody works off, beside everything else.
    fn begin_expiry(&mut self) {
        if !self.look_for_overdue || self.sent - self.stored >= COMMITS_IN_FLIGHT as u64 {
            return;
        }
        self.look_for_overdue = false;
        let chains = self.parts.chains.load();
        let newest_ms = self.parts.hub.checkpoint().map_or(0, |place| place.time_ms);
        if let Some(company) = steps::expire(&mut self.steps, &self.owner, &chains, self.stored, newest_ms) {
            let (parts, caps, done) = (Arc::clone(&self.parts), self.parts.settings.caps(), self.overdue.0.clone());
            self.parts.tasks.spawn("backlog expiry", steps::run_expiry(parts, company, caps, done));
        }
    }

    /// Makes letters of what waited too long.
    async fn expire(&mut self, overdue: Overdue) {
        let Overdue { company, inputs, due_ms } = overdue;
        self.look_for_overdue = true;
        let fault = backlog::too_old(self.parts.settings.caps());
        let verdicts: Vec<Verdict> = inputs.iter().map(|_| Verdict::Dead(fault.clone())).collect();
        // Letters are no outputs: they always fit one commit.
        let planned = match inputs.is_empty() {
            true => None,
            false => self.owner.plan_step(&company, &inputs, &verdicts, Vec::new(), &Pass::default()).ok(),
        };
        let Some(commit) = planned else { return self.steps.looked(&company, due_ms) };
        self.steps.expired(&company, commit.name.number);
        self.expiry = Some(commit.name.number);
        self.parts.metrics.backlog(&company, self.owner.company(&company).waiting);
        self.send(commit).await;
    }

    /// The name of the last stored commit.
    fn stored_name(&self) -> CommitName {
        if self.stored == self.before.number {
            self.before
        } else {
            CommitName { token: self.token, number: self.stored }
        }
    }

    fn stored_up_to(&mut self, number: u64) {
        self.stored = number;
        self.parts.health.owner(true);
        self.states.stored(number);
        self.look_for_overdue |= self.expiry.take_if(|expiry| *expiry <= number).is_some();
        let modules = &self.parts.modules;
        drop(self.naming.take_if(|(named_in, names)| *named_in <= number && modules.committed(names.clone())));
    }

    /// Four times a second: lag, the backlog's metrics, and the checkpoint of an idle partition. `idle`: nothing that was
    /// received waits to be taken in, and what comes would be.
    async fn upkeep(&mut self, idle: bool) -> Upkeep {
        self.look_for_overdue = true;
        for (company, head) in self.owner.waiting() {
            self.parts.metrics.backlog(company, head.waiting);
        }
        let chains = self.parts.chains.load();
        self.parts.health.paused(self.steps.paused(|company| chains.digest(company)));
        self.parts.health.can_not_run(self.failing.told(|company| match company {
            Some(company) => chains.digest(company),
            None => chains.platform().map(|chain| Arc::clone(chain.digest())),
        }));
        self.note_rebuild();
        let connected = self.source.connected();
        self.parts.health.source(connected);
        self.note_lag(connected).await;
        if self.sent > self.stored || self.received_at.elapsed() < WEDGE {
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
        match self.idle().await {
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

    async fn send(&mut self, mut commit: Commit) {
        if let Some(filling) = &self.filling {
            filling.withhold(&mut commit);
        }
        self.sent = commit.name.number;
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

/// Events on their way to a commit.
struct Batch {
    events: Vec<SourceEvent>,
    /// What the platform chain made of them, once it has run.
    routed: Option<RoutedBatch>,
}

/// What the platform chain made of a batch, and the chains of that moment: they are the whole batch's.
struct RoutedBatch {
    results: Vec<Routed>,
    chains: Arc<crate::modules::Chains>,
    /// What the platform's filters took for all of it.
    pass: Pass,
}

/// What upkeep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upkeep {
    /// Nothing to do.
    Fine,
    /// The reader has to be made anew.
    ReadAgain,
    /// The store is not where it was.
    WentBack,
}

/// A reader and the queue it fills.
struct Reader {
    intake: Intake,
    failure: Option<tokio::sync::oneshot::Receiver<Result<(), SourceError>>>,
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    /// Tells why it ended, and waits before the next one.
    async fn failed(&mut self, parts: &Parts, pause: Duration, stop: &CancellationToken) {
        if let Some(failure) = self.failure.take()
            && let Ok(Err(error)) = failure.await
        {
            parts.health.source_failed(&error);
            tracing::warn!(error = %error, "the reader ended; starting again from the checkpoint");
        }
        wait_or_stop(pause.mul_f64(0.5 + rand::random::<f64>()), stop).await;
    }
}

fn wrote(ran: &Ran) -> bool {
    matches!(ran, Ran::Done { writes, .. } if !writes.is_empty())
}

/// Puts events that are too large for any filter back in their order, as dead letters.
fn merge_oversized(events: &mut Vec<SourceEvent>, routed: &mut Vec<Routed>, oversized: Vec<SourceEvent>, most: usize) {
    for event in oversized {
        let at = events.partition_point(|other| other.sequence < event.sequence);
        let reason =
            format!("its payload has {} bytes; at most {most} are taken (limits.event-bytes)", event.payload.len());
        routed.insert(
            at,
            Routed::Dead(Fault { kind: "too large", reason: reason.into(), module: None, backtrace: None }),
        );
        events.insert(at, event);
    }
}

fn tell_continuity(parts: &Parts, continuity: Continuity, owner: &Owner) {
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
