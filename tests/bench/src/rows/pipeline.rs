//! Rows 2 and 3: events a second from JetStream to the commit, beside a bare consumer of the same messages.

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::contestant::{Filters, Store};
use crate::figure::{Figure, Samples, Sides};
use crate::lane::Lane;
use crate::plan::Plan;

const PULL: &str = "a bare ordered pull consumer";

/// Row 2.
///
/// # Errors
/// Something doesn't start, or an event is lost, doubled or out of order.
pub(super) fn redis(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let passing = "a filter that passes payloads on";
    let mut figures = beside_pull(runtime, plan, (Filters::Rename, Store::Redis), passing, 0.4)?;
    let parsing = "a filter that parses and writes JSON";
    figures.extend(beside_pull(runtime, plan, (Filters::Redact, Store::Redis), parsing, 0.4)?);
    Ok(figures)
}

/// Row 3.
///
/// # Errors
/// Something doesn't start, or an event is lost, doubled or out of order.
pub(super) fn embedded(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let what = "the platform filter alone, embedded store";
    beside_pull(runtime, plan, (Filters::Platform, Store::Embedded), what, 0.7)
}

/// The host, the same again, and a bare consumer, in turn.
fn beside_pull(runtime: &Runtime, plan: Plan, way: (Filters, Store), what: &str, target: f64) -> Result<Vec<Figure>> {
    let (filters, store) = way;
    let mut lanes = [Lane::new(runtime, filters, store, 1)?, Lane::new(runtime, filters, store, 1)?];
    let [mut ours, mut twin, mut theirs] = [(); 3].map(|()| Samples::default());
    let [mut cpu, mut cpu_twin, mut cpu_theirs] = [(); 3].map(|()| Samples::default());
    for _ in 0..plan.rounds() {
        for (lane, (rate, spent)) in lanes.iter_mut().zip([(&mut ours, &mut cpu), (&mut twin, &mut cpu_twin)]) {
            let passed = lane.pass(runtime, plan.events())?;
            crate::say(&format!(
                "       {what}: {:.0}/s, CPU {:.2} us, with servers {:.2} us",
                passed.per_second, passed.cpu_us, passed.all_us
            ));
            rate.0.push(passed.per_second);
            spent.0.push(passed.cpu_us);
        }
        let pulled = lanes[0].pull(plan.events())?;
        crate::say(&format!("       a bare consumer: {:.0}/s, CPU {:.2} us", pulled.per_second, pulled.cpu_us));
        theirs.0.push(pulled.per_second);
        cpu_theirs.0.push(pulled.cpu_us);
    }
    let sides = Sides { ours: &ours, twin: &twin, theirs: &theirs };
    let rate = Figure::ratio(&format!("events with {what}"), PULL, "1/s", sides);
    let sides = Sides { ours: &cpu, twin: &cpu_twin, theirs: &cpu_theirs };
    let cpu = Figure::ratio(&format!("CPU of an event with {what}"), PULL, "us", sides);
    Ok(vec![rate.at_least(target), cpu.lower()])
}
