//! The soak: hosts under random faults for a long time.

use std::path::PathBuf;

use anyhow::Result;

use crate::harness;
use crate::setup::Need;

/// What is passed on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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

/// Soaks; `false` when a promise broke.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut words = vec![format!("--minutes={}", args.minutes), format!("--rate={}", args.rate)];
    words.extend(args.seed.map(|seed| format!("--seed={seed}")));
    words.extend(args.logs.iter().map(|logs| format!("--logs={}", logs.display())));
    harness::run("soak", &Need::SERVERS, words)
}
