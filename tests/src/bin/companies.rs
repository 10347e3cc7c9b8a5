//! `cargo xtask companies`: many companies with a module each, and what they cost.
#![forbid(unsafe_code)]

use std::io::Write as _;

use anyhow::Result;
use clap::Parser;
use tidegate_tests::backend::Backend;
use tidegate_tests::companies::run;

/// Starts a host with many companies' modules
#[derive(Debug, Parser)]
struct Args {
    /// Companies, each with a module of its own
    #[arg(long, default_value_t = 1_000)]
    companies: u32,
    /// Without NATS and Redis
    #[arg(long)]
    embedded: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let backend = if args.embedded { Backend::Embedded } else { Backend::JetStream };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(run(backend, args.companies))?;
    writeln!(std::io::stdout(), "{}", report.text())?;
    Ok(())
}
