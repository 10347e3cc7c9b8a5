//! `publish`: one event per line, to NATS where that is configured, else through a running host.

mod ingest;
mod lines;
mod nats;

use super::out::{Out, complain};
use super::settings::ConfigArgs;
use super::{Done, UsageError};
use crate::config::{Secret, environment};
use anyhow::Context as _;
use bytes::Bytes;
use lines::Lines;

pub(super) use nats::connect as connect_nats;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Lines that go out together.
const BATCH_LINES: usize = 1_000;
/// Bytes that go out together; one line may be larger.
const BATCH_BYTES: usize = 512 << 10;
/// How long a line waits for others: a person who types sees no delay.
const BATCH_WAIT: Duration = Duration::from_millis(20);
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The subject, such as metrics.calculated
    subject: String,
    /// A file with one event per line [default: standard input]
    file: Option<PathBuf>,
    /// The running host; given here it is used even where NATS is configured [env: TIDEGATE_URL]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The host's ingest.token [env: TIDEGATE_INGEST_TOKEN, else ingest.token of the file, else TIDEGATE_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Tell the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What has been taken so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Taken {
    events: u64,
    first: Option<u64>,
    last: Option<u64>,
}

impl Taken {
    fn add(&mut self, events: u64, first: Option<u64>, last: Option<u64>) {
        self.events += events;
        self.first = self.first.into_iter().chain(first).min();
        self.last = self.last.into_iter().chain(last).max();
    }
}

/// Where events go.
enum Way {
    Ingest(ingest::Ingest),
    Nats(Box<nats::Nats>),
}

impl Way {
    async fn send(&mut self, lines: Vec<Bytes>, taken: &mut Taken) -> anyhow::Result<()> {
        match self {
            Self::Ingest(way) => way.send(lines, taken).await,
            Self::Nats(way) => way.send(lines, taken).await,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ingest(_) => "the host",
            Self::Nats(way) => way.name(),
        }
    }
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    check_subject(&args.subject)?;
    let environment = environment();
    let variable = |name: &str| {
        environment.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.clone())
    };
    let config = args.config.load()?;
    let mut lines = Lines::open(args.file.as_deref(), config.limits.event_bytes).await?;
    let mut way = match (&args.url, &config.nats.url) {
        (None, Some(url)) => Way::Nats(Box::new(nats::Nats::connect(url, &config, &args.subject).await?)),
        (url, _) => {
            let url = url.clone().or_else(|| variable("TIDEGATE_URL")).unwrap_or_else(|| config.local_url());
            let token = ingest_token(args.token.clone(), config.ingest.token.as_ref(), variable("TIDEGATE_TOKEN"));
            Way::Ingest(ingest::Ingest::new(&url, &args.subject, token)?)
        }
    };
    let mut taken = Taken::default();
    let sent = publish(&mut lines, &mut way, &mut taken).await;
    let Taken { events, first, last } = taken;
    if args.json {
        out.json(&json!({"subject": args.subject, "accepted": events, "first": first, "last": last}))?;
    } else {
        let place = match (first, last) {
            (Some(first), Some(last)) => format!(" (sequence {first} to {last})"),
            _ => String::new(),
        };
        out.line(&format!("published {events} events to {} by {}{place}", args.subject, way.name()))?;
    }
    sent.with_context(|| format!("stopped after {events} events"))?;
    Ok(Done::Well)
}

/// `ingest.token` is the credential of `/ingest`; `TIDEGATE_TOKEN` is first of all a stream's, which `/ingest` refuses and
/// which is nobody else's to see.
fn ingest_token(flag: Option<String>, configured: Option<&Secret>, general: Option<String>) -> Option<String> {
    flag.or_else(|| configured.map(|token| token.expose().to_owned())).or(general)
}

async fn publish(lines: &mut Lines, way: &mut Way, taken: &mut Taken) -> anyhow::Result<()> {
    let mut told = Instant::now();
    while let Some(batch) = lines.batch(BATCH_LINES, BATCH_BYTES, BATCH_WAIT).await? {
        way.send(batch, taken).await?;
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            complain(&format!("{} events published", taken.events));
        }
    }
    Ok(())
}

fn check_subject(subject: &str) -> Result<(), UsageError> {
    let wrong = |problem: &str| {
        Err(UsageError(format!(
            "SUBJECT {subject:?}: {problem}; accepted: tokens separated by dots, such as metrics.calculated"
        )))
    };
    if subject.is_empty() || subject.split('.').any(str::is_empty) {
        return wrong("it has an empty token");
    }
    if subject.contains(['*', '>']) {
        return wrong("an event is published on one subject, not on a pattern");
    }
    if !subject.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("it holds something else than printable ASCII");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_to_one_subject() {
        assert!(check_subject("metrics.calculated").is_ok());
        for wrong in ["", "a.", "a..b", "a.*", ">", "a b", "ä"] {
            assert!(check_subject(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_token_of_ingest_beats_the_one_of_streams() {
        let text = |text: &str| Some(text.to_owned());
        let configured = Secret::new("configured");
        assert_eq!(ingest_token(text("flag"), Some(&configured), text("stream")), text("flag"));
        assert_eq!(ingest_token(None, Some(&configured), text("stream")), text("configured"));
        assert_eq!(ingest_token(None, None, text("stream")), text("stream"));
        assert_eq!(ingest_token(None, None, None), None);
    }

    #[test]
    fn what_was_taken_spans_all_batches() {
        let mut taken = Taken::default();
        taken.add(2, Some(5), Some(6));
        taken.add(1, None, None);
        taken.add(3, Some(7), Some(9));
        assert_eq!(taken, Taken { events: 6, first: Some(5), last: Some(9) });
    }
}
