//! A terminal: one block of commands, run by bash, with everything that it started ended together with it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The commands of one block, running.
#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    /// It was waited for: its number may be anybody's now.
    reaped: bool,
    log: PathBuf,
}

impl Shell {
    /// Runs `text` in a folder; what it prints goes to the file `log`.
    pub(super) fn start(text: &str, folder: &Path, environment: &[(String, String)], log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let child = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", text])
            .current_dir(folder)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // A group of its own, so that servers in the background end with it.
            .process_group(0)
            .spawn()
            .context("run bash")?;
        Ok(Self { child, reaped: false, log })
    }

    /// Its exit status, once it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.child.try_wait().context("look at bash")?;
        self.reaped |= ended.is_some();
        Ok(ended)
    }

    /// What it printed so far.
    pub(super) fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        if let Ok(group) = i32::try_from(self.child.id()) {
            // A group that has ended is as good.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
