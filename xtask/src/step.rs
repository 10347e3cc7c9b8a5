//! One step of a job: run quietly, told in a line with its time, its log shown when it fails.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build;

/// As much of a failing step's log as a reader wants to see; the file has the rest.
const SHOWN_LINES: usize = 400;

/// Prints a line for the reader. A reader who has gone is no error.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs `work` as a step named `name` and tells how it went and how long it took.
///
/// # Errors
/// The work's own.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "ok    " } else { "FAILED" };
    say(&format!("{verdict} {:>7.1} s  {name}", begun.elapsed().as_secs_f64()));
    result
}

/// Runs a command as a step: its output goes to a log, which is shown when the command fails.
///
/// # Errors
/// A command that can't be started or fails.
pub(crate) fn command(name: &str, command: &mut Command) -> Result<PathBuf> {
    let log = log_path(name)?;
    step(name, || {
        let file = File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let status = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()
            .with_context(|| format!("run {}", command.get_program().display()))?;
        if !status.success() {
            show(&log)?;
            bail!("{name}: {status}");
        }
        Ok(())
    })?;
    Ok(log)
}

/// Where the log of a step goes.
///
/// # Errors
/// A target folder that can't be written.
pub(crate) fn log_path(name: &str) -> Result<PathBuf> {
    let folder = build::target_folder().join("logs");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let file: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Ok(folder.join(format!("{file}.log")))
}

/// Shows the end of a log.
///
/// # Errors
/// A log that can't be read.
pub(crate) fn show(log: &Path) -> Result<()> {
    let bytes = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    // Tests that passed say nothing to somebody who looks for the one that did not.
    let lines: Vec<&str> = text.lines().filter(|line| !(line.starts_with("test ") && line.ends_with(" ok"))).collect();
    let hidden = lines.len().saturating_sub(SHOWN_LINES);
    if hidden > 0 {
        say(&format!("… {hidden} lines before are in {}", log.display()));
    }
    for line in &lines[hidden..] {
        say(line);
    }
    Ok(())
}
