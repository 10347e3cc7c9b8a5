//! What can't become an event is kept with its reason; everything around it goes on.

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

/// Payloads that no company's event can be.
const BAD: [&[u8]; 9] = [
    b"not json",
    b"",
    b"{\"companyId\":",
    b"\xff\xfe\x00",
    b"[]",
    b"{\"metricName\":\"x\"}",
    b"{\"companyId\":\"../etc\"}",
    b"{\"companyId\":\"_platform\"}",
    b"{\"companyId\":42.5}",
];

on_each!(malformed_events_become_dead_letters_and_the_rest_goes_on: jetstream, old_jetstream, core);

async fn malformed_events_become_dead_letters_and_the_rest_goes_on(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let client = world.nats()?.client().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    for (n, bad) in (0..).zip(BAD) {
        client.publish(SUBJECT, bad.to_vec().into()).await?;
        client.flush().await?;
        publisher.send(SUBJECT, payload("a", n)).await?;
    }
    stream.events_reach(BAD.len()).await?;
    let numbers = Some((0..BAD.len() as u64).collect());
    check(&stream.frames(), &Expected { company: "a", numbers, ..Expected::default() })?;
    sums_agree(world, 2.0 * BAD.len() as f64, BAD.len() as f64).await?;
    if world.backend != Backend::Core {
        letters_are_kept(world).await?;
    }
    Ok(())
}

async fn sums_agree(world: &World, received: f64, dead: f64) -> Result<()> {
    wait::until_ok("all events are accounted for", || async {
        let metrics = world.host.metrics().await?;
        let (all, emitted, letters) = (
            metrics.sum("events_received_total"),
            metrics.sum("events_emitted_total"),
            metrics.sum("dead_letters_total"),
        );
        ensure!((all - received).abs() < 0.5, "{all} received, not {received}");
        ensure!((letters - dead).abs() < 0.5, "{letters} dead letters, not {dead}");
        ensure!((emitted + letters + metrics.sum("events_dropped_total") - all).abs() < 0.5, "{emitted} emitted");
        Ok(())
    })
    .await
}

/// Each with the original's bytes and, in its headers, why and whence.
async fn letters_are_kept(world: &World) -> Result<()> {
    let context = jetstream::new(world.nats()?.client().await?);
    // Counted with their commit, published from the outbox after it.
    let stream = wait::until_ok("every letter is in the stream", || async {
        let mut stream = context.get_stream("TIDEGATE_DLQ").await.context("the stream of dead letters")?;
        let messages = stream.info().await?.state.messages;
        ensure!(messages >= BAD.len() as u64, "{messages} letters");
        Ok(stream)
    })
    .await?;
    let consumer = stream.create_consumer(pull::Config::default()).await?;
    let mut messages = consumer.fetch().max_messages(50).messages().await?;
    let mut payloads = Vec::new();
    let mut last = 0;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(message.subject.as_str() == format!("tidegate.dlq.{SUBJECT}"), "{}", message.subject);
        let headers = message.headers.clone().context("headers")?;
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
        ensure!(header("Tidegate-Subject") == SUBJECT && !header("Tidegate-Reason").is_empty(), "{headers:?}");
        let sequence: u64 = header("Tidegate-Sequence").parse().with_context(|| format!("{headers:?}"))?;
        ensure!(sequence > last, "out of order");
        last = sequence;
        payloads.push(message.payload.to_vec());
    }
    ensure!(payloads == BAD.map(<[u8]>::to_vec), "{} letters: {payloads:?}", payloads.len());
    Ok(())
}

on_each!(json_without_a_company_is_a_dead_letter: embedded);

async fn json_without_a_company_is_a_dead_letter(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_SUBJECTS", "metrics.*,orders.*");
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let bad = BAD.iter().filter_map(|bad| std::str::from_utf8(bad).ok());
    let bad: Vec<&str> = bad.filter(|text| serde_json::from_str::<serde_json::Value>(text).is_ok()).collect();
    for text in &bad {
        publisher.send(SUBJECT, *text).await?;
    }
    // Of no type that the built-in chain knows.
    publisher.send("orders.created", payload("a", 0)).await?;
    publisher.send(SUBJECT, payload("a", 1)).await?;
    stream.events_reach(1).await?;
    check(&stream.frames(), &Expected { company: "a", numbers: Some(vec![1]), ..Expected::default() })?;
    let dead = bad.len() as f64 + 1.0;
    sums_agree(world, dead + 1.0, dead).await?;
    let metrics = world.host.metrics().await?;
    ensure!(metrics.labelled("dead_letters_total", "no event type") > 0.5);
    ensure!(metrics.labelled("dead_letters_total", "company") > 0.5);
    Ok(())
}

on_each!(a_filters_drops_are_counted_by_its_reason: embedded, jetstream);

async fn a_filters_drops_are_counted_by_its_reason(world: &mut World) -> Result<()> {
    let modules = tidegate_tests::modules::Modules::of(&world.host.modules(), "a");
    modules.put("10-threshold.toml", b"[config]\npointer = \"/n\"\nmin = 50\n")?;
    modules.put("10-threshold.wasm", &std::fs::read(tidegate_tests::tools::filter("threshold")?)?)?;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send_all(SUBJECT, (0..100).map(|n| payload("a", n)).collect()).await?;
    stream.events_reach(50).await?;
    check(&stream.frames(), &Expected { company: "a", numbers: Some((50..100).collect()), ..Expected::default() })?;
    sums_agree(world, 100.0, 0.0).await?;
    let dropped = world.host.metrics().await?.sum("events_dropped_total");
    ensure!((dropped - 50.0).abs() < 0.5, "{dropped} dropped");
    let text = world.host.get("/metrics").await?.body;
    let line = text.lines().find(|line| line.starts_with("tidegate_events_dropped_total{")).unwrap_or_default();
    ensure!(line.contains("below"), "not the filter's reason: {line}");
    Ok(())
}
