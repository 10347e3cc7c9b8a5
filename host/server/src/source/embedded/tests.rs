//! What a disk can do to the log.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// A disk that is full after so many more bytes, as a real one is: a part of the write gets through.
#[derive(Debug)]
pub(super) struct SmallDisk(AtomicU64);

impl Default for SmallDisk {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl SmallDisk {
    pub(super) fn set_room(&self, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
    }

    pub(super) fn take(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let room = self.0.load(Ordering::SeqCst);
        if room >= bytes.len() as u64 {
            return Ok(());
        }
        file.write_all(&bytes[..usize::try_from(room).unwrap_or(0)])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

use super::super::server::Folder;
use super::super::{Publish, Source, SourceError};
use super::{DeadLog, Embedded, Log, LogOptions, writer::Line};
use crate::clock::Clock;
use bytes::Bytes;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::generation::{Continuity, Generation, compare};
use tidegate_core::position::Place;

const HOUR_MS: u64 = 3_600_000;

fn options(folder: &Folder) -> LogOptions {
    LogOptions::new(folder.0.join("log"), Duration::from_secs(24 * 3600))
}

/// The log in a folder. Another test of this process may just be starting a program: until that is running, it holds what this
/// process held, the lock of a log that was closed among it.
fn reopened(folder: &Folder) -> Log {
    let until = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Log::open(&options(folder), Clock::system()) {
            Err(SourceError::Refused(words))
                if words.contains("another process") && std::time::Instant::now() < until =>
            {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

fn lines(count: usize, bytes: usize) -> Vec<Line> {
    (0..count)
        .map(|_| Line { subject: "metrics.a".into(), headers: Bytes::new(), payload: vec![b'x'; bytes].into() })
        .collect()
}

fn segments(folder: &Folder) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.0.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_torn_end_is_cut_off_at_whichever_byte_it_was_torn() {
    let folder = Folder::new();
    let log = reopened(&folder);
    log.append(lines(2, 10)).await.unwrap();
    let file = segments(&folder).remove(0);
    let good = std::fs::metadata(&file).unwrap().len();
    // A publish of two: half of it does not count either.
    log.append(lines(2, 10)).await.unwrap();
    let before = log.facts(4).await.unwrap();
    let stored = Some(Place { generation: 1, sequence: 4, time_ms: before.checkpoint_ms.unwrap() });
    drop(log);
    let whole = std::fs::read(&file).unwrap();
    for length in good as usize..=whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        let log = reopened(&folder);
        let kept = if length == whole.len() { 4 } else { 2 };
        assert_eq!(log.tail().last_sequence, kept, "torn at {length}");
        assert_eq!(std::fs::metadata(&file).unwrap().len(), if kept == 4 { whole.len() as u64 } else { good });
        // A store that had committed what is gone is ahead of its log: another generation begins.
        let continuity = compare(&Generation::new(1, before.created_ms), stored, &log.facts(4).await.unwrap());
        let expected = if kept == 4 { Continuity::Same } else { Continuity::Recreated };
        assert_eq!(continuity, expected, "torn at {length}");
        assert_eq!(log.append(lines(1, 5)).await.unwrap(), (kept + 1, kept + 1));
        assert_eq!(log.event(kept + 1).await.unwrap().unwrap().payload.len(), 5);
    }
    for length in 0..super::segment::HEAD_BYTES {
        std::fs::write(&file, &whole[..length as usize]).unwrap();
        assert_eq!(reopened(&folder).tail().last_sequence, 0, "head torn at {length}");
    }
}

#[tokio::test]
async fn a_log_opened_again_is_the_same_log() {
    let folder = Folder::new();
    let log = reopened(&folder);
    log.append(lines(3, 10)).await.unwrap();
    let before = log.facts(2).await.unwrap();
    assert!(
        matches!(Log::open(&options(&folder), Clock::system()), Err(SourceError::Refused(story)) if story.contains("another process"))
    );
    drop(log);
    let log = reopened(&folder);
    assert_eq!(log.facts(2).await.unwrap(), before);
    drop(log);
    std::fs::remove_dir_all(folder.0.join("log")).unwrap();
    let (later, _) = Clock::set_by_hand(before.created_ms + 1);
    let facts = Log::open(&options(&folder), later).unwrap().facts(2).await.unwrap();
    let at = Some(Place { generation: 1, sequence: 2, time_ms: before.checkpoint_ms.unwrap() });
    assert_eq!(compare(&Generation::new(1, before.created_ms), at, &facts), Continuity::Recreated);
}

#[tokio::test]
async fn whole_files_go_after_the_retention_and_sequences_go_on() {
    let folder = Folder::new();
    let (clock, hand) = Clock::set_by_hand(1_000 * HOUR_MS);
    let log = Log::open(&options(&folder), clock.clone()).unwrap();
    for _ in 0..30 {
        log.append(lines(1, 100)).await.unwrap();
        hand.advance(HOUR_MS);
    }
    log.append(lines(1, 100)).await.unwrap();
    let facts = log.facts(1).await.unwrap();
    assert_eq!((facts.last_sequence, facts.checkpoint_ms), (31, None));
    // The files of the last 24 hours, and no other, are there.
    assert_eq!((facts.first_sequence, facts.first_ms), (7, Some(1_006 * HOUR_MS)));
    assert_eq!(segments(&folder).len(), 25);
    let gone = log.page(&mut super::reader::Cursor::after(0), 31).await.unwrap_err();
    assert!(matches!(gone, SourceError::Away(story) if story.contains("retention")));
    let last = log.tail();
    drop(log);
    hand.advance(100 * HOUR_MS);
    let log = Log::open(&options(&folder), clock).unwrap();
    let mut tail = log.watch();
    tokio::time::timeout(Duration::from_secs(20), tail.wait_for(|tail| tail.first_sequence == 32))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((log.tail().last_sequence, log.tail().last_ms), (31, last.last_ms));
    assert_eq!(log.append(lines(1, 1)).await.unwrap(), (32, 32));
}

#[tokio::test]
async fn small_files_read_as_one_log() {
    let folder = Folder::new();
    let log = Log::open(&LogOptions { segment_bytes: 1_000, ..options(&folder) }, Clock::system()).unwrap();
    for _ in 0..50 {
        log.append(lines(3, 100)).await.unwrap();
    }
    assert!(segments(&folder).len() > 10);
    for sequence in [1, 2, 75, 149, 150] {
        assert_eq!(log.event(sequence).await.unwrap().unwrap().sequence, sequence);
    }
    let large = log.append(lines(1, 700_000)).await.unwrap().0;
    assert_eq!(log.event(large).await.unwrap().unwrap().payload.len(), 700_000);
    // Damage in the middle is told as a loss of what it took, no more.
    drop(log);
    let damaged = segments(&folder).remove(1);
    let file = OpenOptions::new().write(true).open(&damaged).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"damage", 40).unwrap();
    let log = reopened(&folder);
    let mut cursor = super::reader::Cursor::after(0);
    let (mut lost, mut read) = (0, 0);
    while cursor.next() <= large {
        for item in log.page(&mut cursor, large).await.unwrap() {
            match item {
                super::Item::Lost(Some(count)) => lost += count,
                super::Item::Event(_) => read += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(lost > 0);
    assert_eq!(lost + read, large);
}

#[tokio::test]
async fn a_full_disk_refuses_leaves_nothing_half_and_mends_itself() {
    let folder = Folder::new();
    let log = reopened(&folder);
    log.append(lines(1, 50)).await.unwrap();
    let file = segments(&folder).remove(0);
    let before = std::fs::metadata(&file).unwrap().len();
    log.shared().disk.set_room(120);
    assert!(matches!(log.append(lines(2, 100)).await, Err(SourceError::Full(_))));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), before);
    // What is small enough still fits, reads go on.
    assert_eq!(log.append(lines(1, 10)).await.unwrap(), (2, 2));
    assert_eq!(log.event(1).await.unwrap().unwrap().payload.len(), 50);
    log.shared().disk.set_room(u64::MAX);
    assert_eq!(log.append(lines(2, 100)).await.unwrap(), (3, 4));
    drop(log);
    assert_eq!(reopened(&folder).tail().last_sequence, 4);
}

#[tokio::test]
async fn publishers_at_once_each_get_their_own_numbers() {
    let folder = Folder::new();
    let log = reopened(&folder);
    let dead = Arc::new(DeadLog::open(folder.0.join("dlq"), Clock::system()).await.unwrap());
    let source = Embedded::new(log, dead);
    let messages = [0; 4].map(|_| Publish {
        subject: "metrics.a".into(),
        payload: Bytes::from_static(b"{}"),
        headers: Bytes::new(),
        id: None,
    });
    let all = futures_util::future::try_join_all((0..200).map(|_| source.publish(&messages))).await.unwrap();
    let mut firsts: Vec<u64> = all.iter().map(|published| published.first.unwrap()).collect();
    firsts.sort_unstable();
    assert_eq!(firsts, (0..200).map(|n| n * 4 + 1).collect::<Vec<u64>>());
    assert!(all.iter().all(|published| published.last == published.first.map(|first| first + 3)));
    assert_eq!(source.log().tail().last_sequence, 800);
}

#[tokio::test]
async fn kept_dead_letters_are_known_again_after_a_restart() {
    let folder = Folder::new();
    let letter = crate::source::letter::tests::letter(b"{}", b"", None);
    for _ in 0..2 {
        let dead = DeadLog::open(folder.0.join("dlq"), Clock::system()).await.unwrap();
        dead.append(&letter).await.unwrap();
        assert_eq!(dead.list(0, 10).await.unwrap().len(), 1);
    }
}
