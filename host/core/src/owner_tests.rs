use super::*;
use crate::event::Output;
use crate::limits::COMMIT_OUTPUTS;
use crate::position::StoreId;
use bytes::Bytes;

fn settings() -> OwnerSettings {
    OwnerSettings { backlog: Caps { bytes_max: 10_000, age_ms_max: 1_000 }, frame_bytes_max: 4_000 }
}

fn stream() -> StreamFacts {
    StreamFacts { created_ms: 5, first_sequence: 1, first_ms: None, last_sequence: 100, checkpoint_ms: None }
}

fn owner() -> Owner {
    let head = Head {
        store: StoreId(1),
        last: CommitName::default(),
        checkpoint: None,
        generations: vec![],
        floor: None,
        chains: vec![],
        waiting: vec![],
        rebuild: None,
    };
    Owner::attach(Token(1), head, vec![], &stream(), settings()).0
}

fn event(sequence: u64) -> SourceEvent {
    SourceEvent {
        sequence,
        time_ms: sequence * 10,
        subject: "metrics.a".into(),
        headers: Bytes::new(),
        payload: Bytes::from_static(b"{}"),
    }
}

fn company(name: &str) -> Company {
    Company::new(name).unwrap()
}

fn input(sequence: u64, emission: u32, name: &str) -> Input {
    Input {
        source: event(sequence),
        emission,
        company: company(name),
        event_type: "t".into(),
        data: Bytes::from_static(b"{}"),
    }
}

fn emitted(outputs: usize) -> Verdict {
    Verdict::Emitted(vec![Output { event_type: "t".into(), data: Bytes::from_static(b"{}") }; outputs])
}

fn done(verdicts: Vec<Verdict>) -> Ran {
    Ran::Done { verdicts, writes: vec![], pass: Pass::of(7) }
}

fn fault() -> Fault {
    Fault { kind: "trap", reason: "x".into(), module: None, backtrace: None }
}

#[test]
fn outputs_of_one_event_are_numbered_over_all_emissions() {
    let mut owner = owner();
    let routed = vec![Routed::Inputs(vec![input(1, 0, "a"), input(1, 1, "a")]), Routed::Inputs(vec![input(2, 0, "a")])];
    let ran = HashMap::from([(company("a"), done(vec![emitted(2), emitted(1), emitted(1)]))]);
    let commit = owner.plan_batch(&[event(1), event(2)], routed, &Pass::of(3), ran);
    let positions: Vec<_> =
        commit.parts[0].outputs.iter().map(|e| (e.position.sequence, e.position.output, e.running)).collect();
    assert_eq!(positions, [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 4)]);
    assert_eq!(commit.counts, Counts { received: 2, emitted: 2, dropped: 0, dead: 0 });
    assert_eq!(commit.checkpoint, Some(Place { generation: 1, sequence: 2, time_ms: 20 }));
    assert_eq!((commit.follows.number, commit.name.number), (0, 1));
}

#[test]
fn a_company_that_is_not_through_waits_and_so_does_what_follows() {
    let mut owner = owner();
    let routed = |n| vec![Routed::Inputs(vec![input(n, 0, "slow")])];
    let first = owner.plan_batch(&[event(1)], routed(1), &Pass::of(3), HashMap::from([(company("slow"), Ran::Left)]));
    assert_eq!(first.parts[0].backlog_add[0].previous, Place { generation: 1, sequence: 0, time_ms: 5 });
    assert_eq!(first.counts, Counts { received: 1, ..Counts::default() }, "still in flight");
    assert!(owner.waits(&company("slow")));
    let second = owner.plan_batch(
        &[event(2)],
        routed(2),
        &Pass::of(3),
        HashMap::from([(company("slow"), done(vec![emitted(1)]))]),
    );
    assert!(second.parts[0].outputs.is_empty(), "order: it joins the backlog");
    let waiting: Vec<_> = [&first, &second].iter().flat_map(|c| c.parts[0].backlog_add.clone()).collect();
    let step = owner
        .plan_step(&company("slow"), &waiting, &[emitted(1), Verdict::Dead(fault())], vec![], &Pass::of(1))
        .unwrap();
    assert_eq!(step.parts[0].backlog_done, Some(Position::new(1, 2, 1)));
    assert_eq!(step.counts, Counts { received: 0, emitted: 1, dropped: 0, dead: 1 });
    assert_eq!(step.checkpoint, None);
    assert!(!owner.waits(&company("slow")));
}

#[test]
fn a_part_that_does_not_fit_goes_whole_to_the_backlog() {
    let mut owner = owner();
    let routed = vec![Routed::Inputs(vec![input(1, 0, "a"), input(1, 0, "b")])];
    let ran =
        HashMap::from([(company("a"), done(vec![emitted(COMMIT_OUTPUTS)])), (company("b"), done(vec![emitted(1)]))]);
    let commit = owner.plan_batch(&[event(1)], routed, &Pass::of(3), ran);
    assert_eq!(commit.parts[0].outputs.len(), COMMIT_OUTPUTS);
    assert_eq!((commit.parts[1].outputs.len(), commit.parts[1].backlog_add.len()), (0, 1));
    let waiting = vec![commit.parts[1].backlog_add[0].clone(); 1];
    let mut two = waiting.clone();
    two.push(Waiting { input: input(2, 0, "b"), ..waiting[0].clone() });
    let many = [emitted(COMMIT_OUTPUTS), emitted(1)];
    assert_eq!(owner.plan_step(&company("b"), &two, &many, vec![], &Pass::of(1)), Err(TooBig));
    assert!(owner.plan_step(&company("b"), &waiting, &many[..1], vec![], &Pass::of(1)).is_ok());
}

#[test]
fn a_full_backlog_makes_dead_letters_and_stops_nobody() {
    let mut owner = owner();
    let mut dead = 0;
    for n in 1..=200 {
        let commit = owner.plan_batch(
            &[event(n)],
            vec![Routed::Inputs(vec![input(n, 0, "slow")])],
            &Pass::of(3),
            HashMap::new(),
        );
        dead += commit.dead.len();
        assert_eq!(commit.checkpoint.unwrap().sequence, n);
    }
    assert!(dead > 50 && owner.company(&company("slow")).waiting_bytes <= 10_000);
}

#[test]
fn every_event_is_counted_once() {
    let mut owner = owner();
    let routed = vec![
        Routed::Dropped { filter: "10-f".into(), reason: "no".into() },
        Routed::Dead(fault()),
        Routed::Inputs(vec![input(3, 0, "a"), input(3, 1, "b")]),
        Routed::Inputs(vec![]),
    ];
    let ran =
        HashMap::from([(company("a"), done(vec![emitted(1)])), (company("b"), done(vec![Verdict::Dead(fault())]))]);
    let commit = owner.plan_batch(&[event(1), event(2), event(3), event(4)], routed, &Pass::of(3), ran);
    assert_eq!(commit.counts, Counts { received: 4, emitted: 0, dropped: 2, dead: 2 });
    assert_eq!(commit.dead.len(), 2);
    assert_eq!(commit.dead[1].emission, 2);
}

#[test]
fn a_frame_beyond_the_bound_is_a_dead_letter() {
    let mut owner = owner();
    let big = Verdict::Emitted(vec![Output { event_type: "t".into(), data: Bytes::from(vec![b'\r'; 900]) }]);
    let ran = HashMap::from([(company("a"), done(vec![big]))]);
    let commit = owner.plan_batch(&[event(1)], vec![Routed::Inputs(vec![input(1, 0, "a")])], &Pass::of(3), ran);
    assert_eq!((commit.dead.len(), commit.parts[0].outputs.len()), (1, 0));
    assert!(commit.dead[0].reason.contains("limits.frame-bytes"));
}

#[test]
fn another_stream_begins_a_generation_with_a_floor() {
    let mut owner = owner();
    let _ = owner.plan_batch(
        &[event(10)],
        vec![Routed::Dropped { filter: "10-f".into(), reason: "x".into() }],
        &Pass::of(3),
        HashMap::new(),
    );
    let new = StreamFacts { created_ms: 999, first_sequence: 1, first_ms: None, last_sequence: 3, checkpoint_ms: None };
    assert_eq!(owner.compare(&new), Continuity::Recreated);
    assert!(owner.has_news());
    let commit = owner.plan_idle(None);
    assert_eq!(commit.generation.number, 2);
    assert_eq!(commit.checkpoint, Some(Place { generation: 2, sequence: 0, time_ms: 999 }));
    assert_eq!(commit.floor.unwrap().reason, GapReason::SourceLost);
    assert!(!owner.has_news());
}

#[test]
fn what_the_retention_passed_is_a_floor() {
    let mut owner = owner();
    let _ = owner.plan_batch(
        &[event(10)],
        vec![Routed::Dropped { filter: "10-f".into(), reason: "x".into() }],
        &Pass::of(3),
        HashMap::new(),
    );
    let passed =
        StreamFacts { created_ms: 5, first_sequence: 50, first_ms: None, last_sequence: 100, checkpoint_ms: None };
    assert_eq!(owner.compare(&passed), Continuity::Passed);
    let commit = owner.plan_idle(Some((60, 600)));
    assert_eq!(commit.floor.unwrap().position, Position::whole(1, 49));
    assert_eq!(commit.checkpoint.unwrap().sequence, 60);
}

#[test]
fn what_the_retention_passed_is_as_new_as_what_follows_it() {
    let mut owner = owner();
    let _ = owner.plan_batch(
        &[event(10)],
        vec![Routed::Dropped { filter: "10-f".into(), reason: "x".into() }],
        &Pass::of(3),
        HashMap::new(),
    );
    let passed = StreamFacts {
        created_ms: 5,
        first_sequence: 50,
        first_ms: Some(900_000),
        last_sequence: 100,
        checkpoint_ms: None,
    };
    assert_eq!(owner.compare(&passed), Continuity::Passed);
    assert_eq!(owner.generation().last_ms, 900_000);
    let commit = owner.plan_idle(None);
    assert_eq!(commit.floor.unwrap().place(), Place { generation: 1, sequence: 49, time_ms: 900_000 });
    assert_eq!((commit.checkpoint.unwrap().time_ms, commit.time_ms_max), (900_000, 900_000));
}

#[test]
fn a_floor_moves_the_place_with_it_whatever_commit_tells_it() {
    let mut owner = owner();
    let routed = vec![Routed::Inputs(vec![input(1, 0, "slow")])];
    let first = owner.plan_batch(&[event(1)], routed, &Pass::of(3), HashMap::new());
    let new = StreamFacts { created_ms: 999, first_sequence: 1, first_ms: None, last_sequence: 0, checkpoint_ms: None };
    assert_eq!(owner.compare(&new), Continuity::Recreated);
    let waiting = &first.parts[0].backlog_add;
    let step = owner.plan_step(&company("slow"), waiting, &[Verdict::Dead(fault())], vec![], &Pass::of(1)).unwrap();
    assert_eq!(step.checkpoint, Some(Place { generation: 2, sequence: 0, time_ms: 999 }));
    assert_eq!((step.dead[0].generation, step.dead[0].created_ms), (1, 5), "a letter names the stream it came from");
}

#[test]
fn what_was_gone_before_the_first_event_is_a_floor_and_belongs_to_the_generation() {
    let mut owner = owner();
    let purged =
        StreamFacts { created_ms: 5, first_sequence: 7, first_ms: None, last_sequence: 9, checkpoint_ms: None };
    assert_eq!(owner.compare(&purged), Continuity::Passed);
    assert_eq!((owner.checkpoint().sequence, owner.generation().last_sequence), (6, 6));
}

#[test]
fn a_loss_of_the_source_lies_above_the_last_event_before_it() {
    let mut owner = owner();
    let _ = owner.plan_batch(
        &[event(10)],
        vec![Routed::Dropped { filter: "10-f".into(), reason: "x".into() }],
        &Pass::of(3),
        HashMap::new(),
    );
    let before = owner.checkpoint();
    owner.source_lost(0, before.time_ms + 5);
    let commit = owner.plan_idle(None);
    let floor = commit.floor.unwrap();
    assert_eq!((floor.position.sequence, floor.time_ms), (11, before.time_ms + 5));
    assert_eq!(commit.time_ms_max, floor.time_ms, "the index of times leads nobody past it");
    assert!(floor.above(Position::new(1, 10, 1)) && floor.above(Position::whole(1, 10)));
    assert_eq!(commit.checkpoint.unwrap(), floor.place());
    let next = owner.plan_batch(
        &[event(12)],
        vec![Routed::Inputs(vec![input(12, 0, "a")])],
        &Pass::of(3),
        HashMap::from([(company("a"), done(vec![emitted(1)]))]),
    );
    assert!(next.parts[0].outputs[0].position > floor.position);
    owner.source_lost(500, 0);
    let floor = owner.plan_idle(None).floor.unwrap();
    assert_eq!(floor.position, Position::whole(1, 500), "above what another host may have sent");
    assert!(floor.time_ms >= next.time_ms_max);
}

#[test]
fn a_store_that_began_empty_over_a_source_that_keeps_nothing_tells_everybody_of_before() {
    let rebuild = Rebuild { until: Place { generation: 1, sequence: 64_000, time_ms: 1_000 }, began_ms: 1_000 };
    let commit = owner().plan_first(rebuild, true);
    assert_eq!((commit.rebuild, commit.floor), (Some(rebuild), None), "what the stream holds is filled in");
    let mut without = owner();
    let commit = without.plan_first(rebuild, false);
    assert_eq!((commit.rebuild, commit.checkpoint), (Some(rebuild), Some(rebuild.until)));
    let floor = commit.floor.unwrap();
    assert!(floor.above(Position::new(1, 63_999, 1)) && !floor.above(rebuild.until.position()));
    assert_eq!(floor.reason, GapReason::SourceLost);
    assert_eq!(rebuild.events_left(commit.checkpoint), None);
}
