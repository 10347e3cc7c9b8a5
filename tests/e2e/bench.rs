//! What `tidegate bench` says of a filter is what a host that runs it shows in its metrics.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tidegate_tests::backend::World;
use tidegate_tests::history::payload;
use tidegate_tests::modules::Modules;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

/// Events that come one by one, in each round.
const EVENTS: u64 = 200;
/// How far apart the two may be. Both are wall time, on cores that other tests use, too: what is compared is whether
/// they measure the same, not how well.
const RATIO_MAX: f64 = 4.0;
/// A round in which one of them was held up is followed by another.
const ROUNDS: u64 = 10;

on_each!(what_a_bench_tells_is_what_the_metrics_show: embedded);

async fn what_a_bench_tells_is_what_the_metrics_show(world: &mut World) -> Result<()> {
    Modules::of(&world.host.modules(), "a").rename_metrics("10-rename", "v1")?;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        let (calls_before, nanos_before) = shown(world).await?;
        for n in 0..EVENTS {
            publisher.send(SUBJECT, payload("a", round * EVENTS + n)).await?;
        }
        stream.events_reach(usize::try_from((round + 1) * EVENTS)?).await?;
        let (calls, nanos) = shown(world).await?;
        let (calls, nanos) = (calls - calls_before, nanos - nanos_before);
        ensure!(calls > 0.0 && calls <= EVENTS as f64 && nanos > 0.0, "{calls} calls of {nanos} ns");
        let told = bench(world, &["--no-native", "--json"]).await?;
        let cost = |name: &str| told["cost"][name].as_f64().with_context(|| told.to_string());
        let ratio = nanos / (calls * cost("callNs")? + EVENTS as f64 * cost("eventNs")?);
        if (1.0 / RATIO_MAX..=RATIO_MAX).contains(&ratio) {
            return Ok(());
        }
        seen.push(ratio);
    }
    bail!("the metrics show {seen:?} of what was told")
}

/// Calls of the companies' filters so far, and their time in nanoseconds.
async fn shown(world: &World) -> Result<(f64, f64)> {
    let metrics = world.host.metrics().await?;
    let part = |name: &str| metrics.labelled(&format!("filter_duration_seconds_{name}"), "chain=\"company\"");
    Ok((part("count"), part("sum") * 1e9))
}

on_each!(instructions_are_counted_and_the_same_each_time: embedded);

async fn instructions_are_counted_and_the_same_each_time(world: &mut World) -> Result<()> {
    Modules::of(&world.host.modules(), "a").rename_metrics("10-rename", "v1")?;
    let words = ["--no-native", "--json", "--seconds", "0.01"];
    let (first, second) = (bench(world, &words).await?, bench(world, &words).await?);
    for batch in 0..4 {
        let count = |told: &Value| told["batches"][batch]["instructions"].as_f64().context("a number");
        ensure!(count(&first)? > 10.0 && count(&first)? == count(&second)?, "{first}\n{second}");
    }
    ensure!(first["bytes"].as_u64() > Some(1000) && first["memoryBytes"]["after"].as_u64() > Some(1000), "{first}");
    ensure!(first["batches"][0]["failed"] == 0 && first["batches"][0]["dropped"] == 0, "{first}");
    Ok(())
}

/// Of the filter in the host's folder, on events like those that are published.
async fn bench(world: &World, words: &[&str]) -> Result<Value> {
    let events = world.host.folder().join("events.ndjson");
    let event = |n| {
        let body: Value = serde_json::from_str(&payload("a", n))?;
        Ok(json!({"subject": SUBJECT, "company": "a", "type": "metric_updated", "payload": body}).to_string())
    };
    fs::write(&events, (0..EVENTS).map(event).collect::<Result<Vec<String>>>()?.join("\n"))?;
    let (module, events) = (world.host.modules().join("a/10-rename.wasm"), events.display().to_string());
    let module = module.display().to_string();
    let done = world.host.run(&[&["bench", &module, "--events", &events], words].concat()).await?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}
