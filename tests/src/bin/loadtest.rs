//! `cargo xtask loadtest`: runs the load, prints the report, fails when a threshold is missed.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tidegate_tests::backend::Backend;
use tidegate_tests::load::{Load, beside, run};
use tokio::runtime::Runtime;

/// Measures a host under the specification's load
#[derive(Debug, Parser)]
struct Args {
    /// Open streams, all of one company
    #[arg(long, default_value_t = 100)]
    connections: u32,
    /// Events a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds of load
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Without NATS and Redis
    #[arg(long)]
    embedded: bool,
    /// Measure what a company with a bad filter costs the others, instead
    #[arg(long)]
    beside: bool,
    /// Write the report into tests/bench/RESULTS.md, too
    #[arg(long)]
    record: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let load = Load { connections: args.connections, rate: args.rate, seconds: args.seconds };
    let backend = if args.embedded { Backend::Embedded } else { Backend::JetStream };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if args.beside {
        return measure_beside(&runtime, backend, load, args.record);
    }
    let report = runtime.block_on(run(backend, load))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report.text())?;
    if args.record {
        report.record()?;
    }
    let missed = report.missed();
    for threshold in &missed {
        writeln!(out, "MISSED {threshold}")?;
    }
    if missed.is_empty() {
        writeln!(out, "every threshold of the specification holds")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn measure_beside(runtime: &Runtime, backend: Backend, load: Load, record: bool) -> Result<ExitCode> {
    let report = runtime.block_on(beside::run(backend, load))?;
    writeln!(std::io::stdout(), "{}", report.text())?;
    if record {
        report.record()?;
    }
    Ok(if report.wrong() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
