//! Filters are swapped while events flow: nothing lost, doubled or reordered, each event through exactly one version.

use std::fs;

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::modules::{Modules, Volume, another_version};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::{tools, wait};

use crate::SUBJECT;

const RATE: u32 = 1_000;

on_each!(each_event_passes_exactly_one_version: embedded, jetstream, core);

async fn each_event_passes_exactly_one_version(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let modules = Modules::of(&world.host.modules(), "a");
    let kinds = ["metric_updated", "v1", "v2", "v3", "metric_updated"];
    let neighbour = under_load(world, &kinds, async |step| match step {
        // Dropped in, replaced by other settings, and both at once under a new name.
        1 | 2 => modules.rename_metrics("10-rename", kinds[step]),
        3 => {
            // One change of the folder: the settings of a module that isn't there mean nothing.
            modules.put("10-rename.wasm", &another_version(&fs::read(tools::filter("rename")?)?))?;
            modules.rename_metrics("10-rename", kinds[step])
        }
        _ => modules.remove("10-rename.wasm"),
    })
    .await?;
    ensure!(neighbour.events().iter().all(|event| event.kind() == "metric_updated"), "a neighbour's events changed");
    let metrics = world.host.metrics().await?;
    let swaps =
        ["applied", "removed"].map(|result| metrics.labelled("module_swaps_total", &format!("result=\"{result}\"")));
    ensure!(swaps[0] >= 3.0 && swaps[1] >= 1.0, "{swaps:?} swaps counted");
    Ok(())
}

on_each!(a_new_file_with_the_same_behaviour_is_a_version_of_its_own: embedded);

async fn a_new_file_with_the_same_behaviour_is_a_version_of_its_own(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "a");
    modules.rename_metrics("10-rename", "v1")?;
    world.host.start().await?;
    let before = world.host.listed_modules().await?.to_string();
    ensure!(before.contains("10-rename"), "{before}");
    modules.put("10-rename.wasm", &another_version(&fs::read(tools::filter("rename")?)?))?;
    wait::until("the new version is listed", || async {
        let now = world.host.listed_modules().await.ok()?.to_string();
        (now.contains("10-rename") && now != before).then_some(())
    })
    .await
}

on_each!(a_volume_that_is_replaced_at_once_is_one_swap: embedded, jetstream);

async fn a_volume_that_is_replaced_at_once_is_one_swap(world: &mut World) -> Result<()> {
    let volume = Volume::at(world.host.modules().join("a"));
    swap_volume(world, volume, "").await
}

on_each!(a_volume_of_all_folders_is_too: embedded);

async fn a_volume_of_all_folders_is_too(world: &mut World) -> Result<()> {
    let volume = Volume::at(world.host.modules());
    swap_volume(world, volume, "a/").await
}

async fn swap_volume(world: &mut World, mut volume: Volume, folder: &str) -> Result<()> {
    let module = fs::read(tools::filter("rename")?)?;
    let mut modules = vec![module.clone(), another_version(&module), module];
    let [wasm, toml] = ["wasm", "toml"].map(|ending| format!("{folder}10-rename.{ending}"));
    let kinds = ["v1", "v2", "v3"];
    let mut publish = |kind: &str| -> Result<()> {
        let settings = format!("[config.types]\nmetric_updated = \"{kind}\"\n");
        volume.publish(&[(&toml, settings.as_bytes()), (&wasm, &modules.remove(0))])
    };
    publish(kinds[0])?;
    world.host.start().await?;
    under_load(world, &kinds, async |step| publish(kinds[step])).await.map(drop)
}

on_each!(the_default_chain_is_swapped_under_load: embedded, jetstream);

async fn the_default_chain_is_swapped_under_load(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "_default");
    world.host.start().await?;
    let kinds = ["metric_updated", "v1", "v2", "metric_updated"];
    under_load(world, &kinds, async |step| match step {
        1 | 2 => modules.rename_metrics("10-rename", kinds[step]),
        _ => modules.remove("10-rename.wasm"),
    })
    .await
    .map(drop)
}

on_each!(the_platform_chain_is_swapped_under_load: embedded, jetstream);

async fn the_platform_chain_is_swapped_under_load(world: &mut World) -> Result<()> {
    let modules = Modules::of(&world.host.modules(), "_platform");
    world.host.start().await?;
    let module = fs::read(tools::filter("platform")?)?;
    // The same length, so that everything in the module stays where it is.
    let renamed = |kind: &[u8]| {
        ensure!(kind.len() == b"metric_updated".len(), "another length");
        let mut renamed = module.clone();
        let places: Vec<usize> = (0..module.len()).filter(|at| module[*at..].starts_with(b"metric_updated")).collect();
        ensure!(!places.is_empty(), "the platform filter names its types elsewhere");
        for at in places {
            renamed[at..at + kind.len()].copy_from_slice(kind);
        }
        Ok(renamed)
    };
    let kinds = ["metric_updated", "metric_changed", "metric_altered", "metric_updated"];
    under_load(world, &kinds, async |step| match step {
        1 | 2 => modules.put("10-platform.wasm", &renamed(kinds[step].as_bytes())?),
        _ => modules.remove("10-platform.wasm"),
    })
    .await
    .map(drop)
}

/// Events of two companies flow while each `swap` gives company a's another type; those of a pass the versions in turn, and
/// nothing of either is lost, doubled or reordered. Gives what company b was sent.
pub(crate) async fn under_load(
    world: &World,
    kinds: &[&str],
    mut swap: impl AsyncFnMut(usize) -> Result<()>,
) -> Result<Recorder> {
    let publisher = world.publisher().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    let flow =
        publisher.steady(RATE, u64::MAX, |n| (SUBJECT.to_owned(), payload(if n % 2 == 0 { "a" } else { "b" }, n)));
    for (step, kind) in kinds.iter().enumerate() {
        if step > 0 {
            swap(step).await?;
        }
        let before = a.events().len();
        a.until(&format!("events of {kind}"), |frames| {
            let events = frames.iter().filter(|frame| !frame.is_control()).skip(before);
            events.filter(|frame| frame.kind() == *kind).count() >= 200
        })
        .await?;
    }
    let sent = flow.stop().await?;
    for (company, stream, odd) in [("a", &a, 0), ("b", &b, 1)] {
        let last = (0..sent).rfind(|n| n % 2 == odd);
        stream.until("the last event", |frames| frames.iter().rev().any(|frame| number(frame) == last)).await?;
        let numbers = Some((0..sent).filter(|n| n % 2 == odd).collect());
        check(&stream.frames(), &Expected { company, numbers, ..Expected::default() })?;
    }
    let mut seen: Vec<String> = a.events().iter().map(|event| event.kind().to_owned()).collect();
    seen.dedup();
    ensure!(seen == kinds, "versions in turn, no way back: {seen:?}");
    Ok(b)
}
