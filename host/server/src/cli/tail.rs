//! `tail`: a company's stream in the terminal, reconnecting like a browser.

use super::admin::{base, http_client, message, read_body};
use super::out::{Out, complain, plain};
use super::{Done, SseEvent, SseParser, UsageError};
use crate::config::Secret;
use anyhow::bail;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long a browser waits before it reconnects, unless the stream says otherwise.
const RETRY_MS: u64 = 3_000;
/// The longest wait, however often it failed.
const RETRY_MS_MAX: u64 = 30_000;
/// A stream that is silent for this long is dead: heartbeats come at least every 30 s.
const SILENCE: Duration = Duration::from_secs(75);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The company whose events are shown
    #[arg(long, value_name = "COMPANY")]
    company: String,
    /// Begin after this: an id, `earliest`, a time (RFC 3339 or milliseconds since 1970) [default: now]
    #[arg(long, value_name = "CURSOR")]
    from: Option<String>,
    /// The running host
    #[arg(long, value_name = "URL", env = "TIDEGATE_URL", default_value = "http://127.0.0.1:3007")]
    url: String,
    /// A token for the company, where the host asks for one
    #[arg(long, value_name = "TOKEN", env = "TIDEGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// End after this many events of the company
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End when the stream has caught up with the present
    #[arg(long)]
    until_caught_up: bool,
    /// End with the stream instead of reconnecting
    #[arg(long)]
    once: bool,
    /// Show heartbeats, too
    #[arg(long)]
    heartbeats: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let query = match &args.from {
        None => Vec::new(),
        Some(from) => vec![(cursor_name(from), from.as_str())],
    };
    let url = format!("{}/stream/updates", base(&args.url)?);
    let mut query = query;
    query.push(("companyId", &args.company));
    let url = reqwest::Url::parse_with_params(&url, &query).map_err(|error| UsageError(format!("{url}: {error}")))?;
    let client = http_client()?;
    let token = args.token.clone().map(Secret::new);
    let mut printer = Printer { args: &args, out, shown: 0 };
    let mut parser = SseParser::default();
    let mut failures = 0;
    loop {
        let mut request =
            client.get(url.clone()).header("accept", "text/event-stream").header("cache-control", "no-cache");
        if !parser.last_id().is_empty() {
            request = request.header("last-event-id", parser.last_id());
        }
        if let Some(token) = &token {
            request = request.bearer_auth(token.expose());
        }
        match tokio::time::timeout(SILENCE, request.send()).await {
            Ok(Ok(answer)) => match answer.status() {
                StatusCode::OK => {
                    failures = 0;
                    if read(answer, &mut parser, &mut printer).await? == Next::Stop {
                        return Ok(Done::Well);
                    }
                }
                StatusCode::NO_CONTENT => return Ok(Done::Well),
                status => {
                    let body = read_body(answer, 1 << 16).await.unwrap_or_default();
                    let (url, said) = (&args.url, message(&body));
                    if status == StatusCode::UNAUTHORIZED && token.is_none() {
                        bail!("{url} asks for a token: {said}; give one for {} with --token", args.company);
                    }
                    bail!("{url} answered {status}: {said}");
                }
            },
            Ok(Err(error)) if error.is_connect() && args.once => {
                bail!("no host answers at {} (is `tidegate run` running?): {}", args.url, error.without_url());
            }
            Ok(Err(error)) => {
                failures += 1;
                complain(&format!("no connection: {}", error.without_url()));
            }
            Err(_elapsed) => {
                failures += 1;
                complain("no answer");
            }
        }
        if args.once {
            return Ok(Done::Well);
        }
        let wait_ms = wait_ms(parser.retry_ms(), failures, rand::random::<f64>());
        complain(&format!("reconnecting in {:.1} s", wait_ms as f64 / 1_000.0));
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        // A half-received event is lost with its connection; the place stays.
        parser = parser.reconnect();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Stop,
    Reconnect,
}

async fn read(
    mut answer: reqwest::Response,
    parser: &mut SseParser,
    printer: &mut Printer<'_>,
) -> anyhow::Result<Next> {
    loop {
        let chunk = match tokio::time::timeout(SILENCE, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return Ok(Next::Reconnect),
            Ok(Err(error)) => {
                complain(&format!("connection lost: {}", error.without_url()));
                return Ok(Next::Reconnect);
            }
            Err(_elapsed) => {
                complain("connection silent for too long");
                return Ok(Next::Reconnect);
            }
        };
        for event in parser.push(&chunk)? {
            if printer.show(&event)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
    }
}

struct Printer<'a> {
    args: &'a Args,
    out: &'a mut Out,
    shown: u64,
}

impl Printer<'_> {
    fn show(&mut self, event: &SseEvent) -> anyhow::Result<Next> {
        let control = matches!(event.event.as_str(), "ready" | "caught-up" | "gap" | "bye" | "heartbeat");
        if event.event != "heartbeat" || self.args.heartbeats {
            if self.args.json {
                let data: Value =
                    serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()));
                self.out.json(&json!({"id": event.id, "event": event.event, "data": data}))?;
            } else if control {
                complain(&format!("# {} {}", event.event, plain(&event.data)));
            } else {
                let (id, name, data) = (plain(&event.id), plain(&event.event), plain(&event.data));
                self.out.line(&format!("{id}  {name}  {data}"))?;
            }
        }
        if !control {
            self.shown += 1;
        }
        let enough = self.args.count.is_some_and(|count| self.shown >= count);
        let caught_up = self.args.until_caught_up && event.event == "caught-up";
        Ok(if enough || caught_up { Next::Stop } else { Next::Reconnect })
    }
}

/// A time goes in its own parameter.
fn cursor_name(from: &str) -> &'static str {
    let time = OffsetDateTime::parse(from, &Rfc3339).is_ok()
        || (!from.is_empty() && from.bytes().all(|byte| byte.is_ascii_digit()));
    if time { "since" } else { "lastEventId" }
}

/// What the stream asked for, doubled with each failure, and spread so that not all come back at once.
fn wait_ms(retry_ms: Option<u64>, failures: u32, random: f64) -> u64 {
    let base_ms = retry_ms.unwrap_or(RETRY_MS).min(RETRY_MS_MAX);
    let doubled_ms = base_ms.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_MS_MAX);
    (doubled_ms as f64 * (0.8 + 0.4 * random)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_from_an_id() {
        assert_eq!(cursor_name("2026-01-02T03:04:05Z"), "since");
        assert_eq!(cursor_name("1699999999999"), "since");
        assert_eq!(cursor_name("metrics.calculated-12345-1699999999999"), "lastEventId");
        assert_eq!(cursor_name("earliest"), "lastEventId");
        assert_eq!(cursor_name("at-5-1699999999999"), "lastEventId");
    }

    #[test]
    fn waits_grow_with_failures_up_to_a_bound_and_are_spread() {
        assert_eq!(wait_ms(None, 0, 0.5), 3_000);
        assert_eq!(wait_ms(Some(1_000), 1, 0.0), 800);
        assert_eq!(wait_ms(Some(1_000), 3, 0.5), 4_000);
        assert_eq!(wait_ms(Some(1_000), 99, 0.5), 30_000);
    }
}
