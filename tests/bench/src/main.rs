//! `cargo xtask bench`: measures the host beside what it is compared with, and beside itself.
#![forbid(unsafe_code)]

mod chart;
mod clock;
mod contestant;
mod crowd;
mod feed;
mod figure;
mod lane;
mod limit;
mod machine;
mod payload;
mod plan;
mod prepared;
mod pull;
mod results;
mod rows;
mod stand;
mod usage;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use plan::Plan;
use results::Results;
use rows::{ROWS, Row};

/// Open files that the largest row needs of one process.
const FILES: u64 = 12_000;

/// Measures Tidegate beside others
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
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

/// Parts of measurements that run as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// The bare hyper server
    #[command(hide = true)]
    Limit,
    /// The server of prepared bytes
    #[command(hide = true)]
    Prepared,
    /// The bare consumer
    #[command(hide = true)]
    Pull(pull::Args),
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match &args.part {
        Some(Part::Limit) => limit::serve().map(|()| ExitCode::SUCCESS),
        Some(Part::Prepared) => prepared::serve().map(|()| ExitCode::SUCCESS),
        Some(Part::Pull(args)) => pull::run(args).map(|()| ExitCode::SUCCESS),
        None => measure(&args),
    }
}

/// Prints a line. A reader who has gone is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// As many open files as the system allows, for this process and those that it starts: each connection is one at both ends.
fn allow_files() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("ask for the limit of open files")?;
    ensure!(hard >= FILES, "the system allows {hard} open files, {FILES} are needed: raise `ulimit -Hn`");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(FILES), hard).context("allow more open files")
}

fn measure(args: &Args) -> Result<ExitCode> {
    let known = |number: &u32| ROWS.iter().any(|row| row.number == *number);
    if let Some(unknown) = args.rows.iter().find(|number| !known(number)) {
        let all: Vec<String> = ROWS.iter().map(|row| row.number.to_string()).collect();
        anyhow::bail!("there is no row {unknown}; there are {}", all.join(", "));
    }
    ensure!(!(args.record && args.quick), "what is measured quickly isn't recorded");
    allow_files()?;
    let wanted = |row: &&Row| args.rows.is_empty() || args.rows.contains(&row.number);
    let (plan, recorded) = (Plan { quick: args.quick }, Results::read()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut worse = Vec::new();
    for row in ROWS.iter().filter(wanted) {
        say(&format!("row {}: {}", row.number, row.title));
        let figures = row.measure(&runtime, plan).with_context(|| format!("row {}", row.number))?;
        say(&results::table(&figures));
        if args.check {
            worse.extend(recorded.worse(row.number, &figures));
        }
        if args.record {
            Results::record(*row, figures)?;
        }
    }
    worse.iter().for_each(|what| say(&format!("WORSE {what}")));
    Ok(if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
