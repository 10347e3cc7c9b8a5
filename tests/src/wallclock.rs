//! A wall clock for a program under test that can be moved: libfaketime stands between it and the machine's own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::folder::Folder;
use crate::host::Host;
use crate::tools;

/// The clock of the programs that were started with it. Their waiting goes by the machine's own, as in a real jump.
#[derive(Debug)]
pub struct WallClock {
    folder: Folder,
    library: String,
}

impl WallClock {
    /// A clock that agrees with the machine's.
    ///
    /// # Errors
    /// libfaketime isn't installed.
    pub fn new() -> Result<Self> {
        let clock = Self { folder: Folder::new("clock")?, library: library()? };
        clock.set(0)?;
        Ok(clock)
    }

    /// A host that goes by it from its next start on.
    pub fn give_to(&self, host: &mut Host) {
        for (name, value) in self.environment() {
            host.env(name, &value);
        }
    }

    /// What a program has to be started with.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// Jumps to so many seconds beside the machine's clock.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // In one step: a program that reads it meanwhile must not find half of it.
        let new = self.folder.path().join("new");
        fs::write(&new, format!("{seconds:+}"))?;
        fs::rename(new, self.file()).context("set the clock")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

/// The library's path, as its own launcher knows it.
fn library() -> Result<String> {
    let told = Command::new(tools::faketime()?)
        .args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .context("run faketime")?;
    let path = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    ensure!(told.status.success() && !path.is_empty(), "faketime names no library: {told:?}");
    Ok(path)
}
