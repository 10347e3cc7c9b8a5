//! What a record says again, and what it weighs.

use super::*;

fn company(name: &str) -> Company {
    Company::new(name).unwrap()
}

fn place(generation: u16, sequence: u64) -> Place {
    Place { generation, sequence, time_ms: 0 }
}

fn pass() -> Pass {
    Pass { chain: 7, filters: vec![FilterTime { filter: "10-redact".into(), calls: 1, micros: 900, events: 200 }] }
}

#[test]
fn what_became_of_each_input_comes_back_as_it_was_noted() {
    let (a, b) = (company("a"), company("b"));
    let fault = Fault { kind: "trap", reason: "it trapped".into(), module: Some("10-f@1".into()), backtrace: None };
    let dropped = Became::dropped(&"10-f".into(), &"too old".into());
    let mut notes = Notes::default();
    notes.pass(None, &pass());
    notes.pass(Some(&a), &pass());
    // As an owner does: what the platform chain ended first, then company by company.
    notes.note(2, None, dropped.clone());
    for number in [0, 1, 3] {
        notes.note(number, Some(&a), Became::Emitted(2));
    }
    notes.note(0, Some(&b), Became::Waits);
    notes.note(1, Some(&b), Became::dead(&fault));
    let sequences = [10, 11, 12, 40];
    let bytes = notes.batch(place(1, 9), place(1, 40), |number| (1, sequences[number]));
    let record = Record::decode(&bytes).unwrap();
    assert!(record.batch);
    assert_eq!((record.after, record.upto), (Position::before(1, 9), Position::before(1, 40)));
    let line = |company: Option<&Company>, became| Line { company: company.cloned(), became };
    let emitted = || line(Some(&a), Became::Emitted(2));
    assert_eq!(record.find(1, 10).unwrap(), [emitted(), line(Some(&b), Became::Waits)]);
    assert_eq!(record.find(1, 11).unwrap(), [emitted(), line(Some(&b), Became::dead(&fault))]);
    assert_eq!(record.find(1, 12).unwrap(), [line(None, dropped)]);
    assert_eq!(record.find(1, 40).unwrap(), [emitted()]);
    assert_eq!((record.find(1, 13), record.find(2, 10)), (None, None));
    assert_eq!((record.pass(None), record.pass(Some(&a)), record.pass(Some(&b))), (Some(&pass()), Some(&pass()), None));
}

#[test]
fn a_step_may_reach_over_generations() {
    let a = company("a");
    let mut notes = Notes::default();
    (0..4).for_each(|number| notes.note(number, Some(&a), Became::Emitted(1)));
    let events = [(1, 8), (1, 9), (2, 1), (2, 3)];
    let record = Record::decode(&notes.step(place(2, 50), |number| events[number])).unwrap();
    assert!(!record.batch && record.upto == record.after);
    let found: Vec<_> = record.events().map(|(generation, sequence, _)| (generation, sequence)).collect();
    assert_eq!(found, events);
}

#[test]
fn what_is_passed_over_is_one_run() {
    let bytes = Notes::passed_over(place(1, 0), place(1, 5_000_000));
    let record = Record::decode(&bytes).unwrap();
    let lines = record.find(1, 4_999_999).unwrap();
    assert_eq!(lines, [Line { company: None, became: Became::PassedOver }]);
    assert!(record.find(1, 5_000_001).is_none() && bytes.len() < 40, "{}", bytes.len());
}

#[test]
fn a_batch_of_one_fate_weighs_less_than_a_byte_for_each_event_and_mixed_ones_a_few() {
    let companies = [company("company-a"), company("company-b"), company("company-c")];
    let weight = |fate: &dyn Fn(usize) -> (usize, Became)| {
        let mut notes = Notes::default();
        notes.pass(None, &pass());
        companies.iter().for_each(|company| notes.pass(Some(company), &pass()));
        for number in 0..256 {
            let (at, became) = fate(number);
            notes.note(number, Some(&companies[at]), became);
        }
        notes.batch(place(1, 0), place(1, 256), |number| (1, number as u64 + 1)).len()
    };
    assert!(weight(&|_| (0, Became::Emitted(1))) < 256, "{}", weight(&|_| (0, Became::Emitted(1))));
    let mixed = weight(&|number| (number % 3, Became::Emitted(1)));
    assert!(mixed < 4 * 256, "{mixed}");
}

#[test]
fn a_long_reason_is_cut_and_torn_or_foreign_bytes_are_an_error() {
    let long: Arc<str> = "ä".repeat(4_000).into();
    let mut notes = Notes::default();
    notes.note(0, None, Became::dropped(&"10-f".into(), &long));
    notes.note(1, Some(&company("a")), Became::Emitted(1));
    let bytes = notes.batch(place(1, 0), place(1, 2), |number| (1, number as u64 + 1));
    assert!(bytes.len() < 2 * RECORD_TEXT_BYTES, "{}", bytes.len());
    for end in 0..bytes.len() {
        assert!(Record::decode(&bytes.slice(..end)).is_err(), "{end}");
    }
    // Whatever a byte becomes, it is read or refused.
    for at in 0..bytes.len() {
        for wrong in [0, 0x7f, 0xff] {
            let mut spoilt = bytes.to_vec();
            spoilt[at] = wrong;
            if let Ok(record) = Record::decode(&spoilt.into()) {
                let _ = record.find(1, 1);
            }
        }
    }
}
