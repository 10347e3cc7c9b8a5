//! The shapes and the sums that dashboards and operators build on.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::World;
use tidegate_tests::history::payload;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().map(|fields| fields.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// RFC 3339 with milliseconds, UTC: `2026-01-02T03:04:05.678Z`.
fn is_timestamp(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let form = "dddd-dd-ddTdd:dd:dd.dddZ";
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(c, f)| if f == b'd' { c.is_ascii_digit() } else { c == f })
}

on_each!(stats_count_streams_and_cached_events: embedded, jetstream, core);

async fn stats_count_streams_and_cached_events(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let mut streams = Vec::new();
    for company in ["a", "a", "b"] {
        streams.push(Recorder::open(&world.host, &Request::company(company)).await?);
    }
    for n in 0..12 {
        publisher.send(SUBJECT, payload(if n < 8 { "a" } else { "c" }, n)).await?;
    }
    let stats = wait::until_ok("the events are counted", || async {
        let stats = world.host.json("/stream/stats").await?;
        ensure!(stats["replayCache"]["totalEvents"] == 12, "{stats}");
        Ok(stats)
    })
    .await?;
    ensure!(keys(&stats) == BTreeSet::from(["connections", "replayCache", "timestamp"]), "{stats}");
    let connections = &stats["connections"];
    ensure!(keys(connections) == BTreeSet::from(["totalConnections", "activeCompanies", "connectionsByCompany"]));
    ensure!(connections["totalConnections"] == 3 && connections["activeCompanies"] == 2, "{stats}");
    ensure!(connections["connectionsByCompany"] == serde_json::json!({"a": 2, "b": 1}), "{stats}");
    let cache = &stats["replayCache"];
    ensure!(keys(cache) == BTreeSet::from(["companies", "totalEvents", "eventsByCompany"]), "{stats}");
    ensure!(cache["companies"] == 2 && cache["eventsByCompany"] == serde_json::json!({"a": 8, "c": 4}), "{stats}");
    ensure!(is_timestamp(&stats["timestamp"]), "{stats}");

    let health = world.host.json("/stream/health").await?;
    ensure!(keys(&health) == BTreeSet::from(["status", "streaming", "timestamp", "components"]), "{health}");
    ensure!(health["status"] == "ok" && is_timestamp(&health["timestamp"]), "{health}");
    let streaming = serde_json::json!({"enabled": true, "activeConnections": 3, "activeCompanies": 2});
    ensure!(health["streaming"] == streaming, "{health}");
    ensure!(!keys(&health["components"]).is_empty(), "{health}");

    drop(streams);
    wait::until_ok("closed streams are gone", || async {
        let stats = world.host.json("/stream/stats").await?;
        ensure!(stats["connections"]["totalConnections"] == 0, "{stats}");
        ensure!(stats["connections"]["connectionsByCompany"] == serde_json::json!({}), "{stats}");
        Ok(())
    })
    .await
}

on_each!(metrics_have_the_contracts_names_and_their_sums_agree: embedded, jetstream, core);

async fn metrics_have_the_contracts_names_and_their_sums_agree(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    for n in 0..100 {
        publisher.send(SUBJECT, payload("a", n)).await?;
    }
    for _ in 0..10 {
        publisher.send(SUBJECT, r#"{"no":"company"}"#).await?;
    }
    let first = stream.events_reach(100).await?[0].id.clone().context("an id")?;
    let back = Recorder::open(&world.host, &Request::company("a").after(&first)).await?;
    back.first("caught-up").await?;
    let metrics = wait::until_ok("all events are accounted for", || async {
        let metrics = world.host.metrics().await?;
        let [received, emitted, dropped, dead] =
            ["events_received_total", "events_emitted_total", "events_dropped_total", "dead_letters_total"]
                .map(|name| metrics.sum(name));
        ensure!((received - 110.0).abs() < 0.5, "{received} received");
        ensure!((received - emitted - dropped - dead).abs() < 0.5, "{received} = {emitted} + {dropped} + {dead}");
        ensure!((dead - 10.0).abs() < 0.5 && dropped < 0.5, "{dropped} dropped, {dead} dead");
        // Counted after the events.
        let outputs = metrics.sum("outputs_total");
        ensure!((outputs - 100.0).abs() < 0.5, "{outputs} outputs");
        Ok(metrics)
    })
    .await?;
    for name in [
        "connections",
        "delivery_latency_seconds_count",
        "replay_requests_total",
        "filter_duration_seconds_count",
        "module_swaps_total",
        "source_lag_events",
        "commit_duration_seconds_count",
        "component_up",
        "outputs_total",
    ] {
        ensure!(metrics.has(name), "no {name}");
    }
    let close = |value: f64, wanted: f64| (value - wanted).abs() < 0.5;
    ensure!(close(metrics.labelled("connections", "company=\"a\""), 2.0));
    ensure!(close(metrics.labelled("replay_requests_total", "result=\"hit\""), 1.0));
    ensure!(close(metrics.sum("source_lag_events"), 0.0));
    let deliveries = metrics.sum("delivery_latency_seconds_count");
    ensure!(deliveries >= 100.0, "{deliveries} deliveries");
    Ok(())
}

on_each!(streams_are_logged_with_what_an_operator_asks_for: embedded);

async fn streams_are_logged_with_what_an_operator_asks_for(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_LOG", "debug");
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a").after("at-0-0000000000000")).await?;
    world.publisher().await?.send(SUBJECT, payload("a", 0)).await?;
    stream.events_reach(1).await?;
    drop(stream);
    for (message, fields) in [
        ("SSE connection established", &["connectionId", "companyId", "lastEventId"][..]),
        ("Broadcast complete", &["companyId", "eventType", "recipients"]),
        ("SSE connection closed", &["connectionId", "companyId", "reason", "durationMs", "events"]),
    ] {
        wait::until_ok(message, || async {
            let log = world.host.log();
            let line = log.lines().find(|line| line.contains(message)).with_context(|| message.to_owned())?;
            for field in fields {
                ensure!(line.contains(field), "no {field} in {line}");
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}
