//! Publishes through a running host's `/ingest`.

use super::Taken;
use crate::cli::admin::{base, http_client, message, read_body};
use crate::cli::out::complain;
use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::RETRY_AFTER;
use std::time::Duration;

/// How often a batch is offered before we give up.
const TRIES: u32 = 8;
/// The longest wait between two tries, whatever the host asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) struct Ingest {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
}

#[derive(serde::Deserialize)]
struct Accepted {
    accepted: u64,
    first: Option<u64>,
    last: Option<u64>,
}

impl Ingest {
    pub(super) fn new(url: &str, subject: &str, token: Option<String>) -> anyhow::Result<Self> {
        // A subject may hold any printable byte, a path segment may not.
        let mut segment = String::new();
        for byte in subject.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => segment.push(char::from(byte)),
                _ => segment.push_str(&format!("%{byte:02X}")),
            }
        }
        Ok(Self { client: http_client()?, url: format!("{}/ingest/{segment}", base(url)?), token })
    }

    pub(super) async fn send(&mut self, lines: Vec<Bytes>, taken: &mut Taken) -> anyhow::Result<()> {
        let mut body = BytesMut::new();
        for line in &lines {
            body.extend_from_slice(line);
            body.extend_from_slice(b"\n");
        }
        let body = body.freeze();
        // The same for all tries of this batch, so that a stream counts each event once.
        let key = format!("{:032x}", rand::random::<u128>());
        for tried in 1..=TRIES {
            let mut request = self
                .client
                .post(&self.url)
                .header("content-type", "application/x-ndjson")
                .header("idempotency-key", &key)
                .timeout(Duration::from_secs(60))
                .body(body.clone());
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            let answer = match request.send().await {
                Ok(answer) => answer,
                // Nothing was sent: trying again is safe, but at the very start the address is wrong.
                Err(error) if error.is_connect() && taken.events > 0 && tried < TRIES => {
                    complain(&format!("no connection to {}: trying again", self.url));
                    tokio::time::sleep(wait(tried, None)).await;
                    continue;
                }
                Err(error) if error.is_connect() => {
                    return Err(error.without_url())
                        .with_context(|| format!("no host answers at {} (is `tidegate run` running?)", self.url));
                }
                Err(error) => {
                    return Err(error.without_url()).with_context(|| {
                        format!(
                            "no answer from {}: whether it took the last {} events is unknown",
                            self.url,
                            lines.len()
                        )
                    });
                }
            };
            let status = answer.status();
            let asked = answer
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            let said = read_body(answer, 1 << 16).await?;
            if status.is_success() {
                let accepted: Accepted = serde_json::from_slice(&said)
                    .with_context(|| format!("{} did not answer as /ingest does", self.url))?;
                taken.add(accepted.accepted, accepted.first, accepted.last);
                return Ok(());
            }
            let again = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            if !again || tried == TRIES {
                bail!("{} answered {status}: {}{}", self.url, message(&said), hint(status));
            }
            complain(&format!("the host answered {status}: trying again"));
            tokio::time::sleep(wait(tried, asked)).await;
        }
        bail!("{} did not take the events", self.url);
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => " (give the host's ingest.token with --token or TIDEGATE_INGEST_TOKEN)",
        StatusCode::NOT_FOUND => {
            " (/ingest is there only where ingest.token is set, and for the subjects in source.subjects)"
        }
        _ => "",
    }
}

fn wait(tried: u32, asked: Option<Duration>) -> Duration {
    asked.unwrap_or_else(|| Duration::from_millis(200) * 2_u32.saturating_pow(tried - 1)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_segment_of_the_path() {
        let ingest = Ingest::new("http://h:1/", "a.b/../%c?d", None).expect("fine");
        assert_eq!(ingest.url, "http://h:1/ingest/a.b%2F..%2F%25c%3Fd");
        assert!(Ingest::new("h:1", "a", None).is_err());
    }

    #[test]
    fn waits_grow_and_the_host_may_ask_for_longer() {
        assert_eq!(wait(1, None), Duration::from_millis(200));
        assert_eq!(wait(3, None), Duration::from_millis(800));
        assert_eq!(wait(1, Some(Duration::from_secs(2))), Duration::from_secs(2));
        assert_eq!(wait(1, Some(Duration::from_secs(999))), WAIT_MAX);
    }
}
