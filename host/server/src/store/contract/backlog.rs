//! Backlogs: who waits, since where, and what a step takes out.

use super::on_every_store;
use super::stand::{Stand, Writer, company, entry, head_of, waiting};
use crate::store::Store;
use tidegate_core::commit::{CommitAnswer, Part, Waiting, waiting_position};
use tidegate_core::event::Company;
use tidegate_core::position::{Place, Position};

on_every_store!(a_company_stands_before_its_oldest_waiting_input, waiting_inputs_come_in_bounded_pieces);

fn weight(inputs: &[Waiting]) -> u64 {
    inputs.iter().map(|input| input.encode().len() as u64).sum()
}

async fn a_company_stands_before_its_oldest_waiting_input(stand: Stand) {
    let (store, a, b) = (stand.store(), company("a"), company("b"));
    let mut writer = Writer::new(&*store).await;
    let inputs: Vec<Waiting> =
        [(5, 0), (5, 1), (7, 0), (9, 0)].map(|(s, n)| waiting(&a, writer.place(s - 1), s, n)).into();
    let mut commit = writer.next(10);
    commit.parts.push(Part { backlog_add: inputs[..3].to_vec(), ..Part::new(a.clone()) });
    store.commit(&commit).await.unwrap();
    let mut commit = writer.next(11);
    commit.parts.push(Part { backlog_add: inputs[3..].to_vec(), ..Part::new(a.clone()) });
    let answer = store.commit(&commit).await.unwrap();
    assert_eq!(answer, CommitAnswer::Stored(vec![(a.clone(), Some(writer.place(4)))]));
    let head = head_of(&*store, &a).await;
    assert_eq!((head.waiting, head.waiting_bytes), (4, weight(&inputs)));
    assert_eq!(head.waiting_from, Some(writer.place(4)));
    assert_eq!(store.head().await.unwrap().waiting, [(a.clone(), writer.place(4))]);
    assert_eq!(place(&*store, &a).await, Some(writer.place(4)));
    assert_eq!(place(&*store, &b).await, Some(writer.place(11)), "who doesn't wait stands at the checkpoint");
    assert_eq!(store.page(&a, Position::default(), 1).await.unwrap().place, Some(writer.place(4)));

    // A step: inputs out, outputs in, the checkpoint stays.
    let mut step = writer.next(11);
    step.checkpoint = None;
    step.parts.push(Part {
        outputs: vec![entry(Position::new(1, 5, 1), 1), entry(Position::new(1, 5, 2), 2)],
        backlog_done: Some(waiting_position(1, &inputs[1].input)),
        ..Part::new(a.clone())
    });
    let answer = store.commit(&step).await.unwrap();
    assert_eq!(answer, CommitAnswer::Stored(vec![(a.clone(), Some(writer.place(6)))]));
    let head = head_of(&*store, &a).await;
    assert_eq!((head.waiting, head.waiting_bytes, head.entries), (2, weight(&inputs[2..]), 2));
    assert_eq!(store.waiting(&a, 10, 1 << 20).await.unwrap(), inputs[2..]);
    assert_eq!(store.head().await.unwrap().checkpoint, Some(writer.place(11)));

    let mut last = writer.next(11);
    last.checkpoint = None;
    let done = Some(waiting_position(1, &inputs[3].input));
    last.parts.push(Part { backlog_done: done, ..Part::new(a.clone()) });
    assert_eq!(store.commit(&last).await.unwrap(), CommitAnswer::Stored(vec![(a.clone(), None)]));
    let head = head_of(&*store, &a).await;
    assert_eq!((head.waiting, head.waiting_bytes, head.waiting_from), (0, 0, None));
    assert!(store.head().await.unwrap().waiting.is_empty());
    assert_eq!(place(&*store, &a).await, Some(writer.place(11)));
    assert!(store.waiting(&a, 10, 1 << 20).await.unwrap().is_empty());

    // What waits next waits above what waited before.
    let next = waiting(&a, writer.place(11), 12, 0);
    let mut commit = writer.next(12);
    commit.parts.push(Part { backlog_add: vec![next.clone()], ..Part::new(a.clone()) });
    let answer = store.commit(&commit).await.unwrap();
    assert_eq!(answer, CommitAnswer::Stored(vec![(a.clone(), Some(writer.place(11)))]));
    assert_eq!(head_of(&*store, &a).await.waiting_bytes, weight(&[next]));
}

async fn waiting_inputs_come_in_bounded_pieces(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    let inputs: Vec<Waiting> = (1..=200).map(|s| waiting(&a, writer.place(s - 1), s, 0)).collect();
    let mut commit = writer.next(200);
    commit.parts.push(Part { backlog_add: inputs.clone(), ..Part::new(a.clone()) });
    store.commit(&commit).await.unwrap();
    assert_eq!(store.waiting(&a, 64, 1 << 20).await.unwrap(), inputs[..64]);
    assert_eq!(store.waiting(&a, 64, 0).await.unwrap(), inputs[..1], "one at least");
    let some = store.waiting(&a, 200, weight(&inputs[..10]) as usize).await.unwrap();
    assert!((10..=11).contains(&some.len()), "{}", some.len());
}

async fn place(store: &dyn Store, company: &Company) -> Option<Place> {
    store.page(company, Position::default(), 0).await.unwrap().place
}
