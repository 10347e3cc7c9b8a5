//! Runs batches through the chains: platform first, then the companies side by side.

use super::failing::Failing;
use super::guests::Guests;
use super::shown::Onlooker;
use super::states::States;
use crate::modules::folder::PLATFORM;
use crate::modules::{Chains, Slot};
use crate::telemetry::{Chain as ChainKind, Metrics};
use futures_util::future::join_all;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_core::commit::StateWrite;
use tidegate_core::event::{Company, Input, SourceEvent};
use tidegate_core::limits::BATCH_BUDGET_MS;
use tidegate_core::owner::{Ran, Routed};
use tidegate_core::record::{FilterTime, Pass};
use tidegate_core::retry::Retry;
use tidegate_core::share::Shares;
use tidegate_filter::{
    Budget, Chain, ChainState, CompanyRun, FilterTiming, Interrupted, PlatformVerdict, Skipped, Worker, thread_time,
};

/// Why a run has no end, where a guest thread's log says more.
pub const LOST: &str = "the run was lost to a fault of the host";
/// The least events a piece of a batch has: below, handing it over costs more than running it.
const PIECE_EVENTS: usize = 32;

/// What drops a retried letter, in a filter's place, and why it may come to nothing.
const RETRIED: &str = "dlq retry";
const NO_PART: &str = "retried for a part that the platform chain does not make of it any more";

/// Runs chains on a pool of guest threads.
#[derive(Debug)]
pub struct ChainRunner {
    guests: Arc<Guests>,
    metrics: Metrics,
    onlooker: Onlooker,
    shares: Shares,
    /// From where the time of shares is counted.
    began: Instant,
}

impl ChainRunner {
    /// A runner on this pool.
    #[must_use]
    pub fn new(guests: Arc<Guests>, metrics: Metrics, onlooker: Onlooker) -> Self {
        Self { guests, metrics, onlooker, shares: Shares::default(), began: Instant::now() }
    }

    /// Runs events through the platform chain, in pieces side by side, and puts them back in order.
    ///
    /// # Errors
    /// A piece could not run, and why: nothing passes a chain that is not there. Run all of them again, through the chain of
    /// then.
    pub async fn platform(
        &self,
        chain: &Arc<Chain>,
        events: &Arc<Vec<SourceEvent>>,
    ) -> Result<(Vec<Routed>, Pass), String> {
        let piece = events.len().div_ceil(self.guests.threads().max(1)).max(PIECE_EVENTS);
        let starts = (0..events.len()).step_by(piece);
        let pieces = starts.map(|start| self.platform_piece(chain, events, start, (start + piece).min(events.len())));
        let (mut all, mut timings) = (Vec::with_capacity(events.len()), Vec::new());
        for piece in join_all(pieces).await {
            let (routed, taken) = piece?;
            all.extend(routed);
            timings.extend(taken);
        }
        let all: Vec<Routed> = events.iter().zip(all).map(|(event, routed)| narrowed(event, routed)).collect();
        self.onlooker.platform(events, &all);
        Ok((all, pass(chain, &timings)))
    }

    async fn platform_piece(
        &self,
        chain: &Arc<Chain>,
        events: &Arc<Vec<SourceEvent>>,
        from: usize,
        to: usize,
    ) -> Result<(Vec<Routed>, Vec<FilterTiming>), String> {
        let (chain, events) = (Arc::clone(chain), Arc::clone(events));
        let ran = self.guests.run(move |worker| worker.run_platform(&chain, &events[from..to])).await;
        match ran {
            Some(Ok(run)) => {
                self.note(ChainKind::Platform, PLATFORM, &run.timings, &run.skipped);
                Ok((run.verdicts.into_iter().map(routed).collect(), run.timings))
            }
            Some(Err(interrupted)) => Err(interrupted.to_string()),
            None => Err(LOST.to_owned()),
        }
    }

    /// Runs each company's part of a batch, side by side, within the batch's time. Who is not through, is missing.
    pub async fn companies(
        &mut self,
        chains: &Arc<Chains>,
        states: &mut States,
        failing: &mut Failing,
        parts: HashMap<Company, Vec<Input>>,
    ) -> HashMap<Company, Ran> {
        let deadline = Instant::now() + Duration::from_millis(BATCH_BUDGET_MS);
        let mut order: Vec<(Company, Vec<Input>)> = parts.into_iter().collect();
        // A company that is known to be slow must not stand in a quick one's way.
        order.sort_by_cached_key(|(company, _)| self.shares.slowness(company));
        let now_ms = self.now_ms();
        let (mut ready, mut later) = (Vec::with_capacity(order.len()), Vec::new());
        let mut done = HashMap::with_capacity(order.len());
        for (company, inputs) in order {
            let Slot::Ready(chain) = chains.company(&company) else {
                done.insert(company, Ran::Left);
                continue;
            };
            if chain.filters().is_empty() {
                done.insert(company, pass_on(&chain, &inputs));
                continue;
            }
            if !self.shares.allows(&company, now_ms) {
                done.insert(company, Ran::Left);
                continue;
            }
            let state = if chain.is_stateful() { states.kept(&company) } else { Some(ChainState::new()) };
            match state {
                Some(state) => ready.push(self.part(company, chain, inputs, state)),
                None => {
                    let state = states.read(&company);
                    later.push(async {
                        // Read side by side and within the batch's time: a slow store is no company's fault.
                        match tokio::time::timeout_at(deadline.into(), state).await.ok().flatten() {
                            Some(state) => {
                                self.run_parts(vec![self.part(company, chain, inputs, state)], deadline).await
                            }
                            None => vec![Outcome::not_run(company, chain, inputs.len())],
                        }
                    });
                }
            }
        }
        let (ran, ran_later) = tokio::join!(self.run_parts(ready, deadline), join_all(later));
        for outcome in ran.into_iter().chain(ran_later.into_iter().flatten()) {
            let Outcome { company, chain, run, state, inputs, looked_on, took } = outcome;
            if chain.is_stateful()
                && let Some(state) = state
            {
                states.put(&company, state);
            }
            let now_ms = self.now_ms();
            let started = matches!(run, Some(Err(Interrupted::Cold(_) | Interrupted::NotReady(_))));
            if took > Duration::ZERO && !started {
                self.shares.took(&company, gone_through(run.as_ref(), inputs), took.as_micros() as u64, now_ms);
            }
            match &run {
                Some(Ok(_)) => failing.ran(Some(&company)),
                Some(Err(Interrupted::NotReady(reason))) => {
                    failing.failed(Some(&company), chain.digest(), reason.clone());
                }
                Some(Err(Interrupted::Budget | Interrupted::Cold(_))) | None => {}
            }
            let result = match run {
                Some(Ok(run)) if run.paused.is_none() => {
                    self.onlooker.company(&looked_on, &run.verdicts);
                    self.note(ChainKind::Company, chains.folder(&company), &run.timings, &run.skipped);
                    finished(&chain, run)
                }
                // Paused: the part waits whole, and the state this run wrote is not the committed one.
                Some(Ok(run)) => {
                    self.note(ChainKind::Company, chains.folder(&company), &run.timings, &run.skipped);
                    states.forget(&company);
                    Ran::Left
                }
                // One that starts slowly is started where the backlog is worked on.
                Some(Err(Interrupted::Budget | Interrupted::Cold(_))) => Ran::Left,
                Some(Err(Interrupted::NotReady(reason))) => {
                    tracing::warn!(companyId = %company, reason, "a company's chain could not run; its events wait");
                    Ran::Left
                }
                None => Ran::Left,
            };
            done.insert(company, result);
        }
        done
    }

    fn part(&self, company: Company, chain: Arc<Chain>, inputs: Vec<Input>, state: ChainState) -> Part {
        let looked_on = if self.onlooker.is_there() { inputs.clone() } else { Vec::new() };
        Part { company, chain, inputs, state, looked_on }
    }

    /// Runs parts in their order, side by side: a thread takes the next one when it is through with the last.
    async fn run_parts(&self, parts: Vec<Part>, deadline: Instant) -> Vec<Outcome> {
        let threads = self.guests.threads().min(parts.len());
        let named = |part: &Part| (part.company.clone(), Arc::clone(&part.chain), part.inputs.len());
        let all: Vec<_> = parts.iter().map(named).collect();
        let parts = Arc::new(Mutex::new((VecDeque::from(parts), Vec::new())));
        let next = |parts: &Mutex<Parts>| parts.lock().unwrap_or_else(PoisonError::into_inner).0.pop_front();
        let on_a_thread = || {
            let parts = Arc::clone(&parts);
            self.guests.run(move |worker| {
                while let Some(part) = next(&parts) {
                    let outcome = part.run(worker, deadline);
                    parts.lock().unwrap_or_else(PoisonError::into_inner).1.push(outcome);
                }
            })
        };
        let (mut waiting, mut ran) = (all.len(), Vec::with_capacity(all.len()));
        while waiting > 0 {
            join_all((0..threads).map(|_| on_a_thread())).await;
            let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
            ran.append(&mut parts.1);
            // Threads that panic take one part with them, and leave the others.
            if parts.0.len() == waiting {
                break;
            }
            waiting = parts.0.len();
        }
        if ran.len() < all.len() {
            let there: HashSet<Company> = ran.iter().map(|outcome: &Outcome| outcome.company.clone()).collect();
            for (company, chain, inputs) in all.into_iter().filter(|(company, ..)| !there.contains(company)) {
                let run = Some(Err(Interrupted::NotReady(LOST.to_owned())));
                ran.push(Outcome { run, ..Outcome::not_run(company, chain, inputs) });
            }
        }
        ran
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn note(&self, kind: ChainKind, folder: &str, timings: &[FilterTiming], skipped: &[Skipped]) {
        note(&self.metrics, kind, folder, timings, skipped);
    }
}

/// How many of its inputs a run has been through, where that is known.
fn gone_through(run: Option<&Result<CompanyRun, Interrupted>>, inputs: usize) -> Option<usize> {
    match run {
        Some(Ok(run)) => Some(run.paused.as_ref().map_or(inputs, |paused| paused.input + 1)),
        Some(Err(_)) | None => None,
    }
}

/// What a company has to do of a batch.
struct Part {
    company: Company,
    chain: Arc<Chain>,
    inputs: Vec<Input>,
    state: ChainState,
    /// The inputs again, for an onlooker.
    looked_on: Vec<Input>,
}

/// Those that wait for a thread, and what became of the others.
type Parts = (VecDeque<Part>, Vec<Outcome>);

impl Part {
    fn run(self, worker: &mut Worker, deadline: Instant) -> Outcome {
        let Self { company, chain, inputs, mut state, looked_on } = self;
        let (began, before) = (Instant::now(), thread_time());
        let (run, took) = if began < deadline {
            let budget = Budget { deadline: Some(deadline), ..Budget::default() };
            let run = worker.run_company(&chain, &company, &inputs, &mut state, budget);
            // A thread that did not run held nobody up, and is no company's fault.
            let took = before.zip(thread_time()).map(|(before, now)| now.saturating_sub(before));
            (run, took.unwrap_or_else(|| began.elapsed()))
        } else {
            // Whoever gets a thread after the time is over waits, without having been tried.
            (Err(Interrupted::Budget), Duration::ZERO)
        };
        Outcome { company, chain, run: Some(run), state: Some(state), inputs: inputs.len(), looked_on, took }
    }
}

struct Outcome {
    company: Company,
    chain: Arc<Chain>,
    run: Option<Result<CompanyRun, Interrupted>>,
    state: Option<ChainState>,
    inputs: usize,
    /// Those inputs, for an onlooker.
    looked_on: Vec<Input>,
    /// Processor time of its thread.
    took: Duration,
}

impl Outcome {
    fn not_run(company: Company, chain: Arc<Chain>, inputs: usize) -> Self {
        Self { company, chain, run: None, state: None, inputs, looked_on: Vec::new(), took: Duration::ZERO }
    }
}

/// Counts calls, and failures that the deployer chose to skip; those that became dead letters count with their commit.
pub fn note(metrics: &Metrics, kind: ChainKind, folder: &str, timings: &[FilterTiming], skipped: &[Skipped]) {
    for skip in skipped {
        metrics.filter_error(skip.fault.kind);
        tracing::warn!(reason = %skip.fault.reason, module = skip.fault.module.as_deref(), "an event was skipped");
    }
    for timing in timings {
        metrics.figures().ran(folder, timing);
        for call in &timing.calls {
            metrics.filter_called(kind, *call);
        }
    }
}

/// A chain without filters passes everything on as it is.
pub fn pass_on(chain: &Chain, inputs: &[Input]) -> Ran {
    use tidegate_core::event::{Fault, Output, Verdict};
    let verdict = |input: &Input| match std::str::from_utf8(&input.data) {
        Ok(text) if !text.contains('\0') => {
            Verdict::Emitted(vec![Output { event_type: input.event_type.clone(), data: input.data.clone() }])
        }
        _ => {
            let reason = "its data is not UTF-8, or holds a NUL, which no event stream can carry";
            Verdict::Dead(Fault { kind: "not UTF-8", reason: reason.into(), module: None, backtrace: None })
        }
    };
    Ran::Done {
        verdicts: inputs.iter().map(verdict).collect(),
        writes: Vec::new(),
        pass: Pass::of(chain_number(chain)),
    }
}

/// First half of a chain's digest as a number: what an entry is stamped with.
#[must_use]
pub fn chain_number(chain: &Chain) -> u64 {
    chain.digest().get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

/// What a chain's filters took, those of several pieces together.
#[must_use]
pub fn pass(chain: &Chain, timings: &[FilterTiming]) -> Pass {
    let mut filters: Vec<FilterTime> = Vec::with_capacity(chain.filters().len());
    for timing in timings {
        let taken = FilterTime {
            filter: timing.filter.clone(),
            calls: timing.calls.len() as u32,
            micros: timing.calls.iter().map(Duration::as_micros).sum::<u128>() as u64,
            events: timing.events as u32,
        };
        match filters.iter_mut().find(|known| known.filter == taken.filter) {
            Some(known) => {
                known.calls += taken.calls;
                known.micros += taken.micros;
                known.events += taken.events;
            }
            None => filters.push(taken),
        }
    }
    Pass { chain: chain_number(chain), filters }
}

/// A run's writes in the form in which they are committed.
pub fn writes(run: &[tidegate_filter::StateWrite]) -> Vec<StateWrite> {
    let write = |write: &tidegate_filter::StateWrite| StateWrite {
        filter: write.filter.clone(),
        key: Arc::from(&*write.key),
        value: write.value.clone(),
    };
    run.iter().map(write).collect()
}

fn finished(chain: &Chain, run: CompanyRun) -> Ran {
    Ran::Done { writes: writes(&run.writes), verdicts: run.verdicts, pass: pass(chain, &run.timings) }
}

/// A retried dead letter is for the part that had failed: the others were served when it first came.
fn narrowed(event: &SourceEvent, routed: Routed) -> Routed {
    let (Some(retry), Routed::Inputs(inputs)) = (Retry::of(&event.headers), &routed) else { return routed };
    let part: Vec<Input> = inputs.iter().filter(|input| retry.is_for(input)).cloned().collect();
    if part.is_empty() {
        Routed::Dropped { filter: RETRIED.into(), reason: NO_PART.into() }
    } else {
        Routed::Inputs(part)
    }
}

fn routed(verdict: PlatformVerdict) -> Routed {
    match verdict {
        PlatformVerdict::Emitted(inputs) => Routed::Inputs(inputs),
        PlatformVerdict::Dropped { filter, reason } => Routed::Dropped { filter, reason },
        PlatformVerdict::Dead(fault) => Routed::Dead(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_retried_letter_goes_to_the_part_alone_that_had_failed() {
        let event = |headers: &'static [u8]| SourceEvent {
            sequence: 1,
            time_ms: 1,
            subject: "s".into(),
            headers: Bytes::from_static(headers),
            payload: Bytes::new(),
        };
        let input = |emission, company: &str| Input {
            source: event(b""),
            emission,
            company: Company::new(company).expect("a name"),
            event_type: "t".into(),
            data: Bytes::new(),
        };
        let all = || Routed::Inputs(vec![input(0, "a"), input(1, "b"), input(2, "a")]);
        let kept = |headers: &'static [u8]| match narrowed(&event(headers), all()) {
            Routed::Inputs(inputs) => inputs.iter().map(|input| (input.emission, input.company.to_string())).collect(),
            Routed::Dropped { .. } | Routed::Dead(_) => Vec::new(),
        };
        assert_eq!(kept(b"").len(), 3);
        assert_eq!(kept(b"Tidegate-Retry: 3 a\n"), [(2, "a".to_owned())]);
        assert_eq!(kept(b"Tidegate-Retry: 1 b\n"), [], "its company is another one's by now: nobody's twice");
    }
}
