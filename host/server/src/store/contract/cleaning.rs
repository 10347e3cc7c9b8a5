//! Trimming with its floors, and the outbox.

use super::on_every_store;
use super::stand::{NOW, SECOND, Stand, Writer, company, entry, head_of, letter};
use crate::store::{Keep, Store, TRIM_ENTRIES};
use tidegate_core::commit::Part;
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::generation::Generation;
use tidegate_core::limits::{OUTBOX_BYTES, OUTBOX_ENTRIES};
use tidegate_core::position::{Position, Token};

on_every_store!(
    what_is_too_old_goes_and_the_floor_says_so,
    what_is_beyond_the_caps_goes_by_whole_events,
    a_long_history_goes_in_bounded_pieces,
    every_way_to_trim_leaves_what_may_stay,
    only_the_owner_trims,
    letters_stay_until_they_are_published,
    a_full_outbox_drops_its_oldest_and_counts_them,
    an_outbox_is_bounded_in_bytes_too,
);

const ALL: Keep = Keep { since_ms: 0, entries_max: u64::MAX, bytes_max: u64::MAX };

fn weight(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.encode().len() as u64).sum()
}

/// Events 1 to `events` with two outputs each.
async fn filled(store: &dyn Store, company: &Company, events: u64) -> (Writer, Vec<Entry>) {
    let mut writer = Writer::new(store).await;
    let entries: Vec<Entry> =
        (0..events * 2).map(|n| entry(Position::new(1, n / 2 + 1, (n % 2) as u32 + 1), n + 1)).collect();
    let mut commit = writer.next(events);
    commit.parts.push(Part { outputs: entries.clone(), ..Part::new(company.clone()) });
    store.commit(&commit).await.unwrap();
    (writer, entries)
}

async fn left(store: &dyn Store, company: &Company) -> Vec<Entry> {
    let left = store.page(company, Position::default(), 10_000).await.unwrap().entries;
    let head = head_of(store, company).await;
    assert_eq!((head.entries, head.bytes), (left.len() as u64, weight(&left)), "the head counts what is there");
    left
}

fn trimmed(last: &Entry) -> Option<Floor> {
    let (position, running) = (last.position, Some(last.running));
    Some(Floor { position, time_ms: last.time_ms, reason: GapReason::Trimmed, running })
}

async fn what_is_too_old_goes_and_the_floor_says_so(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let (mut writer, entries) = filled(&*store, &a, 10).await;
    assert!(!store.trim(writer.token, &a, ALL).await.unwrap());
    assert_eq!((left(&*store, &a).await, head_of(&*store, &a).await.floor), (entries.clone(), None));
    let keep = Keep { since_ms: NOW + 4, ..ALL };
    assert!(!store.trim(writer.token, &a, keep).await.unwrap());
    assert_eq!(left(&*store, &a).await, entries[6..]);
    assert_eq!(head_of(&*store, &a).await.floor, trimmed(&entries[5]));
    assert_eq!(store.entry(&a, entries[5].position).await.unwrap(), None);
    assert_eq!(store.entry(&a, entries[6].position).await.unwrap().as_ref(), Some(&entries[6]));
    // Everything goes: the floor remains, and the numbers go on.
    let keep = Keep { since_ms: NOW + SECOND, ..ALL };
    store.trim(writer.token, &a, keep).await.unwrap();
    assert!(left(&*store, &a).await.is_empty());
    assert_eq!(head_of(&*store, &a).await.floor, trimmed(&entries[19]));
    let next = writer.one(&a, 11, 21);
    store.commit(&next).await.unwrap();
    let page = store.page(&a, Position::default(), 9).await.unwrap();
    assert_eq!((page.entries.len(), page.floor, page.running), (1, trimmed(&entries[19]), 21));
    assert!(!store.trim(writer.token, &company("nobody"), keep).await.unwrap());
    assert_eq!(head_of(&*store, &company("nobody")).await.floor, None);
}

async fn what_is_beyond_the_caps_goes_by_whole_events(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let (writer, entries) = filled(&*store, &a, 10).await;
    store.trim(writer.token, &a, Keep { entries_max: 15, ..ALL }).await.unwrap();
    assert_eq!(left(&*store, &a).await, entries[6..], "20 - 15 entries, to the end of the third event");
    let bytes_max = weight(&entries[10..]);
    store.trim(writer.token, &a, Keep { bytes_max, ..ALL }).await.unwrap();
    assert_eq!(left(&*store, &a).await, entries[10..]);
    assert_eq!(head_of(&*store, &a).await.floor, trimmed(&entries[9]));
}

async fn a_long_history_goes_in_bounded_pieces(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let (writer, entries) = filled(&*store, &a, TRIM_ENTRIES as u64 + 200).await;
    let keep = Keep { entries_max: 4, ..ALL };
    let mut rounds = 1;
    while store.trim(writer.token, &a, keep).await.unwrap() {
        let head = head_of(&*store, &a).await;
        assert_eq!(head.entries, (entries.len() - rounds * TRIM_ENTRIES) as u64);
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    assert_eq!(left(&*store, &a).await, entries[entries.len() - 4..]);
}

async fn every_way_to_trim_leaves_what_may_stay(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    // Rows of several entries and of one, an event that begins in one and ends in another, and a sequence beyond what a
    // floating-point number can tell from its neighbours.
    let high = (1 << 47) - 1_000;
    let position = |n: u64| Position::new(40_000, high + n / 3, (n % 3) as u32 + 1);
    let outputs: Vec<_> = (0..60).map(|n| entry(position(n), n + 1)).collect();
    writer.generation = Generation::new(40_000, NOW);
    for (from, to) in [(0, 2), (2, 3), (3, 13), (13, 14), (14, 40), (40, 60)] {
        let mut commit = writer.next(outputs[to - 1].position.sequence);
        commit.parts.push(Part { outputs: outputs[from..to].to_vec(), ..Part::new(a.clone()) });
        store.commit(&commit).await.unwrap();
    }
    for keeps in (0..60).rev() {
        store.trim(writer.token, &a, Keep { entries_max: keeps, ..ALL }).await.unwrap();
        let first = outputs.len() - keeps as usize / 3 * 3;
        assert_eq!(left(&*store, &a).await, outputs[first..], "{keeps} may stay");
        assert_eq!(head_of(&*store, &a).await.floor, trimmed(&outputs[first - 1]));
    }
}

async fn only_the_owner_trims(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let (_, entries) = filled(&*store, &a, 3).await;
    assert!(!store.trim(Token(5), &a, Keep { entries_max: 0, ..ALL }).await.unwrap());
    assert_eq!(left(&*store, &a).await, entries);
}

async fn letters_stay_until_they_are_published(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    let mut commit = writer.next(3);
    commit.dead = (1..=3).map(letter).collect();
    store.commit(&commit).await.unwrap();
    let waiting = store.outbox(2).await.unwrap();
    assert_eq!(waiting.iter().map(|(_, letter)| letter).collect::<Vec<_>>(), [&letter(1), &letter(2)]);
    let keys: Vec<u64> = waiting.iter().map(|(key, _)| *key).collect();
    store.outbox_done(Token(5), &keys).await.unwrap();
    assert_eq!(store.outbox(10).await.unwrap().len(), 3, "another owner's keys may mean other letters");
    store.outbox_done(writer.token, &keys).await.unwrap();
    store.outbox_done(writer.token, &keys).await.unwrap();
    store.outbox_done(writer.token, &[]).await.unwrap();
    let waiting = store.outbox(10).await.unwrap();
    assert_eq!(waiting.iter().map(|(_, letter)| letter).collect::<Vec<_>>(), [&letter(3)]);
    assert_eq!(store.outbox_dropped().await.unwrap(), 0);
}

async fn a_full_outbox_drops_its_oldest_and_counts_them(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    for (first, count) in [(0, OUTBOX_ENTRIES as u64), (OUTBOX_ENTRIES as u64, 7)] {
        let mut commit = writer.next(first + count);
        commit.dead = (first..first + count).map(letter).collect();
        store.commit(&commit).await.unwrap();
    }
    assert_eq!(store.outbox_dropped().await.unwrap(), 7);
    let waiting = store.outbox(OUTBOX_ENTRIES + 1).await.unwrap();
    assert_eq!((waiting.len(), &waiting[0].1), (OUTBOX_ENTRIES, &letter(7)));
}

/// A letter of about so many bytes.
fn heavy(sequence: u64, bytes: usize) -> DeadLetter {
    let mut heavy = letter(sequence);
    heavy.source.payload = vec![b'x'; bytes].into();
    heavy
}

async fn an_outbox_is_bounded_in_bytes_too(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    // Four of them fit, five don't.
    let quarter = OUTBOX_BYTES / 4 - 1_000;
    for sequence in 1..=6 {
        let mut commit = writer.next(sequence);
        commit.dead = vec![heavy(sequence, quarter)];
        store.commit(&commit).await.unwrap();
    }
    let waiting = store.outbox(10).await.unwrap();
    let sequences = |waiting: &[(u64, DeadLetter)]| waiting.iter().map(|(_, l)| l.source.sequence).collect::<Vec<_>>();
    assert_eq!((sequences(&waiting), store.outbox_dropped().await.unwrap()), (vec![3, 4, 5, 6], 2));
    // What was published weighs nothing any more, also when that is said twice.
    let published: Vec<u64> = waiting[..2].iter().map(|(key, _)| *key).collect();
    store.outbox_done(writer.token, &published).await.unwrap();
    store.outbox_done(writer.token, &published).await.unwrap();
    let mut commit = writer.next(8);
    commit.dead = vec![heavy(7, quarter), heavy(8, quarter)];
    store.commit(&commit).await.unwrap();
    assert_eq!(sequences(&store.outbox(10).await.unwrap()), [5, 6, 7, 8]);
    assert_eq!(store.outbox_dropped().await.unwrap(), 2);
    // One that alone is too heavy drives out all others, and stays.
    let mut commit = writer.next(9);
    commit.dead = vec![heavy(9, OUTBOX_BYTES + 1)];
    store.commit(&commit).await.unwrap();
    assert_eq!((sequences(&store.outbox(10).await.unwrap()), store.outbox_dropped().await.unwrap()), (vec![9], 6));
}
