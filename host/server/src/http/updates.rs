//! `GET /stream/updates`: checks the request and begins its stream, or refuses it so that clients do the right thing.

use super::Site;
use super::identify::Refusal;
use super::respond::{Answer, refuse, refused as refuse_as, whole};
use crate::stream::events::Request as StreamRequest;
use crate::stream::{self, EventStream};
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::cursor::{self, Cursor};
use tidegate_core::event::Company;
use tidegate_core::frame::{self, ByeReason, Control};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the query of a stream says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    companies: Vec<String>,
    cursors: Vec<String>,
    since: Option<String>,
    errors_http: bool,
}

fn query(text: &str) -> Query {
    let mut query = Query::default();
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        match &*key {
            "companyId" => query.companies.push(value.into_owned()),
            "lastEventId" | "last_event_id" => query.cursors.push(value.into_owned()),
            "since" => query.since = Some(value.into_owned()),
            "errors" => query.errors_http = value == "http",
            _ => {}
        }
    }
    query
}

/// Answers with a stream.
pub async fn updates<B>(site: &Arc<Site>, peer: SocketAddr, request: &Request<B>) -> Response<Answer> {
    let query = query(request.uri().query().unwrap_or(""));
    let company = match company(&query) {
        Ok(company) => company,
        Err(problem) => return refused(site, "bad-request", refuse(StatusCode::BAD_REQUEST, "Bad Request", &problem)),
    };
    if !accepts(request.headers()) {
        let message = "only text/event-stream is served here";
        return refused(site, "not-acceptable", refuse(StatusCode::NOT_ACCEPTABLE, "Not Acceptable", message));
    }
    let identity = match site.access.identify(request.headers(), Some(&company)).await {
        Ok(identity) => identity,
        Err(refusal @ Refusal::Unavailable(_)) => {
            let (word, status) = (refusal.word(), StatusCode::SERVICE_UNAVAILABLE);
            // No word of `bye` is closer: this host can't take the client in now, another may.
            return for_now(site, &query, request, ByeReason::Overloaded, word, status, "the key set can't be reached");
        }
        Err(refusal) => return refused(site, refusal.word(), refusal_response(&refusal)),
    };
    if let Some((reason, message)) = unavailable(site, &company) {
        return transient(site, &query, request, reason, message);
    }
    let cursor = cursor_of(&query, request.headers());
    let last_event_id = match &cursor {
        Some(Cursor::Id(id)) => Some(id.text.clone()),
        Some(Cursor::Earliest) => Some("earliest".to_owned()),
        Some(Cursor::Since(ms)) => Some(format!("since {ms}")),
        Some(Cursor::Unreadable) => Some("unreadable".to_owned()),
        None => None,
    };
    let remembered =
        |cursor: &Cursor| matches!(cursor, Cursor::Id(id) if site.streams.hub.rejoin(&company, id).is_some());
    let from_memory = !site.health.store_reads();
    if from_memory && cursor.as_ref().is_some_and(|cursor| !remembered(cursor)) {
        let message = "the replay cache does not answer";
        return transient(site, &query, request, ByeReason::StoreUnavailable, message);
    }
    let now_ms = site.clock.now_ms();
    let expires = identity.expires_at_ms.map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
    if request.method() == Method::HEAD {
        return stream_head(request.version(), whole(StatusCode::OK, "text/event-stream", ""));
    }
    let refusals = request.extensions().get().cloned().unwrap_or_default();
    let connection = site.streams.connections.enter(&company, peer.to_string(), &site.clock);
    let began = EventStream::begin(
        Arc::clone(&site.streams),
        Arc::clone(&connection),
        &company,
        StreamRequest { cursor, from_memory, expires, refusals },
    );
    let Some(stream) = began else {
        site.streams.connections.leave(&connection, "refused", &site.clock);
        return transient(site, &query, request, ByeReason::StoreUnavailable, "the replay cache was not reached yet");
    };
    tracing::info!(
        connectionId = connection.connection_id,
        companyId = %company,
        lastEventId = last_event_id,
        subject = identity.subject,
        "SSE connection established"
    );
    let mut response = whole(StatusCode::OK, "text/event-stream", "");
    *response.body_mut() = Answer::Stream(Box::new(stream));
    stream_head(request.version(), response)
}

/// `Content-Type` first: a native `EventSource` that is cut before it saw the type is closed for good.
fn stream_head(version: Version, mut response: Response<Answer>) -> Response<Answer> {
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    response
}

fn company(query: &Query) -> Result<Company, String> {
    match query.companies.as_slice() {
        [] => Err("companyId is missing".to_owned()),
        [name] => Company::new(name).map_err(|error| format!("companyId: {error}")),
        _ => Err("companyId stands more than once".to_owned()),
    }
}

fn accepts(headers: &HeaderMap) -> bool {
    let mut accept = headers.get_all(ACCEPT).iter().peekable();
    if accept.peek().is_none() {
        return true;
    }
    let wanted = |part: &str| {
        let kind = part.split(';').next().unwrap_or("").trim();
        matches!(kind, "text/event-stream" | "text/*" | "*/*" | "")
    };
    accept.any(|value| value.to_str().is_ok_and(|value| value.split(',').any(wanted)))
}

/// A cursor in the header and one in the query: the later position counts, a readable one beats an unreadable one.
fn cursor_of(query: &Query, headers: &HeaderMap) -> Option<Cursor> {
    let mut cursors = Vec::new();
    for value in headers.get_all(LAST_EVENT_ID) {
        match value.to_str() {
            Ok(text) => cursors.extend(cursor::parse(text)),
            Err(_) => cursors.push(Cursor::Unreadable),
        }
    }
    cursors.extend(query.cursors.iter().filter_map(|text| cursor::parse(text)));
    if let Some(since) = query.since.as_deref().filter(|text| !text.is_empty()) {
        cursors.push(since_of(since).map_or(Cursor::Unreadable, Cursor::Since));
    }
    cursor::choose(cursors)
}

fn since_of(text: &str) -> Option<u64> {
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    // A `+` of a time zone that was not encoded arrives as a space.
    let time = OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

fn unavailable(site: &Site, company: &Company) -> Option<(ByeReason, &'static str)> {
    if site.streams.draining() {
        return Some((ByeReason::Drain, "the host is about to stop"));
    }
    if !site.streaming {
        return Some((ByeReason::Disabled, "streaming is switched off"));
    }
    if !(site.flags)(company) {
        return Some((ByeReason::Disabled, "streaming is switched off for this company"));
    }
    (site.streams.connections.len() >= site.connections_max).then_some((ByeReason::Overloaded, "too many connections"))
}

fn refused(site: &Site, reason: &'static str, response: Response<Answer>) -> Response<Answer> {
    site.metrics.connection_error(reason);
    response
}

/// An answer for a refused identity.
#[must_use]
pub fn refusal_response(refusal: &Refusal) -> Response<Answer> {
    let mut response = whole(refusal.status(), "application/json", refusal.body());
    if let Some(challenge) = refusal.challenge() {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// A refusal that will pass. Any status but 200 closes a native `EventSource` for good, so that one is told in the
/// stream; others get a status.
fn transient<B>(
    site: &Site,
    query: &Query,
    request: &Request<B>,
    reason: ByeReason,
    message: &str,
) -> Response<Answer> {
    let status = match reason {
        ByeReason::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        ByeReason::Drain
        | ByeReason::Idle
        | ByeReason::Rotate
        | ByeReason::TokenExpired
        | ByeReason::StoreUnavailable
        | ByeReason::Disabled => StatusCode::SERVICE_UNAVAILABLE,
    };
    for_now(site, query, request, reason, reason.as_str(), status, message)
}

/// `word` stands in the metrics, `status` tells those who asked for statuses instead of `bye`.
fn for_now<B>(
    site: &Site,
    query: &Query,
    request: &Request<B>,
    reason: ByeReason,
    word: &'static str,
    status: StatusCode,
    message: &str,
) -> Response<Answer> {
    site.metrics.connection_error(word);
    later(query, request, reason, status, message)
}

/// The answer to a request for a stream that came while the host started, when it ends before it could begin to work: as in a
/// drain. `None` for any other request.
#[must_use]
pub fn without_host<B>(request: &Request<B>) -> Option<Response<Answer>> {
    let streams = request.uri().path() == "/stream/updates" && matches!(*request.method(), Method::GET | Method::HEAD);
    let query = query(request.uri().query().unwrap_or(""));
    let answer =
        || later(&query, request, ByeReason::Drain, StatusCode::SERVICE_UNAVAILABLE, "the host does not start");
    streams.then(answer)
}

fn later<B>(
    query: &Query,
    request: &Request<B>,
    reason: ByeReason,
    status: StatusCode,
    message: &str,
) -> Response<Answer> {
    let event_source = request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/event-stream"));
    let retry_ms = stream::retry_ms();
    if event_source && !query.errors_http {
        let mut body = Vec::new();
        frame::control(&mut body, &Control::Bye { reason, retry_ms }, None);
        return stream_head(request.version(), whole(StatusCode::OK, "text/event-stream", body));
    }
    let mut response = refuse_as(status, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_ms.div_ceil(1000)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_taken_from_header_and_query() {
        let id = |text: &str| cursor::parse(text).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(cursor_of(&query("companyId=a"), &headers), None);
        assert_eq!(cursor_of(&query("lastEventId=m-1-2"), &headers), Some(id("m-1-2")));
        assert_eq!(cursor_of(&query("last_event_id=m-1-2"), &headers), Some(id("m-1-2")));
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("m-5-6"));
        assert_eq!(cursor_of(&query("lastEventId=m-1-2"), &headers), Some(id("m-5-6")));
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("rubbish"));
        assert_eq!(cursor_of(&query("lastEventId=m-1-2"), &headers), Some(id("m-1-2")));
        headers.clear();
        assert_eq!(cursor_of(&query("since=1700000000000"), &headers), Some(Cursor::Since(1_700_000_000_000)));
        assert_eq!(cursor_of(&query("since=2023-11-14T22:13:20Z"), &headers), Some(Cursor::Since(1_700_000_000_000)));
        assert_eq!(
            cursor_of(&query("since=2023-11-14T23:13:20+01:00"), &headers),
            Some(Cursor::Since(1_700_000_000_000))
        );
        assert_eq!(cursor_of(&query("since=yesterday"), &headers), Some(Cursor::Unreadable));
    }

    #[test]
    fn a_company_stands_exactly_once() {
        assert!(company(&query("companyId=a")).is_ok());
        for wrong in ["", "companyId=", "companyId=a&companyId=b", "companyId=_platform", "companyId=a%0Ab"] {
            assert!(company(&query(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_does_not_take_event_streams_is_refused() {
        let mut headers = HeaderMap::new();
        assert!(accepts(&headers));
        for (value, good) in [
            ("text/event-stream", true),
            ("*/*", true),
            ("application/json", false),
            ("application/json, text/*;q=0.1", true),
        ] {
            headers.insert(ACCEPT, HeaderValue::from_static(value));
            assert_eq!(accepts(&headers), good, "{value}");
        }
    }
}
