//! The load test: a release build, real servers, and the measuring client of `tests/`.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{binary, cargo, root};
use crate::setup::{self, Need};
use crate::step::step;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Open streams, all of one company
    #[arg(long, default_value_t = 100)]
    connections: u32,
    /// Events a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds of load
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Without NATS and Redis, on the embedded log and store
    #[arg(long)]
    embedded: bool,
    /// Measure what a company with a bad filter costs the others, instead
    #[arg(long)]
    beside: bool,
    /// Write the report into tests/bench/RESULTS.md, too
    #[arg(long)]
    record: bool,
}

/// Builds, runs, and says whether every threshold held.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let needs: &[Need] = if args.embedded { &[] } else { &Need::SERVERS };
    let tools = setup::ensure(needs)?;
    step("build for release", || {
        let packages =
            ["--package", "tidegate", "--package", "tidegate-tests", "--bin", "tidegate", "--bin", "loadtest"];
        let built = cargo(&["build", "--release"]).args(packages).status().context("run cargo")?;
        if !built.success() {
            bail!("the release build failed");
        }
        Ok(())
    })?;
    let mut load = Command::new(binary("release", "loadtest"));
    load.current_dir(root()).env("TIDEGATE_TEST_BIN", binary("release", "tidegate"));
    tools.apply(&mut load);
    for (flag, value) in [("--connections", args.connections), ("--rate", args.rate), ("--seconds", args.seconds)] {
        load.args([flag, &value.to_string()]);
    }
    for (flag, set) in [("--embedded", args.embedded), ("--beside", args.beside), ("--record", args.record)] {
        if set {
            load.arg(flag);
        }
    }
    Ok(load.status().context("run the load test")?.success())
}
