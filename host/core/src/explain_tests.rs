//! Each thing that can have become of an event.

use super::*;
use crate::event::Fault;
use crate::record::{Notes, Record};

fn company(name: &str) -> Company {
    Company::new(name).unwrap()
}

fn place(sequence: u64) -> Place {
    Place { generation: 1, sequence, time_ms: 0 }
}

fn question(sequence: u64) -> Question {
    Question { company: company("a"), generation: 1, sequence }
}

fn recorded(number: u64, bytes: &bytes::Bytes) -> Recorded {
    Recorded { number, at_ms: number * 100, record: Record::decode(bytes).unwrap() }
}

/// The record of commit 5: events 11 to 15, of which 15 was none of ours.
fn batch() -> Recorded {
    let (a, b) = (company("a"), company("b"));
    let mut notes = Notes::default();
    notes.pass(None, &Pass::of(1));
    notes.pass(Some(&a), &Pass::of(2));
    notes.note(3, None, Became::dropped(&"20-kinds".into(), &"unknown kind".into()));
    notes.note(0, Some(&a), Became::Emitted(2));
    notes.note(1, Some(&a), Became::dropped(&"10-f".into(), &"no".into()));
    notes.note(2, Some(&b), Became::Emitted(1));
    recorded(5, &notes.batch(place(10), place(15), |number| (1, 11 + number as u64)))
}

/// Commit 6: event 16 waits. Commit 9: a step that emits it.
fn waited() -> (Recorded, Recorded) {
    let a = company("a");
    let mut notes = Notes::default();
    notes.note(0, Some(&a), Became::Waits);
    let waits = recorded(6, &notes.batch(place(15), place(16), |_| (1, 16)));
    let mut notes = Notes::default();
    notes.pass(Some(&a), &Pass::of(3));
    notes.note(0, Some(&a), Became::Emitted(1));
    (waits, recorded(9, &notes.step(place(20), |_| (1, 16))))
}

fn evidence(record: Recorded) -> Evidence {
    Evidence {
        checkpoint: Some(place(20)),
        floor: None,
        company: Some(CompanyHead::default()),
        record: Some(record),
        oldest: None,
        step: None,
        cached: Vec::new(),
        source: InSource::Unknown,
    }
}

fn cached(sequence: u64) -> Cached {
    let position = Position::new(1, sequence, 1);
    Cached { position, subject: "s".into(), event_type: "t".into(), time_ms: 1, chain: 2, bytes: 3 }
}

#[test]
fn a_record_says_what_its_commit_decided() {
    let emitted = explain(&question(11), &evidence(batch()));
    assert_eq!((&emitted.fate, emitted.outputs), (&Fate::Decided(vec![Became::Emitted(2)]), 2));
    assert_eq!((emitted.taken_in, emitted.decided), (Some((5, 500)), None));
    assert_eq!((emitted.platform, emitted.chain), (Some(Pass::of(1)), Some(Pass::of(2))));
    let dropped = explain(&question(12), &evidence(batch()));
    assert_eq!(dropped.fate, Fate::Decided(vec![Became::dropped(&"10-f".into(), &"no".into())]));
    assert_eq!(explain(&question(13), &evidence(batch())).fate, Fate::Others(1));
    let platform = Fate::Platform(Became::dropped(&"20-kinds".into(), &"unknown kind".into()));
    assert_eq!(explain(&question(14), &evidence(batch())).fate, platform);
    assert_eq!(explain(&question(15), &evidence(batch())).fate, Fate::NeverSeen);
}

#[test]
fn what_waited_is_explained_by_the_step_that_took_it() {
    let (waits, step) = waited();
    let mut known = evidence(waits);
    known.company = Some(CompanyHead { waiting: 1, waiting_from: Some(place(15)), ..CompanyHead::default() });
    assert_eq!(explain(&question(16), &known).fate, Fate::Waiting);
    known.company = Some(CompanyHead { waiting: 1, waiting_from: Some(place(16)), ..CompanyHead::default() });
    assert_eq!(explain(&question(16), &known).fate, Fate::LeftBacklog, "only later ones wait");
    known.step = Some(step);
    let explained = explain(&question(16), &known);
    assert_eq!(explained.fate, Fate::Decided(vec![Became::Emitted(1)]));
    assert_eq!((explained.taken_in, explained.decided), (Some((6, 600)), Some((9, 900))));
    assert_eq!(explained.chain, Some(Pass::of(3)));
}

#[test]
fn of_several_inputs_some_may_have_found_the_backlog_full() {
    let (_, step) = waited();
    let fault = Fault { kind: "backlog full", reason: "full".into(), module: None, backtrace: None };
    let mut notes = Notes::default();
    notes.note(0, Some(&company("a")), Became::Waits);
    notes.note(0, Some(&company("a")), Became::dead(&fault));
    let mut known = evidence(recorded(6, &notes.batch(place(15), place(16), |_| (1, 16))));
    known.step = Some(step);
    let explained = explain(&question(16), &known);
    assert_eq!(explained.fate, Fate::Decided(vec![Became::dead(&fault), Became::Emitted(1)]));
}

#[test]
fn records_that_are_gone_are_not_taken_for_events_that_never_were() {
    let mut known = evidence(batch());
    known.oldest = known.record.clone();
    assert_eq!(explain(&question(9), &known).fate, Fate::RecordsGone { cached: 0 });
    known.cached = vec![cached(9)];
    assert_eq!(explain(&question(9), &known).fate, Fate::RecordsGone { cached: 1 });
    known.cached = Vec::new();
    // The batch says what it holds from 11 on; before it another one is kept.
    known.oldest = Some(recorded(2, &Notes::default().batch(place(1), place(2), |_| (1, 1))));
    assert_eq!(explain(&question(9), &known).fate, Fate::NeverSeen);
    (known.record, known.oldest) = (None, None);
    assert_eq!(explain(&question(9), &known).fate, Fate::RecordsGone { cached: 0 });
}

#[test]
fn what_is_not_committed_is_in_the_source_or_nowhere() {
    let mut known = Evidence { record: None, ..evidence(batch()) };
    assert_eq!(explain(&question(21), &known).fate, Fate::NotInSource);
    known.source = InSource::Held { subject: "s".into(), time_ms: 1 };
    assert_eq!(explain(&question(21), &known).fate, Fate::NotYet);
    known.checkpoint = None;
    assert_eq!(explain(&question(1), &known).fate, Fate::NotYet);
}

#[test]
fn what_was_lost_or_passed_over_or_trimmed_says_so() {
    let floor = |reason| Floor { position: place(12).position(), time_ms: 1, reason, running: None };
    let skip = recorded(3, &Notes::passed_over(place(0), place(10)));
    assert_eq!(explain(&question(4), &evidence(skip)).fate, Fate::PassedOver);
    let empty = recorded(5, &Notes::default().batch(place(10), place(15), |_| (1, 11)));
    let lost = Evidence { floor: Some(floor(GapReason::SourceLost)), ..evidence(empty) };
    assert_eq!(explain(&question(11), &lost).fate, Fate::SourceLost);
    let trimmed = CompanyHead { floor: Some(floor(GapReason::Trimmed)), ..CompanyHead::default() };
    let explained = explain(&question(11), &Evidence { company: Some(trimmed), ..evidence(batch()) });
    assert_eq!(explained.gone.map(|floor| floor.reason), Some(GapReason::Trimmed));
    assert_eq!((explained.fate, explained.outputs), (Fate::Decided(vec![Became::Emitted(2)]), 2));
}
