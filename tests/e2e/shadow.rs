//! A new version runs over a company's real events beside the one that serves it, and harms nothing.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::folder::Folder;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::modules::{Modules, commanded, obedient};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;
use crate::deploy::{admin, done, refused, releases, rename};

/// Of a hundred events these trap the test's guest, and these it drops or refuses.
fn command(n: u64) -> char {
    match n {
        10..20 => 't',
        20..25 => 'e',
        _ => '.',
    }
}

on_each!(a_new_version_is_compared_with_the_one_that_runs_over_real_events: embedded, jetstream);

async fn a_new_version_is_compared_with_the_one_that_runs_over_real_events(world: &mut World) -> Result<()> {
    let folder = Folder::new("shadowed")?;
    let (same, other) = (rename(folder.path(), "v1")?, rename(folder.path(), "v2")?);
    let failing = folder.path().join("10-rename.wasm");
    fs::write(&failing, obedient()?)?;
    let failing = failing.to_str().context("a path")?;
    Modules::of(&world.host.modules(), "a").rename_metrics("10-rename", "v1")?;
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let events = (0..100).flat_map(|n| [commanded(command(n), "a", n), payload("b", n)]);
    world.publisher().await?.send_all(SUBJECT, events.collect()).await?;
    stream.events_reach(100).await?;
    let host = &world.host;

    let told = done(host, &["shadow", &same, "--company", "a"]).await?;
    ensure!(told.contains("100 events\n") && told.contains("same          100"), "{told}");
    let told = done(host, &["shadow", &other, "--company", "a", "--since", "2h"]).await?;
    ensure!(told.contains("changed       100") && told.contains("-       \"type\": \"v1\""), "{told}");
    ensure!(told.contains("us an event now"), "{told}");
    let told = done(host, &["shadow", &other, "--company", "a", "--limit", "30"]).await?;
    ensure!(told.contains("30 events, the oldest: there are more"), "{told}");
    // One that fails ends badly, with examples of what it fails at.
    let output = admin(host, &["shadow", failing, "--company", "a", "--json"]).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let counts = ["events", "same", "changed", "failed"].map(|name| told[name].as_u64());
    ensure!(counts == [Some(100), Some(0), Some(85), Some(15)] && told["whole"] == true, "{told}");
    let example = told["examples"].as_array().into_iter().flatten().find(|example| example["difference"] == "failed");
    ensure!(example.context("no example")?["new"].to_string().contains("gave up"), "{told}");

    // As the condition of a push.
    let told = refused(host, 1, &["push", failing, "--company", "a", "--shadow", "1h"]).await?;
    ensure!(told.contains("in the shadow it fails at 15 of 100 events that did not fail before"), "{told}");
    let few = ["push", &other, "--company", "a", "--shadow", "1h", "--different-max", "10"];
    let told = refused(host, 1, &few).await?;
    ensure!(told.contains("100 of 100 events come out otherwise; 10 % are allowed"), "{told}");
    ensure!(releases(host, "a").await?["log"] == serde_json::json!([]), "something was deployed");
    done(host, &["push", &other, "--company", "a", "--shadow", "1h"]).await?;
    // Nothing of it went to the company, or to the letters.
    world.publisher().await?.send(SUBJECT, payload("a", 100)).await?;
    stream.events_reach(101).await?;
    check(&stream.frames(), &Expected { company: "a", numbers: Some((0..101).collect()), ..Expected::default() })?;
    ensure!(world.host.metrics().await?.sum("dead_letters_total") == 0.0, "a shadow made letters");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_nats_has_no_events_for_a_shadow_and_says_so() -> Result<()> {
    let mut world = World::prepare(Backend::Core).await?;
    world.host.start().await?;
    let folder = Folder::new("shadowed")?;
    let told = refused(&world.host, 1, &["shadow", &rename(folder.path(), "v1")?, "--company", "a"]).await?;
    ensure!(told.contains("core NATS keeps no events"), "{told}");
    Ok(())
}
