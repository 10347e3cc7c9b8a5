//! What everything from JetStream is compared with: a bare ordered pull consumer that counts.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, consumer};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

/// A message that isn't there by then never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of nats-server
    url: String,
    /// Name of the stream
    stream: String,
    /// Sequence of the first message
    first: u64,
    /// How many messages
    count: u64,
}

/// What was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pulled {
    /// Messages a second, after the first tenth.
    pub(crate) per_second: f64,
    /// Microseconds of CPU for each.
    pub(crate) cpu_us: f64,
}

/// Reads them, and tells as JSON how it went.
///
/// # Errors
/// One is missing or out of order.
pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let pulled = runtime.block_on(pull(args))?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&pulled)?)?;
    Ok(())
}

async fn pull(args: &Args) -> Result<Pulled> {
    let jetstream = jetstream::new(async_nats::connect(&args.url).await?);
    let stream = jetstream.get_stream(&args.stream).await?;
    let config = consumer::pull::OrderedConfig {
        deliver_policy: consumer::DeliverPolicy::ByStartSequence { start_sequence: args.first },
        ..consumer::pull::OrderedConfig::default()
    };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    let warm = args.count / 10;
    let own = [std::process::id()];
    let (mut begun, mut cpu) = (Instant::now(), crate::usage::cpu_seconds(&own)?);
    for n in 0..args.count {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.context("a message is missing")?;
        let message = message.context("the stream ended")??;
        let sequence = message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence;
        ensure!(sequence == args.first + n, "message {sequence} where {} was due", args.first + n);
        if n == warm {
            (begun, cpu) = (Instant::now(), crate::usage::cpu_seconds(&own)?);
        }
    }
    let count = (args.count - warm) as f64;
    let spent = crate::usage::cpu_seconds(&own)? - cpu;
    Ok(Pulled { per_second: count / begun.elapsed().as_secs_f64(), cpu_us: spent * 1e6 / count })
}
