//! Measurements beside others: a release build, real servers, and the programs of `tests/bench`.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::{binary, cargo, root};
use crate::filters;
use crate::setup::{self, Need};
use crate::step::step;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of the rows; all where none is given
    rows: Vec<u32>,
    /// Write figures and charts into tests/bench
    #[arg(long)]
    record: bool,
    /// Fail where a figure is clearly worse than the recorded one
    #[arg(long)]
    check: bool,
    /// Only see that everything works
    #[arg(long)]
    quick: bool,
}

/// Sets up, builds for release, and measures; `false` when something is worse than it was.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let tools = setup::ensure(&Need::BENCH)?;
    step("filters to WebAssembly", filters::build_all)?;
    step("build for release", || {
        // All of the workspace: with fewer packages features differ, and everything is compiled once more.
        let built = cargo(&["build", "--quiet", "--release", "--workspace", "--bins"]).status().context("run cargo")?;
        ensure!(built.success(), "the release build failed");
        Ok(())
    })?;
    let mut bench = Command::new(binary("release", "tidegate-bench"));
    bench.current_dir(root()).env("TIDEGATE_TEST_BIN", binary("release", "tidegate"));
    bench.args(args.rows.iter().map(u32::to_string));
    for (flag, set) in [("--record", args.record), ("--check", args.check), ("--quick", args.quick)] {
        if set {
            bench.arg(flag);
        }
    }
    tools.apply(&mut bench);
    Ok(bench.status().context("run the measurements")?.success())
}
