//! Works companies' backlogs off, each at its own pace, beside the live batches.

use super::Parts;
use super::chains::{LOST, chain_number, note, pass, pass_on, writes};
use crate::modules::Chains;
use crate::store::StoreError;
use crate::telemetry::Chain as ChainKind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::backlog::{self, Caps};
use tidegate_core::commit::{StateWrite, Waiting};
use tidegate_core::event::{Company, Input, Verdict};
use tidegate_core::limits::{STEP_BYTES, STEP_INPUTS};
use tidegate_core::owner::{Owner, Ran};
use tidegate_core::record::Pass;
use tidegate_core::turns::Turns;
use tidegate_filter::{Budget, Chain, ChainState, Interrupted};
use tokio::sync::mpsc;

/// How long a step of several events may take.
const SLICE: Duration = Duration::from_millis(200);
/// Steps on their way at a time: as many as there are threads for them, and one to read ahead.
const STEPS: usize = 3;

/// What a step made of the oldest waiting inputs of a company.
#[derive(Debug)]
pub struct StepDone {
    /// Whose backlog.
    pub company: Company,
    /// The inputs, whole events; empty when nothing could be done now.
    pub inputs: Vec<Waiting>,
    /// One for each input.
    pub verdicts: Vec<Verdict>,
    /// What the filters wrote.
    pub writes: Vec<StateWrite>,
    /// The chain, and what its filters took.
    pub pass: Pass,
    /// The state after it.
    pub state: Option<ChainState>,
    /// A filter paused the company under this chain.
    pub paused: Option<Arc<str>>,
    /// To be run again with at most so many inputs: a filter paused in the middle of an event.
    pub again: Option<usize>,
    /// The digest of the chain that was tried, and why it could not be run where it could not.
    pub tried: Option<(Arc<str>, Result<(), String>)>,
}

impl StepDone {
    /// Nothing could be done.
    #[must_use]
    pub fn nothing(company: Company) -> Self {
        let (inputs, verdicts, writes) = (Vec::new(), Vec::new(), Vec::new());
        let pass = Pass::default();
        Self { company, inputs, verdicts, writes, pass, state: None, paused: None, again: None, tried: None }
    }
}

/// What of a backlog that nobody works off has waited too long.
#[derive(Debug)]
pub struct Overdue {
    /// Whose backlog.
    pub company: Company,
    /// The oldest inputs, whole events, all of which waited too long.
    pub inputs: Vec<Waiting>,
    /// Where there are none: the source time from which on there may be some. `None`: it could not be read.
    pub due_ms: Option<u64>,
}

/// The companies whose next step can begin, with their chains and how many inputs it may take.
pub fn next(turns: &mut Turns, owner: &Owner, chains: &Chains, stored: u64) -> Vec<(Company, Arc<Chain>, usize)> {
    let waiting = owner.waiting().map(|(company, _)| company.clone()).collect();
    let next = turns.next(waiting, |company| chains.digest(company), stored, STEPS);
    next.into_iter().filter_map(|(company, inputs)| Some((company.clone(), chains.ready(&company)?, inputs))).collect()
}

/// The company whose oldest inputs are looked at next, though it is paused or has no chain that loads.
pub fn expire(turns: &mut Turns, owner: &Owner, chains: &Chains, stored: u64, newest_ms: u64) -> Option<Company> {
    let waiting = owner.waiting().map(|(company, _)| company);
    turns.expire(waiting, |company| chains.digest(company), stored, newest_ms)
}

/// Looks for what waited too long. It always sends its end, so that the next company is looked at.
pub async fn run_expiry(parts: Arc<Parts>, company: Company, caps: Caps, done: mpsc::Sender<Overdue>) {
    let (mut inputs, mut due_ms) = (Vec::new(), None);
    match oldest(&parts, &company, STEP_INPUTS).await {
        Ok(mut page) => {
            due_ms = page.first().map(|waiting| waiting.input.source.time_ms.saturating_add(caps.age_ms_max));
            page.truncate(overdue(&parts, &page, caps));
            inputs = page;
        }
        Err(error) => {
            tracing::warn!(companyId = %company, error = %error, "a backlog can't be read; trying again");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    // The receiver is gone only when the partition was given up; then nobody waits for it.
    drop(done.send(Overdue { company, inputs, due_ms }).await);
}

/// How many inputs at the head of whole events have waited too long.
fn overdue(parts: &Parts, page: &[Waiting], caps: Caps) -> usize {
    let newest_ms = parts.hub.checkpoint().map_or(0, |place| place.time_ms);
    page.iter().take_while(|waiting| backlog::overdue(waiting, newest_ms, caps)).count()
}

/// The oldest waiting inputs of a company: whole events, about so many inputs.
async fn oldest(parts: &Parts, company: &Company, inputs: usize) -> Result<Vec<Waiting>, StoreError> {
    // One more than is taken shows whether the last event goes on.
    let mut wanted = (inputs + 1, STEP_BYTES);
    loop {
        let mut page = parts.store.waiting(company, wanted.0, wanted.1).await?;
        let bytes: usize = page.iter().map(|waiting| waiting.input.weight()).sum();
        let complete = page.len() < wanted.0 && bytes < wanted.1;
        match backlog::whole_step(&page, inputs, complete) {
            None if !page.is_empty() => wanted = (wanted.0 * 2, wanted.1 * 2),
            length => {
                page.truncate(length.unwrap_or(0));
                return Ok(page);
            }
        }
    }
}

/// Runs one step. It always sends its end, so that the company's turn comes again.
pub async fn run(
    parts: Arc<Parts>,
    company: Company,
    chain: Arc<Chain>,
    inputs: usize,
    state: Option<ChainState>,
    caps: Caps,
    done: mpsc::Sender<StepDone>,
) {
    let end = step(&parts, &company, &chain, inputs, state, caps).await;
    parts.onlooker.company(end.inputs.iter().map(|waiting| &waiting.input), &end.verdicts);
    // The receiver is gone only when the partition was given up; then nobody waits for it.
    drop(done.send(end).await);
}

async fn step(
    parts: &Parts,
    company: &Company,
    chain: &Arc<Chain>,
    inputs: usize,
    state: Option<ChainState>,
    caps: Caps,
) -> StepDone {
    let nothing = |state| StepDone { pass: Pass::of(chain_number(chain)), state, ..StepDone::nothing(company.clone()) };
    let mut taken = match oldest(parts, company, inputs).await {
        Ok(page) => page,
        Err(error) => {
            tracing::warn!(companyId = %company, error = %error, "a backlog can't be read; trying again");
            tokio::time::sleep(Duration::from_millis(500)).await;
            return nothing(state);
        }
    };
    if taken.is_empty() {
        // What is planned to wait is not stored yet.
        tokio::time::sleep(Duration::from_millis(5)).await;
        return nothing(state);
    }
    let overdue = overdue(parts, &taken, caps);
    if overdue > 0 {
        // The oldest come first, so these are the first ones of the step.
        taken.truncate(overdue);
        let verdicts = taken.iter().map(|_| Verdict::Dead(backlog::too_old(caps))).collect();
        return StepDone { inputs: taken, verdicts, ..nothing(state) };
    }
    let plain: Vec<Input> = taken.iter().map(|waiting| waiting.input.clone()).collect();
    if chain.filters().is_empty() {
        if let Ran::Done { verdicts, writes, pass } = pass_on(chain, &plain) {
            return StepDone { inputs: taken, verdicts, writes, pass, ..nothing(state) };
        }
        return nothing(state);
    }
    // One event gets all the time its filters may take; several share a slice, so that others have their turn.
    let several = backlog::whole_events(&taken, taken.len().saturating_sub(1)) > 0;
    let count = taken.len();
    let tried = |result: Result<(), String>| Some((Arc::clone(chain.digest()), result));
    let (runs, name, mut moved) = (Arc::clone(chain), company.clone(), state.unwrap_or_default());
    let ran = parts
        .backlog_guests
        .run(move |worker| {
            // A start has its own limits; the next batch finds the instance.
            if let Err(interrupted) = worker.pool().warm(&runs, Some(&name), 1) {
                return (Err(interrupted), moved);
            }
            let deadline = several.then(|| Instant::now() + SLICE);
            let run = worker.run_company(&runs, &name, &plain, &mut moved, Budget { deadline, ..Budget::default() });
            (run, moved)
        })
        .await;
    match ran {
        Some((Ok(run), state)) => {
            let folders = parts.chains.load();
            note(&parts.metrics, ChainKind::Company, folders.folder(company), &run.timings, &run.skipped);
            let Some(paused) = &run.paused else {
                return StepDone {
                    inputs: taken,
                    verdicts: run.verdicts,
                    writes: writes(&run.writes),
                    pass: pass(chain, &run.timings),
                    tried: tried(Ok(())),
                    ..nothing(Some(state))
                };
            };
            tracing::warn!(companyId = %company, reason = %paused.fault.reason, module = paused.fault.module.as_deref(), "company paused: its events wait until its chain changes");
            // A commit takes whole events: one that has run in part runs again with the rest of it.
            let through = backlog::whole_events(&taken, run.verdicts.len());
            if through < run.verdicts.len() && through > 0 {
                return StepDone { again: Some(through), tried: tried(Ok(())), ..nothing(None) };
            }
            taken.truncate(through);
            let whole = through == run.verdicts.len();
            StepDone {
                inputs: taken,
                verdicts: if whole { run.verdicts } else { Vec::new() },
                writes: if whole { writes(&run.writes) } else { Vec::new() },
                pass: pass(chain, &run.timings),
                paused: Some(chain.digest().clone()),
                tried: tried(Ok(())),
                ..nothing(whole.then_some(state))
            }
        }
        Some((Err(Interrupted::Budget), state)) => StepDone { again: Some((count / 2).max(1)), ..nothing(Some(state)) },
        Some((Err(interrupted), state)) => {
            tracing::warn!(companyId = %company, reason = %interrupted, "a backlog step could not run; trying again");
            tokio::time::sleep(Duration::from_millis(200)).await;
            StepDone { tried: tried(Err(interrupted.to_string())), ..nothing(Some(state)) }
        }
        None => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            StepDone { tried: tried(Err(LOST.to_owned())), ..nothing(None) }
        }
    }
}
