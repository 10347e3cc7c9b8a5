//! The load test: a release build, real servers, and the measuring client of `tests/`.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{binary, cargo, root};
use crate::filters;
use crate::setup::{self, Need, Tools};
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

/// Code swaps under load.
#[derive(Debug, clap::Args)]
pub(crate) struct SwapsArgs {
    /// Versions that follow one another
    #[arg(long, default_value_t = 1_000)]
    swaps: u32,
    /// Events a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Kill the host at each so many swaps; 0: never
    #[arg(long, default_value_t = 0)]
    kill_every: u32,
}

/// Swaps code under load; whether each event passed exactly one version, in order.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn swaps(args: &SwapsArgs) -> Result<bool> {
    let tools = setup::ensure(&Need::SERVERS)?;
    step("filters to WebAssembly", filters::build_all)?;
    let mut swaps = released("swaps", &tools)?;
    for (flag, value) in [("--swaps", args.swaps), ("--rate", args.rate), ("--kill-every", args.kill_every)] {
        swaps.args([flag, &value.to_string()]);
    }
    Ok(swaps.status().context("run the swaps")?.success())
}

/// Many companies with a module each.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn companies(count: u32) -> Result<bool> {
    let tools = setup::ensure(&Need::SERVERS)?;
    step("filters to WebAssembly", filters::build_all)?;
    let mut companies = released("companies", &tools)?;
    companies.args(["--companies", &count.to_string()]);
    Ok(companies.status().context("run the companies")?.success())
}

/// A program of `tests/` and the host, built for release.
fn released(program: &str, tools: &Tools) -> Result<Command> {
    step("build for release", || {
        let packages = ["--package", "tidegate", "--package", "tidegate-tests", "--bin", "tidegate", "--bin", program];
        let built = cargo(&["build", "--release"]).args(packages).status().context("run cargo")?;
        if !built.success() {
            bail!("the release build failed");
        }
        Ok(())
    })?;
    let mut command = Command::new(binary("release", program));
    command.current_dir(root()).env("TIDEGATE_TEST_BIN", binary("release", "tidegate"));
    tools.apply(&mut command);
    Ok(command)
}

/// Builds, runs, and says whether every threshold held.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let needs: &[Need] = if args.embedded { &[] } else { &Need::SERVERS };
    let tools = setup::ensure(needs)?;
    let mut load = released("loadtest", &tools)?;
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
