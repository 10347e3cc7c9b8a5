//! An emptied replay cache is filled again: what is lost with it is told, what was told before is not told again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, stream};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::modules::{Modules, stateful};
use tidegate_tests::proxy::Proxy;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

on_each!(filters_whose_state_is_lost_are_told_of_and_others_notice_nothing: jetstream);

async fn filters_whose_state_is_lost_are_told_of_and_others_notice_nothing(world: &mut World) -> Result<()> {
    Modules::of(&world.host.modules(), "a").put("10-keeps.wasm", &stateful()?)?;
    world.host.start().await?;
    ensure!(since(world).await?.is_none(), "a store that began with the stream lost nothing");
    let publisher = world.publisher().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    publisher.send_all(SUBJECT, (0..200).map(|n| payload(if n % 2 == 0 { "a" } else { "b" }, n)).collect()).await?;
    let early = a.events_reach(100).await?[10].id.clone().unwrap_or_default();
    b.events_reach(100).await?;
    world.redis()?.flush().await?;
    let gap = a.first("gap").await?.json();
    ensure!(gap["reason"] == "store-lost" && gap["missed"].is_null(), "{gap}");
    publisher.send_all(SUBJECT, (200..300).map(|n| payload(if n % 2 == 0 { "a" } else { "b" }, n)).collect()).await?;
    a.events_reach(150).await?;
    b.events_reach(150).await?;
    let numbers = |company| Some((0..300).filter(|n| (n % 2 == 0) == (company == "a")).collect());
    let expected = |company, gap| {
        let numbers = numbers(company);
        Expected { company, numbers, gap, leaves_live: true, ..Expected::default() }
    };
    check(&a.frames(), &expected("a", true))?;
    check(&b.frames(), &expected("b", false))?;
    let told = a.frames().iter().filter(|frame| frame.kind() == "gap").count();
    ensure!(told == 1, "told {told} times");
    // Who comes from before is told, too; who has what came since is not.
    let back = Recorder::open(&world.host, &Request::company("a").after(&early)).await?;
    back.first("caught-up").await?;
    ensure!(back.first("gap").await?.json()["reason"] == "store-lost");
    let last = a.frames().iter().rev().find_map(|frame| frame.id.clone()).context("an id")?;
    let back = Recorder::open(&world.host, &Request::company("a").after(&last)).await?;
    back.first("caught-up").await?;
    check(&back.frames(), &Expected { company: "a", cursor: true, numbers: Some(vec![]), ..Expected::default() })?;
    ensure!(since(world).await?.is_some(), "`modules` says since when");
    Ok(())
}

/// Since when company a's filters keep their state, where that is not from the beginning.
async fn since(world: &World) -> Result<Option<String>> {
    let listed = world.host.listed_modules().await?;
    let folders = listed["folders"].as_array().context("folders")?;
    let folder = folders.iter().find(|folder| folder["folder"] == "a").context("company a's folder")?;
    Ok(folder["stateSince"].as_str().map(str::to_owned))
}

on_each!(dead_letters_that_are_kept_are_not_written_again: jetstream);

async fn dead_letters_that_are_kept_are_not_written_again(world: &mut World) -> Result<()> {
    // With a window so short that no repeat is recognised by the server.
    let context = jetstream::new(world.nats()?.client().await?);
    let window = Duration::from_millis(100);
    let kept = stream::Config {
        name: "TIDEGATE_DLQ".to_owned(),
        subjects: vec!["tidegate.dlq.>".to_owned()],
        duplicate_window: window,
        ..stream::Config::default()
    };
    let mut kept = context.create_stream(kept).await?;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    for n in 0..20 {
        publisher.send(SUBJECT, &format!("no JSON {n}")).await?;
        publisher.send(SUBJECT, payload("a", n)).await?;
    }
    stream.events_reach(20).await?;
    letters_reach(&mut kept, 20).await?;
    let published = std::time::Instant::now();
    wait::until("the window is over", || async { (published.elapsed() > window * 2).then_some(()) }).await?;
    world.redis()?.flush().await?;
    publisher.send(SUBJECT, payload("a", 20)).await?;
    stream.events_reach(21).await?;
    // In order: had the others been written again, they would stand before this one.
    publisher.send(SUBJECT, "no JSON either").await?;
    letters_reach(&mut kept, 21).await?;
    let last = kept.get_last_raw_message_by_subject("tidegate.dlq.>").await?;
    ensure!(last.payload == "no JSON either" && last.sequence == 21, "{last:?}");
    check(
        &stream.frames(),
        &Expected { company: "a", numbers: Some((0..21).collect()), leaves_live: true, ..Expected::default() },
    )
}

async fn letters_reach(kept: &mut stream::Stream, letters: u64) -> Result<()> {
    for _ in 0..2_000 {
        if kept.info().await?.state.messages >= letters {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    anyhow::bail!("{letters} dead letters are waited for in vain: {:?}", kept.info().await?.state);
}

on_each!(health_says_how_much_of_an_emptied_store_is_to_go: jetstream);

async fn health_says_how_much_of_an_emptied_store_is_to_go(world: &mut World) -> Result<()> {
    let proxy = Proxy::to(world.redis()?.address()).await?;
    world.host.env("REDIS_URL", &format!("redis://{}/0", proxy.address()));
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send_all(SUBJECT, (0..5_000).map(|n| payload("a", n)).collect()).await?;
    stream.events_reach(5_000).await?;
    proxy.delay(Duration::from_millis(200));
    world.redis()?.flush().await?;
    wait::until_ok("health says how much is to go", || async {
        let health = world.host.json("/stream/health").await?;
        let store = &health["components"]["store"];
        let reason = store["reason"].as_str().unwrap_or_default();
        ensure!(health["status"] == "degraded" && store["state"] == "degraded", "{health}");
        ensure!(reason.contains("being filled again") && reason.contains("events to go"), "{health}");
        Ok(())
    })
    .await?;
    proxy.delay(Duration::ZERO);
    wait::until_ok("all is filled in", || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["status"] == "ok", "{health}");
        Ok(())
    })
    .await?;
    publisher.send(SUBJECT, payload("a", 5_000)).await?;
    stream.events_reach(5_001).await?;
    let numbers = Some((0..5_001).collect());
    check(&stream.frames(), &Expected { company: "a", numbers, leaves_live: true, ..Expected::default() })
}

on_each!(while_the_cache_is_filled_a_stream_without_a_cursor_begins_where_the_source_stood: jetstream);

async fn while_the_cache_is_filled_a_stream_without_a_cursor_begins_where_the_source_stood(
    world: &mut World,
) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let before = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send_all(SUBJECT, (0..5_000).map(|n| payload("a", n)).collect()).await?;
    before.events_reach(5_000).await?;
    world.host.kill()?;
    world.redis()?.flush().await?;
    world.host.restart().await?;
    // Whatever is filled in by now: what was there before this stream was opened is no news to it.
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send_all(SUBJECT, (5_000..5_010).map(|n| payload("a", n)).collect()).await?;
    stream.events_reach(10).await?;
    let numbers = Some((5_000..5_010).collect());
    check(&stream.frames(), &Expected { company: "a", numbers, leaves_live: true, ..Expected::default() })?;
    let replay = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    replay.events_reach(5_010).await?;
    let (numbers, cursor) = (Some((0..5_010).collect()), true);
    replay.first("caught-up").await?;
    check(&replay.frames(), &Expected { company: "a", cursor, numbers, leaves_live: true, ..Expected::default() })
}
