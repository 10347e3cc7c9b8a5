//! Every guest of `tests/hostile`: what has to become of it does, and a neighbour on the same engine, worker and pool notices
//! nothing.

use super::guest::*;
use crate::{
    Budget, Chain, ChainState, CompanyRun, Filter, InstancePool, Limits, LimitsPatch, LoadError, OnError,
    PlatformVerdict, PoolSettings, Role, Worker,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate_core::event::{Company, Fault, Verdict};
use tidegate_hostile::{Case, Fate, STRIKE, cases, commanded, slow_cases};

/// The longest refusal or reason that anybody has to read.
const TOLD_BYTES_MAX: usize = 5000;
/// What the pool of these tests may hold.
const POOL_BYTES_MAX: usize = 64 << 20;

/// The events that every guest is given: it strikes at the fourth of eight.
const STRUCK: usize = 3;

fn payloads() -> Vec<String> {
    (0..8).map(|n| commanded(if n == STRUCK { STRIKE } else { '.' }, "acme", n as u64)).collect()
}

fn limits_of(case: &Case) -> Limits {
    let mut settings: toml::Table = toml::from_str(case.settings).expect("settings");
    let patch: LimitsPatch =
        settings.remove("limits").map_or(LimitsPatch::default(), |table| table.try_into().expect("limits"));
    limits().patched(&patch)
}

fn load(case: &Case) -> Result<Chain, LoadError> {
    let (limits, role) = (limits_of(case), if case.platform { Role::Platform } else { Role::Company });
    let code = ENGINE.load(&case.module(), role, &limits)?;
    let filter = Filter::new(&ENGINE, "10-hostile", code, "{}", limits, OnError::DeadLetter)?;
    Chain::new(vec![Arc::new(filter)], role)
}

/// One company next to the hostile one, on the same worker.
pub(super) struct Neighbour {
    chain: Chain,
    company: Company,
    state: ChainState,
}

impl Neighbour {
    pub(super) fn new() -> Self {
        Self { chain: single(), company: Company::new("neighbour").expect("a company"), state: ChainState::new() }
    }

    /// Exactly what it always gets.
    pub(super) fn is_well(&mut self, worker: &mut Worker) -> Result<(), String> {
        let inputs = inputs(["s1", "pass", "3abc", "drop", "s2", "error", "r", "pass"]);
        let run = worker.run_company(&self.chain, &self.company, &inputs, &mut self.state, Budget::default());
        let run = run.map_err(|error| format!("the neighbour's run: {error}"))?;
        let told: Vec<_> = run.verdicts.iter().map(short).collect();
        let expected = ["=s1", "=pass", "=hello,abc,hello", "-dropped", "=s2", "!error", "=s2", "=pass"];
        if told != expected || run.timings[0].calls.len() != 1 {
            return Err(format!("the neighbour got {told:?} in {} calls", run.timings[0].calls.len()));
        }
        let bytes = worker.pool().memory_bytes();
        if bytes > POOL_BYTES_MAX { Err(format!("the pool holds {bytes} bytes")) } else { Ok(()) }
    }
}

pub(super) fn pool() -> InstancePool {
    InstancePool::new(PoolSettings { memory_bytes_max: POOL_BYTES_MAX, ..PoolSettings::default() })
}

fn right(problem: bool, told: impl FnOnce() -> String) -> Result<(), String> {
    if problem { Ok(()) } else { Err(told()) }
}

/// A text that reaches people and logs.
pub(super) fn readable(text: &str, words: &[&str]) -> Result<(), String> {
    right(text.len() <= TOLD_BYTES_MAX, || format!("{} bytes are told", text.len()))?;
    right(!text.chars().any(|c| c.is_control() && c != '\n'), || format!("control characters in {text:?}"))?;
    let missing: Vec<_> = words.iter().filter(|word| !text.contains(*word)).collect();
    right(missing.is_empty(), || format!("{missing:?} not in {text:?}"))
}

fn refused(error: &LoadError, kind: &str, words: &[&str]) -> Result<(), String> {
    right(error.kind() == kind, || format!("{} and not {kind}: {error}", error.kind()))?;
    readable(&error.to_string(), words)
}

fn dead(fault: &Fault, kind: &str, words: &[&str]) -> Result<(), String> {
    right(fault.kind == kind, || format!("{} and not {kind}: {fault:?}", fault.kind))?;
    readable(&fault.reason, words)?;
    right(!fault.reason.contains('\n'), || format!("a line end in {:?}", fault.reason))?;
    readable(fault.backtrace.as_deref().unwrap_or_default(), &[])
}

/// Of each event, what was made of it: none where it passed or was dropped.
fn ran(worker: &mut Worker, chain: &Chain, payloads: &[String]) -> Result<(Vec<Option<Fault>>, usize), String> {
    let told = |error| format!("no verdict: {error}");
    let budget = Budget::default();
    if chain.role() == Role::Platform {
        let events: Vec<_> = payloads.iter().enumerate().map(|(n, text)| source(n as u64 + 1, text)).collect();
        let run = worker.run_platform(chain, &events).map_err(told)?;
        let fault = |verdict| match verdict {
            PlatformVerdict::Dead(fault) => Some(fault),
            PlatformVerdict::Emitted(_) | PlatformVerdict::Dropped { .. } => None,
        };
        return Ok((run.verdicts.into_iter().map(fault).collect(), run.timings[0].calls.len()));
    }
    let inputs = inputs(payloads.iter().map(String::as_str));
    let run = worker.run_company(chain, &company(), &inputs, &mut ChainState::new(), budget).map_err(told)?;
    let calls = run.timings[0].calls.len();
    passed(&run, payloads)?;
    let fault = |verdict| match verdict {
        Verdict::Dead(fault) => Some(fault),
        Verdict::Emitted(_) | Verdict::Dropped { .. } => None,
    };
    Ok((run.verdicts.into_iter().map(fault).collect(), calls))
}

/// What a guest was not told to strike at came through as it was, or is dead.
fn passed(run: &CompanyRun, payloads: &[String]) -> Result<(), String> {
    for (verdict, payload) in run.verdicts.iter().zip(payloads) {
        let whole = short(verdict) == format!("={payload}");
        let struck = payload.contains(STRIKE);
        right(whole || struck || matches!(verdict, Verdict::Dead(_)), || format!("{verdict:?} of {payload}"))?;
        if let Verdict::Dropped { reason, .. } = verdict {
            right(reason.len() <= TOLD_BYTES_MAX, || format!("a reason of {} bytes", reason.len()))?;
        }
    }
    Ok(())
}

fn judge(case: &Case, worker: &mut Worker, neighbour: &mut Neighbour) -> Result<(), String> {
    let chain = match (load(case), case.fate) {
        (Err(error), Fate::Refused(kind, words)) => {
            refused(&error, kind, words)?;
            return neighbour.is_well(worker);
        }
        (Err(error), _) => return Err(format!("refused: {error}")),
        (Ok(_), Fate::Refused(..)) => return Err("it was taken".into()),
        (Ok(chain), _) => chain,
    };
    let payloads = payloads();
    let (faults, calls) = ran(worker, &chain, &payloads)?;
    right(calls < 2 * payloads.len(), || format!("{calls} calls for {} events", payloads.len()))?;
    for (index, fault) in faults.iter().enumerate() {
        match (case.fate, fault) {
            (Fate::Dead(kind, words), Some(fault)) if index == STRUCK => dead(fault, kind, words)?,
            (Fate::AllDead(kind, words), Some(fault)) => dead(fault, kind, words)?,
            (Fate::Held, None) => {}
            (Fate::Dead(..), None) if index != STRUCK => {}
            (_, fault) => return Err(format!("event {index}: {fault:?}")),
        }
    }
    neighbour.is_well(worker)?;
    // Its own next events find a fresh instance, or one that is whole.
    let good = vec![commanded('.', "acme", 9)];
    let (faults, _) = ran(worker, &chain, &good)?;
    right(faults[0].is_none() != matches!(case.fate, Fate::AllDead(..)), || format!("its next event: {faults:?}"))?;
    neighbour.is_well(worker)
}

#[test]
fn what_each_hostile_guest_does_has_the_fate_it_should_and_the_neighbour_notices_nothing() {
    let (mut worker, mut neighbour) = (Worker::new(ENGINE.clone(), pool()), Neighbour::new());
    let mut wrong = Vec::new();
    for case in cases() {
        let judged =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(&case, &mut worker, &mut neighbour)));
        if let Err(problem) = judged.unwrap_or_else(|_| Err("panicked".into())) {
            wrong.push(format!("{}: {problem}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    let most = memory_most();
    assert!(most < 1 << 30, "the process held {most} bytes");
}

/// The most memory that this process ever held, where the system tells it.
fn memory_most() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[test]
fn a_neighbour_is_well_beside_guests_that_never_end() {
    let pool = pool();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hostile = scope.spawn(|| {
            let mut worker = Worker::new(ENGINE.clone(), pool.clone());
            let timeouts = cases().into_iter().filter(|case| matches!(case.fate, Fate::Dead("timeout" | "memory", _)));
            for case in timeouts {
                let chain = load(&case).expect("it loads");
                ran(&mut worker, &chain, &payloads()).expect("it runs");
            }
            ended.store(true, Ordering::Release);
        });
        let (mut worker, mut neighbour) = (Worker::new(ENGINE.clone(), pool.clone()), Neighbour::new());
        let mut runs = 0;
        while !ended.load(Ordering::Acquire) && !hostile.is_finished() {
            neighbour.is_well(&mut worker).expect("well");
            runs += 1;
        }
        hostile.join().expect("it ran to its end");
        assert!(runs > 0);
    });
}

#[test]
fn what_takes_long_to_compile_is_taken_where_there_is_time() {
    if std::env::var_os("TIDEGATE_FUZZ_SECONDS").is_none() {
        return;
    }
    let (mut worker, mut neighbour) = (Worker::new(ENGINE.clone(), pool()), Neighbour::new());
    for case in slow_cases() {
        judge(&case, &mut worker, &mut neighbour).unwrap_or_else(|problem| panic!("{}: {problem}", case.name));
    }
}

#[test]
fn there_are_cases_enough_and_none_has_the_name_of_another() {
    let mut names: Vec<_> = cases().iter().map(|case| case.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert!(names.len() == count && count > 100, "{} names of {count}", names.len());
}
