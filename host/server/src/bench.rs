//! What a filter takes, measured as a running host measures it: the calls of `tidegate_filter_duration_seconds`, on a
//! guest thread, on instances of the pool, within a batch's time.

use crate::modules::BUILTIN;
use crate::modules::selftest::Event;
use crate::pipeline::guests::Guests;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::event::{Company, Input, SourceEvent, Verdict};
use tidegate_core::limits::BATCH_BUDGET_MS;
use tidegate_filter::{
    Budget, Chain, ChainState, Engine, Filter, FilterTiming, InstancePool, Interrupted, Limits, OnError,
    PlatformVerdict, PoolSettings, Role, Worker,
};

/// Samples kept of one measurement: enough for a 99th percentile of anything.
const SAMPLES_MAX: usize = 1_000_000;
/// Fresh instances that are started to see what one takes.
const STARTS: usize = 20;

/// A filter ready to be measured, with its events.
pub struct Bench {
    guests: Guests,
    pool: InstancePool,
    chain: Arc<Chain>,
    /// What every event passes before a company's chain.
    platform: Option<Arc<Chain>>,
    role: Role,
    events: Vec<Event>,
}

/// How batches come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Events in a batch.
    pub size: usize,
    /// From one batch to the next, which then passes the platform chain first; zero: one right after the other.
    pub pause: Duration,
    /// How long; each event passes once at least.
    pub time: Duration,
}

/// Times of one event, in nanoseconds: a batch's divided by its events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// All time by all events.
    pub mean_ns: f64,
    /// Half of the batches took less.
    pub p50_ns: f64,
    /// All but one of a hundred took less.
    pub p99_ns: f64,
}

/// What was seen under one load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Events that passed.
    pub events: usize,
    /// Calls that took: halves of failed ones included.
    pub calls: usize,
    /// Instructions of all calls, where the engine counts them.
    pub instructions: u64,
    /// Of one event.
    pub times: Times,
    /// Batches that were not through in their time: a host puts them into the company's backlog.
    pub late: usize,
    /// Linear memory of an instance after them, in bytes.
    pub memory_bytes: usize,
    /// What became of the events.
    pub verdicts: Verdicts,
}

/// What became of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Something was emitted.
    pub emitted: usize,
    /// Dropped.
    pub dropped: usize,
    /// Failed; those that a filter with `on-error = "pause"` holds up included.
    pub failed: usize,
}

/// What one instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// To be started, on average.
    pub time: Duration,
    /// Its linear memory then, in bytes.
    pub memory_bytes: usize,
}

/// One batch of one company, or of all in the platform chain.
enum Batch {
    Company(Company, Vec<Input>),
    Platform(Vec<SourceEvent>),
}

/// What a guest thread gives back.
struct Ran {
    result: Result<(Vec<FilterTiming>, Verdicts), String>,
    state: ChainState,
    late: bool,
}

impl Bench {
    /// Puts the filter into a chain of its own, on the threads that a host has for guests.
    ///
    /// # Errors
    /// No such chain or thread.
    pub fn new(engine: &Engine, filter: &Arc<Filter>, role: Role, events: Vec<Event>) -> Result<Self, String> {
        let chain = Chain::new(vec![Arc::clone(filter)], role).map_err(|error| error.to_string())?;
        let pool = InstancePool::new(PoolSettings::default());
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let guests = Guests::start(engine, &pool, "guest", cores, false).map_err(|error| error.to_string())?;
        let platform = match role {
            Role::Company => Some(Arc::new(platform(engine)?)),
            Role::Platform => None,
        };
        Ok(Self { guests, pool, chain: Arc::new(chain), platform, role, events })
    }

    /// Starts fresh instances, one after the other, as before a switch.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(&self) -> Result<Start, String> {
        let company = self.events.first().map(Event::company).filter(|_| self.role == Role::Company);
        let (mut time, mut memory_bytes) = (Duration::ZERO, 0);
        for _ in 0..STARTS {
            let pool = InstancePool::new(PoolSettings::default());
            let began = Instant::now();
            pool.warm(&self.chain, company, 1).map_err(|error| error.to_string())?;
            time += began.elapsed();
            memory_bytes = pool.memory_bytes();
        }
        Ok(Start { time: time / STARTS as u32, memory_bytes })
    }

    /// Runs batches for a while.
    ///
    /// # Errors
    /// The filter can not be started any more.
    pub async fn run(&self, load: Load) -> Result<Measured, String> {
        let batches = self.batches(load.size);
        let (mut measured, mut samples, mut nanos) = (Measured::default(), Vec::new(), 0_u128);
        let mut states: BTreeMap<Company, ChainState> = BTreeMap::new();
        self.pool.keep_only([Some(&self.chain), self.platform.as_ref()].into_iter().flatten().map(AsRef::as_ref));
        let until = Instant::now() + load.time;
        for (round, batch) in batches.iter().cycle().enumerate() {
            if round >= batches.len() && (Instant::now() >= until || samples.len() >= SAMPLES_MAX) {
                break;
            }
            if !load.pause.is_zero() {
                self.before(batch, load.pause).await;
            }
            let state = batch.company().and_then(|company| states.remove(company)).unwrap_or_default();
            let ran = self.batch(batch, state).await?;
            if let Some(company) = batch.company() {
                states.insert(company.clone(), ran.state);
            }
            let (timings, verdicts) = ran.result?;
            let took: u128 = timings.iter().flat_map(|timing| &timing.calls).map(Duration::as_nanos).sum();
            samples.push(took as f64 / batch.len() as f64);
            nanos += took;
            measured.events += batch.len();
            measured.calls += timings.iter().map(|timing| timing.calls.len()).sum::<usize>();
            measured.instructions += timings.iter().map(|timing| timing.instructions).sum::<u64>();
            measured.late += usize::from(ran.late);
            measured.verdicts.add(verdicts);
        }
        // The platform chain's instances are not this filter's memory.
        self.pool.keep_only([&*self.chain]);
        measured.memory_bytes = self.pool.memory_bytes() / self.pool.instances().max(1);
        measured.times = Times::of(samples, nanos, measured.events);
        Ok(measured)
    }

    /// What happens on a host since the batch before: a pause, and the platform chain over the same events.
    async fn before(&self, batch: &Batch, pause: Duration) {
        tokio::time::sleep(pause).await;
        if let (Batch::Company(_, inputs), Some(platform)) = (batch, &self.platform) {
            let (platform, events) =
                (Arc::clone(platform), inputs.iter().map(|input| input.source.clone()).collect::<Vec<_>>());
            // What it says of events that are no company's is no matter here.
            self.guests.run(move |worker| drop(worker.run_platform(&platform, &events))).await.unwrap_or(());
        }
    }

    /// Each company's events in batches of this size, until each was in one; the last is filled up from the first events.
    fn batches(&self, size: usize) -> Vec<Batch> {
        let mut companies: BTreeMap<Option<&Company>, Vec<&Event>> = BTreeMap::new();
        for event in &self.events {
            companies.entry((self.role == Role::Company).then(|| event.company())).or_default().push(event);
        }
        let mut batches = Vec::new();
        for (company, events) in companies {
            for first in (0..events.len()).step_by(size.max(1)) {
                let part = events.iter().cycle().skip(first).take(size);
                batches.push(match company {
                    Some(company) => Batch::Company(company.clone(), part.map(|event| event.input()).collect()),
                    None => Batch::Platform(part.map(|event| event.source().clone()).collect()),
                });
            }
        }
        batches
    }

    async fn batch(&self, batch: &Batch, state: ChainState) -> Result<Ran, String> {
        let chain = Arc::clone(&self.chain);
        let ran = match batch {
            Batch::Company(company, inputs) => {
                let (company, inputs) = (company.clone(), inputs.clone());
                self.guests.run(move |worker| company_batch(worker, &chain, &company, &inputs, state)).await
            }
            Batch::Platform(events) => {
                let events = events.clone();
                self.guests.run(move |worker| platform_batch(worker, &chain, &events)).await
            }
        };
        ran.ok_or_else(|| "the run was lost to a fault of the host".to_owned())
    }
}

/// The platform chain that comes with the host.
fn platform(engine: &Engine) -> Result<Chain, String> {
    let limits = Limits::default();
    let code = engine.load(BUILTIN, Role::Platform, &limits).map_err(|error| error.to_string())?;
    let filter = Filter::new(engine, "platform", code, "{}", limits, OnError::DeadLetter);
    Chain::new(vec![Arc::new(filter.map_err(|error| error.to_string())?)], Role::Platform)
        .map_err(|error| error.to_string())
}

/// Within a batch's time; what is late runs as a backlog does.
fn company_batch(worker: &mut Worker, chain: &Chain, company: &Company, inputs: &[Input], state: ChainState) -> Ran {
    let mut state = state;
    let deadline = Instant::now() + Duration::from_millis(BATCH_BUDGET_MS);
    let budget = Budget { deadline: Some(deadline), ..Budget::default() };
    let mut run = worker.run_company(chain, company, inputs, &mut state, budget);
    let late = matches!(run, Err(Interrupted::Budget | Interrupted::Cold(_)));
    if late {
        run = worker.run_company(chain, company, inputs, &mut state, Budget::default());
    }
    let result = run.map_err(|error| error.to_string()).map(|run| {
        let mut verdicts =
            Verdicts { failed: inputs.len() - run.verdicts.len() + run.skipped.len(), ..Verdicts::default() };
        for verdict in &run.verdicts {
            match verdict {
                Verdict::Emitted(_) => verdicts.emitted += 1,
                Verdict::Dropped { .. } => verdicts.dropped += 1,
                Verdict::Dead(_) => verdicts.failed += 1,
            }
        }
        // A skipped one counts as failed, though it is dropped.
        verdicts.dropped -= run.skipped.len().min(verdicts.dropped);
        (run.timings, verdicts)
    });
    Ran { result, state, late }
}

fn platform_batch(worker: &mut Worker, chain: &Chain, events: &[SourceEvent]) -> Ran {
    let result = worker.run_platform(chain, events).map_err(|error| error.to_string()).map(|run| {
        let mut verdicts = Verdicts::default();
        for verdict in &run.verdicts {
            match verdict {
                PlatformVerdict::Emitted(_) => verdicts.emitted += 1,
                PlatformVerdict::Dropped { .. } => verdicts.dropped += 1,
                PlatformVerdict::Dead(_) => verdicts.failed += 1,
            }
        }
        (run.timings, verdicts)
    });
    Ran { result, state: ChainState::new(), late: false }
}

impl Batch {
    fn company(&self) -> Option<&Company> {
        match self {
            Self::Company(company, _) => Some(company),
            Self::Platform(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Company(_, inputs) => inputs.len(),
            Self::Platform(events) => events.len(),
        }
    }
}

impl Verdicts {
    fn add(&mut self, other: Self) {
        self.emitted += other.emitted;
        self.dropped += other.dropped;
        self.failed += other.failed;
    }
}

impl Times {
    /// From each batch's time for one event, and the sums.
    fn of(mut samples: Vec<f64>, nanos: u128, events: usize) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |percent: usize| samples.get(samples.len() * percent / 100).or(samples.last()).copied().unwrap_or(0.0);
        Self { mean_ns: nanos as f64 / events.max(1) as f64, p50_ns: at(50), p99_ns: at(99) }
    }
}

/// What the metrics of a host show, by how often a filter is called and for how many events: a part for each call and a
/// part for each event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Of a call, in nanoseconds.
    pub call_ns: f64,
    /// Of an event, in nanoseconds.
    pub event_ns: f64,
}

impl Cost {
    /// From an event's mean times, alone and in batches of `size`.
    #[must_use]
    pub fn of(alone_ns: f64, size: usize, together_ns: f64) -> Self {
        let size = size as f64;
        // alone = call + event; together = call / size + event.
        let call_ns = ((alone_ns - together_ns) * size / (size - 1.0)).max(0.0);
        Self { call_ns, event_ns: (alone_ns - call_ns).max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_and_an_event_are_told_apart_by_batches_of_two_sizes() {
        let cost = Cost::of(5000.0 + 300.0, 64, 5000.0 / 64.0 + 300.0);
        assert!((cost.call_ns - 5000.0).abs() < 1.0 && (cost.event_ns - 300.0).abs() < 1.0, "{cost:?}");
        assert_eq!(Cost::of(100.0, 64, 120.0), Cost { call_ns: 0.0, event_ns: 100.0 });
    }

    #[test]
    fn percentiles_are_of_batches_and_the_mean_is_of_events() {
        let times = Times::of((1..=100).rev().map(f64::from).collect(), 6400, 64);
        assert_eq!(times, Times { mean_ns: 100.0, p50_ns: 51.0, p99_ns: 100.0 });
        assert_eq!(Times::of(Vec::new(), 0, 0), Times::default());
    }
}
