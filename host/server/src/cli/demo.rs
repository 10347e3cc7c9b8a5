//! `demo`: the host on embedded defaults, with everything to look at.

use super::Done;
use super::out::Out;
use super::settings::ConfigArgs;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the addresses are written as JSON once the host is ready
    #[arg(long, value_name = "FILE", env = "TIDEGATE_READY_FILE")]
    ready_file: Option<PathBuf>,
}

pub(super) fn run(args: Args, _out: &mut Out) -> anyhow::Result<Done> {
    let _config = args.config.load()?;
    anyhow::bail!("{:?}", args.ready_file)
}
