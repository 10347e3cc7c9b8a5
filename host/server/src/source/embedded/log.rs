//! The log as its users see it: opened, appended to, read, and what it says of itself.

use super::super::{Item, SourceError};
use super::reader::{self, Cursor};
use super::segment::{Segment, sync_folder};
use super::writer::{Active, Append, Line, Writer, fault};
use crate::clock::Clock;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;
use tokio::sync::{Semaphore, oneshot, watch};

/// Bytes that wait to be written at most, in units of [`ROOM_UNIT_BYTES`].
const ROOM_UNITS: usize = 4_096;
const ROOM_UNIT_BYTES: usize = 4 << 10;
const CREATED_MAGIC: &[u8; 8] = b"TGLOG01\n";
const CREATED_BYTES: usize = 20;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Its folder; made when missing.
    pub folder: PathBuf,
    /// How long events are kept: whole files go once their last event is older.
    pub retention: Duration,
    /// Size at which a new file begins, in bytes; one begins with every hour anyway.
    pub segment_bytes: u64,
    /// Name of the writer's thread.
    pub name: &'static str,
}

impl LogOptions {
    /// Files of 64 MiB.
    #[must_use]
    pub fn new(folder: PathBuf, retention: Duration) -> Self {
        Self { folder, retention, segment_bytes: 64 << 20, name: "log" }
    }
}

/// What the log holds, all of it synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// First sequence it still holds; last + 1 when it is empty.
    pub(super) first_sequence: u64,
    /// Last sequence it ever gave.
    pub(super) last_sequence: u64,
    /// Time of that event.
    pub(super) last_ms: u64,
}

/// What writer and readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    segments: RwLock<Vec<Arc<Segment>>>,
    tail: watch::Sender<Tail>,
    #[cfg(test)]
    pub(super) disk: super::tests::SmallDisk,
}

/// An append-only log of events in a folder of its own. Dropping it waits for its writer.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    created_ms: u64,
    appends: Option<SyncSender<Append>>,
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

impl Log {
    /// Opens the log, cuts off what a crash left half written, and starts its writer. Blocks on the disk.
    ///
    /// # Errors
    /// [`SourceError::Refused`] where the folder can't be used or another process uses it, [`SourceError::Full`] where
    /// the disk has no room for a new file.
    pub fn open(options: &LogOptions, clock: Clock) -> Result<Self, SourceError> {
        let folder = &options.folder;
        let refused = |error: io::Error| match fault(&error) {
            SourceError::Full(story) => SourceError::Full(story),
            _ => SourceError::Refused(format!("the log in {} can't be opened: {error}", folder.display())),
        };
        std::fs::create_dir_all(folder).map_err(refused)?;
        let lock = lock(folder)?;
        let created_ms = created(folder, clock.now_ms()).map_err(refused)?;
        let segments = segments(folder).map_err(refused)?;
        let (segments, active, tail) = recover(folder, segments).map_err(refused)?;
        let shared = Arc::new(Shared {
            folder: folder.clone(),
            segments: RwLock::new(segments),
            tail: watch::channel(tail).0,
            #[cfg(test)]
            disk: super::tests::SmallDisk::default(),
        });
        let retention_ms = u64::try_from(options.retention.as_millis()).unwrap_or(u64::MAX);
        let writer = Writer {
            shared: Arc::clone(&shared),
            active,
            tail,
            clock,
            retention_ms,
            segment_bytes: options.segment_bytes,
        };
        let (appends, waiting) = sync_channel(ROOM_UNITS);
        let thread = std::thread::Builder::new()
            .name(options.name.to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(refused)?;
        let room = Arc::new(Semaphore::new(ROOM_UNITS));
        Ok(Self { shared, created_ms, appends: Some(appends), room, writer: Some(thread), _lock: lock })
    }

    /// Appends these, all or none, at least one; returns first and last sequence once they are synced.
    pub(super) async fn append(&self, lines: Vec<Line>) -> Result<(u64, u64), SourceError> {
        let closed = || SourceError::Away("the log was closed".into());
        let bytes: usize = lines.iter().map(|line| line.payload.len() + line.headers.len() + line.subject.len()).sum();
        let units = u32::try_from((bytes / ROOM_UNIT_BYTES + 1).min(ROOM_UNITS)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units).await.map_err(|_closed| closed())?;
        let (answer, answered) = oneshot::channel();
        let append = Append { lines, answer, _room: room };
        // There is a place for every unit of room, so it is never full.
        self.appends.as_ref().ok_or_else(closed)?.try_send(append).map_err(|_gone| closed())?;
        answered.await.map_err(|_gone| closed())?
    }

    pub(super) fn tail(&self) -> Tail {
        *self.shared.tail.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Tail> {
        self.shared.tail.subscribe()
    }

    /// What the log says of itself, with the time of this event if it still has it.
    pub(super) async fn facts(&self, sequence: u64) -> Result<StreamFacts, SourceError> {
        let event = self.event(sequence).await?;
        let tail = self.tail();
        let first_ms = match self.event(tail.first_sequence).await? {
            Some(first) => Some(first.time_ms),
            None if tail.first_sequence > tail.last_sequence && tail.last_sequence > 0 => Some(tail.last_ms),
            // No event was ever there, or it was deleted while we looked.
            None => None,
        };
        Ok(StreamFacts {
            created_ms: self.created_ms,
            first_sequence: tail.first_sequence,
            first_ms,
            last_sequence: tail.last_sequence,
            checkpoint_ms: event.map(|event| event.time_ms),
        })
    }

    /// The event at this sequence, if the log still has it.
    pub(super) async fn event(&self, sequence: u64) -> Result<Option<SourceEvent>, SourceError> {
        let tail = self.tail();
        if sequence == 0 || sequence < tail.first_sequence || sequence > tail.last_sequence {
            return Ok(None);
        }
        let page = match self.page(&mut Cursor::after(sequence - 1), sequence).await {
            Ok(page) => page,
            // It was deleted while we looked.
            Err(_) if self.tail().first_sequence > sequence => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(page.into_iter().find_map(|item| match item {
            Item::Event(event) if event.sequence == sequence => Some(event),
            _ => None,
        }))
    }

    /// The next events up to `last`, at least one item.
    pub(super) async fn page(&self, cursor: &mut Cursor, last: u64) -> Result<Vec<Item>, SourceError> {
        let shared = Arc::clone(&self.shared);
        let mut moved = std::mem::replace(cursor, Cursor::after(cursor.next() - 1));
        let read = tokio::task::spawn_blocking(move || {
            let page = reader::page(&shared, &mut moved, last);
            (moved, page)
        });
        let (moved, page) = read.await.map_err(|error| SourceError::Away(format!("reading the log: {error}")))?;
        *cursor = moved;
        page
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Without a sender the writer ends once it has done what waits.
        self.appends = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }
}

impl Shared {
    pub(super) fn set_tail(&self, tail: Tail) {
        self.tail.send_replace(tail);
    }

    pub(super) fn add(&self, segment: Arc<Segment>) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    /// The oldest file and the one after it; `None` while only the active one is there.
    pub(super) fn oldest(&self) -> Option<(Arc<Segment>, Arc<Segment>)> {
        match self.segments.read().unwrap_or_else(PoisonError::into_inner).as_slice() {
            [oldest, following, ..] => Some((Arc::clone(oldest), Arc::clone(following))),
            _ => None,
        }
    }

    pub(super) fn remove_oldest(&self) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).remove(0);
    }

    /// The file in which this sequence stands, or will.
    pub(super) fn segment_of(&self, sequence: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let after = segments.partition_point(|segment| segment.first_sequence <= sequence);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// The file that follows the one with this first sequence.
    pub(super) fn segment_after(&self, first_sequence: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().find(|segment| segment.first_sequence > first_sequence).cloned()
    }
}

/// Two writers would write over each other.
fn lock(folder: &Path) -> Result<File, SourceError> {
    let refused = |story: String| SourceError::Refused(format!("the log in {}: {story}", folder.display()));
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"));
    let lock = lock.map_err(|error| refused(format!("the lock can't be opened: {error}")))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(refused("another process uses it: stop that one, or set another data.dir".into()))
        }
        Err(TryLockError::Error(error)) => Err(refused(format!("it can't be locked: {error}"))),
    }
}

/// When the log was made, in milliseconds since 1970; written at the first opening.
fn created(folder: &Path, now_ms: u64) -> io::Result<u64> {
    let path = folder.join("created");
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => {
            file.take(CREATED_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(known) = bytes.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
        && bytes == created_bytes(known)
    {
        return Ok(known);
    }
    if !bytes.is_empty() {
        tracing::warn!(file = %path.display(), "the log's time of creation is damaged: it begins a new life");
    }
    let new = folder.join("created.new");
    let mut file = File::create(&new)?;
    file.write_all(&created_bytes(now_ms))?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    sync_folder(folder)?;
    Ok(now_ms)
}

fn created_bytes(created_ms: u64) -> Vec<u8> {
    let mut bytes = CREATED_MAGIC.to_vec();
    bytes.extend(created_ms.to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The files there, in order; one whose head was never written whole holds nothing and is taken away.
fn segments(folder: &Path) -> io::Result<Vec<Arc<Segment>>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        match Segment::open(path.clone())? {
            Some(segment) => segments.push(Arc::new(segment)),
            None => {
                tracing::warn!(file = %path.display(), "a file of the log has no head and is removed");
                std::fs::remove_file(&path)?;
            }
        }
    }
    segments.sort_by_key(|segment| segment.first_sequence);
    Ok(segments)
}

/// Opens the last file for writing, without what a crash left half written.
fn recover(folder: &Path, mut segments: Vec<Arc<Segment>>) -> io::Result<(Vec<Arc<Segment>>, Active, Tail)> {
    let Some(segment) = segments.last().cloned() else {
        let (segment, file) = Segment::create(folder, 1, 0)?;
        let segment = Arc::new(segment);
        segments.push(Arc::clone(&segment));
        let active = Active { segment, file, end: super::segment::HEAD_BYTES, first_ms: None, dirty: false };
        return Ok((segments, active, Tail { first_sequence: 1, last_sequence: 0, last_ms: 0 }));
    };
    let end = segment.end()?;
    let file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
    let length = file.metadata()?.len();
    if length > end.offset {
        tracing::warn!(file = %segment.path.display(), bytes = length - end.offset, "the end of the log was half written and is cut off");
        file.set_len(end.offset)?;
        file.sync_data()?;
    }
    segment.forget_from(end.offset);
    let first_sequence = segments.first().map_or(1, |oldest| oldest.first_sequence);
    let active = Active { segment, file, end: end.offset, first_ms: end.first_ms, dirty: false };
    Ok((segments, active, Tail { first_sequence, last_sequence: end.last_sequence, last_ms: end.last_ms }))
}
