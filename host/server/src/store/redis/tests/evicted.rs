//! What Redis evicts: any key, when memory is full and its policy lets it.

use super::connect;
use crate::store::contract::commits::everything;
use crate::store::contract::server::RedisServer;
use crate::store::contract::stand::{NOW, Writer, company, entry, head_of, waiting};
use crate::store::redis::RedisStore;
use crate::store::{Keep, Store, StoreError};
use tidegate_core::commit::{Commit, CommitAnswer, Part};
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::position::{Position, StoreId};

/// A store that has one commit of everything: company a has three outputs and state, b waiting inputs, and a letter waits.
async fn filled() -> Option<(RedisServer, RedisStore, Writer)> {
    let server = RedisServer::start(&[])?;
    let store = connect(&server);
    let mut writer = Writer::new(&store).await;
    stored(&store, &everything(&mut writer, 10)).await;
    Some((server, store, writer))
}

async fn stored(store: &RedisStore, commit: &Commit) {
    let answer = store.commit(commit).await.unwrap();
    assert!(matches!(answer, CommitAnswer::Stored(_)), "{answer:?}");
}

fn evict(server: &RedisServer, key: &str) {
    server.ask(&["DEL", &format!("tidegate:{{p0}}:{key}")]).unwrap();
}

fn store_lost(position: Position, running: Option<u64>) -> Floor {
    Floor { position, time_ms: NOW + position.sequence, reason: GapReason::StoreLost, running }
}

#[tokio::test]
async fn an_evicted_replay_is_a_floor_for_whoever_reads_it() {
    let Some((server, store, mut writer)) = filled().await else { return };
    let a = company("a");
    evict(&server, "s:a");
    let page = store.page(&a, Position::default(), 10).await.unwrap();
    let floor = store_lost(Position::new(1, 10, 3), Some(3));
    assert_eq!((page.entries.len(), page.floor, page.running), (0, Some(floor), 3));
    // It stays where it is, and what comes later stands above it.
    stored(&store, &writer.one(&a, 11, 4)).await;
    let page = store.page(&a, Position::default(), 10).await.unwrap();
    assert_eq!((page.entries.len(), page.floor, page.running), (1, Some(floor), 4));
    let head = head_of(&store, &a).await;
    assert_eq!((head.entries, head.running), (1, 4));
    let weighs = entry(Position::new(1, 11, 1), 4).weight() as u64;
    assert_eq!(head.bytes, weighs, "what is gone weighs nothing");
}

#[tokio::test]
async fn an_evicted_replay_is_a_floor_before_anything_is_added_to_it() {
    let Some((server, store, mut writer)) = filled().await else { return };
    let a = company("a");
    evict(&server, "s:a");
    assert_eq!(store.commit(&writer.one(&a, 11, 4)).await.unwrap(), CommitAnswer::Refused);
    let mut writer = Writer::new(&store).await;
    stored(&store, &writer.one(&a, 11, 4)).await;
    let page = store.page(&a, Position::default(), 10).await.unwrap();
    assert_eq!((page.entries.len(), page.floor), (1, Some(store_lost(Position::new(1, 10, 3), Some(3)))));
}

#[tokio::test]
async fn a_company_whose_head_was_evicted_lost_all_up_to_the_checkpoint() {
    let Some((server, store, mut writer)) = filled().await else { return };
    let a = company("a");
    stored(&store, &writer.one(&company("c"), 12, 1)).await;
    evict(&server, "c:a");
    let page = store.page(&a, Position::default(), 10).await.unwrap();
    let floor = store_lost(Position::whole(1, 12), None);
    assert_eq!((page.entries.len(), page.floor), (0, Some(floor)), "half of it is worth nothing");
    stored(&store, &writer.one(&a, 13, 4)).await;
    let page = store.page(&a, Position::default(), 10).await.unwrap();
    assert_eq!((page.entries.len(), page.floor, page.running), (1, Some(floor), 4));
    let others = store.page(&company("c"), Position::default(), 10).await.unwrap().floor;
    assert!(others.is_none_or(|floor| floor.reason != GapReason::StoreLost), "nobody else lost anything: {others:?}");
}

#[tokio::test]
async fn the_floor_of_a_quiet_company_is_its_last_event_with_its_own_time() {
    let Some((server, store, mut writer)) = filled().await else { return };
    stored(&store, &writer.one(&company("c"), 12, 1)).await;
    // A commit in which it has no output takes nothing of that away.
    let mut commit = writer.next(14);
    commit
        .parts
        .push(Part { backlog_add: vec![waiting(&company("a"), writer.place(13), 14, 0)], ..Part::new(company("a")) });
    stored(&store, &commit).await;
    evict(&server, "s:a");
    // Not with the time of the last of all: a client comes back with both. One that has that event has missed nothing.
    let page = store.page(&company("a"), Position::default(), 10).await.unwrap();
    assert_eq!(page.floor, Some(store_lost(Position::new(1, 10, 3), Some(3))));
}

#[tokio::test]
async fn an_evicted_head_shows_when_all_are_read() {
    let Some((server, store, _)) = filled().await else { return };
    evict(&server, "c:a");
    let heads = store.companies().await.unwrap();
    let a = heads.iter().find(|(name, _)| *name == company("a")).unwrap();
    assert_eq!((a.1.entries, a.1.floor), (0, Some(store_lost(Position::whole(1, 10), None))));
}

#[tokio::test]
async fn an_outbox_that_was_emptied_in_order_is_not_an_evicted_one() {
    let Some((_server, store, mut writer)) = filled().await else { return };
    let before = store.head().await.unwrap().store;
    let keys: Vec<u64> = store.outbox(9).await.unwrap().into_iter().map(|(key, _)| key).collect();
    store.outbox_done(writer.token, &keys).await.unwrap();
    stored(&store, &writer.next(11)).await;
    stored(&store, &everything(&mut writer, 12)).await;
    assert_eq!((store.outbox_dropped().await.unwrap(), store.head().await.unwrap().store), (0, before));
}

#[tokio::test]
async fn a_host_of_before_that_does_not_count_is_no_eviction() {
    let Some((server, store, mut writer)) = filled().await else { return };
    let ask = |words: &[&str]| redis::from_redis_value::<String>(server.ask(words).unwrap()).unwrap();
    let (head, waiting, state) = ("tidegate:{p0}:head", "tidegate:{p0}:waiting", "tidegate:{p0}:state:a");
    let before = store.head().await.unwrap().store;
    let counted = ask(&["HGET", head, "counted"]);
    // Its tenure: a commit that takes out what waited and what a filter kept, and says nothing of it.
    stored(&store, &writer.next(11)).await;
    ask(&["HMSET", head, "counted", &counted, "waits", "1", "states", "1"]);
    ask(&["DEL", waiting, state]);
    assert!(store.state(&company("a")).await.unwrap().is_empty());
    assert_eq!(store.head().await.unwrap().store, before);
    for sequence in [12, 13] {
        stored(&store, &everything(&mut writer, sequence)).await;
    }
    assert_eq!(store.head().await.unwrap().store, before);
    // From then on it counts again.
    ask(&["DEL", state]);
    assert!(matches!(store.state(&company("a")).await, Err(StoreError::Away(_))));
}

#[tokio::test]
async fn one_reader_looks_for_what_a_lost_head_left_behind() {
    let Some((server, store, _)) = filled().await else { return };
    server.ask(&["CONFIG", "RESETSTAT"]).unwrap();
    evict(&server, "head");
    let a = company("a");
    let pages = (0..50).map(|_| store.page(&a, Position::default(), 10));
    let pages = futures_util::future::join_all(pages).await;
    let lives: std::collections::BTreeSet<_> = pages.into_iter().map(|page| page.unwrap().store.0).collect();
    assert_eq!(lives.len(), 1);
    let stats: String = redis::from_redis_value(server.ask(&["INFO", "commandstats"]).unwrap()).unwrap();
    assert!(stats.contains("cmdstat_scan:calls=1,"), "{stats}");
}

#[tokio::test]
async fn trimming_what_was_evicted_takes_nothing_away_that_is_there() {
    let Some((server, store, mut writer)) = filled().await else { return };
    let a = company("a");
    evict(&server, "s:a");
    let keep = Keep { since_ms: 0, entries_max: 1, bytes_max: u64::MAX };
    while store.trim(writer.token, &a, keep).await.unwrap() {}
    store.page(&a, Position::default(), 0).await.unwrap();
    stored(&store, &writer.one(&a, 11, 4)).await;
    while store.trim(writer.token, &a, keep).await.unwrap() {}
    assert_eq!(store.page(&a, Position::default(), 10).await.unwrap().entries.len(), 1);
}

/// The store's id once it has found out.
async fn begun_anew(store: &RedisStore, before: StoreId) {
    let head = store.head().await.unwrap();
    assert_ne!(head.store, before);
    assert_eq!((head.checkpoint, head.waiting.len()), (None, 0));
    assert!(store.companies().await.unwrap().is_empty());
    // Nothing of the former life is in the way of this one, or in it.
    let a = company("a");
    let mut writer = Writer::new(store).await;
    assert!(store.state(&a).await.unwrap().is_empty() && store.outbox(9).await.unwrap().is_empty());
    stored(store, &writer.one(&a, 1, 1)).await;
    assert_eq!(store.page(&a, Position::default(), 10).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_store_whose_bookkeeping_was_evicted_begins_anew() {
    for key in ["companies", "waiting", "generations", "states", "outbox"] {
        let Some((server, store, _)) = filled().await else { return };
        if key != "outbox" {
            let before = store.head().await.unwrap().store;
            evict(&server, key);
            begun_anew(&store, before).await;
        }
        let before = store.head().await.unwrap().store;
        let mut writer = Writer::new(&store).await;
        stored(&store, &everything(&mut writer, 20)).await;
        evict(&server, key);
        assert_eq!(store.commit(&writer.next(21)).await.unwrap(), CommitAnswer::Refused, "{key}");
        begun_anew(&store, before).await;
    }
}

#[tokio::test]
async fn a_reader_finds_out_that_the_catalogue_is_gone() {
    let Some((server, store, _)) = filled().await else { return };
    let before = store.head().await.unwrap().store;
    evict(&server, "companies");
    evict(&server, "c:a");
    store.page(&company("a"), Position::default(), 10).await.unwrap();
    begun_anew(&store, before).await;
}

#[tokio::test]
async fn a_store_that_lost_waiting_inputs_or_state_begins_anew() {
    for key in ["b:b", "c:b", "heads", "state:a", "state:a c:a"] {
        let Some((server, store, _)) = filled().await else { return };
        let before = store.head().await.unwrap().store;
        key.split(' ').for_each(|key| evict(&server, if key == "heads" { "c:b" } else { key }));
        let (a, b) = (company("a"), company("b"));
        match key {
            "heads" => assert!(matches!(store.companies().await, Err(StoreError::Away(_)))),
            "state:a c:a" => assert_eq!(store.page(&a, Position::default(), 10).await.unwrap().floor, None),
            "b:b" => assert!(matches!(store.waiting(&b, 10, 1_000).await, Err(StoreError::Away(_)))),
            "c:b" => assert_eq!(store.page(&b, Position::default(), 10).await.unwrap().floor, None),
            _ => assert!(matches!(store.state(&a).await, Err(StoreError::Away(_)))),
        }
        begun_anew(&store, before).await;
    }
}

#[tokio::test]
async fn a_commit_finds_out_that_waiting_inputs_or_state_are_gone() {
    for key in ["b:b", "c:b", "state:a", "state:a c:a"] {
        let Some((server, store, mut writer)) = filled().await else { return };
        let before = store.head().await.unwrap().store;
        key.split(' ').for_each(|key| evict(&server, key));
        assert_eq!(store.commit(&everything(&mut writer, 11)).await.unwrap(), CommitAnswer::Refused, "{key}");
        begun_anew(&store, before).await;
    }
}
