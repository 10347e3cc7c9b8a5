//! A company's chain over its part of a batch.

use crate::call::{Answer, Item};
use crate::chain::Chain;
use crate::check::Role;
use crate::error::Interrupted;
use crate::filter::OnError;
use crate::stage::{FilterTiming, Stage};
use crate::state::{ChainState, FilterState, Journal, StateWrite};
use crate::worker::Worker;
use std::sync::Arc;
use std::time::Instant;
use tidegate_core::event::{Company, Fault, Input, Output, Verdict};

/// What a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// When it has to be through; none: each call under its own limit only.
    pub deadline: Option<Instant>,
    /// Items that one input may become, at any place of the chain.
    pub outputs_max: usize,
    /// Bytes of their data together.
    pub output_bytes_max: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { deadline: None, outputs_max: 1000, output_bytes_max: 8 << 20 }
    }
}

/// What became of a company's part of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanyRun {
    /// One for each input in order; where the run paused, for the inputs before that one only.
    pub verdicts: Vec<Verdict>,
    /// What the filters remember otherwise than before: to be committed with the verdicts.
    pub writes: Vec<StateWrite>,
    /// A filter with `on-error = "pause"` failed here: this input and those after it are to wait.
    pub paused: Option<Paused>,
    /// Failures of filters with `on-error = "skip"`: told, not stored.
    pub skipped: Vec<Skipped>,
    /// What each filter took, repeated passes included.
    pub timings: Vec<FilterTiming>,
}

/// Where a run paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Which input.
    pub input: usize,
    /// Why.
    pub fault: Fault,
}

/// A failure that the deployer chose to skip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// At which input.
    pub input: usize,
    /// What happened.
    pub fault: Fault,
}

/// How a pass over the chain ends early.
enum End {
    Interrupted(Interrupted),
    Paused(Paused),
}

/// What becomes of one input while it passes.
enum Fate {
    Passing,
    Dropped { filter: Arc<str>, reason: Arc<str> },
    Dead(Fault),
}

impl Worker {
    /// Runs `inputs`, all of `company`, through its chain. `state` goes in as committed and comes out with the writes of
    /// this run; after an error it is as it went in.
    ///
    /// # Errors
    /// [`Interrupted`]: no verdict counts and no filter is to blame.
    pub fn run_company(
        &mut self,
        chain: &Chain,
        company: &Company,
        inputs: &[Input],
        state: &mut ChainState,
        budget: Budget,
    ) -> Result<CompanyRun, Interrupted> {
        let mut run = CompanyRun {
            verdicts: Vec::new(),
            writes: Vec::new(),
            paused: None,
            skipped: Vec::new(),
            timings: Vec::new(),
        };
        let mut upto = inputs.len();
        loop {
            let mut states: Vec<_> =
                chain.filters().iter().map(|filter| (state.take(filter.state_name()), Journal::default())).collect();
            run.skipped.clear();
            let end = self.pass(chain, company, &inputs[..upto], &mut states, &mut run, budget);
            for (filter, (remembered, journal)) in chain.filters().iter().zip(&mut states) {
                match &end {
                    Ok(_) => run.writes.extend(journal.writes(filter.state_name(), remembered)),
                    Err(_) => {
                        remembered.undo(journal);
                        if filter.code().imports_state() {
                            // What the guest keeps of its state in memory is no longer so.
                            self.pool.forget_filter(filter, company);
                        }
                    }
                }
                state.put_back(filter.state_name(), std::mem::take(remembered));
            }
            match end {
                Ok(verdicts) => {
                    run.verdicts = verdicts;
                    return Ok(run);
                }
                Err(End::Interrupted(interrupted)) => return Err(interrupted),
                Err(End::Paused(paused)) => {
                    // Later inputs have passed earlier filters already: from the start, without them.
                    upto = paused.input;
                    run.paused = Some(paused);
                }
            }
        }
    }

    fn pass(
        &mut self,
        chain: &Chain,
        company: &Company,
        inputs: &[Input],
        states: &mut [(FilterState, Journal)],
        run: &mut CompanyRun,
        budget: Budget,
    ) -> Result<Vec<Verdict>, End> {
        let mut fates: Vec<Fate> = inputs.iter().map(|_| Fate::Passing).collect();
        let mut items: Vec<Item> = inputs.iter().enumerate().map(|(index, input)| first_item(index, input)).collect();
        for (filter, (remembered, journal)) in chain.filters().iter().zip(states) {
            if items.is_empty() {
                break;
            }
            let mut stage = Stage {
                engine: &self.engine,
                filter,
                role: Role::Company,
                company: Some(company),
                sources: &|index| &inputs[index].source,
                inputs: inputs.len(),
                budget: budget.deadline,
                pool: &self.pool,
                flat: &mut self.flat,
                names: &mut self.names,
                state: remembered,
                journal,
                timing: FilterTiming::new(filter),
            };
            let answers = stage.run(&items);
            let taken = match answers {
                Ok(answers) => take_answers(&stage, &items, answers, &mut fates, &mut run.skipped, budget),
                Err(interrupted) => Err(End::Interrupted(interrupted)),
            };
            run.timings.push(stage.timing);
            items = taken?;
        }
        Ok(verdicts(fates, items))
    }
}

fn first_item(index: usize, input: &Input) -> Item {
    Item { input: index, companies: None, event_type: Some(input.event_type.clone()), data: input.data.clone() }
}

/// Notes what the filter answered and returns what goes on to the next one.
fn take_answers(
    stage: &Stage<'_, '_>,
    items: &[Item],
    answers: Vec<Answer>,
    fates: &mut [Fate],
    skipped: &mut Vec<Skipped>,
    budget: Budget,
) -> Result<Vec<Item>, End> {
    let mut next: Vec<Item> = Vec::with_capacity(items.len());
    let name = stage.filter.name();
    // Items of an input stand together, so that its sums can be kept as they pass.
    let (mut summed, mut outputs, mut bytes) = (usize::MAX, 0_usize, 0_usize);
    for (item, answer) in items.iter().zip(answers) {
        if summed != item.input {
            (summed, outputs, bytes) = (item.input, 0, 0);
        }
        let fate = &mut fates[item.input];
        match answer {
            Answer::Dropped(reason) => note_drop(fate, name, reason),
            Answer::Emitted(emitted) => {
                if emitted.is_empty() {
                    note_drop(fate, name, "".into());
                }
                outputs += emitted.len();
                bytes += emitted.iter().map(|item| item.data.len()).sum::<usize>();
                if outputs > budget.outputs_max || bytes > budget.output_bytes_max {
                    let text = format!(
                        "one event became {outputs} events of {bytes} bytes in this chain; {} of {} are allowed",
                        budget.outputs_max, budget.output_bytes_max
                    );
                    note_death(fate, stage.fault(item.input, crate::trap::Failure::new("output", text)));
                } else if !matches!(fate, Fate::Dead(_)) {
                    next.extend(emitted);
                }
            }
            Answer::Failed(failure) => {
                let fault = stage.fault(item.input, failure);
                match stage.filter.on_error() {
                    OnError::DeadLetter => note_death(fate, fault),
                    OnError::Skip => {
                        note_drop(fate, name, format!("skipped: {}", fault.kind).into());
                        skipped.push(Skipped { input: item.input, fault });
                    }
                    OnError::Pause => return Err(End::Paused(Paused { input: item.input, fault })),
                }
            }
        }
    }
    // One input is emitted whole or not at all.
    next.retain(|item| !matches!(fates[item.input], Fate::Dead(_)));
    Ok(next)
}

fn note_drop(fate: &mut Fate, filter: &Arc<str>, reason: Arc<str>) {
    if !matches!(fate, Fate::Dead(_)) {
        *fate = Fate::Dropped { filter: filter.clone(), reason };
    }
}

/// The first failure is the one that is told.
fn note_death(fate: &mut Fate, fault: Fault) {
    if !matches!(fate, Fate::Dead(_)) {
        *fate = Fate::Dead(fault);
    }
}

fn verdicts(fates: Vec<Fate>, items: Vec<Item>) -> Vec<Verdict> {
    let mut items = items.into_iter().peekable();
    let mut verdicts = Vec::with_capacity(fates.len());
    for (index, fate) in fates.into_iter().enumerate() {
        let mut outputs = Vec::new();
        let mut problem = None;
        while let Some(item) = items.next_if(|item| item.input == index) {
            match output(item) {
                Ok(output) => outputs.push(output),
                Err(fault) => problem = problem.or(Some(fault)),
            }
        }
        verdicts.push(match (fate, problem) {
            (Fate::Dead(fault), _) | (_, Some(fault)) => Verdict::Dead(fault),
            (Fate::Dropped { filter, reason }, None) if outputs.is_empty() => Verdict::Dropped { filter, reason },
            (Fate::Dropped { .. } | Fate::Passing, None) => Verdict::Emitted(outputs),
        });
    }
    verdicts
}

/// The last look at what clients will get as `data`.
fn output(item: Item) -> Result<Output, Fault> {
    let dead = |kind, reason: String| Fault { kind, reason: reason.into(), module: None, backtrace: None };
    if let Err(error) = std::str::from_utf8(&item.data) {
        return Err(dead("data", format!("the data to emit is no UTF-8: {error}")));
    }
    if item.data.contains(&0) {
        return Err(dead("data", "the data to emit holds a NUL".into()));
    }
    match item.event_type {
        Some(event_type) => Ok(Output { event_type, data: item.data }),
        None => Err(dead("no event type", "no filter decided an event type".into())),
    }
}
