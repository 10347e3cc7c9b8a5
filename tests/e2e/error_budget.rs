//! A filter that fails too often is rolled back by itself where it is new, and paused where nothing gets through it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::World;
use tidegate_tests::folder::Folder;
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::host::ADMIN_TOKEN;
use tidegate_tests::modules::{Modules, commanded, obedient};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;
use crate::deploy::{done, releases};

on_each!(a_new_version_that_fails_is_rolled_back_by_itself_and_what_failed_can_be_retried: embedded, jetstream);

async fn a_new_version_that_fails_is_rolled_back_by_itself_and_what_failed_can_be_retried(
    world: &mut World,
) -> Result<()> {
    let folder = Folder::new("failing")?;
    let bad = folder.path().join("10-rename.wasm");
    fs::write(&bad, obedient()?)?;
    Modules::of(&world.host.modules(), "a").rename_metrics("10-rename", "good")?;
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let neighbour = Recorder::open(&world.host, &Request::company("b")).await?;
    let publisher = world.publisher().await?;
    // The shipped filter takes them as they are; the new one traps at each.
    let flow = publisher.steady(200, u64::MAX, |n| match n % 2 {
        0 => (SUBJECT.to_owned(), commanded('t', "a", n)),
        _ => (SUBJECT.to_owned(), payload("b", n)),
    });
    stream.events_reach(20).await?;
    let bad = bad.to_str().context("a path")?;
    done(&world.host, &["push", bad, "--company", "a", "-m", "a new idea"]).await?;
    wait::until_ok("it is rolled back", || async {
        let told = releases(&world.host, "a").await?;
        let last = told["log"].as_array().and_then(|log| log.last()).context("a log")?;
        ensure!(last["action"] == "rolled-back-by-itself" && last["by"] == "tidegate", "{last}");
        ensure!(last["message"].as_str().is_some_and(|why| why.contains("in a trap or at a limit")), "{last}");
        Ok(())
    })
    .await?;
    let before = stream.events().len();
    stream.events_reach(before + 50).await?;
    let sent = flow.stop().await?;
    let metrics = world.host.metrics().await?;
    ensure!(metrics.labelled("module_swaps_total", "result=\"rolled-back\"") == 1.0, "not counted");
    // Nothing is lost: what it failed at is in the letters.
    let dead = wait::until_ok("everything came or is a letter", || async {
        let dead = world.host.metrics().await?.sum("dead_letters_total");
        let arrived = stream.events().len() as f64;
        ensure!(dead >= 20.0 && dead + arrived == sent.div_ceil(2) as f64, "{dead} letters and {arrived} of {sent}");
        Ok(dead)
    })
    .await?;
    ensure!(stream.events().iter().all(|event| event.kind() == "good"), "a version that failed sent something");
    check(&stream.frames(), &Expected { company: "a", ..Expected::default() })?;
    let all = (0..sent).filter(|n| n % 2 == 1).collect();
    neighbour.events_reach((sent / 2) as usize).await?;
    check(&neighbour.frames(), &Expected { company: "b", numbers: Some(all), ..Expected::default() })?;
    let places: Vec<String> = done(&world.host, &["dlq", "list", "--json", "--limit", "1000"])
        .await?
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["place"].to_string()))
        .collect::<Result<_>>()?;
    ensure!(places.len() as f64 == dead, "{} letters listed, {dead} counted", places.len());
    let words: Vec<&str> = ["dlq", "retry"].into_iter().chain(places.iter().map(String::as_str)).collect();
    done(&world.host, &words).await?;
    let events = stream.events_reach(sent.div_ceil(2) as usize).await?;
    let mut numbers: Vec<u64> = events.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    ensure!(numbers.len() as u64 == sent.div_ceil(2), "{} of {sent}", numbers.len());
    Ok(())
}

on_each!(a_company_whose_filter_loops_at_every_event_is_paused_until_its_filter_is_mended: embedded, jetstream);

async fn a_company_whose_filter_loops_at_every_event_is_paused_until_its_filter_is_mended(
    world: &mut World,
) -> Result<()> {
    const EVENTS: u64 = 80;
    let modules = Modules::of(&world.host.modules(), "a");
    modules.put("10-rename.toml", b"[limits]\ncall-ms = 5\n")?;
    modules.put("10-rename.wasm", &obedient()?)?;
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let neighbour = Recorder::open(&world.host, &Request::company("b")).await?;
    let both = (0..EVENTS).flat_map(|n| [commanded('l', "a", n), payload("b", n)]);
    world.publisher().await?.send_all(SUBJECT, both.collect()).await?;
    neighbour.events_reach(EVENTS as usize).await?;
    let paused = wait::until_ok("the company is paused", || async {
        let url = format!("http://{}/stream/health", world.host.admin()?);
        let health: Value = world.host.client().get(url).bearer_auth(ADMIN_TOKEN).send().await?.json().await?;
        let reason = health["components"]["modules"]["reason"].as_str().unwrap_or_default().to_owned();
        ensure!(reason.contains("company a is paused: its filters fail at nearly all of its events"), "{health}");
        Ok(reason)
    })
    .await?;
    let modules_told = done(&world.host, &["modules"]).await?;
    ensure!(modules_told.contains("paused"), "{modules_told} / {paused}");
    let dead = world.host.metrics().await?.sum("dead_letters_total");
    ensure!((20.0..EVENTS as f64).contains(&dead), "{dead} letters");
    // It is not run any more: nothing becomes of what comes now.
    world.publisher().await?.send(SUBJECT, commanded('l', "a", EVENTS)).await?;
    world.publisher().await?.send(SUBJECT, payload("b", EVENTS)).await?;
    neighbour.events_reach(EVENTS as usize + 1).await?;
    ensure!(world.host.metrics().await?.sum("dead_letters_total") == dead, "it was run again");
    // Mended, it goes on in order with what waited.
    modules.rename_metrics("10-rename", "mended")?;
    let waited = EVENTS + 1 - dead as u64;
    let events = stream.events_reach(waited as usize).await?;
    let numbers: Vec<u64> = events.iter().filter_map(number).collect();
    ensure!(numbers == (EVENTS + 1 - waited..=EVENTS).collect::<Vec<_>>(), "{numbers:?}");
    check(&stream.frames(), &Expected { company: "a", ..Expected::default() })
}
