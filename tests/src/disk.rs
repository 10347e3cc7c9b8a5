//! A disk that can be filled: a small file system of its own where the test may mount one, else a limit on the size of files.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::folder::Folder;
use crate::process::Process;

/// Room for a log, a database, and what a test writes into them.
const SIZE: &str = "size=24m";
/// What fills the file system.
const BALLAST: &str = "ballast";

/// A disk of a test's own; a mounted one is unmounted at the end.
#[derive(Debug)]
pub enum Disk {
    /// A file system in memory. Only root may mount one.
    Mounted(Folder),
    /// A folder of the real disk: a process on it may be told that no file may grow any more.
    Limited(Folder),
}

impl Disk {
    /// A mounted one, or where that isn't allowed the other.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn new() -> Result<Self> {
        let folder = Folder::new("disk")?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(done) if done.status.success() => Ok(Self::Mounted(folder)),
            _ => Ok(Self::Limited(folder)),
        }
    }

    /// One whose files are limited.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn limited() -> Result<Self> {
        Ok(Self::Limited(Folder::new("disk")?))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Mounted(folder) | Self::Limited(folder) => folder.path(),
        }
    }

    /// What a process has to be started through, so that a limit is an error and not its end.
    #[must_use]
    pub fn launcher(&self) -> &'static [&'static str] {
        match self {
            Self::Mounted(_) => &[],
            Self::Limited(_) => &["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"],
        }
    }

    /// Leaves no room for this process's files.
    ///
    /// # Errors
    /// It can't be filled.
    pub fn fill(&self, process: &Process) -> Result<()> {
        match self {
            Self::Mounted(folder) => {
                let mut file = OpenOptions::new().create(true).append(true).open(folder.path().join(BALLAST))?;
                let piece = [0_u8; 4096];
                loop {
                    match file.write_all(&piece) {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                        Err(error) => return Err(error).context("fill the disk"),
                    }
                }
            }
            Self::Limited(_) => limit_files(process, "1024"),
        }
    }

    /// Makes room again.
    ///
    /// # Errors
    /// It can't be emptied.
    pub fn empty(&self, process: &Process) -> Result<()> {
        match self {
            Self::Mounted(folder) => fs::remove_file(folder.path().join(BALLAST)).context("empty the disk"),
            Self::Limited(_) => limit_files(process, "unlimited"),
        }
    }
}

/// The soft limit alone, so that it can be raised again without being root.
fn limit_files(process: &Process, bytes: &str) -> Result<()> {
    let id = process.id().to_string();
    let done =
        Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}:")]).output().context("prlimit")?;
    ensure!(done.status.success(), "prlimit: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self
            && let Err(error) = unmount(folder.path())
        {
            eprintln!("{}: {error:#}", folder.path().display());
        }
    }
}

fn unmount(path: &Path) -> Result<()> {
    // A process that has just been killed may hold it for a moment; lazily, nobody has to wait for that.
    let done = Command::new("umount").arg("--lazy").arg(path).output().context("umount")?;
    if !done.status.success() {
        bail!("umount: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}
