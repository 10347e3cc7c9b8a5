//! One file of the log: its name, its head, where in it a sequence is to be looked for.

use super::record::{Decoded, decode};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Magic, first sequence, time of the record before it, checksum.
pub(super) const HEAD_BYTES: u64 = 28;
const MAGIC: &[u8; 8] = b"TGSEG01\n";
/// One place is remembered for so many bytes of file.
const INDEX_STEP_BYTES: u64 = 64 << 10;
/// Bytes read at a time on a long way, and for a few records.
const READ_BYTES: usize = 256 << 10;
const READ_BYTES_FEW: usize = 16 << 10;

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    /// Sequence of its first record, whether that is written yet or not.
    pub(super) first_sequence: u64,
    /// Time of the last record before it, in milliseconds since 1970; 0 where there is none.
    pub(super) previous_ms: u64,
    pub(super) path: PathBuf,
    index: Mutex<Vec<(u64, u64)>>,
}

impl Segment {
    /// Makes a new file, synced, folder included; nothing is left of it where that fails.
    pub(super) fn create(folder: &Path, first_sequence: u64, previous_ms: u64) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{first_sequence:020}.seg"));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let written = file
            .write_all(&head(first_sequence, previous_ms))
            .and_then(|()| file.sync_data())
            .and_then(|()| sync_folder(folder));
        if let Err(error) = written {
            // What is left of it would be found without a head, and taken away then.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok((Self { first_sequence, previous_ms, path, index: Mutex::default() }, file))
    }

    /// Opens the head of a file that is there; `None` where it was never written whole.
    pub(super) fn open(path: PathBuf) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEAD_BYTES as usize];
        if let Err(error) = File::open(&path)?.read_exact_at(&mut bytes, 0) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
        let (first_sequence, previous_ms) = (number(8), number(16));
        if bytes != head(first_sequence, previous_ms) {
            return Ok(None);
        }
        Ok(Some(Self { first_sequence, previous_ms, path, index: Mutex::default() }))
    }

    /// The nearest remembered offset at or before this sequence's record.
    pub(super) fn offset_before(&self, sequence: u64) -> u64 {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let after = index.partition_point(|(known, _)| *known <= sequence);
        after.checked_sub(1).and_then(|at| index.get(at)).map_or(HEAD_BYTES, |(_, offset)| *offset)
    }

    /// Remembers where a record begins, if it is far enough from the last remembered.
    pub(super) fn remember(&self, sequence: u64, offset: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if offset >= index.last().map_or(HEAD_BYTES, |(_, offset)| *offset) + INDEX_STEP_BYTES {
            index.push((sequence, offset));
        }
    }

    /// Forgets what was remembered at or behind this offset: it was never written, or is cut off.
    pub(super) fn forget_from(&self, offset: u64) {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, known)| *known < offset);
    }

    /// Where the file's good part ends.
    pub(super) fn end(&self) -> io::Result<End> {
        let file = File::open(&self.path)?;
        let mut end = End {
            offset: HEAD_BYTES,
            last_sequence: self.first_sequence - 1,
            last_ms: self.previous_ms,
            first_ms: None,
        };
        let (mut next, mut offset) = (self.first_sequence, HEAD_BYTES);
        let mut first_ms = None;
        let mut window = Window::for_records(u64::MAX);
        while let Some(Decoded::Record(record)) = window.decode_at(&file, offset)? {
            if record.event.sequence != next {
                break;
            }
            self.remember(next, offset);
            first_ms.get_or_insert(record.event.time_ms);
            offset += record.length as u64;
            next += 1;
            // Records of a publish that was not written whole do not count.
            if !record.more {
                end = End { offset, last_sequence: record.event.sequence, last_ms: record.event.time_ms, first_ms };
            }
        }
        Ok(end)
    }
}

/// Where the good part of a file ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) offset: u64,
    pub(super) last_sequence: u64,
    pub(super) last_ms: u64,
    /// Time of its first record.
    pub(super) first_ms: Option<u64>,
}

/// A piece of a file in memory.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: u64,
    read_bytes: usize,
}

impl Window {
    /// Reads ahead far for many records, and little for a few: a live reader takes them as they come.
    pub(super) fn for_records(count: u64) -> Self {
        Self { bytes: Vec::new(), start: 0, read_bytes: if count > 16 { READ_BYTES } else { READ_BYTES_FEW } }
    }

    /// What stands at this offset: `None` at the end of the file.
    pub(super) fn decode_at(&mut self, file: &File, offset: u64) -> io::Result<Option<Decoded>> {
        let mut wanted = self.read_bytes;
        loop {
            let held = offset
                .checked_sub(self.start)
                .and_then(|at| usize::try_from(at).ok())
                .and_then(|at| self.bytes.get(at..));
            let short = match held.map(decode) {
                Some(Decoded::Short(needed)) => needed,
                Some(decoded) => return Ok(Some(decoded)),
                None => 1,
            };
            wanted = wanted.max(short);
            let at_end = self.fill(file, offset, wanted)?;
            if self.bytes.is_empty() {
                return Ok(None);
            }
            if at_end && self.bytes.len() < short {
                return Ok(Some(Decoded::Short(short)));
            }
            if at_end
                && let Decoded::Short(needed) = decode(&self.bytes)
                && needed > self.bytes.len()
            {
                return Ok(Some(Decoded::Short(needed)));
            }
        }
    }

    /// Throws away what is held: what was read beyond the synced part may be written anew.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    fn fill(&mut self, file: &File, offset: u64, wanted: usize) -> io::Result<bool> {
        self.bytes.resize(wanted, 0);
        self.start = offset;
        let mut filled = 0;
        while filled < wanted {
            match file.read_at(&mut self.bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(filled);
        Ok(filled < wanted)
    }
}

/// Makes names in a folder last.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn head(first_sequence: u64, previous_ms: u64) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&first_sequence.to_le_bytes());
    head[16..24].copy_from_slice(&previous_ms.to_le_bytes());
    let checksum = crc32fast::hash(&head[..24]);
    head[24..].copy_from_slice(&checksum.to_le_bytes());
    head
}
