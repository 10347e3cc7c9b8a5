//! What a filter remembers is exactly what counted.

use super::guest::*;
use crate::{Budget, ChainState, Limits, OnError, StateWrite};
use bytes::Bytes;
use tidegate_core::event::Company;

fn run(state: &mut ChainState, payloads: &[&str]) -> (Vec<String>, Vec<StateWrite>) {
    let run = worker()
        .run_company(&single(), &company(), &inputs(payloads.iter().copied()), state, Budget::default())
        .expect("runs");
    (run.verdicts.iter().map(short).collect(), run.writes)
}

#[test]
fn state_of_a_failed_call_is_thrown_away_and_that_of_its_neighbours_kept() {
    let mut state = ChainState::new();
    let (told, writes) = run(&mut state, &["s1", "r", "x-trap", "r", "s2", "Garbage", "r"]);
    assert_eq!(told, ["=s1", "=s1", "!trap", "=s1", "=s2", "!garbage", "=s2"]);
    let value = Some(Bytes::from_static(b"s2"));
    assert_eq!(writes, [StateWrite { filter: "10-poison@3".into(), key: "n".into(), value }]);
    assert_eq!(state.filter("10-poison@3").and_then(|state| state.get("n")).map(|value| &value[..]), Some(&b"s2"[..]));
}

#[test]
fn an_error_result_keeps_the_state_of_its_call() {
    let mut state = ChainState::new();
    let (told, writes) = run(&mut state, &["s1", "Error", "r"]);
    assert_eq!((told, writes.len()), (vec!["=s1".into(), "!error".into(), "=Error".into()], 1));
}

#[test]
fn verdicts_and_state_are_the_same_in_any_split() {
    let payloads = ["s1", "x", "r", "s2", "Error", "trap", "r", "Garbage", "s3", "few", "r", "3abc"];
    let mut whole_state = ChainState::new();
    let (whole, _) = run(&mut whole_state, &payloads);
    for size in 1..payloads.len() {
        let mut state = ChainState::new();
        let split: Vec<String> = payloads.chunks(size).flat_map(|part| run(&mut state, part).0).collect();
        assert_eq!((split, &state), (whole.clone(), &whole_state), "in parts of {size}");
    }
}

#[test]
fn a_write_over_the_quota_is_refused_and_changes_nothing() {
    let chain = chain(vec![filter("10-poison", Limits { state_bytes: 40, ..limits() }, OnError::DeadLetter)]);
    let mut state = ChainState::new();
    let inputs = inputs(["s1", "s-much-too-long", "r"]);
    let run = worker().run_company(&chain, &company(), &inputs, &mut state, Budget::default()).expect("runs");
    assert_eq!(run.verdicts.iter().map(short).collect::<Vec<_>>(), ["=s1", "=s-much-too-long", "=s1"]);
    assert_eq!(state.bytes(), 35);
}

#[test]
fn what_was_written_before_is_found_and_an_unchanged_value_is_no_write() {
    let mut state = ChainState::new();
    state.apply(StateWrite { filter: "10-poison@3".into(), key: "n".into(), value: Some(Bytes::from_static(b"s1")) });
    let (told, writes) = run(&mut state, &["r", "s1"]);
    assert_eq!((told, writes), (vec!["=s1".into(), "=s1".into()], vec![]));
}

#[test]
fn companies_share_a_worker_and_no_instance() {
    let (mut worker, chain) = (worker(), single());
    let other = Company::new("globex").expect("a company");
    let mut states = [ChainState::new(), ChainState::new()];
    worker.run_company(&chain, &company(), &inputs(["s1"]), &mut states[0], Budget::default()).expect("runs");
    let run = worker.run_company(&chain, &other, &inputs(["r"]), &mut states[1], Budget::default()).expect("runs");
    assert_eq!((short(&run.verdicts[0]).as_str(), worker.pool().instances()), ("-dropped", 2));
    worker.pool().forget(&other);
    assert_eq!(worker.pool().instances(), 1);
    worker.pool().keep_only([]);
    assert_eq!((worker.pool().instances(), worker.pool().memory_bytes()), (0, 0));
}
