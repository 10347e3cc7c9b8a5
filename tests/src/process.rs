//! A server process: started with its output in a file, signalled and ended by its process id.

use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

pub use nix::sys::signal::Signal as Kind;

/// A free port of the loopback address. Somebody else may take it before it is used: start again then.
///
/// # Errors
/// No port is free.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; what it prints is added to the file `log`.
    ///
    /// # Errors
    /// The program can't be run or the log not be written.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log).context("open the log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("run {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("a process id")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("send {signal} to {id}"))
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// It can't be waited for.
    pub fn kill(&mut self) -> Result<()> {
        // One that has ended already is as good.
        let _ = self.child.kill();
        self.child.wait().map(drop).context("wait for a killed process")
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    /// It can't be waited for.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("look at a process")
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It runs on.
    pub async fn end(&mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        wait::until("a process ends", || {
            let ended = child.try_wait();
            async move { ended.ok().flatten() }
        })
        .await
    }

    /// What it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The seconds of CPU it has used so far, and the most memory it held, in bytes.
    ///
    /// # Errors
    /// It has ended, or this is no Linux.
    pub fn usage(&self) -> Result<(f64, u64)> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).context("read stat")?;
        // The name, in parentheses, may hold anything; user and system time are the 14th and 15th field.
        let rest = stat.rsplit_once(')').context("a stat without a name")?.1;
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let peak = memory(self.id(), "VmHWM:")?;
        // Linux has told times in hundredths of a second to every program for as long as there is /proc.
        Ok((Duration::from_millis(ticks * 10).as_secs_f64(), peak))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- {} (last lines)", self.log.display());
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// What a process' status says of its memory under a name (`VmRSS:`, `VmHWM:`), in bytes.
///
/// # Errors
/// It has ended, or this is no Linux.
pub fn memory(id: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("read status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .with_context(|| format!("a status without {name}"))?;
    Ok(kibibytes * 1024)
}

/// Empties a log before its process starts anew.
///
/// # Errors
/// It can't be written.
pub fn empty(log: &Path) -> Result<()> {
    File::create(log).map(drop).context("empty a log")
}
