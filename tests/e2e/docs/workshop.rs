//! The folder of a group: at the same place in every run, so that what cargo built there before is still good.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tidegate_tests::tools;

/// The folder, removed with its owner; another run of the same group waits.
#[derive(Debug)]
pub(super) struct Workshop {
    path: PathBuf,
    built: PathBuf,
    _lock: File,
}

impl Workshop {
    /// Makes it, empty.
    pub(super) fn new(group: &str) -> Result<Self> {
        let built = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| tools::root().join("target"), |folder| tools::root().join(folder));
        let built = built.join("docs").join(group);
        fs::create_dir_all(&built)?;
        let lock = File::create(built.join("workshop.lock"))?;
        lock.lock().context("lock the workshop")?;
        let mut hash = DefaultHasher::new();
        tools::root().hash(&mut hash);
        // Outside the repository: a crate below it would be taken for a member of its workspace.
        let path = std::env::temp_dir().join(format!("tidegate-docs-{group}-{:016x}", hash.finish()));
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        fs::create_dir_all(&path)?;
        Ok(Self { path, built, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets a crate be built with the workspace's versions and what was built in earlier runs.
    pub(super) fn quicken(&self, manifest: &Path) -> Result<()> {
        let folder = manifest.parent().context("a folder")?;
        fs::copy(tools::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        symlink(&self.built, folder.join("target")).context("link the target folder")
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}
