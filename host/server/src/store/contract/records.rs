//! Records of what commits decided: with their commit or not at all, found by their events, within their bounds.

use super::commits::{answers, retried};
use super::on_every_store;
use super::stand::{NOW, SECOND, Stand, Writer, company};
use crate::store::{Keep, Store};
use bytes::Bytes;
use tidegate_core::commit::{Commit, CommitAnswer};
use tidegate_core::event::Company;
use tidegate_core::limits::RECORD_BYTES;
use tidegate_core::position::Place;
use tidegate_core::record::{Became, Notes, Record};

on_every_store!(
    a_record_is_there_with_its_commit_and_found_by_its_events,
    a_refused_or_repeated_commit_leaves_no_record_of_its_own,
    records_outlast_their_owner,
    old_records_go_with_the_sweep,
    records_never_pass_their_bytes,
);

/// A record of these events of one company.
fn record(after: Place, upto: Place, company: &Company) -> Bytes {
    let mut notes = Notes::default();
    let events = upto.sequence - after.sequence;
    (0..events).for_each(|number| notes.note(number as usize, Some(company), Became::Emitted(1)));
    notes.batch(after, upto, |number| (upto.generation, after.sequence + 1 + number as u64))
}

/// The next commit, of everything above the last one up to this sequence.
fn upto(writer: &mut Writer, sequence: u64) -> Commit {
    let after = writer.place(writer.generation.last_sequence);
    let mut commit = writer.next(sequence);
    commit.record = Some(record(after, writer.place(sequence), &company("a")));
    commit
}

async fn stored(store: &dyn Store, commit: &Commit) {
    assert!(matches!(store.commit(commit).await.unwrap(), CommitAnswer::Stored(_)));
}

async fn a_record_is_there_with_its_commit_and_found_by_its_events(stand: Stand) {
    let store = stand.store();
    assert_eq!(store.record_at(1, 1).await.unwrap(), None);
    let mut writer = Writer::new(&*store).await;
    let mut commits = Vec::new();
    for sequence in [3, 4, 90, 91, 200] {
        commits.push(upto(&mut writer, sequence));
        // Commits that decide nothing lie between.
        commits.push(writer.next(sequence));
    }
    for commit in &commits {
        stored(&*store, commit).await;
    }
    let before = store.clock_ms().await.unwrap();
    for (sequence, number) in [(1, 1), (3, 1), (4, 3), (5, 5), (90, 5), (91, 7), (92, 9), (200, 9)] {
        let found = store.record_at(1, sequence).await.unwrap().unwrap();
        assert_eq!(found.number, number, "event {sequence}");
        assert!(found.record.find(1, sequence).is_some(), "event {sequence}");
        assert_eq!(
            Some(&found.record),
            Record::decode(commits[number as usize - 1].record.as_ref().unwrap()).ok().as_ref()
        );
        assert!(found.at_ms > NOW && found.at_ms <= before, "{}", found.at_ms);
    }
    assert_eq!(store.record_at(1, 201).await.unwrap(), None);
    assert_eq!(store.record_at(2, 1).await.unwrap(), None, "another stream's");
    let numbers = |found: Vec<tidegate_core::record::Recorded>| found.iter().map(|one| one.number).collect::<Vec<_>>();
    assert_eq!(numbers(store.records_above(0, 2).await.unwrap()), [1, 3]);
    assert_eq!(numbers(store.records_above(4, 9).await.unwrap()), [5, 7, 9]);
}

async fn a_refused_or_repeated_commit_leaves_no_record_of_its_own(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    let first = upto(&mut writer, 5);
    stored(&*store, &first).await;
    stored(&*store, &first).await;
    let mut skipping = upto(&mut writer, 6);
    skipping.follows.number += 1;
    skipping.name.number += 1;
    assert_eq!(store.commit(&skipping).await.unwrap(), CommitAnswer::Refused);
    assert_eq!(store.records_above(0, 9).await.unwrap().len(), 1);
}

async fn records_outlast_their_owner(mut stand: Stand) {
    {
        let store = stand.store();
        let mut writer = Writer::new(&*store).await;
        stored(&*store, &upto(&mut writer, 5)).await;
    }
    stand.save();
    stand.put_back();
    let store = stand.store();
    answers(&*store).await;
    let mut writer = Writer::new(&*store).await;
    retried(&*store, &upto(&mut writer, 8)).await;
    let numbers =
        [store.record_at(1, 5).await.unwrap().unwrap().number, store.record_at(1, 6).await.unwrap().unwrap().number];
    assert_eq!(numbers, [1, 2]);
}

async fn old_records_go_with_the_sweep(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    for sequence in 1..=3 {
        stored(&*store, &upto(&mut writer, sequence)).await;
    }
    let all = Keep { since_ms: 0, entries_max: 9, bytes_max: 1 << 20 };
    store.trim(writer.token, &company("a"), all).await.unwrap();
    assert_eq!(store.records_above(0, 9).await.unwrap().len(), 3);
    let now = store.clock_ms().await.unwrap();
    store.trim(writer.token, &company("a"), Keep { since_ms: now + SECOND, ..all }).await.unwrap();
    assert_eq!(store.records_above(0, 9).await.unwrap(), []);
    stored(&*store, &upto(&mut writer, 4)).await;
    assert_eq!(store.record_at(1, 2).await.unwrap().map(|found| found.number), Some(4), "its own is gone");
}

async fn records_never_pass_their_bytes(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    // A megabyte each, by reasons that are all different.
    let large = |writer: &Writer, sequence: u64| {
        let mut notes = Notes::default();
        for number in 0..4_000 {
            let reason = format!("{sequence} {number} {}", "x".repeat(240));
            notes.note(number, None, Became::dropped(&"10-f".into(), &reason.into()));
        }
        notes.batch(writer.place(sequence - 1), writer.place(sequence), |_| (1, sequence))
    };
    let mut weight = 0;
    for sequence in 1..=40 {
        let mut commit = writer.next(sequence);
        let bytes = large(&writer, sequence);
        weight = bytes.len() as u64;
        commit.record = Some(bytes);
        retried(&*store, &commit).await;
    }
    let mut kept = Vec::new();
    while let Some(next) = store.records_above(kept.last().copied().unwrap_or(0), 1).await.unwrap().first() {
        kept.push(next.number);
    }
    let fit = RECORD_BYTES / weight;
    assert!((fit - 1..=fit).contains(&(kept.len() as u64)), "{} of {weight} bytes", kept.len());
    assert_eq!(kept.last(), Some(&40), "the newest stay");
    assert!(store.record_at(1, 1).await.unwrap().unwrap().number > 1);
}
