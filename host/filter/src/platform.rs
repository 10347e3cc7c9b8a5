//! The platform chain over a batch: it decides company and event type of every event.

use crate::call::{Answer, Item};
use crate::chain::Chain;
use crate::check::Role;
use crate::company::Skipped;
use crate::error::Interrupted;
use crate::filter::OnError;
use crate::stage::{FilterTiming, Stage};
use crate::state::{FilterState, Journal};
use crate::trap::Failure;
use crate::worker::Worker;
use std::sync::Arc;
use tidegate_core::event::{Company, Fault, Input, SourceEvent, check_event_type};

/// Inputs that one event may become over all companies: what bounds a batch's memory and its commit.
const INPUTS_MAX: usize = 1000;

/// What the platform chain made of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformVerdict {
    /// It goes on, as these inputs of companies' chains.
    Emitted(Vec<Input>),
    /// A filter dropped it.
    Dropped {
        /// Which one, by file name.
        filter: Arc<str>,
        /// Why, in the filter's words; may be empty.
        reason: Arc<str>,
    },
    /// It could not be handled and goes to the dead letters.
    Dead(Fault),
}

/// What became of a batch in the platform chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformRun {
    /// One for each event, in order.
    pub verdicts: Vec<PlatformVerdict>,
    /// Failures of filters with `on-error = "skip"`.
    pub skipped: Vec<Skipped>,
    /// What each filter took.
    pub timings: Vec<FilterTiming>,
}

impl Worker {
    /// Runs events through the platform chain. There is no time for the whole of it, only each call's own limit.
    ///
    /// # Errors
    /// [`Interrupted::NotReady`] where a filter could not be started; the events are to be run again.
    pub fn run_platform(&mut self, chain: &Chain, events: &[SourceEvent]) -> Result<PlatformRun, Interrupted> {
        let mut timings = Vec::with_capacity(chain.filters().len());
        let mut skipped = Vec::new();
        // What an event was dropped with or died of; the items that are left decide otherwise.
        let mut ends: Vec<Option<PlatformVerdict>> = vec![None; events.len()];
        let first = |(input, event): (usize, &SourceEvent)| Item {
            input,
            companies: None,
            event_type: None,
            data: event.payload.clone(),
        };
        let mut items: Vec<Item> = events.iter().enumerate().map(first).collect();
        for filter in chain.filters() {
            if items.is_empty() {
                break;
            }
            let (mut state, mut journal) = (FilterState::default(), Journal::default());
            let mut stage = Stage {
                engine: &self.engine,
                filter,
                role: Role::Platform,
                company: None,
                sources: &|index| &events[index],
                inputs: events.len(),
                budget: None,
                pool: &self.pool,
                flat: &mut self.flat,
                names: &mut self.names,
                state: &mut state,
                journal: &mut journal,
                timing: FilterTiming::new(filter),
            };
            let answers = stage.run(&items)?;
            let mut next = Vec::with_capacity(items.len());
            for (item, answer) in items.iter().zip(answers) {
                take_answer(&stage, item.input, answer, &mut ends, &mut skipped, &mut next);
            }
            next.retain(|item| !matches!(ends[item.input], Some(PlatformVerdict::Dead(_))));
            timings.push(stage.timing);
            items = next;
        }
        let mut left = items.into_iter().peekable();
        let verdicts = ends.into_iter().enumerate().map(|(index, end)| {
            let own = std::iter::from_fn(|| left.next_if(|item| item.input == index)).collect::<Vec<_>>();
            match end {
                Some(end) if own.is_empty() => end,
                Some(_) | None => {
                    inputs(&events[index], own).map_or_else(PlatformVerdict::Dead, PlatformVerdict::Emitted)
                }
            }
        });
        Ok(PlatformRun { verdicts: verdicts.collect(), skipped, timings })
    }
}

fn take_answer(
    stage: &Stage<'_, '_>,
    input: usize,
    answer: Answer,
    ends: &mut [Option<PlatformVerdict>],
    skipped: &mut Vec<Skipped>,
    next: &mut Vec<Item>,
) {
    let end = &mut ends[input];
    if matches!(end, Some(PlatformVerdict::Dead(_))) {
        return;
    }
    let filter = stage.filter.name().clone();
    match answer {
        Answer::Dropped(reason) => *end = Some(PlatformVerdict::Dropped { filter, reason }),
        Answer::Emitted(emitted) if emitted.is_empty() => {
            *end = Some(PlatformVerdict::Dropped { filter, reason: "".into() })
        }
        Answer::Emitted(emitted) => {
            let before = next.iter().rev().take_while(|item| item.input == input).count();
            if before + emitted.len() > INPUTS_MAX {
                let text = format!("one event became over {INPUTS_MAX} events in this chain");
                *end = Some(PlatformVerdict::Dead(stage.fault(input, Failure::new("output", text))));
            } else {
                next.extend(emitted);
            }
        }
        Answer::Failed(failure) => {
            let fault = stage.fault(input, failure);
            match stage.filter.on_error() {
                OnError::Skip => {
                    *end = Some(PlatformVerdict::Dropped { filter, reason: format!("skipped: {}", fault.kind).into() });
                    skipped.push(Skipped { input, fault });
                }
                // A chain with `pause` is refused: nothing can wait here.
                OnError::DeadLetter | OnError::Pause => *end = Some(PlatformVerdict::Dead(fault)),
            }
        }
    }
}

/// The inputs of companies' chains that an event's last items are; the whole event is dead where one is not right.
fn inputs(source: &SourceEvent, items: Vec<Item>) -> Result<Vec<Input>, Fault> {
    let mut inputs: Vec<Input> = Vec::with_capacity(items.len());
    for item in items {
        let event_type =
            item.event_type.ok_or_else(|| dead(source, "no event type", "no filter decided its event type".into()))?;
        check_event_type(&event_type).map_err(|problem| dead(source, "event type", problem))?;
        let named = item.companies.as_deref().unwrap_or_default();
        let start = inputs.len();
        for name in named.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let company = Company::new(name).map_err(|error| dead(source, "company", error.to_string()))?;
            if inputs[start..].iter().any(|input| input.company == company) {
                continue;
            }
            if inputs.len() >= INPUTS_MAX {
                return Err(dead(source, "output", format!("it goes to over {INPUTS_MAX} companies")));
            }
            let emission = inputs.len() as u32;
            inputs.push(Input {
                source: source.clone(),
                emission,
                company,
                event_type: event_type.clone(),
                data: item.data.clone(),
            });
        }
        if inputs.len() == start {
            return Err(dead(source, "no company", "no filter decided its company".into()));
        }
    }
    Ok(inputs)
}

fn dead(source: &SourceEvent, kind: &'static str, problem: String) -> Fault {
    Fault {
        kind,
        reason: format!("the event at sequence {} on {}: {problem}", source.sequence, source.subject).into(),
        module: None,
        backtrace: None,
    }
}
