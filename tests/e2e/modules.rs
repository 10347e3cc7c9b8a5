//! A file that is no good filter changes nothing and is named, with its reason, wherever somebody looks.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::modules::Modules;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::{tools, wait};

use crate::SUBJECT;

/// Files that a careless or hostile deployer leaves.
fn bad_files() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let good = fs::read(tools::filter("rename")?)?;
    let foreign = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1))"#;
    Ok(vec![
        ("no module at all", b"hello, this is text".to_vec()),
        ("nothing", Vec::new()),
        ("half-written", good[..good.len() / 2].to_vec()),
        ("without a world", wat::parse_str("(module)")?),
        ("of another world", wat::parse_str(foreign)?),
        ("a component of another world", wat::parse_str("(component)")?),
    ])
}

on_each!(a_bad_file_changes_nothing_and_is_named: embedded, jetstream);

async fn a_bad_file_changes_nothing_and_is_named(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "a");
    modules.rename_metrics("10-rename", "v1")?;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let mut sent = 0;
    for (number, (what, bytes)) in bad_files()?.into_iter().enumerate() {
        let name = format!("2{number}-bad");
        let refused = world.host.metrics().await?.labelled("module_swaps_total", "result=\"refused\"");
        modules.put(&format!("{name}.wasm"), &bytes)?;
        let listed = wait::until_ok("the bad file is listed with its reason", || async {
            let listed = world.host.listed_modules().await?;
            let entry = find(&listed, &name).with_context(|| listed.to_string())?;
            match entry.get("reason").and_then(serde_json::Value::as_str) {
                Some(reason) if !reason.is_empty() => Ok(reason.to_owned()),
                _ => bail!("no reason: {entry}"),
            }
        })
        .await
        .with_context(|| what.to_owned())?;
        wait::until_ok("the log and the metrics tell it", || async {
            ensure!(world.host.log().contains(&name), "{what}: not in the log");
            let now = world.host.metrics().await?.labelled("module_swaps_total", "result=\"refused\"");
            ensure!(now > refused, "{what}: {now} refused swaps counted");
            Ok(())
        })
        .await?;
        publisher.send(SUBJECT, payload("a", sent)).await?;
        sent += 1;
        let events = stream.events_reach(usize::try_from(sent)?).await?;
        ensure!(events.last().is_some_and(|event| event.kind() == "v1"), "{what} ({listed}): {:?}", events.last());
        modules.remove(&format!("{name}.wasm"))?;
        wait::until_ok("the bad file is forgotten", || async {
            let listed = world.host.listed_modules().await?;
            ensure!(find(&listed, &name).is_none(), "{listed}");
            Ok(())
        })
        .await?;
    }
    check(&stream.frames(), &Expected { company: "a", numbers: Some((0..sent).collect()), ..Expected::default() })
}

on_each!(bad_settings_are_refused_with_the_filters_own_words: embedded);

async fn bad_settings_are_refused_with_the_filters_own_words(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "a");
    modules.rename_metrics("10-rename", "v1")?;
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    for (settings, reason) in [
        ("[config.types]\n", "types"),
        ("[config\n", "toml"),
        ("[config.types]\nmetric_updated = \"v2\"\n[limits]\ncall-ms = 999999999\n", "call-ms"),
        ("colour = 1\n", "colour"),
    ] {
        modules.put("10-rename.toml", settings.as_bytes())?;
        wait::until_ok("the reason is listed", || async {
            let listed = world.host.listed_modules().await?;
            let entry = find(&listed, "10-rename").with_context(|| listed.to_string())?;
            let told = entry.get("reason").and_then(serde_json::Value::as_str).unwrap_or_default();
            ensure!(told.to_lowercase().contains(reason), "{settings:?}: {entry}");
            Ok(())
        })
        .await?;
    }
    world.publisher().await?.send(SUBJECT, payload("a", 0)).await?;
    let events = stream.events_reach(1).await?;
    ensure!(events[0].kind() == "v1", "{:?}", events[0]);
    Ok(())
}

on_each!(without_a_good_chain_a_companys_events_wait_for_one: embedded, jetstream);

async fn without_a_good_chain_a_companys_events_wait_for_one(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "a");
    modules.put("10-rename.wasm", b"no module")?;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let neighbour = Recorder::open(&world.host, &Request::company("b")).await?;
    for n in 0..30 {
        publisher.send_all(SUBJECT, vec![payload("a", n), payload("b", n)]).await?;
    }
    neighbour.events_reach(30).await?;
    ensure!(stream.events().is_empty(), "events passed a chain that can't load");
    let health = world.host.json("/stream/health").await?;
    ensure!(health["status"] == "degraded", "{health}");
    modules.rename_metrics("10-rename", "v1")?;
    let events = stream.events_reach(30).await?;
    ensure!(events.iter().all(|event| event.kind() == "v1"));
    check(&stream.frames(), &Expected { company: "a", numbers: Some((0..30).collect()), ..Expected::default() })?;
    wait::until_ok("health is good again", || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["status"] == "ok", "{health}");
        Ok(())
    })
    .await
}

/// The folder whose listing names a file.
fn find<'a>(listed: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    listed["folders"].as_array()?.iter().find(|folder| folder.to_string().contains(name))
}

on_each!(a_platform_folder_that_can_not_load_stops_the_partition_and_loses_nothing: embedded, jetstream);

async fn a_platform_folder_that_can_not_load_stops_the_partition_and_loses_nothing(world: &mut World) -> Result<()> {
    let platform = Modules::of(&world.host.modules(), "_platform");
    platform.put("10-platform.wasm", b"no module")?;
    world.host.start().await?;
    world.publisher().await?.send_all(SUBJECT, (0..20).map(|n| payload("a", n)).collect()).await?;
    let health = world.host.json("/stream/health").await?;
    ensure!(health["status"] == "degraded" && health.to_string().contains("_platform"), "{health}");
    // Longer than a reader may leave a stored message lying: here it lies on purpose.
    wait::holds(std::time::Duration::from_secs(10), "nothing is taken in", || async {
        let received = world.host.metrics().await?.sum("events_received_total");
        ensure!(received == 0.0, "{received} events were taken in without a platform chain");
        Ok(())
    })
    .await?;
    platform.remove("10-platform.wasm")?;
    let stream = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    stream.events_reach(20).await?;
    let (numbers, cursor) = (Some((0..20).collect()), true);
    check(&stream.frames(), &Expected { company: "a", cursor, numbers, leaves_live: true, ..Expected::default() })?;
    let dead = world.host.metrics().await?.sum("dead_letters_total");
    ensure!(dead == 0.0, "{dead} dead letters");
    Ok(())
}
