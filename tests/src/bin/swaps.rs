//! `cargo xtask swaps`: swaps a filter's code under load, and prints what was seen.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tidegate_tests::backend::Backend;
use tidegate_tests::swaps::{Swaps, run};

/// Swaps a filter's code under load
#[derive(Debug, Parser)]
struct Args {
    /// Versions that follow one another
    #[arg(long, default_value_t = 1_000)]
    swaps: u32,
    /// Events a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Kill the host at each so many swaps; 0: never
    #[arg(long, default_value_t = 0)]
    kill_every: u32,
    /// Without NATS and Redis
    #[arg(long)]
    embedded: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let backend = if args.embedded { Backend::Embedded } else { Backend::JetStream };
    let what = Swaps { swaps: args.swaps, rate: args.rate, kill_every: args.kill_every, codes: u32::MAX };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(run(backend, what))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report.text()?)?;
    for fault in report.faults().iter().take(20) {
        writeln!(out, "WRONG {fault}")?;
    }
    Ok(if report.faults().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
