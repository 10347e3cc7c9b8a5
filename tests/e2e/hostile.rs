//! A dozen guests that mean harm, each a company of its own on one host: what they harm is their own.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use tidegate_hostile::{Case, Fate, STRIKE, cases, commanded};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::modules::Modules;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

/// Those that break on one of their events, or are only held.
const STRIKING: [&str; 16] = [
    "never_ends",
    "never_ends_after_its_answer",
    "fills_all_memory_for_ever",
    "recurses_for_ever",
    "takes_memory_without_end",
    "takes_table_without_end",
    "gives_up",
    "points_beyond_its_bytes",
    "a_verdict_of_no_kind",
    "emits_once_too_often",
    "an_event_type_with_a_line_end",
    "an_error_with_line_ends",
    "a_function_named_with_line_ends",
    "a_companys_filter_that_names_another_company",
    "scans_a_million_times",
    "writes_the_same_large_value_again_and_again",
];

/// Those that are not taken.
const REFUSED: [&str; 6] = [
    "an_empty_file",
    "never_starts",
    "wants_the_clock_of_wasi",
    "a_hundred_thousand_types_in_one_another",
    "refuses_its_configuration_at_endless_length",
    "begins_with_more_memory_than_it_may_have",
];

/// Events of each hostile company, of which it strikes at the fifth; the neighbour has as many between those of each.
const EACH: u64 = 9;
const STRUCK: u64 = 4;

fn named(all: &[Case], name: &str) -> Result<(String, Vec<u8>, bool)> {
    let case = all.iter().find(|case| case.name == name).with_context(|| format!("no case {name}"))?;
    Ok((case.settings.to_owned(), case.module(), matches!(case.fate, Fate::Dead(..))))
}

fn deploy(world: &World, company: &str, settings: &str, module: &[u8]) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), company);
    modules.put("10-hostile.toml", settings.as_bytes())?;
    modules.put("10-hostile.wasm", module)
}

on_each!(hostile_filters_cost_their_companies_alone_and_the_host_is_well_after_them: embedded, jetstream);

async fn hostile_filters_cost_their_companies_alone_and_the_host_is_well_after_them(world: &mut World) -> Result<()> {
    let all = cases();
    let mut deadly = BTreeMap::new();
    for name in STRIKING {
        let (settings, module, dead) = named(&all, name)?;
        deploy(world, name, &settings, &module)?;
        deadly.insert(name, dead);
    }
    world.host.start().await?;
    for name in REFUSED {
        let (settings, module, _) = named(&all, name)?;
        deploy(world, name, &settings, &module)?;
    }
    refusals_are_listed(world).await?;
    let neighbour = Recorder::open(&world.host, &Request::company("neighbour")).await?;
    let mut streams = Vec::new();
    for name in STRIKING.into_iter().chain(REFUSED) {
        streams.push((name, Recorder::open(&world.host, &Request::company(name)).await?));
    }
    let mut events = Vec::new();
    for n in 0..EACH {
        for (name, _) in &streams {
            let command = if n == STRUCK { STRIKE } else { '.' };
            events.extend([commanded(command, name, n), payload("neighbour", events.len() as u64 / 2)]);
        }
    }
    let count = events.len() / 2;
    world.publisher().await?.send_all(SUBJECT, events).await?;
    neighbour.events_reach(count).await?;
    let expected = Expected { company: "neighbour", numbers: Some((0..count as u64).collect()), ..Expected::default() };
    check(&neighbour.frames(), &expected)?;
    for (name, stream) in &streams {
        let dead = deadly.get(name).copied().unwrap_or_default();
        let numbers: Vec<u64> = (0..EACH).filter(|n| *n != STRUCK || !dead).collect();
        stream.events_reach(numbers.len()).await.with_context(|| (*name).to_owned())?;
        check(&stream.frames(), &Expected { company: name, numbers: Some(numbers), ..Expected::default() })?;
    }
    let dead = deadly.values().filter(|dead| **dead).count() as f64;
    wait::until_ok("each event that was struck at is a dead letter", || async {
        let metrics = world.host.metrics().await?;
        let letters = metrics.sum("dead_letters_total");
        ensure!(letters == dead, "{letters} dead letters of {dead}");
        Ok(())
    })
    .await?;
    is_well(world, count as u64).await
}

/// Each says what is wrong with its file, and the folder serves what it served.
async fn refusals_are_listed(world: &World) -> Result<()> {
    wait::until_ok("every bad file is refused", || async {
        let listed = world.host.listed_modules().await?;
        let folders = listed["folders"].as_array().map(Vec::as_slice).unwrap_or_default();
        for name in REFUSED {
            let reason = folders.iter().find(|folder| folder["folder"] == name).map(|folder| &folder["reason"]);
            let reason = reason.and_then(serde_json::Value::as_str).with_context(|| format!("{name}: {listed}"))?;
            ensure!(!reason.is_empty() && reason.len() < 5000, "{name}: {reason}");
        }
        Ok(())
    })
    .await
}

/// Whoever comes now is served, and nobody is told that something is wrong.
async fn is_well(world: &World, next: u64) -> Result<()> {
    // Files that are refused are told in health for as long as they lie there.
    for name in REFUSED {
        let modules = Modules::of(&world.host.modules(), name);
        modules.remove("10-hostile.wasm")?;
        modules.remove("10-hostile.toml")?;
    }
    wait::until_ok("health is ok", || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["status"] == "ok", "{health}");
        Ok(())
    })
    .await?;
    let stream = Recorder::open(&world.host, &Request::company("neighbour")).await?;
    world.publisher().await?.send(SUBJECT, payload("neighbour", next)).await?;
    stream.events_reach(1).await?;
    // What a filter writes stays within its line: none begins with the words of one.
    let log = world.host.log();
    let wrong = log.lines().find(|line| line.starts_with("Tidegate-Company") || line.contains('\u{1b}'));
    ensure!(wrong.is_none(), "{wrong:?}");
    Ok(())
}
