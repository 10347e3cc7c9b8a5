//! One filter of a chain over its part of a batch: calls, and halving where one fails.

use crate::call::{Answer, Flat, Interner, Item, weight};
use crate::check::Role;
use crate::engine::Engine;
use crate::error::Interrupted;
use crate::filter::Filter;
use crate::instance::CallFrame;
use crate::pool::InstancePool;
use crate::state::{FilterState, Journal};
use crate::trap::{CallError, Failure};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::event::{Company, Fault, SourceEvent};

/// Events in one call. More gains nothing (the cost of a call is spread already) and makes halving longer.
const CALL_EVENTS_MAX: usize = 256;
/// Input bytes in one call, unless one event is larger: they have to fit into a guest's memory with what it makes of them.
const CALL_BYTES_MAX: usize = 1 << 20;

/// What one filter took in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterTiming {
    /// Its file name.
    pub filter: Arc<str>,
    /// `name@digest`.
    pub module: Arc<str>,
    /// Events it was given.
    pub events: usize,
    /// Calls that failed.
    pub failed: usize,
    /// Wall time of each call, failed ones included, in their order.
    pub calls: Vec<Duration>,
    /// WebAssembly instructions of all calls; 0 unless the engine counts them.
    pub instructions: u64,
    /// The most linear memory that an instance held after a call, in bytes.
    pub memory_bytes: usize,
}

impl FilterTiming {
    pub(crate) fn new(filter: &Filter) -> Self {
        let (filter, module) = (filter.name().clone(), filter.module().clone());
        Self { filter, module, events: 0, failed: 0, calls: Vec::new(), instructions: 0, memory_bytes: 0 }
    }
}

/// The filter at work, and what it works with.
pub(crate) struct Stage<'a, 's> {
    pub(crate) engine: &'a Engine,
    pub(crate) filter: &'a Arc<Filter>,
    pub(crate) role: Role,
    pub(crate) company: Option<&'a Company>,
    pub(crate) sources: &'a dyn Fn(usize) -> &'s SourceEvent,
    /// Events in the batch, for messages.
    pub(crate) inputs: usize,
    pub(crate) budget: Option<Instant>,
    pub(crate) pool: &'a InstancePool,
    pub(crate) flat: &'a mut Flat,
    pub(crate) names: &'a mut Interner,
    pub(crate) state: &'a mut FilterState,
    pub(crate) journal: &'a mut Journal,
    pub(crate) timing: FilterTiming,
}

impl Stage<'_, '_> {
    /// One answer for each item, in order.
    ///
    /// # Errors
    /// The run ends here: no answer counts, and the caller undoes what is in the journal.
    pub(crate) fn run(&mut self, items: &[Item]) -> Result<Vec<Answer>, Interrupted> {
        let mut answers = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let (call, after) = rest.split_at(self.fitting(rest));
            self.halve(call, &mut answers)?;
            rest = after;
        }
        self.timing.events += items.len();
        Ok(answers)
    }

    fn fitting(&self, items: &[Item]) -> usize {
        let mut bytes = 0;
        let more = items.iter().take(CALL_EVENTS_MAX).take_while(|item| {
            bytes += weight(item, (self.sources)(item.input));
            bytes <= CALL_BYTES_MAX
        });
        more.count().max(1)
    }

    /// Calls the filter; where that fails, each half by itself, down to the one event that is to blame. A half that
    /// succeeds hands its state on.
    fn halve(&mut self, items: &[Item], answers: &mut Vec<Answer>) -> Result<(), Interrupted> {
        match self.call(items)? {
            Ok(mut good) => answers.append(&mut good),
            Err(failure) if items.len() == 1 => answers.push(Answer::Failed(failure)),
            Err(_) => {
                let (first, second) = items.split_at(items.len() / 2);
                self.halve(first, answers)?;
                self.halve(second, answers)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, items: &[Item]) -> Result<Result<Vec<Answer>, Failure>, Interrupted> {
        if self.budget.is_some_and(|end| Instant::now() >= end) {
            return Err(Interrupted::Budget);
        }
        let company = self.company.map(Company::as_str);
        if let Err(failure) = self.flat.fill(items, company, self.sources) {
            return Ok(Err(failure));
        }
        let mut instance = self.pool.take(self.filter, self.company, self.budget)?;
        let frame = CallFrame {
            filter: self.filter,
            company,
            log_sink: self.engine.0.log_sink.as_deref(),
            budget: self.budget,
            events: &self.flat.events,
            bytes: &self.flat.bytes,
        };
        let start = Instant::now();
        let mut writes = Journal::default();
        let result = instance.process(&frame, self.state, &mut writes);
        self.timing.calls.push(start.elapsed());
        self.timing.instructions += instance.instructions();
        self.timing.memory_bytes = self.timing.memory_bytes.max(instance.memory());
        let read = match result {
            Ok(result) => self.flat.read(result, items, self.role, self.filter.limits(), self.names),
            Err(CallError::Budget) => return Err(Interrupted::Budget),
            Err(CallError::Failed(failure)) => Err(failure),
        };
        match &read {
            Ok(_) => {
                self.journal.append(&mut writes, self.state);
                instance.flush_log(&frame);
                if !instance.is_worn(self.filter.limits()) {
                    self.pool.put(self.filter, self.company, instance);
                }
            }
            Err(_) => {
                self.timing.failed += 1;
                self.state.undo(&mut writes);
                // Lines of a call that will be repeated in halves would come twice; those of the last one count.
                if items.len() > 1 {
                    instance.discard_log();
                } else {
                    instance.flush_log(&frame);
                }
            }
        }
        Ok(read)
    }

    /// The failure as it is stored and told.
    pub(crate) fn fault(&self, input: usize, failure: Failure) -> Fault {
        let source = (self.sources)(input);
        // A reason goes into a header and a log line.
        let text = failure.text.replace(char::is_control, " ");
        let place = format!("at sequence {} (event {} of {})", source.sequence, input + 1, self.inputs);
        Fault {
            kind: failure.kind,
            reason: format!("{} failed {place}: {text}", self.filter.module()).into(),
            module: Some(self.filter.module().clone()),
            backtrace: failure.backtrace.map(Into::into),
        }
    }
}
