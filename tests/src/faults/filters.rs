//! What may become of a company's filters: they harm themselves alone.

use anyhow::{Result, ensure};

use super::flow::{Flow, company, health_is};
use crate::backend::{Backend, World};
use crate::modules::{Modules, obedient};
use crate::verdict::Verdict;
use crate::wait;

/// Events a second of each row.
const PER_SECOND: u32 = 300;
/// The company with the filter.
const BAD: &str = "a";

/// A host whose company [`BAD`] has the filter that does as its events say.
async fn obeying(settings: &str) -> Result<(World, Modules)> {
    let mut world = World::prepare(Backend::JetStream).await?;
    let modules = Modules::of(&world.host.modules(), BAD);
    modules.put("10-guest.toml", settings.as_bytes())?;
    modules.put("10-guest.wasm", &obedient()?)?;
    world.host.start().await?;
    Ok((world, modules))
}

/// One in ten events of the company fails, each time in another way.
fn failing(n: u64) -> char {
    const WAYS: [char; 5] = ['t', 'e', 'g', 'm', 'l'];
    if company(n) != BAD || !n.is_multiple_of(10) {
        return '.';
    }
    usize::try_from(n / 10).ok().and_then(|way| WAYS.get(way % WAYS.len())).copied().unwrap_or('t')
}

pub(super) async fn events_that_a_filter_fails_on_are_letters_and_the_rest_goes_on() -> Result<Verdict> {
    let (world, _) = obeying("[limits]\ncall-ms = 50\n").await?;
    let flow = Flow::commanding(&world, PER_SECOND, failing).await?;
    flow.goes_on(1_500).await?;
    let verdict = flow.end_without(false, |n| failing(n) != '.').await?;
    let metrics = world.host.metrics().await?;
    let (dead, failed) = (metrics.sum("dead_letters_total"), metrics.sum("filter_errors_total"));
    ensure!(dead >= 50.0 && dead == failed, "{dead} dead letters, {failed} filter errors");
    Ok(verdict)
}

/// One in ten events of the company takes longer than a batch may.
fn slow(n: u64) -> char {
    if company(n) == BAD && n.is_multiple_of(10) { 'w' } else { '.' }
}

pub(super) async fn a_slow_filter_delays_its_company_alone_and_loses_nothing() -> Result<Verdict> {
    let (world, _) = obeying("").await?;
    let flow = Flow::commanding(&world, PER_SECOND, slow).await?;
    // What it can't do in time waits out of the others' way.
    wait::until_ok("events of the slow company wait in its backlog", || async {
        let waiting = world.host.metrics().await?.sum("backlog_events");
        ensure!(waiting > 0.0, "none waits");
        Ok(())
    })
    .await?;
    flow.goes_on(1_500).await?;
    flow.end(false).await
}

/// One event of the company fails.
fn once(n: u64) -> char {
    if n == 300 { 't' } else { '.' }
}

pub(super) async fn a_paused_company_is_worked_off_when_its_chain_changes() -> Result<Verdict> {
    let (world, modules) = obeying("on-error = \"pause\"\n").await?;
    let flow = Flow::commanding(&world, PER_SECOND, once).await?;
    flow.goes_on(600).await?;
    health_is(&world, "degraded").await?;
    flow.goes_on(300).await?;
    // Without it the event passes as it is.
    modules.remove("10-guest.wasm")?;
    health_is(&world, "ok").await?;
    flow.goes_on(300).await?;
    flow.end(false).await
}

pub(super) async fn a_refused_module_changes_nothing() -> Result<Verdict> {
    let (world, modules) = obeying("").await?;
    let flow = Flow::commanding(&world, PER_SECOND, |_| '.').await?;
    let good = obedient()?;
    let half = good.get(..good.len() / 2).unwrap_or_default();
    // No module, half a one, one of no world, and one whose settings are none.
    for (wasm, settings) in [
        (&b"not WebAssembly"[..], ""),
        (half, ""),
        (&b"\0asm\x01\0\0\0"[..], ""),
        (&good, "[limits]\ncall-ms = \"soon\"\n"),
    ] {
        flow.goes_on(200).await?;
        modules.put("20-other.toml", settings.as_bytes())?;
        modules.put("20-other.wasm", wasm)?;
        wait::until_ok("the module is refused", || async {
            let listed = world.host.listed_modules().await?;
            let folders = listed["folders"].as_array().map(Vec::as_slice).unwrap_or_default();
            let refused = folders.iter().any(|folder| folder["folder"] == BAD && folder["reason"].is_string());
            ensure!(refused, "{listed}");
            Ok(())
        })
        .await?;
        flow.goes_on(200).await?;
        modules.remove("20-other.wasm")?;
        modules.remove("20-other.toml")?;
    }
    flow.end(false).await
}
