//! `cargo xtask soak`: runs a soak, prints how it goes and what it found, fails when a promise broke.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use rand::Rng as _;
use tidegate_tests::soak::{Soak, run};

/// Soaks several hosts: events flow, faults come every few seconds, every client is judged
#[derive(Debug, Parser)]
struct Args {
    /// For how long
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Draws faults and clients; chosen by itself where it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Events a second
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Keep the hosts' logs in this folder
    #[arg(long)]
    logs: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let soak = Soak { time: Duration::from_secs(args.minutes * 60), seed, rate: args.rate, logs: args.logs };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut out = std::io::stdout();
    writeln!(out, "seed {seed}")?;
    let report = runtime.block_on(run(&soak, |line| {
        // Nobody may be listening any more.
        let _ = writeln!(out, "{line}");
    }))?;
    writeln!(out, "{report}")?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
