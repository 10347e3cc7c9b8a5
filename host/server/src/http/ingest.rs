//! `POST /ingest/{subject}`: one event, or a line each. Every line is checked before the first is published.

use super::identify::bearer;
use super::respond::{Answer, json, refuse, refused};
use super::{Site, body};
use crate::source::subject::matches;
use crate::source::{Publish, SourceError};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;
use serde_json::json as value;

/// The longest request, in bytes.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Lines of one request.
const LINES_MAX: usize = 100_000;

/// Publishes what the request holds.
pub async fn ingest(site: &Site, subject: &str, request: Request<Incoming>) -> Response<Answer> {
    let Some(secret) = &site.ingest else {
        return refuse(StatusCode::NOT_FOUND, "Not Found", "ingest is off: no ingest.token is set");
    };
    if request.method() != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "events are posted here");
    }
    if !bearer(request.headers()).is_some_and(|token| secret.matches(token)) {
        return refuse(StatusCode::UNAUTHORIZED, "Unauthorized", "the ingest credential is missing or wrong");
    }
    let subject = match checked_subject(subject, &site.subjects) {
        Ok(subject) => subject,
        Err(problem) => return refuse(StatusCode::BAD_REQUEST, "Bad Request", &problem),
    };
    let lines = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"))
    });
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let body = match body::read(request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err((status, problem)) => return refused(status, &problem),
    };
    match events(&body, lines, site.event_bytes_max) {
        Ok(events) => publish(site, &subject, events, key.as_deref()).await,
        Err((status, problem)) => refused(status, &problem),
    }
}

/// One of the configured subjects, in strict tokens: what else NATS would take can break out of its protocol line.
fn checked_subject(encoded: &str, subjects: &[String]) -> Result<String, String> {
    let subject =
        percent_decode_str(encoded).decode_utf8().map_err(|error| format!("the subject is not UTF-8: {error}"))?;
    let token = |token: &str| !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if subject.len() > 256 || !subject.split('.').all(token) {
        return Err(format!("subject {subject:?}: tokens of A-Z a-z 0-9 _ - with dots between them are accepted"));
    }
    if subjects.iter().any(|pattern| matches(pattern, &subject)) {
        return Ok(subject.into_owned());
    }
    Err(format!("subject `{subject}` is none of source.subjects ({})", subjects.join(", ")))
}

/// The events of a body, each checked to be JSON.
fn events(body: &Bytes, lines: bool, bytes_max: usize) -> Result<Vec<Bytes>, (StatusCode, String)> {
    let bad = |problem| (StatusCode::BAD_REQUEST, problem);
    let checked = |event: Bytes, place: String| {
        if event.len() > bytes_max {
            let problem =
                format!("{place} has {} bytes; at most {bytes_max} are taken (limits.event-bytes)", event.len());
            return Err((StatusCode::PAYLOAD_TOO_LARGE, problem));
        }
        match serde_json::from_slice::<IgnoredAny>(&event) {
            Ok(_) if std::str::from_utf8(&event).is_ok() => Ok(event),
            Ok(_) => Err(bad(format!("{place} is not UTF-8; nothing was published"))),
            Err(error) => Err(bad(format!("{place} is not JSON: {error}; nothing was published"))),
        }
    };
    if !lines {
        return Ok(vec![checked(body.clone(), "the event".to_owned())?]);
    }
    let mut events = Vec::new();
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if events.len() == LINES_MAX {
            return Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("more than {LINES_MAX} lines; send them in several requests"),
            ));
        }
        events.push(checked(body.slice_ref(line), format!("line {}", number + 1))?);
    }
    if events.is_empty() { Err(bad("the body holds no event".to_owned())) } else { Ok(events) }
}

async fn publish(site: &Site, subject: &str, events: Vec<Bytes>, key: Option<&str>) -> Response<Answer> {
    let message = |(number, payload): (usize, Bytes)| Publish {
        subject: subject.to_owned(),
        payload,
        headers: Bytes::new(),
        id: key.map(|key| format!("{key}-{number}")),
    };
    let messages: Vec<Publish> = events.into_iter().enumerate().map(message).collect();
    match site.source.publish(&messages).await {
        Ok(published) => {
            let body = value!({ "accepted": published.accepted, "first": published.first, "last": published.last });
            json(StatusCode::ACCEPTED, &body)
        }
        Err((published, error)) => {
            let (status, name) = match error {
                SourceError::Away(_) => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
                SourceError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "Insufficient Storage"),
                SourceError::Refused(_) => (StatusCode::BAD_REQUEST, "Bad Request"),
            };
            let body = value!({ "error": name, "message": error.to_string(), "accepted": published.accepted });
            let mut response = json(status, &body);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_subjects_in_strict_tokens_are_taken() {
        let subjects = ["metrics.*".to_owned(), "tidegate.>".to_owned()];
        assert_eq!(checked_subject("metrics.calculated", &subjects).unwrap(), "metrics.calculated");
        for wrong in [
            "",
            "metrics",
            "metrics.*",
            "metrics.a.b",
            "other.a",
            "metrics.%0d%0aPUB",
            "$JS.API.x",
            "metrics..a",
            "metrics.a%20b",
        ] {
            assert!(checked_subject(wrong, &subjects).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_bad_line_refuses_all() {
        let body = Bytes::from_static(b"{\"a\":1}\n\n[2]\r\n");
        assert_eq!(events(&body, true, 100).unwrap(), [Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"[2]")]);
        let bad = Bytes::from_static(b"{\"a\":1}\n{\"a\":\n");
        assert!(events(&bad, true, 100).unwrap_err().1.starts_with("line 2 is not JSON"));
        assert_eq!(events(&body, true, 3).unwrap_err().0, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(events(&Bytes::from_static(b"\n"), true, 9).is_err());
        assert!(events(&Bytes::from_static(b"\"\xff\""), false, 9).is_err());
    }
}
