//! Filters one behind the other, the platform's and a company's.

use super::guest::*;
use crate::{
    Budget, Chain, ChainState, Filter, InstancePool, Limits, OnError, PlatformVerdict, PoolSettings, Role, Worker,
};
use std::sync::Arc;
use tidegate_core::event::Verdict;

fn run_with(chain: &Chain, payloads: &[&str], budget: Budget) -> crate::CompanyRun {
    worker()
        .run_company(chain, &company(), &inputs(payloads.iter().copied()), &mut ChainState::new(), budget)
        .expect("runs")
}

fn pair(on_error: OnError) -> Chain {
    chain(vec![filter("10-first", limits(), OnError::DeadLetter), filter("20-second", limits(), on_error)])
}

fn told(verdicts: &[Verdict]) -> Vec<String> {
    verdicts.iter().map(short).collect()
}

#[test]
fn an_input_is_emitted_whole_or_dead_lettered_whole() {
    // The first filter splits `3trap` into `hello`, `trap` and `hello`; the second one traps at the middle.
    let run = run_with(&pair(OnError::DeadLetter), &["pass", "3trap", "3abc"], Budget::default());
    assert_eq!(told(&run.verdicts), ["=pass", "!trap", "=hello,abc,hello"]);
    let Verdict::Dead(fault) = &run.verdicts[1] else { panic!("{run:?}") };
    assert!(fault.reason.starts_with("20-second@"), "{fault:?}");
}

#[test]
fn skip_drops_the_failing_emission_and_tells_it() {
    let run = run_with(&pair(OnError::Skip), &["3trap", "error", "pass"], Budget::default());
    assert_eq!(told(&run.verdicts), ["=hello,hello", "!error", "=pass"]);
    assert_eq!((run.skipped.len(), run.skipped[0].input, run.skipped[0].fault.kind), (1, 0, "trap"));
    let only = chain(vec![filter("10-first", limits(), OnError::Skip)]);
    let run = run_with(&only, &["trap"], Budget::default());
    // A word that metrics can count by: the whole story is the log's.
    assert!(matches!(&run.verdicts[0], Verdict::Dropped { reason, .. } if &**reason == "skipped: trap"), "{run:?}");
}

#[test]
fn pause_stops_before_the_failing_input_with_the_state_of_then() {
    let mut state = ChainState::new();
    let inputs = inputs(["s1", "error-later", "s2", "trap"]);
    let chain = chain(vec![
        filter("10-first", limits(), OnError::DeadLetter),
        filter("20-second", limits(), OnError::DeadLetter),
        filter("30-third", limits(), OnError::Pause),
    ]);
    let run = worker().run_company(&chain, &company(), &inputs, &mut state, Budget::default()).expect("runs");
    assert_eq!(
        (told(&run.verdicts), run.paused),
        (vec!["=s1".into(), "!error".into(), "=s2".into(), "!trap".into()], None)
    );

    let mut state = ChainState::new();
    let chain = pair(OnError::Pause);
    // The second filter is the first to see `3error`'s middle part; the first one has then remembered `s2` already.
    let inputs = super::guest::inputs(["s1", "3error", "s2"]);
    let run = worker().run_company(&chain, &company(), &inputs, &mut state, Budget::default()).expect("runs");
    assert_eq!(told(&run.verdicts), ["=s1"]);
    let paused = run.paused.expect("paused");
    assert_eq!((paused.input, paused.fault.kind), (1, "error"));
    let value = state.filter("10-first@3").and_then(|state| state.get("n")).expect("remembered");
    assert_eq!(&value[..], b"s1");
}

#[test]
fn one_input_does_not_become_more_than_the_chain_may_emit() {
    let budget = Budget { outputs_max: 2, ..Budget::default() };
    let run = run_with(&pair(OnError::DeadLetter), &["3abc", "pass"], budget);
    assert_eq!(told(&run.verdicts), ["!output", "=pass"]);
    let budget = Budget { output_bytes_max: 12, ..Budget::default() };
    assert_eq!(told(&run_with(&pair(OnError::DeadLetter), &["3abc"], budget).verdicts), ["!output"]);
}

#[test]
fn without_filters_everything_passes() {
    let run = run_with(&chain(vec![]), &["pass", ""], Budget::default());
    assert_eq!(told(&run.verdicts), ["=pass", "="]);
}

#[test]
fn more_events_than_fit_in_a_call_keep_their_order() {
    let payloads: Vec<String> = (0..700).map(|n| format!("p{n}")).collect();
    let refs: Vec<&str> = payloads.iter().map(String::as_str).collect();
    let run = run_with(&single(), &refs, Budget::default());
    assert_eq!((run.timings[0].calls.len(), run.timings[0].events), (3, 700));
    assert!(run.verdicts.iter().enumerate().all(|(n, verdict)| short(verdict) == format!("=p{n}")));
}

#[test]
fn an_event_larger_than_a_call_goes_alone() {
    let large = "p".repeat((1 << 20) - 1);
    let run = run_with(&single(), &["pass", &large, "pass"], Budget::default());
    assert_eq!(run.timings[0].calls.len(), 3);
    assert!(run.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Emitted(_))));
}

#[test]
fn an_instance_is_reused_until_it_has_grown() {
    let (mut worker, chain) =
        (worker(), chain(vec![filter("10-first", Limits { memory_mib: 4, ..limits() }, OnError::DeadLetter)]));
    let mut state = ChainState::new();
    for (payload, instances) in [("pass", 1), ("n", 1), ("n", 0), ("pass", 1)] {
        let run =
            worker.run_company(&chain, &company(), &inputs([payload]), &mut state, Budget::default()).expect("runs");
        assert_eq!((short(&run.verdicts[0]), worker.pool().instances()), (format!("={payload}"), instances));
    }
}

#[test]
fn a_worker_keeps_no_more_instances_than_it_may() {
    let settings = PoolSettings { instances_max: 2, ..PoolSettings::default() };
    let mut worker = Worker::new(ENGINE.clone(), InstancePool::new(settings));
    let filters: Vec<_> = ["1-a", "2-b", "3-c"].map(|name| filter(name, limits(), OnError::DeadLetter)).into();
    let run = worker
        .run_company(&chain(filters), &company(), &inputs(["pass"]), &mut ChainState::new(), Budget::default())
        .expect("runs");
    assert_eq!((told(&run.verdicts), worker.pool().instances()), (vec!["=pass".into()], 2));
}

fn platform(on_error: OnError) -> Result<Chain, crate::LoadError> {
    let code = ENGINE.load(&platform_guest(), Role::Platform, &limits()).expect("loads");
    let filter = Filter::new(&ENGINE, "10-platform", code, "{}", limits(), on_error).expect("starts");
    Chain::new(vec![Arc::new(filter)], Role::Platform)
}

#[test]
fn the_platform_chain_decides_company_and_type_or_says_why_not() {
    let chain = platform(OnError::DeadLetter).expect("a chain");
    let events: Vec<_> = ["company", "pass", "k", "drop", "trap", "y"]
        .iter()
        .enumerate()
        .map(|(n, p)| source(n as u64 + 1, p))
        .collect();
    let run = worker().run_platform(&chain, &events).expect("runs");
    let PlatformVerdict::Emitted(inputs) = &run.verdicts[0] else { panic!("{run:?}") };
    let facts: Vec<_> = inputs
        .iter()
        .map(|input| (input.company.as_str(), input.emission, &*input.event_type, &input.data[..]))
        .collect();
    assert_eq!(facts, [("acme", 0, "metric_updated", &b"hello"[..]), ("globex", 1, "metric_updated", &b"hello"[..])]);
    let kinds: Vec<_> = run.verdicts[1..]
        .iter()
        .map(|verdict| match verdict {
            PlatformVerdict::Dead(fault) => fault.kind,
            PlatformVerdict::Dropped { reason, .. } => {
                if &**reason == "dropped" {
                    "dropped"
                } else {
                    "?"
                }
            }
            PlatformVerdict::Emitted(_) => "emitted",
        })
        .collect();
    assert_eq!(kinds, ["no event type", "company", "dropped", "trap", "event type"]);
}

#[test]
fn a_platform_chain_can_not_pause_nor_be_empty() {
    assert!(platform(OnError::Pause).expect_err("refused").to_string().contains("pause"));
    assert!(Chain::new(vec![], Role::Platform).is_err());
    let company = filter("10-first", limits(), OnError::DeadLetter);
    assert!(Chain::new(vec![company.clone()], Role::Platform).is_err());
    assert!(
        Chain::new(vec![company.clone(), company], Role::Company)
            .expect_err("refused")
            .to_string()
            .contains("10-first")
    );
}

/// The filter that serves where no other platform filter does, as its own build left it.
const BUILT_IN: &[u8] = include_bytes!("../../../../filters/platform/platform.wasm");

#[test]
fn the_built_in_platform_filter_maps_subjects_and_reads_the_company() {
    let code = ENGINE.load(BUILT_IN, Role::Platform, &limits()).expect("loads");
    let filter = Filter::new(&ENGINE, "platform", code, "{}", limits(), OnError::DeadLetter).expect("starts");
    let chain = Chain::new(vec![Arc::new(filter)], Role::Platform).expect("a chain");
    let mut events = Vec::new();
    for (index, (subject, payload)) in [
        ("metrics.calculated", r#"{"companyId":"test-company","metricName":"test","value":1}"#),
        ("metrics.sroi_total", r#"{"companyId":"acme"}"#),
        ("orders.new", r#"{"companyId":"acme"}"#),
        ("metrics.a", "{}"),
        ("metrics.a", "no json"),
    ]
    .into_iter()
    .enumerate()
    {
        events.push(tidegate_core::event::SourceEvent { subject: subject.into(), ..source(index as u64 + 1, payload) });
    }
    let run = worker().run_platform(&chain, &events).expect("runs");
    let facts: Vec<_> = run
        .verdicts
        .iter()
        .map(|verdict| match verdict {
            PlatformVerdict::Emitted(inputs) => format!("{} {}", inputs[0].company, inputs[0].event_type),
            PlatformVerdict::Dropped { reason, .. } => format!("dropped: {reason}"),
            PlatformVerdict::Dead(fault) => fault.kind.to_owned(),
        })
        .collect();
    assert_eq!(facts, ["test-company metric_updated", "acme sroi_updated", "no event type", "no company", "not JSON"]);
    let PlatformVerdict::Emitted(inputs) = &run.verdicts[0] else { panic!("{run:?}") };
    assert_eq!(inputs[0].data.as_ptr(), events[0].payload.as_ptr(), "passed on without a copy");
}

#[test]
fn a_long_list_of_companies_is_never_cut() {
    let names: Vec<String> = (0..100).map(|n| format!("company-with-a-long-name-{n:04}")).collect();
    let list = names.join(",");
    let guest = super::guest::platform_guest_with_companies(&list);
    let code = ENGINE.load(&guest, Role::Platform, &limits()).expect("loads");
    let filter = Filter::new(&ENGINE, "10-wide", code, "{}", limits(), OnError::DeadLetter).expect("starts");
    let chain = Chain::new(vec![Arc::new(filter)], Role::Platform).expect("a chain");
    let run = worker().run_platform(&chain, &[source(1, "k")]).expect("runs");
    let PlatformVerdict::Emitted(inputs) = &run.verdicts[0] else { panic!("{run:?}") };
    let told: Vec<_> = inputs.iter().map(|input| input.company.to_string()).collect();
    assert_eq!(told, names);
}
