//! What only Redis can do: be away, be full, be older, be emptied; and its clock.

#[path = "tests/evicted.rs"]
mod evicted;

use super::{RedisOptions, RedisStore};
use crate::store::contract::commits::{everything, everything_of};
use crate::store::contract::server::RedisServer;
use crate::store::contract::stand::{Writer, company, entry, head_of, letter, waiting};
use crate::store::{Keep, LeaseAnswer, News, Store, StoreError};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::commit::{Commit, CommitAnswer, Part, waiting_position};
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::position::{Position, Token};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

fn connect(server: &RedisServer) -> RedisStore {
    RedisStore::connect(&server.url(), &RedisOptions::default()).unwrap()
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_of_the_call_and_found_again() {
    let Some(mut server) = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    server.kill();
    let (store, a) = (connect(&server), company("a"));
    assert!(matches!(store.head().await, Err(StoreError::Away(_))));
    assert!(matches!(store.clock_ms().await, Err(StoreError::Away(_))));
    server.up();
    wait_for(&store).await;
    let mut writer = Writer::new(&store).await;
    let first = writer.one(&a, 1, 1);
    store.commit(&first).await.unwrap();
    server.kill();
    let second = writer.one(&a, 2, 2);
    assert!(matches!(store.commit(&second).await, Err(StoreError::Away(_))));
    server.up();
    wait_for(&store).await;
    assert!(matches!(store.commit(&second).await, Ok(CommitAnswer::Stored(_))), "what was appended to the file stays");
    assert_eq!(head_of(&store, &a).await.running, 2);
}

async fn wait_for(store: &RedisStore) {
    let back = async { while store.clock_ms().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), back).await.expect("the store finds its server again");
}

#[tokio::test]
async fn a_server_is_told_the_text_of_a_commits_script_once_and_again_after_it_forgot_it() {
    let Some(server) = RedisServer::start(&[]) else { return };
    for (replicas, first) in [(0, 1), (1, 4)] {
        let options = RedisOptions { wait_replicas: replicas, ..RedisOptions::default() };
        let store = RedisStore::connect(&server.url(), &options).unwrap();
        server.ask(&["SCRIPT", "FLUSH"]).unwrap();
        let (mut writer, a) = (Writer::new(&store).await, company("a"));
        server.ask(&["CONFIG", "RESETSTAT"]).unwrap();
        for number in first..first + 3 {
            if number == first + 2 {
                server.ask(&["SCRIPT", "FLUSH"]).unwrap();
            }
            let commit = writer.one(&a, number, number);
            assert!(matches!(store.commit(&commit).await, Ok(CommitAnswer::Stored(_))), "{number}");
        }
        let told = redis::from_redis_value::<String>(server.ask(&["INFO", "commandstats"]).unwrap()).unwrap();
        assert!(told.contains("cmdstat_eval:calls=2,") && told.contains("cmdstat_evalsha:calls=3,"), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let options = RedisOptions { response_timeout: Duration::from_millis(100), ..RedisOptions::default() };
    let store = RedisStore::connect(&server.url(), &options).unwrap();
    store.clock_ms().await.unwrap();
    server.ask(&["CLIENT", "PAUSE", "600", "ALL"]).unwrap();
    assert!(matches!(store.head().await, Err(StoreError::Away(_))));
    wait_for(&store).await;
}

/// A commit with 200 outputs of a kilobyte for each of two companies, a waiting input and a letter.
fn heavy(writer: &mut Writer, sequence: u64) -> Commit {
    let mut commit = writer.next(sequence);
    for name in ["a", "b"] {
        let mut part = Part::new(company(name));
        for n in 1..=200 {
            let mut output = entry(Position::new(1, sequence, n), u64::from(n));
            output.data = Bytes::from(vec![b'x'; 1_000]);
            part.outputs.push(output);
        }
        part.backlog_add.push(waiting(&part.company, writer.place(sequence - 1), sequence, 0));
        commit.parts.push(part);
    }
    commit.dead.push(letter(sequence));
    commit
}

#[tokio::test]
async fn a_full_memory_leaves_no_half_written_commit() {
    let Some(server) = RedisServer::start(&["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"]) else { return };
    let store = connect(&server);
    let mut writer = Writer::new(&store).await;
    let (mut stored, mut refused) = (0, None);
    for sequence in 1..100 {
        let commit = heavy(&mut writer, sequence);
        match store.commit(&commit).await {
            Ok(answer) => assert!(matches!(answer, CommitAnswer::Stored(_)), "{answer:?}"),
            Err(StoreError::Full(_)) => {
                refused = Some(commit);
                break;
            }
            Err(other) => panic!("{other}"),
        }
        stored = sequence;
    }
    let refused = refused.expect("6 MB fill up");
    assert!(stored > 0);
    // Reading goes on, and everything ends at the same commit.
    let head = store.head().await.unwrap();
    assert_eq!(head.last.number, stored);
    for name in ["a", "b"] {
        let head = head_of(&store, &company(name)).await;
        assert_eq!((head.entries, head.waiting, head.top.sequence), (stored * 200, stored, stored));
        let page = store.page(&company(name), Position::new(1, stored - 1, 200), 256).await.unwrap();
        assert_eq!(page.entries.len(), 200);
    }
    assert_eq!(store.outbox(1_000).await.unwrap().len() as u64, stored);
    // Trimming works all the same, and makes room for the very same commit.
    assert!(store.renew(writer.token, 5_000).await.unwrap());
    let keep = Keep { since_ms: 0, entries_max: 200, bytes_max: u64::MAX };
    for name in ["a", "b"] {
        while store.trim(writer.token, &company(name), keep).await.unwrap() {}
    }
    assert!(matches!(store.commit(&refused).await.unwrap(), CommitAnswer::Stored(_)));
}

#[tokio::test]
async fn the_scripts_run_without_flags_too() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let options = RedisOptions { flags: false, ..RedisOptions::default() };
    let store = RedisStore::connect(&server.url(), &options).unwrap();
    let mut writer = Writer::new(&store).await;
    store.commit(&heavy(&mut writer, 1)).await.unwrap();
    let a = company("a");
    assert!(store.page(&a, Position::default(), 10).await.unwrap().entries.len() >= 10);
    assert_eq!(store.waiting(&a, 10, 10).await.unwrap().len(), 1);
    assert_eq!(store.companies().await.unwrap().len(), 2);
    assert!(store.marks_around(1, 1).await.unwrap().1.is_some());
    let keep = Keep { since_ms: u64::MAX, entries_max: 0, bytes_max: 0 };
    assert!(!store.trim(writer.token, &a, keep).await.unwrap());
    assert_eq!(head_of(&store, &a).await.entries, 0);
}

/// Redis serves nobody else while a script holds rows.
#[test]
fn a_script_reads_little_more_than_a_page_though_large_rows_follow_small_ones() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let large = "x".repeat(256 << 10);
    for (number, row) in std::iter::repeat_n("x", 21).chain(std::iter::repeat_n(&*large, 40)).enumerate() {
        server.ask(&["XADD", "rows", &format!("{}-1", number + 1), "e", row, "n", "1"]).unwrap();
    }
    let counts = "local of, bytes = redis, 0
        local redis = { call = function(...)
          local rows = of.call(...)
          for _, row in ipairs(rows) do bytes = bytes + #row[2][2] end
          return rows
        end }";
    let read = include_str!("lua/read.lua");
    let script =
        format!("{counts}\n{read}\nlocal found = read('rows', '-', 100, 1048576)\nreturn {{ bytes, #found / 3 }}");
    let (bytes, rows): (u64, u64) = redis::from_redis_value(server.ask(&["EVAL", &script, "0"]).unwrap()).unwrap();
    assert_eq!(rows, 25);
    assert!(bytes <= 9 * large.len() as u64, "{bytes} bytes read");
}

#[tokio::test]
async fn another_host_gets_the_lease_when_it_has_run_out_by_the_stores_clock() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = connect(&server);
    assert_eq!(store.acquire("a", Token(1), 60_000).await.unwrap(), LeaseAnswer::Granted { epoch: 1 });
    match store.acquire("b", Token(2), 60_000).await.unwrap() {
        LeaseAnswer::Held { holder, for_ms } => assert!(holder == "a" && (50_000..=60_000).contains(&for_ms)),
        granted => panic!("{granted:?}"),
    }
    assert!(store.renew(Token(1), 0).await.unwrap(), "ends at once");
    assert_eq!(store.acquire("b", Token(2), 60_000).await.unwrap(), LeaseAnswer::Granted { epoch: 2 });
    assert!(!store.renew(Token(1), 60_000).await.unwrap());
}

/// Whatever is told on the store's channel.
async fn listen(store: &Arc<RedisStore>) -> (mpsc::Receiver<News>, JoinSet<Result<(), StoreError>>) {
    let (to, mut news) = mpsc::channel(4);
    let store = Arc::clone(store);
    let mut listener = JoinSet::new();
    listener.spawn(async move { store.listen(to).await });
    assert!(matches!(news.recv().await, Some(News::Listening)));
    (news, listener)
}

#[tokio::test]
async fn whoever_listens_is_told_each_commit_once_in_order_and_the_end_of_a_tenure() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let (store, a) = (Arc::new(connect(&server)), company("a"));
    let mut writer = Writer::new(&*store).await;
    store.commit(&heavy(&mut writer, 1)).await.unwrap();
    let (mut news, mut listener) = listen(&store).await;
    let mut second = heavy(&mut writer, 2);
    let floor = Floor { position: Position::whole(1, 2), time_ms: 5, reason: GapReason::SourceLost, running: None };
    second.floor = Some(floor);
    let mut third = writer.one(&a, 3, 201);
    third.checkpoint = None;
    third.parts[0].backlog_done = Some(waiting_position(1, &second.parts[0].backlog_add[0].input));
    for commit in [&second, &third, &second] {
        assert!(matches!(store.commit(commit).await.unwrap(), CommitAnswer::Stored(_)));
    }
    store.release(writer.token).await.unwrap();
    let id = store.head().await.unwrap().store;
    for (commit, places) in [
        (&second, vec![(a.clone(), Some(writer.place(0))), (company("b"), Some(writer.place(0)))]),
        (&third, vec![(a, None)]),
    ] {
        let Some(News::Commit(told)) = news.recv().await else { panic!("a commit") };
        assert_eq!((told.store, told.commit.name, told.commit.follows), (id, commit.name, commit.follows));
        assert_eq!((told.commit.generation, told.commit.checkpoint), (commit.generation, commit.checkpoint));
        assert_eq!((told.commit.floor, told.places), (commit.floor, places));
        let outputs = |commit: &Commit| -> Vec<_> {
            commit.parts.iter().map(|part| (part.company.clone(), part.outputs.clone())).collect()
        };
        assert_eq!(outputs(&told.commit), outputs(commit));
    }
    assert!(matches!(news.recv().await, Some(News::Released)), "the repeat is not told again");
    server.kill();
    assert!(matches!(listener.join_next().await.unwrap().unwrap(), Err(StoreError::Away(_))));
}

#[tokio::test]
async fn a_user_who_may_tell_nobody_commits_all_the_same() {
    let Some(server) = RedisServer::start(&[]) else { return };
    server
        .ask(&["ACL", "SETUSER", "quiet", "on", ">word", "~*", "+@all", "-pubsub", "-publish", "resetchannels"])
        .unwrap();
    let url = server.url().replace("redis://", "redis://quiet:word@");
    let store = RedisStore::connect(&url, &RedisOptions::default()).unwrap();
    let mut writer = Writer::new(&store).await;
    let (other, mut listener) = listen(&Arc::new(connect(&server))).await;
    let commit = writer.one(&company("a"), 1, 1);
    assert!(matches!(store.commit(&commit).await.unwrap(), CommitAnswer::Stored(_)));
    store.release(writer.token).await.unwrap();
    assert!(matches!(store.acquire("another", Token(9), 5_000).await.unwrap(), LeaseAnswer::Granted { .. }));
    let (to, _news) = mpsc::channel(1);
    assert!(store.listen(to).await.is_err(), "and says that it may not listen");
    drop(other);
    assert_eq!(listener.join_next().await.unwrap().unwrap(), Ok(()));
}

#[tokio::test]
async fn a_listener_without_room_holds_nobody_up_and_misses_what_does_not_fit() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (store, a) = (Arc::new(connect(&server)), company("a"));
    let mut writer = Writer::new(&*store).await;
    let (mut news, mut listener) = listen(&store).await;
    for sequence in 1..=20 {
        store.commit(&writer.one(&a, sequence, sequence)).await.unwrap();
    }
    // On the same connection and after all of them: read once they were.
    let mut numbers = Vec::new();
    for next in 21.. {
        store.commit(&writer.one(&a, next, next)).await.unwrap();
        while let Ok(News::Commit(told)) = news.try_recv() {
            numbers.push(told.commit.name.number);
        }
        if numbers.last().is_some_and(|last| *last > 20) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(numbers.is_sorted() && numbers[..4] == [1, 2, 3, 4], "{numbers:?}");
    drop(news);
    assert_eq!(listener.join_next().await.unwrap().unwrap(), Ok(()));
}

#[tokio::test]
async fn an_emptied_store_begins_another_life() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (store, a) = (connect(&server), company("a"));
    let mut writer = Writer::new(&store).await;
    store.commit(&writer.one(&a, 100, 1)).await.unwrap();
    let first = store.head().await.unwrap().store;
    server.ask(&["FLUSHALL"]).unwrap();
    assert_eq!(store.commit(&writer.one(&a, 101, 2)).await.unwrap(), CommitAnswer::NotOwner);
    let page = store.page(&a, Position::default(), 9).await.unwrap();
    assert!(page.store != first && page.entries.is_empty());
    assert_eq!(store.head().await.unwrap().store, page.store);
    // A head that was thrown away alone takes what belonged to it along.
    let mut writer = Writer::new(&store).await;
    store.commit(&writer.one(&a, 100, 1)).await.unwrap();
    server.ask(&["DEL", "tidegate:{p0}:head"]).unwrap();
    assert_ne!(store.head().await.unwrap().store, page.store);
    let mut writer = Writer::new(&store).await;
    assert!(matches!(store.commit(&writer.one(&a, 1, 1)).await.unwrap(), CommitAnswer::Stored(_)));
    assert_eq!(store.page(&a, Position::default(), 9).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_store_in_which_each_entry_has_a_row_is_taken_on() {
    const OLDER: &str = "local rows = redis.call('XRANGE', KEYS[1], '-', '+') redis.call('DEL', KEYS[1])
        for _, row in ipairs(rows) do redis.call('XADD', KEYS[1], row[1], 'e', row[2][2]) end
        redis.call('HDEL', KEYS[2], 'x')";
    let Some(server) = RedisServer::start(&[]) else { return };
    let (store, a) = (connect(&server), company("a"));
    let mut writer = Writer::new(&store).await;
    for number in 1..=5 {
        store.commit(&writer.one(&a, number, number)).await.unwrap();
    }
    server.ask(&["EVAL", OLDER, "2", "tidegate:{p0}:s:a", "tidegate:{p0}:c:a"]).unwrap();
    let mut commit = writer.one(&a, 6, 6);
    commit.parts[0].outputs.extend((7..=9).map(|number| entry(Position::new(1, number, 1), number)));
    assert!(matches!(store.commit(&commit).await.unwrap(), CommitAnswer::Stored(_)));
    let running = async |above| {
        let page = store.page(&a, above, 99).await.unwrap();
        page.entries.iter().map(|entry| entry.running).collect::<Vec<_>>()
    };
    assert_eq!(running(Position::new(1, 2, 1)).await, (3..=9).collect::<Vec<_>>());
    assert_eq!(store.entry(&a, Position::new(1, 2, 1)).await.unwrap().map(|entry| entry.running), Some(2));
    for keeps in [7, 2] {
        let keep = Keep { since_ms: 0, entries_max: keeps, bytes_max: u64::MAX };
        assert!(!store.trim(writer.token, &a, keep).await.unwrap());
        assert_eq!(running(Position::default()).await, (10 - keeps..=9).collect::<Vec<_>>());
        assert_eq!(head_of(&store, &a).await.entries, keeps);
    }
}

#[tokio::test]
async fn every_key_carries_the_partition() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = connect(&server);
    let mut writer = Writer::new(&store).await;
    store.commit(&heavy(&mut writer, 1)).await.unwrap();
    let keys: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*"]).unwrap()).unwrap();
    assert!(keys.len() > 8 && keys.iter().all(|key| key.starts_with("tidegate:{p0}:")), "{keys:?}");
    let options = RedisOptions { partition: "p1".to_owned(), ..RedisOptions::default() };
    let other = RedisStore::connect(&server.url(), &options).unwrap();
    assert!(other.companies().await.unwrap().is_empty());
    assert_ne!(other.head().await.unwrap().store, store.head().await.unwrap().store);
}

#[tokio::test]
async fn a_policy_that_throws_history_away_is_named_where_it_can_come_to_that() {
    let Some(server) = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]) else { return };
    let store = connect(&server);
    assert!(store.concerns().await.unwrap().is_empty(), "memory has no end");
    server.ask(&["CONFIG", "SET", "maxmemory", "50mb"]).unwrap();
    let concerns = store.concerns().await.unwrap().join("\n");
    assert!(concerns.contains("allkeys-lru") && concerns.contains("noeviction"), "{concerns}");
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).unwrap();
    assert!(store.concerns().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_commit_waits_behind_nobodys_pages() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (store, a) = (connect(&server), company("a"));
    let mut writer = Writer::new(&store).await;
    let others = store.link.calls.acquire_many(64).await.unwrap();
    let commit = writer.one(&a, 1, 1);
    let stored = tokio::time::timeout(Duration::from_secs(5), store.commit(&commit)).await.expect("it has its own way");
    assert!(matches!(stored.unwrap(), CommitAnswer::Stored(_)));
    drop(others);
}

#[tokio::test]
async fn a_commit_counts_the_replicas_that_have_it_and_goes_on_without_them() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let Some(replica) = RedisServer::start(&[]) else { return };
    replica.ask(&["REPLICAOF", "127.0.0.1", server.port()]).unwrap();
    let options = RedisOptions { wait_replicas: 1, ..RedisOptions::default() };
    let store = RedisStore::connect(&server.url(), &options).unwrap();
    let a = company("a");
    let mut writer = Writer::new(&store).await;
    let unconfirmed = || {
        let text = options.metrics.encode();
        let line = text.lines().find(|line| line.starts_with("tidegate_commits_unconfirmed_total")).unwrap();
        line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    // Until the replica has caught up commits are stored all the same.
    let mut sequence = 0;
    loop {
        sequence += 1;
        let before = unconfirmed();
        assert!(matches!(store.commit(&writer.one(&a, sequence, sequence)).await, Ok(CommitAnswer::Stored(_))));
        if unconfirmed() == before {
            break;
        }
        assert!(sequence < 100, "the replica never confirms");
    }
    let at_replica = RedisStore::connect(&replica.url(), &RedisOptions::default()).unwrap();
    assert_eq!(at_replica.head().await.unwrap().last, writer.last, "what was told is at the replica");
    replica.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let before = unconfirmed();
    let late = writer.one(&a, sequence + 1, sequence + 1);
    assert!(matches!(store.commit(&late).await, Ok(CommitAnswer::Stored(_))));
    assert_eq!(unconfirmed(), before + 1);
    // An error of the commit is told as without replicas.
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    assert!(matches!(store.commit(&writer.one(&a, sequence + 2, sequence + 2)).await, Err(StoreError::Full(_))));
}

#[tokio::test]
async fn what_is_not_ours_is_an_error_and_no_panic() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = connect(&server);
    store.head().await.unwrap();
    server.ask(&["SADD", "tidegate:{p0}:companies", "a"]).unwrap();
    server.ask(&["SET", "tidegate:{p0}:c:a", "x"]).unwrap();
    assert!(matches!(store.companies().await, Err(StoreError::Corrupt(_))));
    server.ask(&["HSET", "tidegate:{p0}:head", "checkpoint", "nonsense"]).unwrap();
    assert!(matches!(store.head().await, Err(StoreError::Corrupt(_))));
    assert!(RedisStore::connect("http://x", &RedisOptions::default()).is_err());
}

#[tokio::test]
async fn a_commit_whose_record_is_torn_anywhere_is_there_whole_or_not_at_all() {
    let Some(mut server) = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let store = connect(&server);
    let mut writer = Writer::new(&store).await;
    store.commit(&everything(&mut writer, 10)).await.unwrap();
    let (before, from) = (everything_of(&store).await, server.appended().len());
    store.commit(&everything(&mut writer, 11)).await.unwrap();
    let (after, whole) = (everything_of(&store).await, server.appended());
    assert_ne!(before, after);
    let step = (whole.len() - from).div_ceil(23);
    for end in (from..whole.len()).step_by(step).chain([whole.len() - 1, whole.len()]) {
        server.kill();
        server.append_only(&whole[..end]);
        server.up();
        let found = everything_of(&connect(&server)).await;
        assert_eq!(&found, if end == whole.len() { &after } else { &before }, "torn at {end} of {}", whole.len());
    }
}

#[tokio::test]
async fn of_two_owners_of_one_epoch_the_token_decides() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let Some(replica) = RedisServer::start(&[]) else { return };
    let (store, a) = (connect(&server), company("a"));
    // The replica has the first lease, and of what comes after it nothing.
    store.acquire("a", Token(1), 0).await.unwrap();
    replica.ask(&["REPLICAOF", "127.0.0.1", server.port()]).unwrap();
    let in_step = std::time::Instant::now();
    while !replica.told("replication").contains("master_link_status:up") {
        assert!(in_step.elapsed() < Duration::from_secs(20), "{}", replica.told("replication"));
    }
    replica.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let mut lost = Writer::new(&store).await;
    let late = lost.one(&a, 1, 1);
    let promoted = connect(&replica);
    assert_eq!(promoted.acquire("b", Token(7), 5_000).await.unwrap(), LeaseAnswer::Granted { epoch: 2 });
    let epoch = |server: &RedisServer| server.ask(&["HGET", "tidegate:{p0}:lease", "epoch"]).unwrap();
    assert_eq!(epoch(&server), epoch(&replica), "both hold epoch 2");
    assert_eq!(promoted.commit(&late).await.unwrap(), CommitAnswer::NotOwner);
    assert!(!promoted.renew(lost.token, 5_000).await.unwrap());
    assert!(promoted.companies().await.unwrap().is_empty());
}
