//! What processes use of the machine, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// Linux tells times in hundredths of a second to every program.
const TICK_SECONDS: f64 = 0.01;

/// Seconds of CPU that processes have used so far, user and system, all their threads together.
///
/// # Errors
/// One has ended, or this is no Linux.
pub(crate) fn cpu_seconds(processes: &[u32]) -> Result<f64> {
    processes.iter().map(|id| ticks(&format!("/proc/{id}/stat")).map(|ticks| ticks as f64 * TICK_SECONDS)).sum()
}

/// Memory that processes hold, in bytes: what several share is divided between them.
///
/// # Errors
/// One has ended, or this is no Linux.
pub(crate) fn memory_bytes(processes: &[u32]) -> Result<u64> {
    processes.iter().map(|id| proportional(*id)).sum()
}

fn proportional(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kibibytes =
        text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("no Pss in {path}"))? * 1024)
}

/// The children of a process.
///
/// # Errors
/// It has ended, or this is no Linux.
pub(crate) fn children(id: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{id}/task/{id}/children");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(text.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

/// Microseconds of CPU that the thread that asks has used; zero where nobody tells.
pub(crate) fn thread_micros() -> u64 {
    // Nanoseconds on the CPU stand first.
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0) / 1_000
}

fn ticks(path: &str) -> Result<u64> {
    let stat = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    // The name, in parentheses, may hold anything; user and system time are the 14th and 15th field.
    let rest = stat.rsplit_once(')').context("a stat without a name")?.1;
    Ok(rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
}
