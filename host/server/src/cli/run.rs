//! `run`: the host.

use super::Done;
use super::out::Out;
use super::settings::ConfigArgs;
use crate::config::Config;
use crate::server::{self, RunOptions};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the addresses are written as JSON once the host is ready
    #[arg(long, value_name = "FILE", env = "TIDEGATE_READY_FILE")]
    ready_file: Option<PathBuf>,
    /// Print every key with its value and origin, and end
    #[arg(long)]
    print_config: bool,
    /// With --print-config: as JSON
    #[arg(long, requires = "print_config")]
    json: bool,
}

pub(super) fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let config = args.config.load()?;
    if args.print_config {
        print(&config, args.json, out)?;
        return Ok(Done::Well);
    }
    // A file of an earlier run would be taken for this one's.
    if let Some(file) = &args.ready_file {
        std::fs::remove_file(file).ok();
    }
    let options = RunOptions { ready_file: args.ready_file, ..RunOptions::default() };
    hosting(server::run(config, options))?;
    Ok(Done::Well)
}

/// Runs a host on workers of its own.
pub(super) fn hosting<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("io").build()?;
    let ended = runtime.block_on(work);
    // Nobody waits for a compile at work: of a module that would not run any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

fn print(config: &Config, as_json: bool, out: &mut Out) -> anyhow::Result<()> {
    let settings = config.settings();
    if as_json {
        let list: Vec<_> = settings
            .iter()
            .map(|setting| json!({"key": setting.key, "value": setting.value, "origin": setting.origin.to_string()}))
            .collect();
        out.json(&json!({"settings": list, "warnings": config.warnings}))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|setting| {
            vec![
                setting.key.clone(),
                setting.value.clone().unwrap_or_else(|| "(unset)".to_owned()),
                setting.origin.to_string(),
            ]
        })
        .collect();
    out.table(&["KEY", "VALUE", "ORIGIN"], &rows)?;
    for warning in &config.warnings {
        super::out::complain(&format!("warning: {warning}"));
    }
    Ok(())
}
