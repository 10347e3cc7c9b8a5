//! Rows 10 and 11: a host with many companies, each with a module of its own.

use std::time::Duration;

use anyhow::Result;
use tidegate_tests::backend::Backend;
use tidegate_tests::companies;
use tokio::runtime::Runtime;

use crate::figure::{Figure, Samples};
use crate::plan::Plan;

/// Row 10.
///
/// # Errors
/// The host doesn't start, or an event doesn't pass.
pub(super) fn hundred(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let [mut warm, mut twin] = [(); 2].map(|()| Samples::default());
    for _ in 0..plan.rounds().min(3) {
        for samples in [&mut warm, &mut twin] {
            let seen = runtime.block_on(companies::run(Backend::JetStream, 100))?;
            crate::say(&format!("       {}", seen.text().replace('\n', "\n       ")));
            samples.0.extend(seen.warm_starts().iter().map(|start| start.as_secs_f64() * 1e3));
        }
    }
    Ok(vec![Figure::alone("start to ready with 100 modules compiled before", "ms", &warm, &twin).at_most(200.0)])
}

/// Row 11.
///
/// # Errors
/// The host doesn't start, or an event doesn't pass.
pub(super) fn thousand(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let count = if plan.quick { 100 } else { 1_000 };
    let [mut start, mut start_twin, mut idle, mut idle_twin, mut own, mut own_twin] =
        [(); 6].map(|()| Samples::default());
    for (start, idle, own) in [(&mut start, &mut idle, &mut own), (&mut start_twin, &mut idle_twin, &mut own_twin)] {
        let seen = runtime.block_on(companies::run(Backend::JetStream, count))?;
        crate::say(&format!("       {}", seen.text().replace('\n', "\n       ")));
        start.0.extend(seen.warm_starts().iter().map(Duration::as_secs_f64));
        let of_each = |[empty, loaded, _]: [u64; 3]| (loaded as f64 - empty as f64) / 1024.0 / f64::from(count);
        idle.0.push(of_each(seen.memory()));
        own.0.push(of_each(seen.memory_of_its_own()));
    }
    let told = crate::results::number(f64::from(count));
    Ok(vec![
        Figure::alone(&format!("start to ready with {told} modules compiled before"), "s", &start, &start_twin)
            .at_most(2.0),
        Figure::alone(&format!("memory of an idle module of {told}"), "KiB", &idle, &idle_twin).at_most(256.0),
        Figure::alone("of that not mapped from files", "KiB", &own, &own_twin),
    ])
}
