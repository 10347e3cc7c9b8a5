//! Real events as tests of filters: given again as they were given, whole, in order, and of nobody else.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::payload;
use tidegate_tests::host::ADMIN_TOKEN;
use tidegate_tests::modules::obedient;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

async fn capture(world: &World, more: &[&str]) -> Result<std::process::Output> {
    let admin = format!("http://{}", world.host.admin()?);
    let mut args = vec!["capture", "--admin", &admin, "--admin-token", ADMIN_TOKEN, "--company", "a"];
    args.extend(more);
    world.host.run(&args).await
}

async fn captured(world: &World, more: &[&str]) -> Result<Vec<Value>> {
    let output = capture(world, more).await?;
    ensure!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| serde_json::from_str(line).context("a line")).collect()
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["payload"]["n"].as_u64()).collect()
}

on_each!(real_events_are_captured_as_filters_are_given_them: embedded, jetstream);

async fn real_events_are_captured_as_filters_are_given_them(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let publisher = world.publisher().await?;
    // More than one request gives, and between others' events.
    let events = (0..700).flat_map(|n| [payload("a", n), payload("b", n)]);
    publisher.send_all(SUBJECT, events.collect()).await?;
    publisher.send("metrics.recounted", payload("a", 700)).await?;
    publisher.send(SUBJECT, r#"{"companyId":"a","n":701,"user":{"email":"a@b.example","age":44}}"#).await?;
    stream.events_reach(702).await?;

    let all = captured(world, &["--limit", "5000"]).await?;
    ensure!(numbers(&all) == (0..702).collect::<Vec<_>>(), "{:?}", numbers(&all));
    ensure!(all.iter().all(|event| event["company"] == "a"), "another company's");
    ensure!(
        all[0]["subject"] == SUBJECT && all[0]["type"] == "metric_updated" && all[0]["time"].is_u64(),
        "{}",
        all[0]
    );
    ensure!(numbers(&captured(world, &["--limit", "3"]).await?) == [0, 1, 2]);
    ensure!(numbers(&captured(world, &["--subject", "metrics.recounted"]).await?) == [700]);
    ensure!(numbers(&captured(world, &["--since", "4102444800000"]).await?).is_empty());

    let redacted = captured(world, &["--limit", "5000", "--redact", "email", "--redact", "user.age"]).await?;
    let last = redacted.last().context("events")?;
    ensure!(last["payload"]["user"] == json!({"email": "***", "age": 0}), "{last}");

    // They are what `test --events` takes.
    let folder = tidegate_tests::folder::Folder::new("captured")?;
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, capture(world, &["--limit", "50"]).await?.stdout)?;
    let filter = folder.path().join("10-guest.wasm");
    std::fs::write(&filter, obedient()?)?;
    let (filter, file) = (filter.to_str().context("a path")?, file.to_str().context("a path")?);
    let tested = world.host.run(&["test", filter, "--events", file]).await?;
    ensure!(tested.status.success(), "{tested:?}");
    let admin = format!("http://{}", world.host.admin()?);
    let wrong = world.host.run(&["capture", "--admin", &admin, "--admin-token", "wrong", "--company", "a"]).await?;
    ensure!(
        wrong.status.code() == Some(1) && String::from_utf8_lossy(&wrong.stderr).contains("admin.token"),
        "{wrong:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_nats_keeps_nothing_to_capture_and_says_so() -> Result<()> {
    let mut world = World::prepare(Backend::Core).await?;
    world.host.start().await?;
    let output = capture(&world, &[]).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("core NATS keeps no events"), "{output:?}");
    Ok(())
}
