//! Numbers and states: `/stream/stats`, `/stream/health`, `/livez`, `/readyz`, `/metrics`.

use super::Site;
use super::identify::Reach;
use super::respond::{Answer, json, refuse, whole};
use super::updates::refusal_response;
use crate::telemetry::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json as value};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::macros::format_description;

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
    let heads = match site.store.companies().await {
        Ok(heads) => heads,
        Err(error) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", &error.to_string()),
    };
    let connections: BTreeMap<String, u64> =
        site.streams.connections.by_company().into_iter().filter(|(company, _)| visible(company)).collect();
    let events: BTreeMap<String, u64> = heads
        .iter()
        .filter(|(company, head)| head.entries > 0 && visible(company.as_str()))
        .map(|(company, head)| (company.to_string(), head.entries))
        .collect();
    let body = value!({
        "connections": {
            "totalConnections": connections.values().sum::<u64>(),
            "activeCompanies": connections.len(),
            "connectionsByCompany": connections,
        },
        "replayCache": {
            "companies": events.len(),
            "totalEvents": events.values().sum::<u64>(),
            "eventsByCompany": events,
        },
        "timestamp": timestamp(site.clock.now_ms()),
    });
    json(StatusCode::OK, &body)
}

/// Always 200: what is up, and what is not.
pub fn health(site: &Site) -> Response<Answer> {
    let (status, components) = site.health.report();
    let connections = site.streams.connections.by_company();
    let components: Map<String, Value> = components.into_iter().map(|(name, state)| (name.to_owned(), value!(state))).collect();
    let body = value!({
        "status": status,
        "streaming": {
            "enabled": site.streaming,
            "activeConnections": connections.values().sum::<u64>(),
            "activeCompanies": connections.len(),
        },
        "components": components,
        "timestamp": timestamp(site.clock.now_ms()),
    });
    json(StatusCode::OK, &body)
}

/// The process answers.
pub fn live() -> Response<Answer> {
    whole(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")
}

/// Traffic may come.
pub fn ready(site: &Site) -> Response<Answer> {
    match site.health.ready() {
        Ok(()) if site.access.is_ready() => whole(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
        Ok(()) => whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "the key set was never reached\n"),
        Err(reason) => whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", format!("{reason}\n")),
    }
}

/// Prometheus text.
pub fn metrics(site: &Site) -> Response<Answer> {
    whole(StatusCode::OK, CONTENT_TYPE, site.metrics.encode())
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
