//! Questions to JetStream, asked and read by hand where the client's own reading fails on odd content.

use super::super::{SourceError, headers};
use crate::source::nats::Nats;
use async_nats::RequestErrorKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;
use std::collections::HashMap;
use tidegate_core::event::SourceEvent;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A message or a stream that is not there.
const NO_MESSAGE: u64 = 10037;
const NO_STREAM: u64 = 10059;
/// JetStream is off in the server, or for the account.
const NOT_ENABLED: [u64; 2] = [10076, 10039];
/// Nobody answers on JetStream's subjects; a code of our own, as NATS gives none.
const NOBODY: u64 = 1;
/// The account or the server has no room left.
pub(super) const INSUFFICIENT_RESOURCES: u64 = 10023;

/// An answer of the server that says no.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{description} ({err_code})")]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) code: u64,
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

impl Refusal {
    /// Is there no JetStream at all?
    pub(super) fn says_no_jetstream(&self) -> bool {
        self.err_code == NOBODY || NOT_ENABLED.contains(&self.err_code)
    }
}

/// What `STREAM.INFO` says, as far as we need it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: StreamConfig,
    pub(super) created: String,
    pub(super) state: StreamState,
}

impl StreamInfo {
    /// First sequence it still holds; last + 1 when it is empty.
    pub(super) fn first_sequence(&self) -> u64 {
        if self.state.messages == 0 { self.state.last_seq + 1 } else { self.state.first_seq }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamConfig {
    pub(super) name: String,
    pub(super) subjects: Vec<String>,
    pub(super) retention: String,
    pub(super) storage: String,
    pub(super) num_replicas: u64,
    /// Nanoseconds; 0 for ever.
    pub(super) max_age: u64,
    /// Nanoseconds.
    pub(super) duplicate_window: u64,
    pub(super) sources: Vec<Origin>,
    pub(super) mirror: Option<Origin>,
}

/// The stream another one is filled from.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Origin {
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) first_seq: u64,
    #[serde(default)]
    pub(super) first_ts: String,
    pub(super) last_seq: u64,
    pub(super) last_ts: String,
}

#[derive(Deserialize)]
struct Found {
    message: Stored,
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

/// A message as it is stored, with its header block untouched.
#[derive(Debug, Clone)]
pub(super) struct StoredMessage {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) time_ms: u64,
    pub(super) block: Vec<u8>,
    pub(super) payload: Bytes,
}

impl StoredMessage {
    /// Why the NATS client can't hand it on; `None`: it can.
    pub(super) fn oddity(&self) -> Option<&'static str> {
        // The server tells subjects in JSON, where what is not UTF-8 was replaced.
        if self.subject.contains('\u{fffd}') {
            return Some("its subject is not UTF-8");
        }
        if self.subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Some("its subject holds white space");
        }
        headers::oddity(&self.block)
    }

    pub(super) fn into_event(self) -> SourceEvent {
        SourceEvent {
            sequence: self.sequence,
            time_ms: self.time_ms,
            subject: self.subject.into(),
            headers: headers::lines_of_block(&self.block),
            payload: self.payload,
        }
    }
}

/// Asks `$JS.API.<verb>`; the outer error is the way there, the inner one the server's answer.
pub(super) async fn ask<T: DeserializeOwned>(
    nats: &Nats,
    verb: &str,
    body: &serde_json::Value,
) -> Result<Result<T, Refusal>, SourceError> {
    if !nats.connected() {
        return Err(SourceError::Away("NATS is not connected".into()));
    }
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let answer = match nats.while_connected(nats.client().request(format!("$JS.API.{verb}"), body)).await? {
        Ok(answer) => answer,
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            return Ok(Err(Refusal { code: 503, err_code: NOBODY, description: "JetStream does not answer".into() }));
        }
        Err(error) => return Err(SourceError::Away(format!("{verb}: {error}"))),
    };
    read_answer(&answer.payload)
        .map_err(|error| SourceError::Away(format!("{verb}: the answer can't be read: {error}")))
}

fn read_answer<T: DeserializeOwned>(payload: &[u8]) -> Result<Result<T, Refusal>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Outcome {
        error: Option<Refusal>,
    }
    match serde_json::from_slice::<Outcome>(payload)?.error {
        Some(refusal) => Ok(Err(refusal)),
        None => serde_json::from_slice(payload).map(Ok),
    }
}

/// What the stream says of itself; `None` when there is none of that name.
pub(super) async fn stream_info(nats: &Nats, stream: &str) -> Result<Option<StreamInfo>, SourceError> {
    match ask(nats, &format!("STREAM.INFO.{stream}"), &serde_json::Value::Null).await? {
        Ok(info) => Ok(Some(info)),
        Err(refusal) if refusal.err_code == NO_STREAM => Ok(None),
        Err(refusal) => Err(refused(stream, &refusal)),
    }
}

/// All streams of the account.
pub(super) async fn streams(nats: &Nats) -> Result<Result<Vec<StreamInfo>, Refusal>, SourceError> {
    #[derive(Deserialize)]
    struct Page {
        total: usize,
        #[serde(default)]
        streams: Option<Vec<StreamInfo>>,
    }
    let page = |page: Page| (page.streams.unwrap_or_default(), page.total);
    all_pages(nats, "STREAM.LIST", json!({}), page).await
}

/// Asks for page after page, and puts together what they hold; `read` gives that of one, and how much there is in all.
async fn all_pages<P: DeserializeOwned, T>(
    nats: &Nats,
    verb: &str,
    mut question: serde_json::Value,
    read: impl Fn(P) -> (Vec<T>, usize),
) -> Result<Result<Vec<T>, Refusal>, SourceError> {
    let mut all = Vec::new();
    loop {
        question["offset"] = all.len().into();
        let (page, total) = match ask(nats, verb, &question).await? {
            Ok(page) => read(page),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let done = page.is_empty();
        all.extend(page);
        if done || all.len() >= total {
            return Ok(Ok(all));
        }
    }
}

fn refused(stream: &str, refusal: &Refusal) -> SourceError {
    SourceError::Away(format!("stream {stream}: {refusal}"))
}

/// The subjects of a stream that match, without a look at its messages.
pub(super) async fn subjects(nats: &Nats, stream: &str, filter: &str) -> Result<Vec<String>, SourceError> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        total: usize,
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: HashMap<String, IgnoredAny>,
    }
    let page = |page: Page| (page.state.subjects.into_keys().collect(), page.total);
    let found = all_pages(nats, &format!("STREAM.INFO.{stream}"), json!({ "subjects_filter": filter }), page).await?;
    found.map_err(|refusal| refused(stream, &refusal))
}

/// Removes a subject's messages, up to this sequence where there is one.
pub(super) async fn purge(nats: &Nats, stream: &str, subject: &str, up_to: Option<u64>) -> Result<(), SourceError> {
    let question = match up_to {
        Some(sequence) => json!({ "filter": subject, "seq": sequence + 1 }),
        None => json!({ "filter": subject }),
    };
    let answer = ask::<IgnoredAny>(nats, &format!("STREAM.PURGE.{stream}"), &question).await?;
    answer.map(drop).map_err(|refusal| refused(stream, &refusal))
}

/// The last message of a subject; `None` when there is none.
pub(super) async fn last_message(
    nats: &Nats,
    stream: &str,
    subject: &str,
) -> Result<Option<StoredMessage>, SourceError> {
    message(nats, stream, &json!({ "last_by_subj": subject })).await
}

/// The message at this sequence; `None` when it is gone or never was.
pub(super) async fn message_at(nats: &Nats, stream: &str, sequence: u64) -> Result<Option<StoredMessage>, SourceError> {
    message(nats, stream, &json!({ "seq": sequence })).await
}

/// The first message at or above this sequence whose subject matches; `None` when there is none.
pub(super) async fn message_from(
    nats: &Nats,
    stream: &str,
    sequence: u64,
    subject: &str,
) -> Result<Option<StoredMessage>, SourceError> {
    message(nats, stream, &json!({ "seq": sequence, "next_by_subj": subject })).await
}

async fn message(
    nats: &Nats,
    stream: &str,
    question: &serde_json::Value,
) -> Result<Option<StoredMessage>, SourceError> {
    let found: Found = match ask(nats, &format!("STREAM.MSG.GET.{stream}"), question).await? {
        Ok(found) => found,
        // 404 of another code is the stream itself.
        Err(refusal) if refusal.err_code == NO_MESSAGE => return Ok(None),
        Err(refusal) => return Err(refused(stream, &refusal)),
    };
    let unreadable =
        |what: &str| SourceError::Away(format!("stream {stream}: {what} of a stored message can't be read"));
    let stored = found.message;
    Ok(Some(StoredMessage {
        time_ms: milliseconds(&stored.time).ok_or_else(|| unreadable("the time"))?,
        block: STANDARD.decode(&stored.hdrs).map_err(|error| unreadable(&format!("the header ({error})")))?,
        payload: STANDARD.decode(&stored.data).map_err(|error| unreadable(&format!("the payload ({error})")))?.into(),
        subject: stored.subject,
        sequence: stored.seq,
    }))
}

/// A server's time as milliseconds since 1970, rounded down; a time before that is 0.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down_to_milliseconds() {
        assert_eq!(milliseconds("2023-11-14T22:13:19.999999999Z"), Some(1_699_999_999_999));
        assert_eq!(milliseconds("0001-01-01T00:00:00Z"), Some(0));
        assert_eq!(milliseconds("yesterday"), None);
    }

    #[test]
    fn a_refusal_is_told_from_an_answer() {
        let answer = read_answer::<StreamInfo>(
            br#"{"type":"x","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#,
        );
        assert_eq!(answer.unwrap().unwrap_err().err_code, NO_STREAM);
        assert!(read_answer::<StreamInfo>(b"nonsense").is_err());
    }
}
