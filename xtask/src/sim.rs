//! The seeded simulation: many seeds, or each planted fault.

use anyhow::{Context, Result};

use crate::build::cargo;

/// As many as the tests run.
pub(crate) const SEEDS: u64 = 1_000;

/// Runs the simulation with its own output; `false` when it found something.
///
/// # Errors
/// Cargo can't be run.
pub(crate) fn run(seeds: u64, mutants: bool) -> Result<bool> {
    Ok(command(seeds, mutants).status().context("run cargo")?.success())
}

/// The command that runs it: optimised where the seeds are so many that building it anew is soon made up for.
pub(crate) fn command(seeds: u64, mutants: bool) -> std::process::Command {
    let mut command = cargo(&["run", "--quiet", "--package", "tidegate-sim"]);
    if seeds > 2 * SEEDS {
        command.arg("--release");
    }
    command.arg("--").args(["--seeds", &seeds.to_string()]);
    if mutants {
        command.arg("--mutants");
    }
    command
}
