//! `tidegate explain`: what became of an event, whatever that was, and that nobody knows any more where that is so.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::World;
use tidegate_tests::history::payload;
use tidegate_tests::host::Host;
use tidegate_tests::hosts::Hosts;
use tidegate_tests::modules::{Modules, commanded, obedient};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::{tools, wait};

use crate::SUBJECT;
use crate::failing_filters::deploy;

/// What the command prints as JSON.
async fn explain(host: &Host, company: &str, which: &[&str]) -> Result<Value> {
    let done = host.run(&[&["explain", "--json", "--company", company], which].concat()).await?;
    ensure!(done.status.success(), "{which:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).context("no JSON")
}

async fn sequence(host: &Host, company: &str, number: u64) -> Result<Value> {
    explain(host, company, &["--sequence", &number.to_string(), "--subject", SUBJECT]).await
}

/// Its fate, once it is this: what is published takes its time to be committed.
async fn becomes(host: &Host, company: &str, number: u64, fate: &str) -> Result<Value> {
    wait::until_ok(&format!("event {number} of {company} is {fate}"), || async {
        let answer = sequence(host, company, number).await?;
        ensure!(answer["fate"] == fate, "{answer}");
        Ok(answer)
    })
    .await
}

fn filters(pass: &Value) -> Vec<&str> {
    pass["filters"].as_array().into_iter().flatten().filter_map(|one| one["filter"].as_str()).collect()
}

on_each!(what_became_of_an_event_is_told_with_its_filters_and_connections: embedded, jetstream);

async fn what_became_of_an_event_is_told_with_its_filters_and_connections(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "a");
    modules.put("10-threshold.toml", b"[config]\npointer = \"/n\"\nmin = 50\n")?;
    modules.put("10-threshold.wasm", &std::fs::read(tools::filter("threshold")?)?)?;
    modules.put("20-guest.toml", b"[limits]\ncall-ms = 1000\n")?;
    modules.put("20-guest.wasm", &obedient()?)?;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let first = Recorder::open(&world.host, &Request::company("a")).await?;
    for event in [
        commanded('.', "a", 1),
        commanded('.', "a", 60),
        commanded('t', "a", 61),
        payload("zz", 70),
        "no JSON".to_owned(),
    ] {
        // The embedded log takes JSON alone.
        publisher.send(SUBJECT, if world.nats.is_none() { event.replace("no JSON", "[]") } else { event }).await?;
    }
    let id = first.events_reach(1).await?[0].id.clone().context("an id")?;
    let host = &world.host;
    becomes(host, "a", 5, "dead-lettered").await?;

    let dropped = sequence(host, "a", 1).await?;
    ensure!(dropped["fate"] == "dropped" && dropped["inputs"][0]["filter"] == "10-threshold", "{dropped}");
    ensure!(dropped["committed"]["at"].is_string() && dropped["event"]["inSource"] == true, "{dropped}");

    let emitted = wait::until_ok("the connection is told of", || async {
        let emitted = explain(host, "a", &["--event", &id]).await?;
        ensure!(emitted["recipients"] == 1, "{emitted}");
        Ok(emitted)
    })
    .await?;
    ensure!(emitted["fate"] == "emitted" && emitted["event"]["sequence"] == 2, "{emitted}");
    ensure!(emitted["event"]["id"] == *id && emitted["event"]["subject"] == SUBJECT, "{emitted}");
    ensure!(filters(&emitted["chain"]) == ["10-threshold", "20-guest"], "{emitted}");
    ensure!(filters(&emitted["platform"]).len() == 1 && emitted["platform"]["filters"][0]["calls"] != 0, "{emitted}");
    ensure!(emitted["outputs"]["cached"] == 1 && emitted["outputs"]["committed"] == 1, "{emitted}");
    ensure!(emitted["connections"][0]["sent"] == "yes" && emitted["connections"][0]["ended"].is_null(), "{emitted}");

    let dead = sequence(host, "a", 3).await?;
    let input = &dead["inputs"][0];
    ensure!(dead["fate"] == "dead-lettered" && input["kind"] == "trap", "{dead}");
    ensure!(input["module"].as_str().is_some_and(|module| module.starts_with("20-guest@")), "{dead}");

    // An operator who passes the answer on must not have told of another customer (whose name is in no hexadecimal number).
    let others = sequence(host, "a", 4).await?;
    ensure!(others["fate"] == "other-company" && !others.to_string().contains("zz"), "{others}");
    ensure!(sequence(host, "zz", 4).await?["fate"] == "emitted");
    ensure!(sequence(host, "nobody", 4).await?["fate"] == "other-company");

    // No company ever had it: whoever asks is told.
    for company in ["a", "zz"] {
        let dead = sequence(host, company, 5).await?;
        ensure!(dead["chain"].is_null() && filters(&dead["platform"]).len() == 1, "{dead}");
    }
    ensure!(sequence(host, "a", 99).await?["fate"] == "never-seen");

    // A connection of later was not sent it, and one that has ended is still known.
    let later = Recorder::open(host, &Request::company("a")).await?;
    later.first("ready").await?;
    drop(first);
    wait::until_ok("the first connection has ended", || async {
        let answer = explain(host, "a", &["--event", &id]).await?;
        ensure!(answer["recipients"] == 1 && answer["connected"] == 1, "{answer}");
        ensure!(answer["connections"][0]["ended"]["reason"].is_string(), "{answer}");
        Ok(())
    })
    .await?;
    // One that comes back to before it was.
    let back = Recorder::open(host, &Request::company("a").query("lastEventId", "earliest")).await?;
    back.events_reach(1).await?;
    ensure!(explain(host, "a", &["--event", &id]).await?["recipients"] == 2);

    let screen = host.run(&["explain", "--company", "a", "--sequence", "1"]).await?;
    let screen = String::from_utf8(screen.stdout)?;
    ensure!(screen.contains(" for a: dropped\n") && screen.contains("10-threshold: dropped it"), "{screen}");
    for wrong in [&["--company", "a"][..], &["--company", "a", "--event", &id, "--sequence", "2"]] {
        let done = host.run(&[&["explain"], wrong].concat()).await?;
        ensure!(done.status.code() == Some(2), "{wrong:?}: {done:?}");
    }
    for wrong in [&["--company", "../a", "--sequence", "2"][..], &["--company", "a", "--event", "nonsense"]] {
        let done = host.run(&[&["explain"], wrong].concat()).await?;
        ensure!(done.status.code() == Some(1), "{wrong:?}: {done:?}");
    }

    // What was committed is known to whoever runs next; connections of before are not.
    world.host.kill()?;
    world.host.restart().await?;
    let again = explain(&world.host, "a", &["--event", &id]).await?;
    ensure!(again["fate"] == "emitted" && again["committed"] == emitted["committed"], "{again}");
    ensure!(again["recipients"] == 0 && again["chain"] == emitted["chain"], "{again}");
    ensure!(sequence(&world.host, "a", 3).await?["inputs"] == dead["inputs"]);
    Ok(())
}

on_each!(what_waits_is_told_so_until_the_step_that_decides_it: embedded, jetstream);

async fn what_waits_is_told_so_until_the_step_that_decides_it(world: &mut World) -> Result<()> {
    let modules = deploy(world, "on-error = \"pause\"\n")?;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    for event in [commanded('t', "a", 0), commanded('.', "a", 1), payload("bb", 2)] {
        publisher.send(SUBJECT, event).await?;
    }
    let host = &world.host;
    let waiting = becomes(host, "a", 2, "waiting").await?;
    ensure!(waiting["received"].is_object() && waiting["committed"].is_null(), "{waiting}");
    ensure!(becomes(host, "a", 1, "waiting").await?["waiting"] != 0);
    becomes(host, "bb", 3, "emitted").await?;
    modules.put("10-guest.toml", b"on-error = \"dead-letter\"\n")?;
    let dead = becomes(host, "a", 1, "dead-lettered").await?;
    let emitted = becomes(host, "a", 2, "emitted").await?;
    for answer in [&dead, &emitted] {
        ensure!(answer["waitedSince"] == answer["received"], "{answer}");
        let (received, decided) = (answer["received"]["commit"].as_u64(), answer["committed"]["commit"].as_u64());
        ensure!(received < decided && filters(&answer["chain"]) == ["10-guest"], "{answer}");
    }
    ensure!(emitted["received"] == waiting["received"], "{emitted}");
    Ok(())
}

on_each!(what_is_trimmed_is_told_so: embedded, jetstream);

async fn what_is_trimmed_is_told_so(world: &mut World) -> Result<()> {
    world.host.set("replay.max-events=5");
    world.host.start().await?;
    world.publisher().await?.send_all(SUBJECT, (0..30).map(|n| payload("a", n)).collect()).await?;
    let host = &world.host;
    becomes(host, "a", 30, "emitted").await?;
    let trimmed = wait::until_ok("the oldest are trimmed", || async {
        let answer = sequence(host, "a", 3).await?;
        ensure!(answer["fate"] == "emitted" && answer["outputs"]["cached"] == 0, "{answer}");
        Ok(answer)
    })
    .await?;
    ensure!(trimmed["outputs"]["gone"]["reason"] == "trimmed", "{trimmed}");
    ensure!(trimmed["story"].as_str().is_some_and(|story| story.contains("trimmed")), "{trimmed}");
    let kept = sequence(host, "a", 30).await?;
    ensure!(kept["outputs"]["cached"] == 1 && kept["outputs"]["gone"].is_null(), "{kept}");
    Ok(())
}

on_each!(what_nobody_knows_any_more_is_told_so: embedded, jetstream);

async fn what_nobody_knows_any_more_is_told_so(world: &mut World) -> Result<()> {
    world.host.set("replay.retention=2s");
    world.host.start().await?;
    world.publisher().await?.send(SUBJECT, payload("a", 0)).await?;
    let gone = wait::until_ok("the record has gone with the retention", || async {
        let answer = sequence(&world.host, "a", 1).await?;
        ensure!(answer["fate"] == "records-gone", "{answer}");
        Ok(answer)
    })
    .await?;
    ensure!(gone["story"].as_str().is_some_and(|story| story.contains("no longer known")), "{gone}");
    // Nobody mistakes that for an event that never was.
    ensure!(sequence(&world.host, "a", 50).await?["fate"] == "never-seen");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_the_records_are_still_there() -> Result<()> {
    let mut hosts = Hosts::start(2, "1s").await?;
    let owner = hosts.owner().await?;
    let stream = Recorder::open(&hosts.hosts[owner], &Request::company("a")).await?;
    let publisher = hosts.publisher().await?;
    publisher.send(SUBJECT, payload("a", 0)).await?;
    let id = stream.events_reach(1).await?[0].id.clone().context("an id")?;
    let before = explain(&hosts.hosts[owner], "a", &["--event", &id]).await?;
    // Each host speaks of its own connections, and says who it is.
    let other = explain(&hosts.hosts[1 - owner], "a", &["--event", &id]).await?;
    ensure!(before["host"] != other["host"] && other["recipients"] == 0, "{before} {other}");
    ensure!(before["committed"] == other["committed"] && other["fate"] == "emitted", "{before} {other}");
    hosts.hosts[owner].kill()?;
    let next = hosts.other_owner(owner).await?;
    publisher.send(SUBJECT, payload("a", 1)).await?;
    becomes(&hosts.hosts[next], "a", 2, "emitted").await?;
    let after = explain(&hosts.hosts[next], "a", &["--event", &id]).await?;
    ensure!(after["fate"] == "emitted" && after["committed"] == before["committed"], "{after}");
    Ok(())
}
