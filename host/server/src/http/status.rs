//! Numbers and states: `/stream/stats`, `/stream/health`, `/livez`, `/readyz`, `/metrics`.

use super::Site;
use super::identify::Reach;
use super::respond::{Answer, json, refuse, whole};
use super::updates::refusal_response;
use crate::health::Component;
use crate::telemetry::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::macros::format_description;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    connections: ConnectionStats,
    replay_cache: CacheStats,
    timestamp: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionStats {
    total_connections: u64,
    active_companies: usize,
    connections_by_company: BTreeMap<String, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CacheStats {
    companies: usize,
    total_events: u64,
    events_by_company: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct HealthReport {
    status: &'static str,
    streaming: StreamingState,
    components: BTreeMap<&'static str, Component>,
    timestamp: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamingState {
    enabled: bool,
    active_connections: u64,
    active_companies: usize,
}

/// Connections and replay cache. With tokens, a user sees the own companies only.
pub async fn stats(site: &Site, headers: &HeaderMap) -> Response<Answer> {
    let identity = match site.access.identify(headers, None).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal_response(&refusal),
    };
    let visible = |company: &str| match &identity.reach {
        Reach::All => true,
        Reach::Companies(companies) => companies.iter().any(|known| known.as_str() == company),
    };
    let counted = match site.counts.get().await {
        Ok(counted) => counted,
        Err(error) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", &error.to_string()),
    };
    let connections: BTreeMap<String, u64> =
        site.streams.connections.by_company().into_iter().filter(|(company, _)| visible(company)).collect();
    let events: BTreeMap<String, u64> = counted
        .iter()
        .filter(|(company, _)| visible(company.as_str()))
        .map(|(company, events)| (company.to_string(), *events))
        .collect();
    let body = Stats {
        connections: ConnectionStats {
            total_connections: connections.values().sum(),
            active_companies: connections.len(),
            connections_by_company: connections,
        },
        replay_cache: CacheStats {
            companies: events.len(),
            total_events: events.values().sum(),
            events_by_company: events,
        },
        timestamp: timestamp(site.clock.now_ms()),
    };
    json(StatusCode::OK, &body)
}

/// Whether an answer may name companies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Companies {
    /// By name: for operators, and for everybody where access is open.
    Named,
    /// In numbers: users who ask with a token, or with none, learn of no other company.
    Counted,
}

/// What the listener that browsers see may tell.
pub fn companies(site: &Site) -> Companies {
    if site.access.is_open() { Companies::Named } else { Companies::Counted }
}

/// Always 200: what is up, and what is not.
pub fn health(site: &Site, companies: Companies) -> Response<Answer> {
    let (status, components) = match companies {
        Companies::Named => site.health.report(),
        Companies::Counted => site.health.report_without_companies(),
    };
    let connections = site.streams.connections.by_company();
    let streaming = StreamingState {
        enabled: site.streaming,
        active_connections: connections.values().sum(),
        active_companies: connections.len(),
    };
    let body = HealthReport { status, streaming, components, timestamp: timestamp(site.clock.now_ms()) };
    json(StatusCode::OK, &body)
}

/// The process answers.
pub fn live() -> Response<Answer> {
    whole(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")
}

/// Traffic may come.
pub fn ready(site: &Site) -> Response<Answer> {
    match site.health.ready() {
        Ok(()) => whole(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
        Err(reason) => whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", format!("{reason}\n")),
    }
}

/// Prometheus text.
pub fn metrics(site: &Site, companies: Companies) -> Response<Answer> {
    let text = match companies {
        Companies::Named => site.metrics.encode(),
        Companies::Counted => site.metrics.encode_without_companies(),
    };
    whole(StatusCode::OK, CONTENT_TYPE, text)
}

/// RFC 3339 with milliseconds, UTC.
fn timestamp(now_ms: u64) -> String {
    let nanoseconds = i128::from(now_ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_milliseconds_and_is_utc() {
        assert_eq!(timestamp(1_699_999_999_999), "2023-11-14T22:13:19.999Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
    }
}
