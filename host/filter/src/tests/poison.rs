//! A filter that fails at one event costs that event and no other.

use super::guest::*;
use crate::{Budget, ChainState, Interrupted, Limits, OnError};
use std::time::{Duration, Instant};
use tidegate_core::event::{Fault, Verdict};

/// Runs 64 events of which the 18th is `poison`; the others have to pass in order.
fn poisoned(poison: &str, limits: Limits) -> Fault {
    let chain = chain(vec![filter("10-poison", limits, OnError::DeadLetter)]);
    let mut payloads: Vec<String> = (0..64).map(|n| format!("p{n}")).collect();
    payloads[17] = poison.into();
    let inputs = inputs(payloads.iter().map(String::as_str));
    let run =
        worker().run_company(&chain, &company(), &inputs, &mut ChainState::new(), Budget::default()).expect("runs");
    assert_eq!(run.verdicts.len(), 64);
    let mut fault = None;
    for (index, verdict) in run.verdicts.iter().enumerate() {
        match verdict {
            Verdict::Dead(dead) if index == 17 => fault = Some(dead.clone()),
            other => assert_eq!(short(other), format!("=p{index}")),
        }
    }
    assert_eq!((run.timings[0].failed, run.timings[0].calls.len()), (7, 13), "2 log2 64 more calls than one");
    fault.expect("the poison is found")
}

#[test]
fn a_trap_is_found_and_told_with_place_words_and_backtrace() {
    let fault = poisoned("trap", limits());
    assert_eq!(fault.kind, "trap");
    assert!(
        fault.module.as_deref().is_some_and(|module| module.starts_with("10-poison@") && module.len() == 22),
        "{fault:?}"
    );
    assert!(fault.reason.contains("at sequence 18 (event 18 of 64)"), "{fault:?}");
    assert!(fault.reason.contains("it said: panicked at here"), "{fault:?}");
    assert!(fault.backtrace.as_deref().is_some_and(|trace| trace.starts_with("one at offset")), "{fault:?}");
}

#[test]
fn an_endless_loop_ends_at_its_limit() {
    let start = Instant::now();
    let fault = poisoned("loop", Limits { call_ms: 100, ..limits() });
    assert_eq!(fault.kind, "timeout");
    assert!(fault.reason.contains("100 ms (call-ms)"), "{fault:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn memory_without_end_is_refused_by_name() {
    let fault = poisoned("memory", Limits { memory_mib: 8, ..limits() });
    assert_eq!(fault.kind, "memory");
    assert!(fault.reason.contains("8 MiB (memory-mib)"), "{fault:?}");
}

#[test]
fn every_kind_of_garbage_is_found() {
    for (poison, word) in [
        ("garbage", "span 1020..1025"),
        ("invade", "another event"),
        ("utf", "no UTF-8"),
        ("few", "0 verdicts for 1"),
        ("one too many", "2 verdicts for 1"),
        ("q", "0 emissions, while its verdicts announce 1"),
    ] {
        let fault = poisoned(poison, limits());
        assert_eq!(fault.kind, "garbage", "{poison}");
        assert!(fault.reason.contains(word), "{poison}: {fault:?}");
    }
}

#[test]
fn what_passes_the_output_limits_is_found() {
    let fault = poisoned("3+++", Limits { outputs: 2, ..limits() });
    assert!(fault.kind == "output" && fault.reason.contains("emits 3 times"), "{fault:?}");
    let fault = poisoned("3+++", Limits { output_bytes: 12, ..limits() });
    assert!(fault.kind == "output" && fault.reason.contains("emits 13 bytes"), "{fault:?}");
}

#[test]
fn well_formed_and_not_allowed_costs_only_its_event_without_halving() {
    let inputs = inputs(["pass", "yes", "company", "zero", "error", "drop", "3abc"]);
    let run =
        worker().run_company(&single(), &company(), &inputs, &mut ChainState::new(), Budget::default()).expect("runs");
    let told: Vec<_> = run.verdicts.iter().map(short).collect();
    assert_eq!(told, ["=pass", "!event type", "!company", "!data", "!error", "-dropped", "=hello,abc,hello"]);
    assert_eq!(run.timings[0].calls.len(), 1);
    let Verdict::Emitted(outputs) = &run.verdicts[6] else { panic!("{:?}", run.verdicts[6]) };
    let types: Vec<_> = outputs.iter().map(|output| &*output.event_type).collect();
    assert_eq!(types, ["metric", "metric", "metric_updated"]);
}

#[test]
fn a_payload_that_is_passed_on_is_not_copied() {
    let inputs = inputs(["pass", "3abc"]);
    let run =
        worker().run_company(&single(), &company(), &inputs, &mut ChainState::new(), Budget::default()).expect("runs");
    let (Verdict::Emitted(whole), Verdict::Emitted(part)) = (&run.verdicts[0], &run.verdicts[1]) else {
        panic!("{run:?}")
    };
    assert_eq!(whole[0].data.as_ptr(), inputs[0].data.as_ptr());
    assert_eq!(part[1].data.as_ptr(), inputs[1].data[1..].as_ptr());
    assert_eq!(part[2].data.as_ptr(), part[0].data.as_ptr(), "other outputs share the bytes of their call");
}

#[test]
fn the_end_of_the_batch_is_nobodys_fault_and_leaves_no_trace() {
    let chain = chain(vec![filter("10-poison", limits(), OnError::DeadLetter)]);
    let mut state = ChainState::new();
    let mut worker = worker();
    worker.run_company(&chain, &company(), &inputs(["s-first"]), &mut state, Budget::default()).expect("runs");
    let before = state.clone();
    let budget = Budget { deadline: Some(Instant::now() + Duration::from_millis(20)), ..Budget::default() };
    let end = worker.run_company(&chain, &company(), &inputs(["s-second", "loop"]), &mut state, budget);
    assert_eq!(end, Err(Interrupted::Budget));
    assert_eq!(state, before);
    let run = worker.run_company(&chain, &company(), &inputs(["r"]), &mut state, Budget::default()).expect("runs");
    assert_eq!(short(&run.verdicts[0]), "=s-first");
}

#[test]
fn a_budget_that_is_over_starts_no_call() {
    let budget = Budget { deadline: Some(Instant::now()), ..Budget::default() };
    let end = worker().run_company(&single(), &company(), &inputs(["pass"]), &mut ChainState::new(), budget);
    assert_eq!(end, Err(Interrupted::Budget));
}

#[test]
fn a_slow_batch_is_cut_into_calls_that_are_fast_enough() {
    let limits = Limits { call_ms: 300, ..limits() };
    let chain = chain(vec![filter("10-poison", limits, OnError::DeadLetter)]);
    let run = worker()
        .run_company(&chain, &company(), &inputs(["work"; 48]), &mut ChainState::new(), Budget::default())
        .expect("runs");
    assert!(run.verdicts.iter().all(|verdict| short(verdict) == "=work"), "{:?}", run.timings);
}
