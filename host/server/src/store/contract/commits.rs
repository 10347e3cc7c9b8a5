//! Commits: once, in order, all or nothing, by the owner alone.

use super::on_every_store;
use super::stand::{NOW, Stand, Writer, company, entry, head_of, letter, set, waiting};
use crate::store::{LeaseAnswer, Store};
use std::fmt::Debug;
use tidegate_core::commit::{Commit, CommitAnswer, CompanyHead, Part};
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::generation::Generation;
use tidegate_core::limits;
use tidegate_core::position::{CommitName, Position, SEQUENCE_MAX, Token};
use tidegate_core::rebuild::Rebuild;

on_every_store!(
    an_empty_store_has_an_id_and_nothing_else,
    a_commit_is_applied_once_however_often_it_is_sent,
    all_of_a_commit_is_there_together,
    nothing_of_a_refused_commit_is_there,
    only_the_owner_commits,
    a_new_owner_follows_the_last_commit_of_the_old_one,
    a_store_that_went_back_is_filled_in_again,
    what_is_committed_outlasts_a_restart,
    a_new_generation_goes_on_above_the_old_one,
    a_lease_has_a_new_epoch_with_each_grant,
    the_largest_positions_keep_their_order,
    the_last_write_to_a_key_of_the_state_counts,
    commits_on_their_way_arrive_in_order,
);

async fn stored(store: &dyn Store, commit: &Commit) {
    let answer = store.commit(commit).await.unwrap();
    assert!(matches!(answer, CommitAnswer::Stored(_)), "{answer:?}");
}

async fn an_empty_store_has_an_id_and_nothing_else(stand: Stand) {
    let store = stand.store();
    let head = store.head().await.unwrap();
    assert_ne!(head.store.0, 0);
    assert_eq!(store.head().await.unwrap(), head, "the id stays");
    assert_eq!((head.last, head.checkpoint, head.floor), (CommitName::default(), None, None));
    assert!(head.generations.is_empty() && head.chains.is_empty());
    let a = company("a");
    assert_eq!(head_of(&*store, &a).await, CompanyHead::default());
    let page = store.page(&a, Position::default(), 10).await.unwrap();
    assert_eq!((page.entries.len(), page.full, page.place, page.store), (0, false, None, head.store));
    assert!(store.companies().await.unwrap().is_empty());
    assert!(store.waiting(&a, 10, 100).await.unwrap().is_empty());
    assert!(store.state(&a).await.unwrap().is_empty());
    assert!(store.outbox(10).await.unwrap().is_empty());
    assert_eq!(store.marks_around(1, 1).await.unwrap(), (None, None));
    assert!(store.clock_ms().await.unwrap() > NOW);
}

async fn a_commit_is_applied_once_however_often_it_is_sent(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    let (first, second) = (writer.one(&a, 1, 1), writer.one(&a, 2, 2));
    stored(&*store, &first).await;
    stored(&*store, &first).await;
    stored(&*store, &second).await;
    stored(&*store, &first).await;
    stored(&*store, &second).await;
    let head = head_of(&*store, &a).await;
    assert_eq!((head.entries, head.running, head.top), (2, 2, Position::new(1, 2, 1)));
    assert_eq!(store.head().await.unwrap().last, second.name);
}

/// A commit that does everything a commit can do.
pub(crate) fn everything(writer: &mut Writer, sequence: u64) -> Commit {
    let (a, b) = (company("a"), company("b"));
    let generation = writer.generation.number;
    let previous = writer.place(sequence - 1);
    let mut commit = writer.next(sequence);
    let mut part = Part::new(a.clone());
    part.outputs = (1..=3).map(|n| entry(Position::new(generation, sequence, n), u64::from(n))).collect();
    part.state = vec![set("10-f", "count", Some("3")), set("20-g", "x\0y", Some(""))];
    commit.parts.push(part);
    let mut part = Part::new(b.clone());
    part.backlog_add = vec![waiting(&b, previous, sequence, 0), waiting(&b, previous, sequence, 1)];
    commit.parts.push(part);
    commit.dead = vec![letter(sequence), letter(sequence + 1)];
    let position = Position::whole(generation, sequence - 1);
    commit.floor = Some(Floor { position, time_ms: 5, reason: GapReason::SourceLost, running: None });
    commit.chains = Some(vec![("_platform".into(), "abc".into()), ("a".into(), "def".into())]);
    commit.rebuild = Some(Rebuild { until: writer.place(sequence + 5), began_ms: NOW });
    commit
}

async fn all_of_a_commit_is_there_together(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    let commit = everything(&mut writer, 10);
    let (a, b) = (company("a"), company("b"));
    let answer = store.commit(&commit).await.unwrap();
    let places = CommitAnswer::Stored(vec![(b.clone(), Some(writer.place(9)))]);
    assert_eq!(answer, places);
    assert_eq!(store.commit(&commit).await.unwrap(), places, "a repeat says the same");
    let page = store.page(&a, Position::default(), 10).await.unwrap();
    assert_eq!(page.entries, commit.parts[0].outputs);
    assert_eq!((page.place, page.last, page.generation, page.running), (commit.checkpoint, commit.name, 1, 3));
    assert_eq!(page.floor, commit.floor);
    assert_eq!(store.waiting(&b, 10, 1 << 20).await.unwrap(), commit.parts[1].backlog_add);
    let state = store.state(&a).await.unwrap();
    assert_eq!(&state["10-f"]["count"][..], b"3");
    assert_eq!(&state["20-g"]["x\0y"][..], b"");
    let outbox: Vec<_> = store.outbox(10).await.unwrap().into_iter().map(|(_, letter)| letter).collect();
    assert_eq!(outbox, commit.dead);
    let head = store.head().await.unwrap();
    assert_eq!((head.last, head.checkpoint, head.floor), (commit.name, commit.checkpoint, commit.floor));
    assert_eq!(head.generations, [commit.generation]);
    assert_eq!(Some(head.chains), commit.chains);
    assert_eq!((head.rebuild, page.rebuild), (commit.rebuild, commit.rebuild));
    // How its life began stays known.
    stored(&*store, &writer.next(11)).await;
    assert_eq!(store.head().await.unwrap().rebuild, commit.rebuild);
    let names: Vec<_> = store.companies().await.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [a, b]);
}

/// All that can be seen of a store.
pub(crate) async fn everything_of(store: &dyn Store) -> impl PartialEq + Debug + use<> {
    let (a, b) = (company("a"), company("b"));
    (
        store.head().await.unwrap(),
        store.companies().await.unwrap(),
        store.page(&a, Position::default(), 99).await.unwrap(),
        store.waiting(&b, 99, 1 << 20).await.unwrap(),
        store.state(&a).await.unwrap(),
        store.outbox(99).await.unwrap(),
        store.marks_around(1, u64::MAX >> 16).await.unwrap(),
    )
}

async fn nothing_of_a_refused_commit_is_there(stand: Stand) {
    let (store, a, b) = (stand.store(), company("a"), company("b"));
    let mut writer = Writer::new(&*store).await;
    stored(&*store, &everything(&mut writer, 10)).await;
    let before = everything_of(&*store).await;
    // It follows a commit that isn't there.
    let mut skipping = everything(&mut writer, 11);
    let name = skipping.name;
    skipping.name.number += 1;
    skipping.follows = name;
    assert_eq!(store.commit(&skipping).await.unwrap(), CommitAnswer::Refused);
    assert_eq!(everything_of(&*store).await, before);
    // It says the right name, but the second company is further already.
    let mut below = everything(&mut writer, 12);
    (below.name, below.follows) = (name, CommitName { number: name.number - 1, ..name });
    below.parts = vec![
        Part { outputs: vec![entry(Position::new(1, 12, 1), 1)], ..Part::new(company("c")) },
        Part { outputs: vec![entry(Position::new(1, 10, 3), 9)], ..Part::new(a.clone()) },
    ];
    assert_eq!(store.commit(&below).await.unwrap(), CommitAnswer::Refused);
    let joins = vec![waiting(&b, writer.place(9), 10, 1)];
    below.parts[1] = Part { backlog_add: joins, ..Part::new(b) };
    assert_eq!(store.commit(&below).await.unwrap(), CommitAnswer::Refused);
    below.parts.pop();
    below.generation.number = 0;
    assert_eq!(store.commit(&below).await.unwrap(), CommitAnswer::Refused, "an older generation");
    assert_eq!(everything_of(&*store).await, before);
    // Positions that don't ascend never reach the store.
    below.generation.number = 1;
    below.parts = vec![Part { outputs: vec![entry(Position::new(1, 12, 1), 1); 2], ..Part::new(a) }];
    assert!(store.commit(&below).await.is_err());
    assert_eq!(everything_of(&*store).await, before);
}

async fn only_the_owner_commits(stand: Stand) {
    let store = stand.store();
    let mut sleeper = Writer::new(&*store).await;
    let late = everything(&mut sleeper, 10);
    let mut owner = Writer::new(&*store).await;
    let before = everything_of(&*store).await;
    assert_eq!(store.commit(&late).await.unwrap(), CommitAnswer::NotOwner);
    assert_eq!(everything_of(&*store).await, before);
    stored(&*store, &everything(&mut owner, 10)).await;
}

async fn a_new_owner_follows_the_last_commit_of_the_old_one(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut old = Writer::new(&*store).await;
    stored(&*store, &old.one(&a, 1, 1)).await;
    let mut new = Writer::new(&*store).await;
    let commit = new.one(&a, 2, 2);
    assert_eq!((commit.follows, commit.name.number), (old.last, 2));
    stored(&*store, &commit).await;
    stored(&*store, &commit).await;
}

async fn a_store_that_went_back_is_filled_in_again(mut stand: Stand) {
    let a = company("a");
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    stored(&*store, &writer.one(&a, 1, 1)).await;
    drop(store);
    stand.save();
    let store = stand.store();
    stored(&*store, &writer.one(&a, 2, 2)).await;
    let (name, third) = (writer.last, writer.one(&a, 3, 3));
    drop(store);
    stand.put_back();
    let store = stand.store();
    // The connection was cut: the first call may find that out.
    let answer = match store.commit(&third).await {
        Ok(answer) => answer,
        Err(_) => retried(&*store, &third).await,
    };
    assert_eq!(answer, CommitAnswer::Refused);
    answers(&*store).await;
    let mut again = Writer::new(&*store).await;
    assert_eq!(again.last.number, 1);
    let second = again.one(&a, 2, 2);
    assert!(second.name.number == name.number && second.name != name, "a name never stands for two contents");
    stored(&*store, &second).await;
    stored(&*store, &again.one(&a, 3, 3)).await;
    assert_eq!(head_of(&*store, &a).await.running, 3);
}

/// Waits until it has found its server again.
pub(super) async fn answers(store: &dyn Store) {
    while store.clock_ms().await.is_err() {
        tokio::task::yield_now().await;
    }
}

pub(super) async fn retried(store: &dyn Store, commit: &Commit) -> CommitAnswer {
    for _ in 0..100 {
        if let Ok(answer) = store.commit(commit).await {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    panic!("the store does not come back");
}

async fn what_is_committed_outlasts_a_restart(mut stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    stored(&*store, &everything(&mut writer, 10)).await;
    let before = everything_of(&*store).await;
    drop(store);
    stand.save();
    stand.put_back();
    let store = stand.store();
    answers(&*store).await;
    assert_eq!(everything_of(&*store).await, before);
    let answer = retried(&*store, &writer.one(&company("a"), 11, 4)).await;
    assert!(matches!(answer, CommitAnswer::Stored(_)), "{answer:?}");
}

async fn a_new_generation_goes_on_above_the_old_one(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    stored(&*store, &writer.one(&a, 1_000, 1)).await;
    let old = writer.generation;
    writer.generation = Generation::new(2, NOW + 5_000);
    stored(&*store, &writer.one(&a, 1, 2)).await;
    let head = store.head().await.unwrap();
    assert_eq!(head.generations, [old, writer.generation]);
    assert_eq!(head.checkpoint, Some(writer.place(1)));
    let page = store.page(&a, Position::new(1, 1_000, 1), 10).await.unwrap();
    assert_eq!((page.entries.len(), page.entries[0].position, page.generation), (1, Position::new(2, 1, 1), 2));
    let both = store.page(&a, Position::default(), 10).await.unwrap();
    assert_eq!(both.entries.iter().map(|entry| entry.running).collect::<Vec<_>>(), [1, 2]);
    for number in 3..=limits::GENERATIONS as u16 + 5 {
        writer.generation = Generation::new(number, NOW);
        stored(&*store, &writer.next(1)).await;
    }
    let head = store.head().await.unwrap();
    assert_eq!(head.generations.len(), limits::GENERATIONS, "the table is bounded");
    assert_eq!(head.generations[0].number, 6, "the oldest goes first");
}

async fn a_lease_has_a_new_epoch_with_each_grant(stand: Stand) {
    let store = stand.store();
    let (first, second) = (Token(1), Token(2));
    assert_eq!(store.acquire("a", first, 5_000).await.unwrap(), LeaseAnswer::Granted { epoch: 1 });
    assert!(store.renew(first, 5_000).await.unwrap());
    assert_eq!(store.acquire("a", second, 5_000).await.unwrap(), LeaseAnswer::Granted { epoch: 2 });
    assert!(!store.renew(first, 5_000).await.unwrap());
    store.release(first).await.unwrap();
    assert!(store.renew(second, 5_000).await.unwrap(), "what is not ours can't be given back");
    store.release(second).await.unwrap();
    assert!(!store.renew(second, 5_000).await.unwrap(), "released is released");
    assert_eq!(store.acquire("b", first, 5_000).await.unwrap(), LeaseAnswer::Granted { epoch: 3 });
}

async fn the_largest_positions_keep_their_order(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    writer.generation = Generation::new(u16::MAX, NOW);
    // Beyond 2^53 neighbours are one and the same to a floating-point number.
    for sequence in SEQUENCE_MAX - 3..=SEQUENCE_MAX {
        stored(&*store, &writer.one(&a, sequence, sequence - (SEQUENCE_MAX - 4))).await;
    }
    let above = Position::new(u16::MAX, SEQUENCE_MAX - 2, 1);
    let page = store.page(&a, above, 10).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.running).collect::<Vec<_>>(), [3, 4]);
    let top = page.entries[1].clone();
    assert_eq!(head_of(&*store, &a).await.top, top.position);
    assert_eq!(store.entry(&a, top.position).await.unwrap(), Some(top));
    assert_eq!(store.entry(&a, Position::new(1, 1, 1)).await.unwrap(), None);
    let mut below = writer.one(&a, SEQUENCE_MAX - 1, 9);
    below.parts[0].outputs[0].position.sequence = SEQUENCE_MAX;
    assert_eq!(store.commit(&below).await.unwrap(), CommitAnswer::Refused);
}

async fn the_last_write_to_a_key_of_the_state_counts(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    let mut commit = writer.next(1);
    let state = vec![set("f", "x", Some("1")), set("f", "x", Some("2")), set("f", "y", Some("1")), set("f", "y", None)];
    commit.parts.push(Part { state, ..Part::new(a.clone()) });
    stored(&*store, &commit).await;
    let state = store.state(&a).await.unwrap();
    assert_eq!((state["f"].len(), &state["f"]["x"][..]), (1, &b"2"[..]));
    let mut commit = writer.next(2);
    commit.parts.push(Part { state: vec![set("f", "x", None)], ..Part::new(a.clone()) });
    stored(&*store, &commit).await;
    assert!(store.state(&a).await.unwrap().is_empty());
}

async fn commits_on_their_way_arrive_in_order(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    for round in 0..5 {
        let commits: Vec<Commit> = (round * 4 + 1..=round * 4 + 4).map(|n| writer.one(&a, n, n)).collect();
        let answers = futures_util::future::join_all(commits.iter().map(|commit| store.commit(commit))).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(CommitAnswer::Stored(_)))), "{answers:?}");
    }
}
