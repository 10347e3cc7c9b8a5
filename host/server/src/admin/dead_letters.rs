//! `/admin/dead-letters`: listed, shown, retried.

use super::rfc3339;
use crate::http::respond::{Answer, json, refused};
use crate::http::{Site, body};
use crate::letters::{LISTED_MAX, Letters, Listed, Outcome, Wanted};
use crate::source::SourceError;
use crate::source::headers::pairs;
use crate::source::letter::{Retried, StoredLetter};
use crate::tasks::Tasks;
use base64::Engine as _;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json as value};
use std::sync::Arc;

/// The longest body of a retry, in bytes.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Letters that one request retries.
const RETRIED_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    places: Vec<u64>,
    #[serde(default)]
    again: bool,
    #[serde(default, rename = "dryRun")]
    dry_run: bool,
}

/// `GET /admin/dead-letters?company=&kind=&reason=&subject=&since=&open=&before=&limit=`.
pub(super) async fn list(letters: &Letters, query: &str) -> Response<Answer> {
    let (wanted, before, limit) = match asked(query) {
        Ok(asked) => asked,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    match letters.find(&wanted, before, limit).await {
        Ok(found) => {
            let list: Vec<Value> = found.letters.iter().map(line).collect();
            json(StatusCode::OK, &value!({ "letters": list, "before": found.before }))
        }
        Err(error) => away(&error),
    }
}

/// `GET /admin/dead-letters/{place}`.
pub(super) async fn show(letters: &Letters, place: &str) -> Response<Answer> {
    let Ok(place) = place.parse::<u64>() else {
        return refused(StatusCode::BAD_REQUEST, &format!("{place:?} is no place of a dead letter: a number is"));
    };
    match letters.at(place).await {
        Ok(Some((letter, retried))) => json(StatusCode::OK, &whole(&letter, retried.as_ref())),
        Ok(None) => refused(StatusCode::NOT_FOUND, &format!("there is no dead letter at place {place}")),
        Err(error) => away(&error),
    }
}

/// `POST /admin/dead-letters/retry` with `{"places":[…],"again":false,"dryRun":false}`.
pub(super) async fn retry(letters: &Arc<Letters>, tasks: &Tasks, request: Request<Incoming>) -> Response<Answer> {
    let body = match body::read(request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err((status, problem)) => return refused(status, &problem),
    };
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &format!("the body: {error}")),
    };
    if wish.places.len() > RETRIED_MAX {
        let problem = format!("{} letters; at most {RETRIED_MAX} at a time", wish.places.len());
        return refused(StatusCode::PAYLOAD_TOO_LARGE, &problem);
    }
    // Were it dropped with its connection, a letter could be published and not noted.
    let letters = Arc::clone(letters);
    let tried = tasks.run("retry", async move { letters.retry(&wish.places, wish.again, wish.dry_run).await }).await;
    let Some(tried) = tried else {
        let problem = "the host ended before all letters were retried: list them to see which were";
        return refused(StatusCode::SERVICE_UNAVAILABLE, problem);
    };
    let results: Vec<Value> = tried.iter().map(|tried| outcome(tried.place, &tried.outcome)).collect();
    json(StatusCode::OK, &value!({ "results": results }))
}

fn asked(query: &str) -> Result<(Wanted, Option<u64>, usize), String> {
    let (mut wanted, mut before, mut limit) = (Wanted::default(), None, 100);
    for (name, given) in form_urlencoded::parse(query.as_bytes()) {
        let number = || given.parse::<u64>().map_err(|_error| format!("{name}={given}: not a number"));
        match name.as_ref() {
            "company" => wanted.company = Some(given.into_owned()),
            "kind" => wanted.kind = Some(given.into_owned()),
            "reason" => wanted.reason = Some(given.into_owned()),
            "subject" => wanted.subject = Some(given.into_owned()),
            "since" => wanted.since_ms = Some(number()?),
            "open" => wanted.open = given == "true",
            "before" => before = Some(number()?),
            "limit" => limit = usize::try_from(number()?).unwrap_or(LISTED_MAX).clamp(1, LISTED_MAX),
            other => return Err(format!("`{other}` is not asked for here")),
        }
    }
    Ok((wanted, before, limit))
}

fn line(Listed { letter, payload_bytes, retried }: &Listed) -> Value {
    value!({
        "place": letter.place, "time": rfc3339(letter.time_ms), "kind": letter.kind, "company": letter.company,
        "subject": letter.subject, "sequence": letter.sequence, "module": letter.module, "reason": letter.reason,
        "payloadBytes": payload_bytes, "truncatedBytes": letter.truncated_bytes, "headersCut": letter.headers_cut,
        "retried": told(retried.as_ref()),
    })
}

fn whole(letter: &StoredLetter, retried: Option<&Retried>) -> Value {
    let headers: Vec<Value> = pairs(&letter.headers)
        .map(|(name, value)| value!([String::from_utf8_lossy(name), String::from_utf8_lossy(value)]))
        .collect();
    let listed = Listed { letter: letter.clone(), payload_bytes: letter.payload.len(), retried: retried.cloned() };
    let mut shown = line(&listed);
    shown["id"] = value!(letter.id);
    shown["emission"] = value!(letter.emission);
    shown["backtrace"] = value!(letter.backtrace);
    shown["headers"] = value!(headers);
    shown["payload"] = value!(base64::engine::general_purpose::STANDARD.encode(&letter.payload));
    shown
}

fn told(retried: Option<&Retried>) -> Value {
    retried.map_or(Value::Null, |retried| {
        value!({ "time": rfc3339(retried.time_ms), "attempt": retried.attempt, "sequence": retried.sequence })
    })
}

fn outcome(place: u64, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Published { sequence, unnoted } => {
            value!({ "place": place, "result": "published", "sequence": sequence, "unnoted": unnoted })
        }
        Outcome::Would => value!({ "place": place, "result": "would be published" }),
        Outcome::Refused(reason) => value!({ "place": place, "result": "refused", "reason": reason }),
        Outcome::Failed(reason) => value!({ "place": place, "result": "failed", "reason": reason }),
    }
}

fn away(error: &SourceError) -> Response<Answer> {
    refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
}

impl Letters {
    /// The letters of this site's source.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        Self::new(Arc::clone(&site.source), site.metrics.clone(), site.subjects.clone())
    }
}
