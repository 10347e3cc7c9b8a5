//! Compiled code kept on disk between runs. Compiled code is run as it stands, so only files written by this host are
//! used: the folder is its own, and beside each file lies its seal, a keyed checksum of all that runs of it. A file is never
//! written again once it has its name, so that it can be mapped into memory instead of being read: what no event needs takes
//! no memory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Bytes kept; the oldest files go first. A thousand modules in Rust take about 2.4 GB.
const BYTES_MAX: u64 = 8 << 30;
/// After so many new files the folder is looked through.
const SWEEP: u32 = 32;
/// First bytes of every seal; the number changes with its layout.
const MAGIC: &[u8; 8] = b"tidegat3";
const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const CODE: &str = "compiled";
const SEAL: &str = "seal";

/// A folder of compiled code.
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    stored: AtomicU32,
}

/// Something that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What was noted about it.
    pub(crate) note: Vec<u8>,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

impl Cache {
    /// Opens or makes the folder and its key.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let key = read_key(dir).map_or_else(|| make_key(dir), Ok)?;
        let (folder, file) = (fs::symlink_metadata(dir)?, fs::symlink_metadata(dir.join(KEY_FILE))?);
        if !folder.is_dir() || folder.uid() != file.uid() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder belongs to someone else"));
        }
        if folder.mode() & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self { dir: dir.to_owned(), key, stored: AtomicU32::new(0) })
    }

    /// What was stored under `name`, if it is there and ours. Anything else counts as absent.
    pub(crate) fn load(&self, name: &str) -> Option<Kept> {
        let seal = fs::read(self.path(name, SEAL)).ok()?;
        let (magic, rest) = seal.split_first_chunk::<{ MAGIC.len() }>()?;
        let (sum, rest) = rest.split_first_chunk::<{ blake3::OUT_LEN }>()?;
        let (start, rest) = rest.split_first_chunk()?;
        let (end, note) = rest.split_first_chunk()?;
        let stored = blake3::Hash::from_bytes(*sum);
        let open = u64::from_le_bytes(*start)..u64::from_le_bytes(*end);
        let path = self.path(name, CODE);
        let found = File::open(&path).and_then(|file| self.sum(name, note, file, open)).ok()?;
        // Comparing hashes takes the same time whatever they hold.
        if magic != MAGIC || found != stored {
            tracing::warn!(name, "compiled code in the cache is not ours: it is left alone and compiled anew");
            return None;
        }
        Some(Kept { note: note.to_vec(), path })
    }

    /// Stores `body` and a note about it under `name`, whole or not at all. What stands in the part `open` is as it is: the
    /// seal holds for all the rest.
    pub(crate) fn store(&self, name: &str, note: &[u8], body: &[u8], open: Range<usize>) -> io::Result<()> {
        let open = open.start as u64..open.end as u64;
        let sum = self.sum(name, note, io::Cursor::new(body), open.clone())?;
        let (start, end) = (open.start.to_le_bytes(), open.end.to_le_bytes());
        // Without its seal it is nothing yet, and one that is there is no longer its.
        self.write(&self.path(name, CODE), &[body])?;
        self.write(&self.path(name, SEAL), &[MAGIC, sum.as_bytes(), &start, &end, note])?;
        if self.stored.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1
            && let Err(error) = self.sweep(BYTES_MAX)
        {
            tracing::warn!(dir = %self.dir.display(), error = %error, "the cache of compiled code can't be swept");
        }
        Ok(())
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let temporary = self.dir.join(format!("{:016x}.tmp", rand::random::<u64>()));
        // Not synchronised: what a power failure tears does not fit its seal, and is compiled anew; in the open part it costs
        // the lines of a trap.
        let written =
            private_file(&temporary).and_then(|mut file| parts.iter().try_for_each(|part| file.write_all(part)));
        let stored = written.and_then(|()| fs::rename(&temporary, path));
        if stored.is_err() {
            // What can't be removed either is swept with the oldest.
            drop(fs::remove_file(&temporary));
        }
        stored
    }

    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.dir.join(name).with_extension(ending)
    }

    /// The name is part of what is summed: a file of ours under another name is not what was asked for.
    fn sum(&self, name: &str, note: &[u8], mut body: impl Read + Seek, open: Range<u64>) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(MAGIC).update(&open.start.to_le_bytes()).update(&open.end.to_le_bytes());
        for part in [name.as_bytes(), note] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.update_reader(body.by_ref().take(open.start))?;
        body.seek(SeekFrom::Start(open.end))?;
        hasher.update_reader(body)?;
        Ok(hasher.finalize())
    }

    fn sweep(&self, bytes_max: u64) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name() != KEY_FILE {
                // Others store at the same time: what has just got its name is not there under the other one.
                let Ok(facts) = entry.metadata() else { continue };
                files.push((facts.modified()?, entry.path(), facts.len()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(.., bytes)| bytes).sum();
        for (_, path, size) in files {
            if bytes <= bytes_max {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => bytes -= size,
            }
        }
        Ok(())
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The key, unless it is missing, damaged, or could have been read by others.
fn read_key(dir: &Path) -> Option<[u8; KEY_BYTES]> {
    let path = dir.join(KEY_FILE);
    let metadata = fs::symlink_metadata(&path).ok()?;
    if !metadata.is_file() || metadata.mode() & 0o077 != 0 || metadata.len() != KEY_BYTES as u64 {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    File::open(&path).and_then(|mut file| file.read_exact(&mut key)).ok()?;
    Some(key)
}

fn make_key(dir: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let key: [u8; KEY_BYTES] = rand::random();
    let temporary = dir.join(format!("{:016x}.tmp", rand::random::<u64>()));
    private_file(&temporary).and_then(|mut file| file.write_all(&key))?;
    fs::rename(&temporary, dir.join(KEY_FILE))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Folder;

    fn body(cache: &Cache, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        cache.load(name).map(|kept| (kept.note, fs::read(kept.path).expect("reads")))
    }

    #[test]
    fn what_was_stored_comes_back_under_its_own_name_only() {
        let folder = Folder::new();
        let cache = Cache::open(folder.path()).expect("opens");
        cache.store("a-1", b"note", b"code", 0..0).expect("stores");
        let stored = Some((b"note".to_vec(), b"code".to_vec()));
        assert_eq!(body(&cache, "a-1"), stored);
        assert_eq!(cache.load("b-1"), None);
        for ending in [CODE, SEAL] {
            fs::copy(cache.path("a-1", ending), cache.path("b-1", ending)).expect("copies");
        }
        assert_eq!(cache.load("b-1"), None, "a file of ours under another name");
        assert_eq!(body(&Cache::open(folder.path()).expect("opens again"), "a-1"), stored);
    }

    #[test]
    fn a_file_that_others_touched_is_not_loaded() {
        let folder = Folder::new();
        let cache = Cache::open(folder.path()).expect("opens");
        for (ending, whole) in [(CODE, "code"), (SEAL, "note")] {
            cache.store("a-1", b"note", b"code", 0..0).expect("stores");
            let mut bytes = fs::read(cache.path("a-1", ending)).expect("reads");
            assert!(bytes.ends_with(whole.as_bytes()));
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(cache.path("a-1", ending), &bytes).expect("writes");
            assert_eq!(cache.load("a-1"), None);
            fs::write(cache.path("a-1", ending), b"short").expect("writes");
            assert_eq!(cache.load("a-1"), None);
        }
    }

    #[test]
    fn all_but_the_open_part_is_sealed() {
        let folder = Folder::new();
        let cache = Cache::open(folder.path()).expect("opens");
        for (at, opens) in [(0, false), (1, false), (2, true), (4, true), (5, false), (6, false)] {
            cache.store("a-1", b"note", b"code...", 2..5).expect("stores");
            let path = cache.path("a-1", CODE);
            let mut bytes = fs::read(&path).expect("reads");
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("writes");
            assert_eq!(cache.load("a-1").is_some(), opens, "byte {at}");
        }
        // Nor may another part be open than was stored.
        cache.store("a-1", b"note", b"code...", 2..5).expect("stores");
        let path = cache.path("a-1", SEAL);
        let mut seal = fs::read(&path).expect("reads");
        seal[MAGIC.len() + blake3::OUT_LEN] ^= 1;
        fs::write(&path, &seal).expect("writes");
        assert_eq!(cache.load("a-1"), None);
    }

    #[test]
    fn the_oldest_go_where_there_is_too_much() {
        let folder = Folder::new();
        let cache = Cache::open(folder.path()).expect("opens");
        for name in ["a", "b", "c"] {
            cache.store(name, b"", &[0; 1000], 0..0).expect("stores");
            let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(name.as_bytes()[0]));
            for ending in [CODE, SEAL] {
                File::options()
                    .write(true)
                    .open(cache.path(name, ending))
                    .and_then(|file| file.set_modified(old))
                    .expect("set");
            }
        }
        cache.sweep(2500).expect("sweeps");
        assert_eq!(cache.load("a"), None);
        assert!(cache.load("b").is_some() && cache.load("c").is_some());
    }

    #[test]
    fn a_key_that_others_could_read_is_replaced() {
        let folder = Folder::new();
        let first = Cache::open(folder.path()).expect("opens");
        first.store("a-1", b"note", b"code", 0..0).expect("stores");
        let key = folder.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&key).expect("there").mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("changes");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("changes");
        let second = Cache::open(folder.path()).expect("opens");
        assert_ne!(first.key, second.key);
        assert_eq!(second.load("a-1"), None);
        assert_eq!(fs::metadata(folder.path()).expect("there").mode() & 0o777, 0o700);
    }
}
