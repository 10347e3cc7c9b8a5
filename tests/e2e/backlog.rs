//! A company that is slow or paused delays nobody: its events wait in its backlog, in order, and are worked off later.

use anyhow::{Context, Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::modules::{Modules, commanded, obedient};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;
use crate::failing_filters::deploy;

async fn waits(world: &World, least: f64) -> Result<()> {
    wait::until_ok("events of company a wait", || async {
        let waiting = world.host.metrics().await?.labelled("backlog_events", "company=\"a\"");
        ensure!(waiting >= least, "{waiting} wait");
        Ok(())
    })
    .await
}

on_each!(a_slow_company_delays_nobody_and_keeps_its_order: embedded, jetstream);

async fn a_slow_company_delays_nobody_and_keeps_its_order(world: &mut World) -> Result<()> {
    deploy(world, "")?;
    world.host.start().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    // Each of these takes longer than all of a batch may.
    let slow = (0..40).map(|n| commanded('w', "a", n));
    let publisher = world.publisher().await?;
    publisher.send_all(SUBJECT, slow.collect()).await?;
    publisher.send_all(SUBJECT, (0..200).map(|n| payload("b", n)).collect()).await?;
    b.events_reach(200).await?;
    check(&b.frames(), &Expected { company: "b", numbers: Some((0..200).collect()), ..Expected::default() })?;
    a.events_reach(40).await?;
    check(&a.frames(), &Expected { company: "a", numbers: Some((0..40).collect()), ..Expected::default() })?;
    let metrics = world.host.metrics().await?;
    ensure!(metrics.sum("dead_letters_total") == 0.0, "slow is no fault");
    Ok(())
}

on_each!(a_paused_company_waits_until_its_chain_changes_and_nobody_else_does: embedded, jetstream);

async fn a_paused_company_waits_until_its_chain_changes_and_nobody_else_does(world: &mut World) -> Result<()> {
    let modules: Modules = deploy(world, "on-error = \"pause\"\n")?;
    world.host.start().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    let publisher = world.publisher().await?;
    let events = |from: u64, to: u64| {
        (from..to).flat_map(|n| [commanded(if n == 5 { 't' } else { '.' }, "a", n), payload("b", n)]).collect()
    };
    publisher.send_all(SUBJECT, events(0, 50)).await?;
    b.events_reach(50).await?;
    waits(world, 45.0).await?;
    wait::until_ok("health names the paused company", || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["status"] == "degraded" && health.to_string().contains("company a"), "{health}");
        Ok(())
    })
    .await?;
    // A restart finds the backlog as it was.
    world.host.kill()?;
    world.host.restart().await?;
    let last = a.last_id().unwrap_or_default();
    let later = Recorder::open(&world.host, &Request::company("a").after(&last)).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    world.publisher().await?.send_all(SUBJECT, events(50, 80)).await?;
    b.events_reach(30).await?;
    ensure!(!later.frames().iter().any(|frame| number(frame) >= Some(5)), "it does not wait");
    modules.put("10-guest.toml", b"on-error = \"dead-letter\"\n")?;
    let wanted: Vec<u64> = (0..80).filter(|n| *n != 5).collect();
    let before: Vec<u64> = a.events().iter().filter_map(number).collect();
    later.events_reach(wanted.len() - before.len()).await?;
    let numbers = Some(wanted[before.len()..].to_vec());
    check(&later.frames(), &Expected { company: "a", cursor: true, numbers, leaves_live: true, ..Expected::default() })
}

on_each!(what_does_not_fit_a_backlog_is_a_dead_letter: embedded);

async fn what_does_not_fit_a_backlog_is_a_dead_letter(world: &mut World) -> Result<()> {
    let modules = deploy(world, "on-error = \"pause\"\n")?;
    world.host.set("backlog.max-bytes=4KiB").set("limits.event-bytes=1KiB");
    world.host.start().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    let publisher = world.publisher().await?;
    publisher.send(SUBJECT, commanded('t', "a", 0)).await?;
    waits(world, 1.0).await?;
    let events = (1..200).flat_map(|n| [commanded('.', "a", n), payload("b", n)]);
    publisher.send_all(SUBJECT, events.collect()).await?;
    b.events_reach(199).await?;
    let dead = wait::until("what does not fit is counted", || async {
        let metrics = world.host.metrics().await.ok()?;
        let full = metrics.labelled("dead_letters_total", "reason=\"backlog full\"");
        (full + metrics.labelled("backlog_events", "company=\"a\"") >= 200.0).then_some(full)
    })
    .await?;
    ensure!(dead > 0.0 && dead < 199.0, "{dead} did not fit");
    modules.put("10-guest.toml", b"on-error = \"dead-letter\"\n")?;
    let kept = 199 - dead as u64;
    a.events_reach(usize::try_from(kept)?).await?;
    // The first ones that came are those that had room.
    check(&a.frames(), &Expected { company: "a", numbers: Some((1..=kept).collect()), ..Expected::default() })
}

on_each!(what_waited_too_long_for_a_chain_that_can_not_load_is_a_dead_letter: embedded, jetstream);

async fn what_waited_too_long_for_a_chain_that_can_not_load_is_a_dead_letter(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "a");
    modules.put("10-guest.wasm", b"no module")?;
    ages(world, 0).await?;
    modules.put("10-guest.wasm", &obedient()?)?;
    the_rest_goes_on(world).await
}

on_each!(what_waited_too_long_for_a_paused_company_is_a_dead_letter_and_it_stays_paused: embedded, jetstream);

async fn what_waited_too_long_for_a_paused_company_is_a_dead_letter_and_it_stays_paused(
    world: &mut World,
) -> Result<()> {
    let modules = deploy(world, "on-error = \"pause\"\n")?;
    ages(world, 1).await?;
    // It is paused by its filter, and not by what waited.
    world.publisher().await?.send(SUBJECT, commanded('.', "a", 10)).await?;
    waits(world, 1.0).await?;
    let health = world.host.json("/stream/health").await?;
    ensure!(health.to_string().contains("company a is paused"), "{health}");
    modules.put("10-guest.toml", b"on-error = \"dead-letter\"\n")?;
    the_rest_goes_on(world).await
}

/// Ten events of company a wait until they are letters, though nothing works its backlog off and only others' events come.
/// The first `failing` of them fail.
async fn ages(world: &mut World, failing: u64) -> Result<()> {
    world.host.set("backlog.max-age=3s");
    world.host.start().await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    let publisher = world.publisher().await?;
    let events = (0..10).map(|n| commanded(if n < failing { 't' } else { '.' }, "a", n));
    publisher.send_all(SUBJECT, events.collect()).await?;
    waits(world, 1.0).await?;
    let mut others = 0;
    let letters = async {
        loop {
            publisher.send(SUBJECT, payload("b", others)).await?;
            others += 1;
            b.events_reach(usize::try_from(others)?).await?;
            let metrics = world.host.metrics().await?;
            if metrics.labelled("dead_letters_total", "reason=\"backlog full\"") == 10.0 {
                ensure!(metrics.labelled("backlog_events", "company=\"a\"") == 0.0, "letters, and they wait");
                return Ok(());
            }
        }
    };
    tokio::time::timeout(wait::DEADLINE, letters).await.context("what waits too long is never a letter")??;
    check(&b.frames(), &Expected { company: "b", numbers: Some((0..others).collect()), ..Expected::default() })
}

/// What comes from now on is served, in order, behind what may still wait.
async fn the_rest_goes_on(world: &World) -> Result<()> {
    let a = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    world.publisher().await?.send_all(SUBJECT, (20..40).map(|n| commanded('.', "a", n)).collect()).await?;
    a.until("the last event", |frames| frames.iter().rev().any(|frame| number(frame) == Some(39))).await?;
    let numbers: Vec<u64> = a.events().iter().filter_map(number).collect();
    ensure!(numbers.is_sorted() && numbers.first() >= Some(&10) && numbers.ends_with(&[37, 38, 39]), "{numbers:?}");
    Ok(())
}
