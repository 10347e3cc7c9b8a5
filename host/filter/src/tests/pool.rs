//! Instances between calls: shared by threads, never by companies, and gone with the version they run.

use super::guest::*;
use crate::{
    Budget, Chain, ChainState, Code, Engine, EngineSettings, Filter, InstancePool, Interrupted, Limits, LogLine,
    LogSink, OnError, PoolSettings, Role, Worker,
};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tidegate_core::event::Company;

fn pool() -> InstancePool {
    InstancePool::new(PoolSettings::default())
}

fn worker_of(pool: &InstancePool) -> Worker {
    Worker::new(ENGINE.clone(), pool.clone())
}

fn run(worker: &mut Worker, chain: &Chain, payload: &str, budget: Budget) -> Result<String, Interrupted> {
    let run = worker.run_company(chain, &company(), &inputs([payload]), &mut ChainState::new(), budget)?;
    Ok(short(&run.verdicts[0]))
}

/// A guest that works for some tenths of a second before it is started, as an interpreter does.
fn slow_starter() -> Chain {
    let begin = r#"(func (export "init") (param $at i32) (param $length i32) (result i32)"#;
    let work = "(local $n i32) (local.set $n (i32.const 100000000))
        (loop $work (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $work (local.get $n)))";
    let guest = changed_guest(begin, &format!("{begin}\n{work}"));
    let code = ENGINE.load(&guest, Role::Company, &limits()).expect("loads");
    let filter = Filter::new(&ENGINE, "10-slow", code, "{}", limits(), OnError::DeadLetter).expect("starts");
    chain(vec![Arc::new(filter)])
}

#[test]
fn a_filter_that_starts_slowly_is_started_outside_of_a_batch_and_then_serves_every_thread() {
    let (pool, chain) = (pool(), slow_starter());
    let (mut batch, mut other, mut backlog) = (worker_of(&pool), worker_of(&pool), worker_of(&pool));
    let in_time = || Budget { deadline: Some(Instant::now() + Duration::from_secs(20)), ..Budget::default() };
    let cold = run(&mut batch, &chain, "pass", in_time());
    assert!(matches!(&cold, Err(Interrupted::Cold(module)) if module.starts_with("10-slow@")), "{cold:?}");
    assert_eq!(run(&mut backlog, &chain, "pass", Budget::default()), Ok("=pass".into()));
    for worker in [&mut batch, &mut other] {
        assert_eq!((run(worker, &chain, "pass", in_time()), pool.instances()), (Ok("=pass".into()), 1));
    }
}

#[test]
fn a_chain_is_warmed_ahead_of_its_first_batch() {
    let (pool, chain) = (pool(), slow_starter());
    for _ in 0..2 {
        pool.warm(&chain, Some(&company()), 1).expect("starts");
        assert_eq!((pool.instances(), pool.companies(&chain).contains(&company())), (1, true));
    }
    pool.warm(&chain, None, 2).expect("starts");
    assert_eq!(pool.instances(), 3, "one for each thread where no company is");
    let budget = Budget { deadline: Some(Instant::now() + Duration::from_secs(20)), ..Budget::default() };
    assert_eq!(run(&mut worker_of(&pool), &chain, "pass", budget), Ok("=pass".into()));
}

#[test]
fn a_version_that_no_longer_runs_is_dropped_with_its_instances_and_its_code() {
    let pool = pool();
    let mut worker = worker_of(&pool);
    let mut versions: Vec<(Weak<Filter>, Weak<Code>)> = Vec::new();
    for version in 0..20 {
        let guest = changed_guest("threshold is missing", &format!("thresholds missing{version:02}"));
        let code = ENGINE.load(&guest, Role::Company, &limits()).expect("loads");
        let filter = Filter::new(&ENGINE, "10-swapped", code.clone(), "{}", limits(), OnError::DeadLetter);
        let filter = Arc::new(filter.expect("starts"));
        versions.push((Arc::downgrade(&filter), Arc::downgrade(&code)));
        drop(code);
        let chain = chain(vec![filter]);
        pool.warm(&chain, Some(&company()), 1).expect("starts");
        pool.keep_only([&chain]);
        assert_eq!(run(&mut worker, &chain, "pass", Budget::default()), Ok("=pass".into()));
        assert_eq!(pool.instances(), 1);
    }
    let alive = |versions: &[(Weak<Filter>, Weak<Code>)]| {
        versions.iter().map(|(filter, code)| filter.strong_count().max(code.strong_count())).sum::<usize>()
    };
    assert_eq!(alive(&versions), 1, "the last one has an instance");
    pool.keep_only([]);
    assert_eq!((alive(&versions), pool.memory_bytes()), (0, 0));
}

#[test]
fn an_instance_that_comes_back_after_the_swap_is_not_kept() {
    let (pool, old) = (pool(), single());
    let mut worker = worker_of(&pool);
    assert_eq!((run(&mut worker, &old, "pass", Budget::default()), pool.instances()), (Ok("=pass".into()), 1));
    pool.keep_only([]);
    // A batch that took its chains before the swap.
    assert_eq!((run(&mut worker, &old, "pass", Budget::default()), pool.instances()), (Ok("=pass".into()), 0));
}

#[test]
fn one_file_is_compiled_code_once_however_many_filters_use_it() {
    let (one, other) = (filter("10-a", limits(), OnError::DeadLetter), filter("20-b", limits(), OnError::Skip));
    assert!(Arc::ptr_eq(one.code(), other.code()));
}

#[test]
fn what_a_guest_keeps_of_its_state_goes_when_the_state_is_read_anew() {
    let pool = pool();
    let mut worker = worker_of(&pool);
    let other = Company::new("globex").expect("a company");
    let chain = single();
    for company in [&company(), &other] {
        worker.run_company(&chain, company, &inputs(["s1"]), &mut ChainState::new(), Budget::default()).expect("runs");
    }
    pool.forget(&other);
    assert_eq!(pool.companies(&chain).into_iter().collect::<Vec<_>>(), [company()]);
    pool.forget_states();
    assert_eq!(pool.instances(), 0);
}

#[test]
fn an_instance_that_is_not_used_goes_without_a_call() {
    let pool = InstancePool::new(PoolSettings { idle: Duration::ZERO, ..PoolSettings::default() });
    pool.warm(&single(), Some(&company()), 1).expect("starts");
    pool.sweep();
    assert_eq!(pool.instances(), 0);
}

#[derive(Default)]
struct Lines(Mutex<usize>);

impl LogSink for Lines {
    fn line(&self, _: &str, _: Option<&str>, _: &LogLine) {
        *self.0.lock().expect("not poisoned") += 1;
    }
}

#[test]
fn a_filter_that_fails_at_every_call_logs_no_more_than_it_may() {
    let lines = Arc::new(Lines::default());
    let settings = EngineSettings { log_sink: Some(lines.clone()), ..EngineSettings::default() };
    let engine = Engine::new(settings).expect("an engine");
    let limits = Limits { log_per_second: 3, ..limits() };
    let code = engine.load(&guest(), Role::Company, &limits).expect("loads");
    let filter = Filter::new(&engine, "10-fails", code, "{}", limits, OnError::DeadLetter).expect("starts");
    let chain = chain(vec![Arc::new(filter)]);
    let mut worker = Worker::new(engine, pool());
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(run(&mut worker, &chain, "trap", Budget::default()), Ok("!trap".into()));
    }
    let most = 3 * (usize::try_from(began.elapsed().as_secs()).expect("not for ever") + 1);
    let reached = *lines.0.lock().expect("not poisoned");
    assert!((3..=most).contains(&reached), "{reached} lines, {most} at most");
}

#[test]
fn instructions_are_counted_where_the_engine_was_asked_to() {
    let count = |count_instructions| {
        let engine =
            Engine::new(EngineSettings { count_instructions, ..EngineSettings::default() }).expect("an engine");
        let code = engine.load(&guest(), Role::Company, &limits()).expect("loads");
        let filter = Filter::new(&engine, "10-a", code, "{}", limits(), OnError::DeadLetter).expect("starts");
        let chain = chain(vec![Arc::new(filter)]);
        let mut worker = Worker::new(engine, pool());
        let mut of = |payloads: &[&str]| {
            let inputs = inputs(payloads.iter().copied());
            let run = worker.run_company(&chain, &company(), &inputs, &mut ChainState::new(), Budget::default());
            run.expect("runs").timings[0].instructions
        };
        (of(&["pass"]), of(&["pass"]), of(&["pass", "pass"]))
    };
    let (first, again, two) = count(true);
    assert!(first > 0 && first == again && two > first, "{first} {again} {two}");
    assert_eq!(count(false), (0, 0, 0));
}
