//! A server of this program's own, in a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::folder::Folder;
use tidegate_tests::process::Process;

/// A running server.
#[derive(Debug)]
pub(crate) struct Bare {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) process: Process,
    _folder: Folder,
}

impl Bare {
    /// Starts one by the name of its command.
    ///
    /// # Errors
    /// It doesn't tell its address.
    pub(crate) fn start(name: &str) -> Result<Self> {
        let folder = Folder::new(name)?;
        let log = folder.path().join("log");
        let program = std::env::current_exe().context("this program")?;
        let process = Process::start(Command::new(program).arg(name), &log)?;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let told = fs::read_to_string(&log).unwrap_or_default();
            if told.ends_with('\n') {
                let address = told.trim().parse().with_context(|| format!("{name} tells {told:?}"))?;
                return Ok(Self { address, process, _folder: folder });
            }
            ensure!(Instant::now() < until, "{name} doesn't tell its address: {told}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
