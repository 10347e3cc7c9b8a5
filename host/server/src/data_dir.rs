//! The host's own folder: one process at a time, and the identity that stays with it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";

/// A locked `data.dir`. The lock ends with this value, or with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: String,
    lock: File,
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing alone does not do: a process that is just being started still has a copy of the handle.
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(%error, "the data folder stays locked until the process ends");
        }
    }
}

/// Why a folder can't be used.
#[derive(Debug)]
pub enum DataDirError {
    /// Another process holds it.
    InUse {
        /// The folder.
        path: PathBuf,
        /// That process, where it said so.
        pid: Option<u32>,
    },
    /// It can't be made, read or written.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, pid } => {
                let path = path.display();
                match pid {
                    Some(pid) => write!(f, "another process (pid {pid}) uses {path}")?,
                    None => write!(f, "another process uses {path}")?,
                }
                write!(f, ": stop it, or give this one a data.dir of its own")
            }
            Self::Io { path, source } => write!(f, "data.dir: {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for DataDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

impl DataDir {
    /// Makes the folder where it is missing, readable by its owner alone, and locks it.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] when another process holds it.
    pub fn lock(path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed(path))?;
        let file = path.join(LOCK);
        let mut lock = private().create(true).truncate(false).read(true).open(&file).map_err(failed(&file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be about to write it.
                let _ = lock.read_to_string(&mut text);
                return Err(DataDirError::InUse { path: path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(&file)(source)),
        }
        let said = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
        // Only the other process's message needs it: a full disk is no reason not to start.
        if let Err(error) = said {
            tracing::debug!(%error, "the lock file can't hold the pid");
        }
        let identity = identity(path).map_err(failed(&path.join(IDENTITY)))?;
        Ok(Self { path: path.to_owned(), identity, lock })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The host's identity, 32 hexadecimal digits: the same after each restart with this folder.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Reads the identity, or draws one. Anything that is no identity (torn by a crash) is replaced.
fn identity(folder: &Path) -> io::Result<String> {
    let path = folder.join(IDENTITY);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() == 32 && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            return Ok(text.trim().to_owned());
        }
        Ok(_) => tracing::warn!(path = %path.display(), "not an identity: a new one is drawn"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
        Err(error) => return Err(error),
    }
    let identity = format!("{:032x}", rand::random::<u128>());
    let new = folder.join("identity.new");
    let mut file = private().create(true).truncate(true).open(&new)?;
    file.write_all(format!("{identity}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tidegate-data-{name}-{}", std::process::id()))
    }

    #[test]
    fn one_process_at_a_time_and_the_second_is_told_who() {
        let path = folder("lock");
        let first = DataDir::lock(&path).unwrap();
        let error = DataDir::lock(&path).unwrap_err().to_string();
        let expected = format!("another process (pid {}) uses {}", std::process::id(), path.display());
        assert!(error.starts_with(&expected), "{error}");
        drop(first);
        DataDir::lock(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn the_identity_stays_and_is_nobody_elses_to_read() {
        let path = folder("identity");
        let first = DataDir::lock(&path).unwrap().identity().to_owned();
        assert_eq!(DataDir::lock(&path).unwrap().identity(), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(IDENTITY))), (0o700, 0o600));
        fs::write(path.join(IDENTITY), "torn").unwrap();
        assert_ne!(DataDir::lock(&path).unwrap().identity(), first);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_folder_that_can_not_be_made_is_named() {
        let path = folder("file");
        fs::write(&path, "").unwrap();
        let error = DataDir::lock(&path.join("below")).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        fs::remove_file(&path).unwrap();
    }
}
