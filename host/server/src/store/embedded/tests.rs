//! What only the embedded store can do: be one of two, be torn, be foreign, fill the disk.

use super::EmbeddedStore;
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::store::contract::commits::{everything, everything_of};
use crate::store::contract::server::Folder;
use crate::store::contract::stand::{Writer, company, head_of};
use crate::store::{Store, StoreError};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use tidegate_core::commit::CommitAnswer;
use tidegate_core::position::Position;
use tidegate_core::record::Notes;

fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(&Arc::new(DataDir::lock(folder).unwrap()), Clock::system())
}

#[tokio::test]
async fn the_folder_is_locked_as_long_as_the_store_is_open() {
    let folder = Folder::new("locked");
    let store = open(&folder.0).unwrap();
    assert!(DataDir::lock(&folder.0).is_err());
    drop(store);
    assert!(DataDir::lock(&folder.0).is_ok());
}

#[tokio::test]
async fn a_torn_end_costs_the_torn_commit_and_nothing_before_it() {
    let (folder, copy, a) = (Folder::new("torn"), Folder::new("torn-copy"), company("a"));
    let store = open(&folder.0).unwrap();
    let mut writer = Writer::new(&store).await;
    for sequence in 1..=20 {
        store.commit(&writer.one(&a, sequence, sequence)).await.unwrap();
    }
    // As after a crash: copied while it is open, the end of the log torn.
    for name in ["replay.sqlite", "replay.sqlite-wal"] {
        fs::copy(folder.0.join(name), copy.0.join(name)).unwrap();
    }
    let log = copy.0.join("replay.sqlite-wal");
    let length = fs::metadata(&log).unwrap().len();
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(length - 100).unwrap();
    drop(file);
    OpenOptions::new().append(true).open(&log).unwrap().write_all(&[7; 100]).unwrap();
    let store = open(&copy.0).unwrap();
    let head = store.head().await.unwrap();
    assert_eq!(head.last.number, 19);
    assert_eq!(head.checkpoint.unwrap().sequence, 19);
    assert_eq!(store.page(&a, Position::default(), 99).await.unwrap().entries.len(), 19);
    assert_eq!(head_of(&store, &a).await.running, 19);
    // The owner commits on from there.
    let mut writer = Writer::new(&store).await;
    store.commit(&writer.one(&a, 20, 20)).await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_record_is_torn_anywhere_is_there_whole_or_not_at_all() {
    let folder = Folder::new("torn-whole");
    let (file, log) = (folder.0.join("replay.sqlite"), folder.0.join("replay.sqlite-wal"));
    let store = open(&folder.0).unwrap();
    let mut writer = Writer::new(&store).await;
    store.commit(&everything(&mut writer, 10)).await.unwrap();
    let (before, from) = (everything_of(&store).await, fs::read(&log).unwrap().len());
    store.commit(&everything(&mut writer, 11)).await.unwrap();
    let (after, base, whole) = (everything_of(&store).await, fs::read(&file).unwrap(), fs::read(&log).unwrap());
    assert_ne!(before, after);
    let step = (whole.len() - from).div_ceil(40);
    for end in (from..whole.len()).step_by(step).chain([whole.len() - 1, whole.len()]) {
        let copy = Folder::new("torn-copy");
        fs::write(copy.0.join("replay.sqlite"), &base).unwrap();
        fs::write(copy.0.join("replay.sqlite-wal"), &whole[..end]).unwrap();
        let found = everything_of(&open(&copy.0).unwrap()).await;
        assert_eq!(&found, if end == whole.len() { &after } else { &before }, "torn at {end} of {}", whole.len());
    }
}

#[tokio::test]
async fn a_foreign_file_is_refused_with_the_way_out() {
    let folder = Folder::new("foreign");
    fs::write(folder.0.join("replay.sqlite"), vec![b'x'; 8_192]).unwrap();
    let error = open(&folder.0).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(story) if story.contains("move the file away")), "{error}");
    fs::remove_file(folder.0.join("replay.sqlite")).unwrap();
    let store = open(&folder.0).unwrap();
    store.threads.write(|base| Ok(base.pragma_update(None, "user_version", 99)?)).await.unwrap();
    drop(store);
    let error = open(&folder.0).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(story) if story.contains("version 99")), "{error}");
}

#[tokio::test]
async fn a_file_of_a_version_before_is_taken_on() {
    const KEPT_NO_RECORDS: &str = "DROP TABLE records; ALTER TABLE head DROP COLUMN records;
         ALTER TABLE head DROP COLUMN record_bytes";
    const BEGAN_UNKNOWN: &str = "ALTER TABLE head DROP COLUMN rebuild";
    const A_ROW_EACH: &str = "ALTER TABLE entries DROP COLUMN packed";
    let older = [&[A_ROW_EACH][..], &[A_ROW_EACH, KEPT_NO_RECORDS], &[A_ROW_EACH, KEPT_NO_RECORDS, BEGAN_UNKNOWN]];
    for (version, older) in [3, 2, 1].into_iter().zip(older) {
        let (folder, a) = (Folder::new(&format!("upgrade{version}")), company("a"));
        let store = open(&folder.0).unwrap();
        let mut writer = Writer::new(&store).await;
        store.commit(&writer.one(&a, 1, 1)).await.unwrap();
        let before = store.threads.write(move |base| {
            for change in older {
                base.execute_batch(change)?;
            }
            Ok(base.pragma_update(None, "user_version", version)?)
        });
        before.await.unwrap();
        drop(store);
        let store = open(&folder.0).unwrap();
        let head = store.head().await.unwrap();
        assert_eq!((head.last, head.rebuild), (writer.last, None));
        assert_eq!(store.page(&a, Position::default(), 99).await.unwrap().entries.len(), 1);
        let mut commit = writer.one(&a, 2, 2);
        commit.record = Some(Notes::passed_over(writer.place(1), writer.place(2)));
        store.commit(&commit).await.unwrap();
        assert_eq!(store.record_at(1, 2).await.unwrap().map(|found| found.number), Some(commit.name.number));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_whole_commits_and_is_over_when_there_is_room() {
    let (folder, a) = (Folder::new("full"), company("a"));
    let store = open(&folder.0).unwrap();
    let mut writer = Writer::new(&store).await;
    store.commit(&writer.one(&a, 1, 1)).await.unwrap();
    let limit = |pages: i64| {
        store.threads.write(move |base| {
            base.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(())
        })
    };
    limit(60).await.unwrap();
    let (mut sequence, mut running) = (2, 2);
    let refused = loop {
        let mut commit = writer.one(&a, sequence, running);
        commit.parts[0].outputs[0].data = vec![b'x'; 20_000].into();
        match store.commit(&commit).await {
            Ok(_) => (sequence, running) = (sequence + 1, running + 1),
            Err(StoreError::Full(_)) => break commit,
            Err(other) => panic!("{other}"),
        }
        assert!(sequence < 100);
    };
    let head = head_of(&store, &a).await;
    assert_eq!((head.running, head.entries), (running - 1, running - 1), "nothing of the refused commit is there");
    assert_eq!(store.head().await.unwrap().last, refused.follows);
    assert!(matches!(store.commit(&refused).await, Err(StoreError::Full(_))));
    limit(1 << 20).await.unwrap();
    assert!(matches!(store.commit(&refused).await.unwrap(), CommitAnswer::Stored(_)));
    assert_eq!(head_of(&store, &a).await.running, running);
}

#[tokio::test]
async fn one_failed_call_of_a_group_leaves_the_others_alone() {
    let (folder, a) = (Folder::new("group"), company("a"));
    let store = open(&folder.0).unwrap();
    let mut writer = Writer::new(&store).await;
    let (first, second) = (writer.one(&a, 1, 1), writer.one(&a, 2, 2));
    let wrong = store.threads.write(|base| -> Result<(), StoreError> {
        base.execute("UPDATE companies SET running = 99", [])?;
        Err(StoreError::Corrupt("on purpose".to_owned()))
    });
    let (one, bad, two) = tokio::join!(store.commit(&first), wrong, store.commit(&second));
    assert!(one.is_ok() && bad.is_err() && two.is_ok());
    assert_eq!(head_of(&store, &a).await.running, 2);
}
