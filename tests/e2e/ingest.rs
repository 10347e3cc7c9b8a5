//! `POST /ingest/{subject}`: who may, what is taken, and that all of it is checked before any of it is published.

use anyhow::{Context, Result, ensure};
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::host::{Answer, INGEST_TOKEN};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

on_each!(what_is_taken_is_durable_and_streams: embedded, jetstream, core);

async fn what_is_taken_is_durable_and_streams(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let one = world.host.ingest("metrics.calculated", JSON, payload("a", 0)).await?;
    ensure!(one.status == 202, "{} {}", one.status, one.body);
    let lines = format!("{}\n\n{}\r\n{}", payload("a", 1), payload("a", 2), payload("a", 3));
    let many = world.host.ingest("metrics.calculated", NDJSON, lines).await?;
    ensure!(many.status == 202, "{} {}", many.status, many.body);
    let (one, many) = (one.json()?, many.json()?);
    ensure!(one["accepted"] == 1 && many["accepted"] == 3, "{one} {many}");
    if world.backend == Backend::Core {
        ensure!(many["first"].is_null() && many["last"].is_null(), "core NATS numbers nothing: {many}");
    } else {
        let (first, last) = (many["first"].as_u64().context("first")?, many["last"].as_u64().context("last")?);
        ensure!(last - first == 2 && one["first"] == one["last"], "{one} {many}");
    }
    stream.events_reach(4).await?;
    check(&stream.frames(), &Expected { company: "a", numbers: Some((0..4).collect()), ..Expected::default() })
}

on_each!(a_wrong_request_publishes_nothing_and_says_why: embedded, jetstream, core);

async fn a_wrong_request_publishes_nothing_and_says_why(world: &mut World) -> Result<()> {
    world.host.set("limits.event-bytes=64KiB");
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let good = payload("a", 0);
    let broken = format!("{good}\n{{\"companyId\":\n{good}");
    let huge = format!(r#"{{"companyId":"a","pad":"{}"}}"#, "x".repeat(70 << 10));
    for (what, subject, kind, body, status) in [
        ("a broken line", "metrics.calculated", NDJSON, broken.as_str(), 400),
        ("no JSON", "metrics.calculated", JSON, "hello", 400),
        ("nothing", "metrics.calculated", NDJSON, "\n\n", 400),
        ("too large", "metrics.calculated", JSON, &huge, 413),
        ("another subject", "orders.created", JSON, &good, 400),
        ("a subject with too many tokens", "metrics.a.b", JSON, &good, 400),
        ("a wildcard", "metrics.*", JSON, &good, 400),
        ("a wildcard for the rest", "metrics.%3E", JSON, &good, 400),
        ("an empty token", "metrics..x", JSON, &good, 400),
        ("no token", "metrics.", JSON, &good, 400),
        ("a line break", "metrics.x%0d%0aPUB%20metrics.y%200%0d%0a", JSON, &good, 400),
        ("JetStream's own", "$JS.API.STREAM.DELETE.TIDEGATE", JSON, &good, 400),
        ("dead letters", "tidegate.dlq.metrics.calculated", JSON, &good, 400),
    ] {
        let answer = world.host.ingest(subject, kind, body.to_owned()).await?;
        ensure!(answer.status == status, "{what}: {} {}", answer.status, answer.body);
        let told = answer.json()?;
        ensure!(told["error"].is_string() && told["message"].is_string(), "{what}: {told}");
    }
    let broken = world.host.ingest("metrics.calculated", NDJSON, broken).await?.json()?;
    ensure!(broken["message"].as_str().is_some_and(|text| text.contains("line 2")), "{broken}");
    // What comes now is the first event: nothing of the above was published.
    world.host.ingest("metrics.calculated", JSON, payload("a", 7)).await?;
    stream.events_reach(1).await?;
    check(&stream.frames(), &Expected { company: "a", numbers: Some(vec![7]), ..Expected::default() })
}

on_each!(only_who_has_the_credential_publishes: embedded);

async fn only_who_has_the_credential_publishes(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let url = world.host.url("/ingest/metrics.calculated")?;
    let post = || world.host.client().post(&url).header("content-type", JSON).body(payload("a", 0));
    ensure!(Answer::of(post()).await?.status == 401);
    ensure!(Answer::of(post().bearer_auth("wrong")).await?.status == 401);
    ensure!(Answer::of(post().bearer_auth(format!("{INGEST_TOKEN}x"))).await?.status == 401);
    ensure!(Answer::of(post().basic_auth("user", Some(INGEST_TOKEN))).await?.status == 401);
    ensure!(Answer::of(world.host.client().get(&url).bearer_auth(INGEST_TOKEN)).await?.status == 405);
    // The answer comes before the body has been read, and arrives all the same.
    let large = "x".repeat(4 << 20);
    for _ in 0..10 {
        ensure!(Answer::of(post().bearer_auth("wrong").body(large.clone())).await?.status == 401);
    }
    ensure!(Answer::of(post().bearer_auth(INGEST_TOKEN)).await?.status == 202);
    Ok(())
}

on_each!(without_a_credential_ingest_is_off: embedded);

async fn without_a_credential_ingest_is_off(world: &mut World) -> Result<()> {
    world.host.without("TIDEGATE_INGEST_TOKEN");
    world.host.start().await?;
    let answer = world.host.ingest("metrics.calculated", JSON, payload("a", 0)).await?;
    ensure!(answer.status == 404, "{} {}", answer.status, answer.body);
    Ok(())
}

on_each!(a_repeated_request_is_one_in_jetstream: jetstream);

async fn a_repeated_request_is_one_in_jetstream(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    for n in [0, 0, 1] {
        let url = world.host.url("/ingest/metrics.calculated")?;
        let request = world.host.client().post(url).bearer_auth(INGEST_TOKEN).header("content-type", JSON);
        let answer = Answer::of(request.header("idempotency-key", format!("order-{n}")).body(payload("a", n))).await?;
        ensure!(answer.status == 202, "{} {}", answer.status, answer.body);
    }
    stream.until("the second event", |frames| frames.iter().any(|frame| frame.text() == payload("a", 1))).await?;
    check(&stream.frames(), &Expected { company: "a", numbers: Some(vec![0, 1]), ..Expected::default() })
}
