//! SIGTERM: every stream is told, the host ends within the window, nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

on_each!(streams_are_told_and_the_host_ends_in_its_window: embedded, jetstream, core);

async fn streams_are_told_and_the_host_ends_in_its_window(world: &mut World) -> Result<()> {
    world.host.set("live.drain=3s");
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Recorder::open(&world.host, &Request::company("a")).await?);
    }
    publisher.send_all(SUBJECT, (0..100).map(|n| payload("a", n)).collect()).await?;
    streams[0].events_reach(100).await?;
    let begun = Instant::now();
    world.host.terminate()?;
    let mut retries = Vec::new();
    for stream in &streams {
        let ended = stream.ended().await?;
        ensure!(ended.is_ok(), "cut off, not ended: {ended:?}");
        let frames = stream.frames();
        let expected = Expected { company: "a", numbers: Some((0..100).collect()), ..Expected::default() };
        check(&frames, &expected)?;
        let bye = frames.last().expect("frames");
        ensure!(bye.kind() == "bye" && bye.json()["reason"] == "drain" && bye.id.is_none(), "{bye:?}");
        let retry = bye.retry.or_else(|| frames.iter().rev().find_map(|frame| frame.retry));
        retries.push(retry);
    }
    ensure!(retries.iter().all(Option::is_some), "`retry` before `bye`: {retries:?}");
    retries.sort_unstable();
    retries.dedup();
    ensure!(retries.len() > 5, "all would come back at the same time: {retries:?}");
    let code = world.host.end().await?;
    ensure!(code == 0, "exit code {code}");
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(10), "{took:?}");
    Ok(())
}

on_each!(after_a_drain_clients_go_on_where_they_were: embedded, jetstream);

async fn after_a_drain_clients_go_on_where_they_were(world: &mut World) -> Result<()> {
    world.host.set("live.drain=1s");
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let publisher = world.publisher().await?;
    publisher.send_all(SUBJECT, (0..100).map(|n| payload("a", n)).collect()).await?;
    stream.events_reach(1).await?;
    world.host.terminate()?;
    let _ = stream.ended().await?;
    ensure!(world.host.end().await? == 0);
    let seen = stream.events().len() as u64;
    let cursor = stream.last_id().expect("an id");
    let begun = Instant::now();
    world.host.restart().await?;
    // The lease was given back: nobody waits for it to run out.
    ensure!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let back = Recorder::open(&world.host, &Request::company("a").after(&cursor)).await?;
    world.publisher().await?.send(SUBJECT, payload("a", 100)).await?;
    back.events_reach(usize::try_from(101 - seen)?).await?;
    // The replay may hold the new one, too.
    back.first("caught-up").await?;
    let numbers = Some((seen..101).collect());
    check(&back.frames(), &Expected { company: "a", cursor: true, numbers, ..Expected::default() })
}
