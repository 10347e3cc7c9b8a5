//! A filter that fails harms only what it failed on: letters tell module, reason and backtrace, the rest goes on in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::modules::{Modules, commanded, obedient};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

/// Events that fail, each in its own way, by their numbers.
const FAILING: [(u64, char); 5] = [(7, 't'), (20, 'e'), (21, 'g'), (33, 'm'), (40, 'l')];

fn command(n: u64) -> char {
    FAILING.iter().find(|(failing, _)| *failing == n).map_or('.', |(_, command)| *command)
}

/// Puts the test's filter into company a's folder, with these settings.
pub(crate) fn deploy(world: &World, settings: &str) -> Result<Modules> {
    let modules = Modules::of(&world.host.modules(), "a");
    modules.put("10-guest.toml", settings.as_bytes())?;
    modules.put("10-guest.wasm", &obedient()?)?;
    Ok(modules)
}

/// Sixty events for company a, some of which fail, between as many for its neighbour b.
async fn publish(world: &World) -> Result<()> {
    let both = (0..60).flat_map(|n| [commanded(command(n), "a", n), payload("b", n)]);
    world.publisher().await?.send_all(SUBJECT, both.collect()).await
}

/// Everything but the failing events arrives, in order, and the neighbour notices nothing.
async fn the_rest_arrives(a: &Recorder, b: &Recorder) -> Result<()> {
    let good: Vec<u64> = (0..60).filter(|n| command(*n) == '.').collect();
    a.events_reach(good.len()).await?;
    b.events_reach(60).await?;
    check(&a.frames(), &Expected { company: "a", numbers: Some(good), ..Expected::default() })?;
    check(&b.frames(), &Expected { company: "b", numbers: Some((0..60).collect()), ..Expected::default() })
}

on_each!(each_failing_event_is_a_letter_and_everything_around_it_goes_on: embedded, jetstream);

async fn each_failing_event_is_a_letter_and_everything_around_it_goes_on(world: &mut World) -> Result<()> {
    deploy(world, "[limits]\ncall-ms = 60\n")?;
    world.host.start().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    publish(world).await?;
    the_rest_arrives(&a, &b).await?;
    wait::until_ok("every failure is counted", || async {
        let metrics = world.host.metrics().await?;
        let (dead, failed) = (metrics.sum("dead_letters_total"), metrics.sum("filter_errors_total"));
        ensure!(dead == 5.0 && failed == 5.0, "{dead} dead letters, {failed} filter errors");
        Ok(())
    })
    .await?;
    if world.backend == Backend::JetStream {
        letters_blame_the_filter(world).await?;
    }
    Ok(())
}

/// In the order of the events, each with the module, the company, the reason, and for a trap where it happened.
async fn letters_blame_the_filter(world: &World) -> Result<()> {
    let context = jetstream::new(world.nats()?.client().await?);
    let stream = wait::until_ok("every letter is in the stream", || async {
        let mut stream = context.get_stream("TIDEGATE_DLQ").await.context("the stream of dead letters")?;
        let messages = stream.info().await?.state.messages;
        ensure!(messages == FAILING.len() as u64, "{messages} letters");
        Ok(stream)
    })
    .await?;
    let mut seen = Vec::new();
    for sequence in 1..=FAILING.len() as u64 {
        let letter = stream.get_raw_message(sequence).await?;
        let header = |name: &str| letter.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
        ensure!(header("Tidegate-Company") == "a", "{:?}", letter.headers);
        ensure!(header("Tidegate-Module").starts_with("10-guest@"), "{:?}", letter.headers);
        ensure!(!header("Tidegate-Reason").is_empty(), "{:?}", letter.headers);
        let original: serde_json::Value = serde_json::from_slice(&letter.payload)?;
        if original["do"] == "t" {
            ensure!(!header("Tidegate-Backtrace").is_empty(), "{:?}", letter.headers);
        }
        seen.extend(original["n"].as_u64());
    }
    seen.sort_unstable();
    ensure!(seen == FAILING.map(|(n, _)| n), "letters of {seen:?}");
    Ok(())
}

on_each!(a_filter_that_skips_drops_what_it_fails_on: embedded);

async fn a_filter_that_skips_drops_what_it_fails_on(world: &mut World) -> Result<()> {
    deploy(world, "on-error = \"skip\"\n[limits]\ncall-ms = 60\n")?;
    world.host.start().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    publish(world).await?;
    the_rest_arrives(&a, &b).await?;
    wait::until_ok("what was skipped is counted as dropped", || async {
        let metrics = world.host.metrics().await?;
        let (dead, dropped) = (metrics.sum("dead_letters_total"), metrics.sum("events_dropped_total"));
        ensure!(dead == 0.0 && dropped == 5.0, "{dead} dead letters, {dropped} dropped");
        Ok(())
    })
    .await
}

on_each!(what_a_filter_remembers_survives_a_kill: embedded, jetstream);

async fn what_a_filter_remembers_survives_a_kill(world: &mut World) -> Result<()> {
    deploy(world, "")?;
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    // The second one fails after it wrote: its write goes with it.
    let events = vec![commanded('s', "a", 1), commanded('x', "a", 2)];
    world.publisher().await?.send_all(SUBJECT, events).await?;
    let cursor = stream.events_reach(1).await?[0].id.clone().unwrap_or_default();
    wait::until_ok("the failing one is a dead letter", || async {
        let dead = world.host.metrics().await?.sum("dead_letters_total");
        ensure!(dead == 1.0, "{dead} dead letters");
        Ok(())
    })
    .await?;
    world.host.kill()?;
    world.host.restart().await?;
    let stream = Recorder::open(&world.host, &Request::company("a").after(&cursor)).await?;
    world.publisher().await?.send(SUBJECT, commanded('r', "a", 3)).await?;
    let said = stream.events_reach(1).await?[0].text().to_owned();
    ensure!(said == commanded('s', "a", 1), "it remembers {said}");
    Ok(())
}

on_each!(a_filter_is_not_blamed_for_the_time_in_which_it_did_not_run: embedded);

async fn a_filter_is_not_blamed_for_the_time_in_which_it_did_not_run(world: &mut World) -> Result<()> {
    // Each of these works for tens of milliseconds: with so many others on the machine, for far longer by the clock.
    deploy(world, "[limits]\ncall-ms = 60\n")?;
    world.host.start().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let cores = std::thread::available_parallelism()?.get();
    let busy = Arc::new(AtomicBool::new(true));
    let others: Vec<_> = (0..cores * 8)
        .map(|_| {
            let busy = Arc::clone(&busy);
            std::thread::spawn(move || while busy.load(Ordering::Relaxed) {})
        })
        .collect();
    let slow = (0..10).map(|n| commanded('w', "a", n));
    let published = world.publisher().await?.send_all(SUBJECT, slow.collect()).await;
    let came = a.events_reach(10).await;
    busy.store(false, Ordering::Relaxed);
    others.into_iter().for_each(|other| other.join().expect("a thread that does nothing"));
    published?;
    came?;
    check(&a.frames(), &Expected { company: "a", numbers: Some((0..10).collect()), ..Expected::default() })?;
    let dead = world.host.metrics().await?.sum("dead_letters_total");
    ensure!(dead == 0.0, "{dead} dead letters");
    Ok(())
}
