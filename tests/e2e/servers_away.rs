//! Redis and NATS come and go: streams stay open, nothing is lost or doubled, health says what is away.

use anyhow::{Result, ensure};
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::nats::Nats;
use tidegate_tests::publish::Publisher;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::redis::Redis;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

async fn health_is(world: &World, status: &str) -> Result<()> {
    wait::until_ok(&format!("health is {status}"), || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["status"] == status, "{health}");
        Ok(())
    })
    .await
}

async fn send(publisher: &Publisher, from: u64, to: u64) -> Result<()> {
    publisher.send_all(SUBJECT, (from..to).map(|n| payload("a", n)).collect()).await
}

fn all(count: u64) -> Expected<'static> {
    Expected { company: "a", numbers: Some((0..count).collect()), ..Expected::default() }
}

on_each!(redis_restarts_and_nothing_is_lost: jetstream);

async fn redis_restarts_and_nothing_is_lost(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    send(&publisher, 0, 100).await?;
    stream.events_reach(100).await?;
    world.redis_mut()?.kill()?;
    send(&publisher, 100, 200).await?;
    health_is(world, "degraded").await?;
    ensure!(world.host.get("/livez").await?.status == 200);
    world.redis_mut()?.resume().await?;
    stream.events_reach(200).await?;
    send(&publisher, 200, 300).await?;
    stream.events_reach(300).await?;
    check(&stream.frames(), &all(300))?;
    health_is(world, "ok").await?;
    let replay = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    replay.first("caught-up").await?;
    check(&replay.frames(), &Expected { cursor: true, ..all(300) })
}

on_each!(without_redis_a_replay_comes_from_memory_or_is_refused_for_a_while: jetstream);

async fn without_redis_a_replay_comes_from_memory_or_is_refused_for_a_while(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    send(&publisher, 0, 10).await?;
    let cursor = stream.events_reach(10).await?[4].id.clone().unwrap_or_default();
    world.redis_mut()?.kill()?;
    health_is(world, "degraded").await?;
    wait::until_ok("the store is known to be away", || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["components"]["store"]["state"] == "down", "{health}");
        Ok(())
    })
    .await?;
    let remembered = Recorder::open(&world.host, &Request::company("a").after(&cursor)).await?;
    remembered.first("caught-up").await?;
    let after = |numbers| Expected { company: "a", cursor: true, numbers: Some(numbers), ..Expected::default() };
    check(&remembered.frames(), &after((5..10).collect()))?;
    let earliest = Request::company("a").query("lastEventId", "earliest");
    let refused = Recorder::attach(world.host.open(&earliest).await?);
    ensure!(refused.ended().await?.is_ok() && refused.status == 200, "{}", refused.status);
    let frames = refused.frames();
    ensure!(frames.len() == 1 && frames[0].kind() == "bye" && frames[0].retry.is_some(), "{frames:?}");
    ensure!(frames[0].json()["reason"] == "store-unavailable", "{frames:?}");
    let answer = world.host.get("/stream/updates?companyId=a&lastEventId=earliest&errors=http").await?;
    ensure!(answer.status == 503 && !answer.header("retry-after").is_empty(), "{} {:?}", answer.status, answer.headers);
    ensure!(stream.is_open(), "who is live stays");
    world.redis_mut()?.resume().await?;
    health_is(world, "ok").await?;
    let back = Recorder::open(&world.host, &earliest).await?;
    back.first("caught-up").await?;
    check(&back.frames(), &after((0..10).collect()))?;
    send(&publisher, 10, 20).await?;
    remembered.events_reach(15).await?;
    check(&remembered.frames(), &after((5..20).collect()))?;
    let metrics = world.host.metrics().await?;
    let hits = metrics.labelled("replay_requests_total", "result=\"hit\"");
    ensure!(hits == 2.0 && metrics.sum("replay_requests_total") == hits, "two requests were answered: {hits}");
    Ok(())
}

on_each!(a_redis_that_takes_no_commit_is_read_all_the_same: jetstream);

async fn a_redis_that_takes_no_commit_is_read_all_the_same(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    send(&publisher, 0, 10).await?;
    stream.events_reach(10).await?;
    world.redis()?.set("maxmemory-policy", "noeviction").await?;
    world.redis()?.set("maxmemory", "1").await?;
    send(&publisher, 10, 20).await?;
    wait::until_ok("a commit is refused", || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["components"]["store"]["state"] == "down", "{health}");
        Ok(())
    })
    .await?;
    let replay = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    replay.first("caught-up").await?;
    world.redis()?.set("maxmemory", "0").await?;
    replay.events_reach(20).await?;
    check(&replay.frames(), &Expected { cursor: true, ..all(20) })
}

on_each!(redis_freezes_under_load_and_nothing_is_doubled: jetstream);

async fn redis_freezes_under_load_and_nothing_is_doubled(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let flow = publisher.steady(500, 3_000, |n| (SUBJECT.to_owned(), payload("a", n)));
    for step in 1..=3 {
        flow.reaches(step * 500).await?;
        world.redis()?.freeze()?;
        // Longer than any answer is waited for: commits are in doubt, and some of them take effect at the thaw.
        flow.reaches(step * 500 + 400).await?;
        world.redis()?.thaw()?;
    }
    let sent = flow.finish().await?;
    stream.events_reach(usize::try_from(sent)?).await?;
    check(&stream.frames(), &all(sent))?;
    let replay = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    replay.first("caught-up").await?;
    check(&replay.frames(), &Expected { cursor: true, ..all(sent) })
}

on_each!(an_emptied_redis_is_filled_again_from_the_stream: jetstream);

async fn an_emptied_redis_is_filled_again_from_the_stream(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    send(&publisher, 0, 200).await?;
    let cursor = stream.events_reach(200).await?[99].id.clone().unwrap_or_default();
    world.redis()?.flush().await?;
    send(&publisher, 200, 300).await?;
    stream.events_reach(300).await?;
    check(&stream.frames(), &Expected { leaves_live: true, ..all(300) })?;
    let replay = Recorder::open(&world.host, &Request::company("a").after(&cursor)).await?;
    replay.first("caught-up").await?;
    let numbers = Some((100..300).collect());
    check(&replay.frames(), &Expected { company: "a", cursor: true, numbers, ..Expected::default() })
}

on_each!(nats_restarts_and_the_stream_goes_on: jetstream, old_jetstream);

async fn nats_restarts_and_the_stream_goes_on(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    for round in 0..3 {
        let publisher = world.publisher().await?;
        send(&publisher, round * 100, round * 100 + 100).await?;
        stream.events_reach(usize::try_from(round)? * 100 + 100).await?;
        world.nats_mut()?.kill()?;
        health_is(world, "degraded").await?;
        world.nats_mut()?.resume().await?;
        health_is(world, "ok").await?;
    }
    send(&world.publisher().await?, 300, 310).await?;
    stream.events_reach(310).await?;
    check(&stream.frames(), &all(310))
}

on_each!(nats_restarts_without_a_stream_and_the_possible_loss_is_told: core);

async fn nats_restarts_without_a_stream_and_the_possible_loss_is_told(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    send(&world.publisher().await?, 0, 50).await?;
    stream.events_reach(50).await?;
    world.nats_mut()?.kill()?;
    health_is(world, "degraded").await?;
    world.nats_mut()?.resume().await?;
    health_is(world, "ok").await?;
    send(&world.publisher().await?, 50, 100).await?;
    stream.events_reach(100).await?;
    check(&stream.frames(), &Expected { gap: true, leaves_live: true, ..all(100) })?;
    let gap = stream.first("gap").await?.json();
    ensure!(gap["reason"] == "source-lost" && gap["missed"].is_null(), "{gap}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_away_at_the_start_are_waited_for() {
    let nats = Nats::stopped(true).expect("nats");
    let redis = Redis::stopped().expect("redis");
    let mut world = World::assemble(Backend::JetStream, Some(nats), Some(redis)).expect("a world");
    if let Err(error) = waits_for_servers(&mut world).await {
        panic!("{error:#}");
    }
}

async fn the_log_names_who_is_away(world: &World) -> Result<()> {
    let addresses = [world.nats()?.address().to_string(), world.redis()?.address().to_string()];
    wait::until_ok("three tries to reach NATS", || async {
        let tries = world.host.log().lines().filter(|line| line.contains("NATS client error")).count();
        ensure!(tries >= 3, "{tries}");
        Ok(())
    })
    .await?;
    let log = world.host.log();
    for address in addresses {
        ensure!(log.contains(&address), "{address} is not named:\n{log}");
    }
    // It is asked several times a second.
    let told = log.lines().filter(|line| line.contains("Redis gives no usable answer")).count();
    ensure!(told == 1, "told {told} times:\n{log}");
    Ok(())
}

async fn waits_for_servers(world: &mut World) -> Result<()> {
    world.host.launch().await?;
    let ready = world.host.get("/readyz").await?;
    ensure!(ready.status == 503, "{} {}", ready.status, ready.body);
    let health = world.host.get("/stream/health").await?;
    ensure!(health.status == 200, "health always answers");
    let health = health.json()?;
    ensure!(health["status"] != "ok" && health["components"].is_object(), "{health}");
    the_log_names_who_is_away(world).await?;
    world.redis_mut()?.resume().await?;
    ensure!(world.host.get("/readyz").await?.status == 503, "NATS is still away");
    world.nats_mut()?.resume().await?;
    world.host.ready().await?;
    health_is(world, "ok").await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    send(&world.publisher().await?, 0, 10).await?;
    stream.events_reach(10).await?;
    check(&stream.frames(), &all(10))
}
