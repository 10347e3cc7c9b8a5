//! Publishes to NATS: acknowledged where a stream holds the subject, else as core NATS does.

use super::Taken;
use crate::cli::out::complain;
use crate::config::{Config, Secret, redact_url};
use crate::source::nats::logged_in;
use anyhow::{Context as _, bail};
use async_nats::jetstream::context::{PublishAckFuture, RequestErrorKind};
use async_nats::jetstream::{self, context};
use async_nats::{Client, ConnectOptions, ServerAddr};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// Events that wait for their acknowledgement at a time.
const IN_FLIGHT: usize = 256;
/// JetStream is off in the server, or for the account.
const NOT_ENABLED: [u64; 2] = [10076, 10039];

pub(super) struct Nats {
    client: Client,
    subject: String,
    /// There where a stream holds the subject.
    stream: Option<jetstream::Context>,
}

/// Connects as the host would, but gives up where the host would keep trying.
pub(in crate::cli) async fn connect(url: &Secret, config: &Config) -> anyhow::Result<Client> {
    let servers = url.expose().split(',').map(|server| server.trim().parse());
    let servers: Vec<ServerAddr> = servers.collect::<Result<_, _>>().context("nats.url is no address")?;
    let options = ConnectOptions::new().name("tidegate-cli").connection_timeout(Duration::from_secs(5));
    let mut options = logged_in(options, &servers).map_err(anyhow::Error::msg)?;
    if let Some(creds) = &config.nats.creds {
        options = options.credentials_file(creds).await.with_context(|| format!("nats.creds: {}", creds.display()))?;
    }
    let at = redact_url(url.expose());
    tokio::time::timeout(Duration::from_secs(10), options.connect(servers))
        .await
        .with_context(|| format!("no answer from {at}"))?
        .with_context(|| format!("no connection to {at}"))
}

impl Nats {
    pub(super) async fn connect(url: &Secret, config: &Config, subject: &str) -> anyhow::Result<Self> {
        let client = connect(url, config).await?;
        let context = jetstream::new(client.clone());
        let held = ask_for_stream(&context, &client, subject)
            .await
            .with_context(|| format!("whether a stream holds {subject} is unknown, so nothing was published"))?;
        if !held {
            complain(&format!("no stream holds {subject}: publishing without acknowledgement"));
        }
        Ok(Self { client, subject: subject.to_owned(), stream: held.then_some(context) })
    }

    pub(super) fn name(&self) -> &'static str {
        if self.stream.is_some() { "JetStream" } else { "core NATS" }
    }

    pub(super) async fn send(&mut self, lines: Vec<Bytes>, taken: &mut Taken) -> anyhow::Result<()> {
        let bytes_max = self.client.server_info().max_payload;
        if let Some(line) = lines.iter().find(|line| line.len() > bytes_max) {
            bail!("an event has {} bytes; the server takes {bytes_max}", line.len());
        }
        match &self.stream {
            Some(context) => acknowledged(context, &self.subject, lines, taken).await,
            None => {
                let count = lines.len() as u64;
                for line in lines {
                    self.client.publish(self.subject.clone(), line).await?;
                }
                self.client.flush().await.context("the server did not take the events")?;
                taken.add(count, None, None);
                Ok(())
            }
        }
    }
}

/// Whether a stream holds the subject. Only the server's own word is a no: publishing without acknowledgement because a
/// question was lost would lose events in silence.
async fn ask_for_stream(context: &jetstream::Context, client: &Client, subject: &str) -> anyhow::Result<bool> {
    let answer: Result<Value, _> = context.request("STREAM.NAMES", &json!({ "subject": subject })).await;
    match answer {
        Ok(answer) => is_held(&answer),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            // A server that is just starting does not answer yet either.
            if client.server_info().jetstream {
                bail!("JetStream does not answer: try again once it does");
            }
            Ok(false)
        }
        Err(error) if error.kind() == RequestErrorKind::TimedOut => {
            bail!("JetStream did not answer in time: may this account ask $JS.API.STREAM.NAMES?")
        }
        Err(error) => Err(error).context("asking JetStream"),
    }
}

/// Reads the answer to `STREAM.NAMES`.
fn is_held(answer: &Value) -> anyhow::Result<bool> {
    let Some(refusal) = answer.get("error") else {
        return Ok(answer["streams"].as_array().is_some_and(|names| !names.is_empty()));
    };
    if refusal["err_code"].as_u64().is_some_and(|code| NOT_ENABLED.contains(&code)) {
        return Ok(false);
    }
    bail!("JetStream refuses to say: {}", refusal["description"].as_str().unwrap_or("without a reason"))
}

async fn acknowledged(
    context: &jetstream::Context,
    subject: &str,
    lines: Vec<Bytes>,
    taken: &mut Taken,
) -> anyhow::Result<()> {
    let mut waiting: VecDeque<PublishAckFuture> = VecDeque::with_capacity(IN_FLIGHT);
    for line in lines {
        if waiting.len() == IN_FLIGHT {
            acknowledge(&mut waiting, taken).await?;
        }
        waiting.push_back(context.publish(subject.to_owned(), line).await.map_err(told)?);
    }
    while !waiting.is_empty() {
        acknowledge(&mut waiting, taken).await?;
    }
    Ok(())
}

async fn acknowledge(waiting: &mut VecDeque<PublishAckFuture>, taken: &mut Taken) -> anyhow::Result<()> {
    if let Some(first) = waiting.pop_front() {
        let sequence = first.await.map_err(told)?.sequence;
        taken.add(1, Some(sequence), Some(sequence));
    }
    Ok(())
}

fn told(error: context::PublishError) -> anyhow::Error {
    anyhow::Error::new(error).context("the stream did not acknowledge an event: whether it is there is unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_word_is_a_no() {
        let refusal = |code: u64| json!({ "error": { "code": 503, "err_code": code, "description": "why" } });
        assert!(is_held(&json!({ "total": 1, "streams": ["EVENTS"] })).expect("held"));
        assert!(!is_held(&json!({ "total": 0, "streams": [] })).expect("not held"));
        assert!(!is_held(&json!({ "total": 0, "streams": null })).expect("not held"));
        assert!(!is_held(&refusal(10076)).expect("no JetStream"));
        assert!(!is_held(&refusal(10039)).expect("none for the account"));
        let error = is_held(&refusal(10008)).expect_err("JetStream is away for now");
        assert!(error.to_string().contains("why"), "{error}");
    }
}
