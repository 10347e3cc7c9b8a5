//! SIGTERM: every stream is told, the host ends within the window, nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::companies;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::host::Answer;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

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

/// Enough for minutes of compiling.
const MODULES: u32 = 300;

on_each!(a_host_that_is_told_to_end_while_it_starts_answers_who_waits_and_ends: embedded);

async fn a_host_that_is_told_to_end_while_it_starts_answers_who_waits_and_ends(world: &mut World) -> Result<()> {
    companies::fill(&world.host.modules(), MODULES)?;
    world.host.set("log.level=debug");
    world.host.launch().await?;
    let asked = |url: String| Answer::of(world.host.client().get(url).header("accept", "text/event-stream"));
    let url = world.host.url("/stream/updates?companyId=a")?;
    let ended = async {
        wait::until_ok("both wait", || async {
            let waiting = world.host.log().matches("waits until the host has started").count();
            ensure!(waiting == 2, "{waiting}");
            Ok(())
        })
        .await?;
        world.host.terminate()
    };
    let (told, status, ()) = tokio::try_join!(asked(url.clone()), asked(format!("{url}&errors=http")), ended)?;
    ensure!(told.status == 200 && told.body.contains("event: bye") && told.body.contains("retry: "), "{}", told.body);
    ensure!(status.status == 503, "{}", status.status);
    let code = world.host.end().await?;
    ensure!(code == 0 && !world.host.log().contains("tidegate listens"), "exit code {code}");
    Ok(())
}
