//! A new version of a filter beside the one that runs: what it would make of the company's real events.

use super::selftest::{Outcome, event_line};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::event::{Company, Input, Verdict};
use tidegate_filter::{Budget, Chain, ChainState, Engine, InstancePool, Interrupted, PoolSettings, Worker};

/// Examples that are kept of each way to differ.
const EXAMPLES: usize = 5;
/// The longest example, in bytes of its event; of longer ones the others do.
const EXAMPLE_BYTES_MAX: usize = 64 << 10;

/// How the two differ at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The same comes out.
    Same,
    /// Something else comes out.
    Changed,
    /// The new version drops what the one that runs passes on.
    Dropped,
    /// The new version passes on what the one that runs drops.
    Added,
    /// The new version fails, and the one that runs does not.
    Failed,
    /// The one that runs fails, and the new version does not.
    Mended,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Same, Self::Changed, Self::Dropped, Self::Added, Self::Failed, Self::Mended];

    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Added => "added",
            Self::Failed => "failed",
            Self::Mended => "mended",
        }
    }

    fn of(live: &Outcome, new: &Outcome) -> Self {
        match (live, new) {
            _ if live == new => Self::Same,
            (Outcome::Failed(_), Outcome::Failed(_)) => Self::Changed,
            (_, Outcome::Failed(_)) => Self::Failed,
            (Outcome::Failed(_), _) => Self::Mended,
            (Outcome::Emitted(_), Outcome::Dropped(_)) => Self::Dropped,
            (Outcome::Dropped(_), Outcome::Emitted(_)) => Self::Added,
            (Outcome::Emitted(_), Outcome::Emitted(_)) | (Outcome::Dropped(_), Outcome::Dropped(_)) => Self::Changed,
        }
    }
}

/// What came of the events so far.
#[derive(Debug, Default)]
pub struct Comparison {
    counts: BTreeMap<Difference, u64>,
    /// Of each way to differ, some: the event and what the two make of it.
    examples: BTreeMap<Difference, Vec<Value>>,
    live: Time,
    new: Time,
}

/// What a chain took.
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    events: u64,
    calls: Duration,
}

impl Comparison {
    /// Events that came out in this way.
    #[must_use]
    pub fn count(&self, difference: Difference) -> u64 {
        self.counts.get(&difference).copied().unwrap_or(0)
    }

    /// All events.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Events that did not come out the same.
    #[must_use]
    pub fn different(&self) -> u64 {
        self.events() - self.count(Difference::Same)
    }

    /// For people and programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut told = json!({
            "events": self.events(), "liveMicrosPerEvent": self.live.micros(), "newMicrosPerEvent": self.new.micros(),
            "examples": self.examples.values().flatten().collect::<Vec<_>>(),
        });
        for difference in Difference::ALL {
            told[difference.word()] = self.count(difference).into();
        }
        told
    }

    fn add(&mut self, input: &Input, live: Verdict, new: Verdict) {
        let (live, new) = (Outcome::of_company(live), Outcome::of_company(new));
        let difference = Difference::of(&live, &new);
        *self.counts.entry(difference).or_default() += 1;
        if difference == Difference::Same || input.data.len() > EXAMPLE_BYTES_MAX {
            return;
        }
        let examples = self.examples.entry(difference).or_default();
        if examples.len() < EXAMPLES {
            examples.push(json!({
                "difference": difference.word(), "sequence": input.source.sequence, "event": event_line(input),
                "live": live.json(), "new": new.json(),
            }));
        }
    }
}

impl Time {
    fn micros(self) -> f64 {
        self.calls.as_secs_f64() * 1e6 / self.events.max(1) as f64
    }
}

/// One of the two chains, with all that its runs keep.
struct Side {
    chain: Arc<Chain>,
    state: ChainState,
}

/// The two chains beside each other. Neither shares an instance or state with what runs: both begin with empty state.
pub struct Shadow {
    worker: Worker,
    live: Side,
    new: Side,
    comparison: Comparison,
}

impl Shadow {
    /// The chain that serves the company, and the one that would.
    #[must_use]
    pub fn new(engine: Engine, live: Arc<Chain>, new: Arc<Chain>) -> Self {
        let side = |chain| Side { chain, state: ChainState::new() };
        Self {
            worker: Worker::new(engine, InstancePool::new(PoolSettings::default())),
            live: side(live),
            new: side(new),
            comparison: Comparison::default(),
        }
    }

    /// Runs these through both.
    ///
    /// # Errors
    /// One of them can't be run at all.
    pub fn run(&mut self, company: &Company, inputs: &[Input]) -> Result<(), Interrupted> {
        let live = self.live.run(&mut self.worker, company, inputs, &mut self.comparison.live)?;
        let new = self.new.run(&mut self.worker, company, inputs, &mut self.comparison.new)?;
        for ((input, live), new) in inputs.iter().zip(live).zip(new) {
            self.comparison.add(input, live, new);
        }
        Ok(())
    }

    /// What came of it.
    #[must_use]
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }
}

impl Side {
    /// One verdict for each input: where a filter would pause, it failed.
    fn run(
        &mut self,
        worker: &mut Worker,
        company: &Company,
        inputs: &[Input],
        time: &mut Time,
    ) -> Result<Vec<Verdict>, Interrupted> {
        if self.chain.filters().is_empty() {
            let passed = crate::pipeline::chains::pass_on(&self.chain, inputs);
            if let tidegate_core::owner::Ran::Done { verdicts, .. } = passed {
                return Ok(verdicts);
            }
        }
        worker.pool().warm(&self.chain, Some(company), 1)?;
        let mut verdicts = Vec::with_capacity(inputs.len());
        while verdicts.len() < inputs.len() {
            let rest = &inputs[verdicts.len()..];
            let run = worker.run_company(&self.chain, company, rest, &mut self.state, Budget::default())?;
            time.calls += run.timings.iter().flat_map(|timing| &timing.calls).sum::<Duration>();
            time.events += run.verdicts.len() as u64;
            verdicts.extend(run.verdicts);
            if let Some(paused) = run.paused {
                verdicts.push(Verdict::Dead(paused.fault));
            }
        }
        Ok(verdicts)
    }
}
