//! The log's one writer: a thread that takes what waits, writes it in one piece, syncs it, and only then answers.

use super::super::SourceError;
use super::log::{Shared, Tail};
use super::record::{Fields, encode};
use super::segment::{HEAD_BYTES, Segment};
use crate::clock::Clock;
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Bytes written and synced in one piece, or one publish.
const BATCH_BYTES: usize = 4 << 20;
/// Publishes in one piece.
const BATCH_APPENDS: usize = 1_024;
/// How often an idle writer looks for files whose retention has passed.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
const HOUR_MS: u64 = 3_600_000;

/// One event to append.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) subject: String,
    /// Lines `name: value`, each ended by a line feed.
    pub(super) headers: Bytes,
    pub(super) payload: Bytes,
}

/// Events that are appended all or none, and who waits for it.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) lines: Vec<Line>,
    /// First and last sequence.
    pub(super) answer: oneshot::Sender<Result<(u64, u64), SourceError>>,
    /// Held until it is done: bounds what waits.
    pub(super) _room: OwnedSemaphorePermit,
}

impl Append {
    fn bytes(&self) -> usize {
        self.lines.iter().map(|line| line.payload.len() + line.headers.len() + line.subject.len() + 64).sum()
    }
}

/// The file that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: File,
    /// Where its good part ends.
    pub(super) end: u64,
    /// Time of its first record.
    pub(super) first_ms: Option<u64>,
    /// A write failed, and what it left could not be cut off.
    pub(super) dirty: bool,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Active,
    pub(super) tail: Tail,
    pub(super) clock: Clock,
    pub(super) retention_ms: u64,
    pub(super) segment_bytes: u64,
}

impl Writer {
    /// Works until nobody can send any more.
    pub(super) fn run(mut self, appends: &Receiver<Append>) {
        self.housekeep();
        loop {
            let first = match appends.recv_timeout(HOUSEKEEPING) {
                Ok(append) => append,
                Err(RecvTimeoutError::Timeout) => {
                    self.housekeep();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut bytes = first.bytes();
            let mut batch = vec![first];
            while bytes < BATCH_BYTES && batch.len() < BATCH_APPENDS {
                let Ok(append) = appends.try_recv() else { break };
                bytes += append.bytes();
                batch.push(append);
            }
            self.append(batch);
        }
    }

    fn append(&mut self, batch: Vec<Append>) {
        let result = self.roll_if_due().and_then(|()| self.write(&batch));
        match result {
            Ok(()) => {
                let mut first = self.tail.last_sequence + 1;
                let count: usize = batch.iter().map(|append| append.lines.len()).sum();
                self.tail.last_sequence += count as u64;
                self.shared.set_tail(self.tail);
                for append in batch {
                    let last = first + append.lines.len() as u64 - 1;
                    // Who no longer waits has gone; the events are in.
                    let _ = append.answer.send(Ok((first, last)));
                    first = last + 1;
                }
            }
            // What does not fit together may fit one by one.
            Err(SourceError::Full(_)) if batch.len() > 1 => {
                for append in batch {
                    self.append(vec![append]);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "events can't be written to the log");
                for append in batch {
                    let _ = append.answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn write(&mut self, batch: &[Append]) -> Result<(), SourceError> {
        let now_ms = self.clock.now_ms();
        let mut bytes = BytesMut::new();
        let mut sequence = self.tail.last_sequence;
        for append in batch {
            for (at, line) in append.lines.iter().enumerate() {
                sequence += 1;
                self.active.segment.remember(sequence, self.active.end + bytes.len() as u64);
                let more = at + 1 < append.lines.len();
                let (subject, headers, payload) = (line.subject.as_str(), &line.headers[..], &line.payload[..]);
                encode(&mut bytes, Fields { sequence, time_ms: now_ms, more, subject, headers, payload });
            }
        }
        if let Err(error) = self.write_synced(&bytes) {
            self.active.segment.forget_from(self.active.end);
            self.cut_off();
            return Err(fault(&error));
        }
        self.active.end += bytes.len() as u64;
        self.active.first_ms.get_or_insert(now_ms);
        self.tail.last_ms = now_ms;
        Ok(())
    }

    fn write_synced(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.active.dirty {
            self.active.file.set_len(self.active.end)?;
            self.active.dirty = false;
        }
        self.active.file.seek(SeekFrom::Start(self.active.end))?;
        #[cfg(test)]
        self.shared.disk.take(&mut self.active.file, bytes)?;
        self.active.file.write_all(bytes)?;
        self.active.file.sync_data()
    }

    /// Removes what a failed write left, now or before the next write.
    fn cut_off(&mut self) {
        let cut = self.active.file.set_len(self.active.end).and_then(|()| self.active.file.sync_data());
        self.active.dirty = cut.is_err();
    }

    fn roll_if_due(&mut self) -> Result<(), SourceError> {
        let now_ms = self.clock.now_ms();
        let old = self.active.first_ms.is_some_and(|first_ms| now_ms / HOUR_MS != first_ms / HOUR_MS);
        if self.active.end > HEAD_BYTES && (old || self.active.end >= self.segment_bytes) {
            self.roll().map_err(|error| fault(&error))?;
            self.forget_old();
        }
        Ok(())
    }

    fn roll(&mut self) -> io::Result<()> {
        let (segment, file) = Segment::create(&self.shared.folder, self.tail.last_sequence + 1, self.tail.last_ms)?;
        let segment = Arc::new(segment);
        self.shared.add(Arc::clone(&segment));
        self.active = Active { segment, file, end: HEAD_BYTES, first_ms: None, dirty: false };
        Ok(())
    }

    fn housekeep(&mut self) {
        if let Err(error) = self.roll_if_due() {
            tracing::warn!(%error, "the log can't begin a new file");
        }
        self.forget_old();
    }

    /// Deletes whole files whose last event is older than the retention.
    fn forget_old(&mut self) {
        let before_ms = self.clock.now_ms().saturating_sub(self.retention_ms);
        while let Some((oldest, following)) = self.shared.oldest() {
            if following.previous_ms >= before_ms {
                return;
            }
            if let Err(error) = std::fs::remove_file(&oldest.path) {
                tracing::warn!(file = %oldest.path.display(), %error, "an old file of the log can't be deleted");
                return;
            }
            self.shared.remove_oldest();
            self.tail.first_sequence = following.first_sequence;
            self.shared.set_tail(self.tail);
        }
    }
}

/// Whose fault a failed write is.
pub(super) fn fault(error: &io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            SourceError::Full(error.to_string())
        }
        _ => SourceError::Away(format!("the log can't be written: {error}")),
    }
}
