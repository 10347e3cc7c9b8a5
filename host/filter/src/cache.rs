//! Compiled code kept on disk between runs. Compiled code is run as it stands, so only files written by this host are
//! read: the folder is its own, and each file carries a keyed checksum.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Files kept; the oldest go first.
const FILES_MAX: usize = 256;
/// First bytes of every file; the number changes with its layout.
const MAGIC: &[u8; 8] = b"tidegat1";
const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const SUFFIX: &str = "compiled";

/// A folder of compiled code.
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
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
        Ok(Self { dir: dir.to_owned(), key })
    }

    /// What was stored under `name`, if it is there and ours. Anything else counts as absent.
    pub(crate) fn load(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path(name)).ok()?;
        let (magic, rest) = bytes.split_at_checked(MAGIC.len())?;
        let (sum, body) = rest.split_at_checked(blake3::OUT_LEN)?;
        let stored = blake3::Hash::from_bytes(sum.try_into().ok()?);
        // Comparing hashes takes the same time whatever they hold.
        if magic != MAGIC || self.sum(name, body) != stored {
            tracing::warn!(name, "compiled code in the cache is not ours: it is left alone and compiled anew");
            return None;
        }
        Some(body.to_vec())
    }

    /// Stores `body` under `name`, whole or not at all.
    pub(crate) fn store(&self, name: &str, body: &[u8]) -> io::Result<()> {
        let temporary = self.dir.join(format!("{:016x}.tmp", rand::random::<u64>()));
        let written = private_file(&temporary).and_then(|mut file| {
            file.write_all(MAGIC)?;
            file.write_all(self.sum(name, body).as_bytes())?;
            file.write_all(body)?;
            file.sync_data()
        });
        let stored = written.and_then(|()| fs::rename(&temporary, self.path(name)));
        if stored.is_err() {
            // What can't be removed either is swept with the oldest.
            drop(fs::remove_file(&temporary));
        }
        stored?;
        self.sweep()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension(SUFFIX)
    }

    /// The name is part of what is summed: a file of ours under another name is not what was asked for.
    fn sum(&self, name: &str, body: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(MAGIC).update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(body);
        hasher.finalize()
    }

    fn sweep(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name() != KEY_FILE {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        for (_, path) in files.iter().take(files.len().saturating_sub(FILES_MAX)) {
            fs::remove_file(path)?;
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

    #[test]
    fn what_was_stored_comes_back_under_its_own_name_only() {
        let folder = Folder::new();
        let cache = Cache::open(folder.path()).expect("opens");
        cache.store("a-1", b"code").expect("stores");
        assert_eq!(cache.load("a-1").as_deref(), Some(&b"code"[..]));
        assert_eq!(cache.load("b-1"), None);
        fs::copy(cache.path("a-1"), cache.path("b-1")).expect("copies");
        assert_eq!(cache.load("b-1"), None, "a file of ours under another name");
        assert_eq!(Cache::open(folder.path()).expect("opens again").load("a-1").as_deref(), Some(&b"code"[..]));
    }

    #[test]
    fn a_file_that_others_touched_is_not_loaded() {
        let folder = Folder::new();
        let cache = Cache::open(folder.path()).expect("opens");
        cache.store("a-1", b"code").expect("stores");
        let mut bytes = fs::read(cache.path("a-1")).expect("reads");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(cache.path("a-1"), &bytes).expect("writes");
        assert_eq!(cache.load("a-1"), None);
        fs::write(cache.path("a-1"), b"short").expect("writes");
        assert_eq!(cache.load("a-1"), None);
    }

    #[test]
    fn a_key_that_others_could_read_is_replaced() {
        let folder = Folder::new();
        let first = Cache::open(folder.path()).expect("opens");
        first.store("a-1", b"code").expect("stores");
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
