//! Pages of replay, places, and the index of times.

use super::on_every_store;
use super::stand::{NOW, Stand, Writer, company, entry, head_of};
use crate::explain;
use crate::store::{Keep, PAGE_BYTES, Store, TimeMark};
use bytes::Bytes;
use tidegate_core::commit::Part;
use tidegate_core::explain::Question;
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::generation::Generation;
use tidegate_core::position::Position;

on_every_store!(
    a_page_ends_with_the_row_that_fills_it_and_says_so,
    a_page_of_small_entries_ends_at_large_ones_and_says_so,
    the_outputs_of_an_event_are_found_on_all_pages_that_they_fill,
    pages_of_any_size_give_every_entry_once,
    no_page_holds_what_is_another_companys,
    a_page_tells_the_higher_floor,
    the_index_of_times_is_kept_by_minute,
);

async fn a_page_ends_with_the_row_that_fills_it_and_says_so(stand: Stand) {
    let (store, a, large) = (stand.store(), company("a"), company("large"));
    let mut writer = Writer::new(&*store).await;
    let outputs: Vec<_> = (1..=100).map(|n| entry(Position::new(1, n, 1), n)).collect();
    let mut heavy: Vec<_> = (1..=10).map(|n| entry(Position::new(1, n, 1), n)).collect();
    heavy.iter_mut().for_each(|entry| entry.data = Bytes::from(vec![b'x'; PAGE_BYTES / 4]));
    for (outputs, heavy) in outputs.chunks(20).zip(heavy.chunks(2)) {
        let mut commit = writer.next(outputs[19].position.sequence);
        commit.parts.push(Part { outputs: outputs.to_vec(), ..Part::new(a.clone()) });
        commit.parts.push(Part { outputs: heavy.to_vec(), ..Part::new(large.clone()) });
        store.commit(&commit).await.unwrap();
    }
    let pages = async |company, mut above, entries| {
        let mut lengths = Vec::new();
        loop {
            let page = store.page(company, above, entries).await.unwrap();
            lengths.push(page.entries.len());
            match page.next() {
                Some(next) => above = next,
                None => return (lengths, page.full),
            }
        }
    };
    assert_eq!(pages(&a, Position::default(), 30).await, (vec![40, 40, 20], false));
    assert_eq!(pages(&a, outputs[14].position, 30).await.0, [25, 40, 20], "from the middle of a row");
    assert_eq!(
        pages(&a, Position::default(), 20).await.0,
        [20, 20, 20, 20, 20, 0],
        "nothing follows the last full one"
    );
    assert_eq!(pages(&large, Position::default(), 100).await.0, [4, 4, 2], "by their bytes");
}

async fn a_page_of_small_entries_ends_at_large_ones_and_says_so(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    let mut outputs: Vec<_> = (1..=103).map(|n| entry(Position::new(1, n, 1), n)).collect();
    outputs[100..].iter_mut().for_each(|entry| entry.data = Bytes::from(vec![b'x'; PAGE_BYTES / 3 * 2]));
    for (from, to) in [(0, 50), (50, 100), (100, 101), (101, 102), (102, 103)] {
        let mut commit = writer.next(to);
        commit.parts.push(Part { outputs: outputs[from..to as usize].to_vec(), ..Part::new(a.clone()) });
        store.commit(&commit).await.unwrap();
    }
    let page = store.page(&a, Position::default(), 1_000).await.unwrap();
    assert_eq!((page.entries.len(), page.full), (102, true));
    let page = store.page(&a, page.entries[101].position, 1_000).await.unwrap();
    assert_eq!((&page.entries[..], page.full), (&outputs[102..], false));
}

async fn the_outputs_of_an_event_are_found_on_all_pages_that_they_fill(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut commit = Writer::new(&*store).await.next(8);
    let mut outputs: Vec<_> = (1..=9).map(|n| entry(Position::new(1, 7, n), 7)).collect();
    outputs.iter_mut().for_each(|entry| entry.data = Bytes::from(vec![b'x'; PAGE_BYTES / 4]));
    outputs.push(entry(Position::new(1, 8, 1), 8));
    commit.parts.push(Part { outputs: outputs.clone(), ..Part::new(a.clone()) });
    store.commit(&commit).await.unwrap();
    for (sequence, found) in [(6, 0), (7, 9), (8, 1)] {
        let question = Question { company: a.clone(), generation: 1, sequence };
        let cached = explain::cached(&*store, &question).await.unwrap();
        let positions = || outputs.iter().map(|entry| entry.position).filter(|at| at.event() == (1, sequence));
        assert!(cached.iter().map(|one| one.position).eq(positions()) && cached.len() == found, "{cached:?}");
    }
}

async fn pages_of_any_size_give_every_entry_once(stand: Stand) {
    let (store, a) = (stand.store(), company("a"));
    let mut writer = Writer::new(&*store).await;
    let outputs: Vec<_> = (0..300).map(|n| entry(Position::new(1, n / 3 + 1, n as u32 % 3 + 1), n + 1)).collect();
    let mut rest = &outputs[..];
    for length in [1, 2, 7, 90, 1, 199] {
        let (of_this, later) = rest.split_at(length);
        let mut commit = writer.next(of_this[length - 1].position.sequence);
        commit.parts.push(Part { outputs: of_this.to_vec(), ..Part::new(a.clone()) });
        store.commit(&commit).await.unwrap();
        rest = later;
    }
    for size in [1, 2, 3, 8, 99, 299, 300, 301] {
        let (mut found, mut above) = (Vec::new(), Position::default());
        loop {
            let page = store.page(&a, above, size).await.unwrap();
            assert!(page.entries.len() < size + 199, "the longest row");
            above = page.entries.last().map_or(above, |entry| entry.position);
            found.extend(page.entries);
            if !page.full {
                break;
            }
        }
        assert_eq!(found, outputs, "pages of {size}");
    }
    for at in [0, 1, 2, 3, 9, 150, 299] {
        assert_eq!(store.entry(&a, outputs[at].position).await.unwrap().as_ref(), Some(&outputs[at]));
    }
    assert_eq!(store.entry(&a, Position::new(1, 50, 4)).await.unwrap(), None);
    assert_eq!(store.entry(&a, Position::new(2, 1, 1)).await.unwrap(), None);
}

async fn no_page_holds_what_is_another_companys(stand: Stand) {
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    let names = ["a", "a.b", "A", "a-1", "a_"];
    let mut commit = writer.next(1);
    for (n, name) in names.iter().enumerate() {
        let mut output = entry(Position::new(1, 1, 1), 1);
        output.chain = n as u64;
        commit.parts.push(Part { outputs: vec![output], ..Part::new(company(name)) });
    }
    store.commit(&commit).await.unwrap();
    for (n, name) in names.iter().enumerate() {
        let page = store.page(&company(name), Position::default(), 10).await.unwrap();
        assert_eq!(page.entries.iter().map(|entry| entry.chain).collect::<Vec<_>>(), [n as u64], "{name}");
    }
    assert_eq!(store.companies().await.unwrap().len(), names.len());
}

async fn a_page_tells_the_higher_floor(stand: Stand) {
    let (store, a, b) = (stand.store(), company("a"), company("b"));
    let mut writer = Writer::new(&*store).await;
    let floor = |sequence, reason| Floor { position: Position::whole(1, sequence), time_ms: 1, reason, running: None };
    let mut commit = writer.one(&a, 20, 1);
    commit.floor = Some(floor(10, GapReason::SourceLost));
    store.commit(&commit).await.unwrap();
    store.commit(&writer.one(&b, 25, 1)).await.unwrap();
    let keep = Keep { since_ms: 0, entries_max: 0, bytes_max: u64::MAX };
    assert!(!store.trim(writer.token, &b, keep).await.unwrap());
    let told = |page: tidegate_core::commit::Page| page.floor;
    assert_eq!(told(store.page(&a, Position::default(), 1).await.unwrap()), commit.floor);
    let of_b = head_of(&*store, &b).await.floor;
    assert_eq!(of_b.map(|floor| (floor.position, floor.reason)), Some((Position::new(1, 25, 1), GapReason::Trimmed)));
    assert_eq!(told(store.page(&b, Position::default(), 1).await.unwrap()), of_b);
    let mut lower = writer.next(26);
    lower.floor = Some(floor(9, GapReason::SourceLost));
    store.commit(&lower).await.unwrap();
    assert_eq!(store.head().await.unwrap().floor, commit.floor, "a floor never falls");
}

async fn commit_at(store: &dyn Store, writer: &mut Writer, sequence: u64, time_ms: u64) {
    let mut commit = writer.next(sequence);
    commit.time_ms_max = time_ms;
    store.commit(&commit).await.unwrap();
}

async fn the_index_of_times_is_kept_by_minute(stand: Stand) {
    const MINUTE: u64 = 60_000;
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    let start = NOW / MINUTE;
    let mark = |minute, generation, sequence| Some(TimeMark { minute: start + minute, generation, sequence });
    for (sequence, minute) in [(5, 0), (9, 0), (9, 1), (20, 2), (30, 1), (40, 5)] {
        commit_at(&*store, &mut writer, sequence, (start + minute) * MINUTE + 7).await;
    }
    assert_eq!(store.marks_around(1, 9).await.unwrap(), (None, mark(0, 1, 9)));
    assert_eq!(store.marks_around(1, 10).await.unwrap(), (mark(0, 1, 9), mark(2, 1, 30)), "times may step back");
    assert_eq!(store.marks_around(1, 41).await.unwrap(), (mark(5, 1, 40), None));
    assert_eq!(store.mark_before((start + 5) * MINUTE).await.unwrap(), mark(2, 1, 30));
    assert_eq!(store.mark_before(start * MINUTE + 9).await.unwrap(), None);
    writer.generation = Generation::new(2, NOW);
    commit_at(&*store, &mut writer, 3, (start + 5) * MINUTE).await;
    assert_eq!(store.marks_around(1, 41).await.unwrap(), (mark(5, 1, 40), None));
    assert_eq!(store.marks_around(2, 2).await.unwrap(), (None, mark(5, 2, 3)));
}
