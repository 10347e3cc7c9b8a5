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
