//! Row 13: what the client takes of a server that sends prepared bytes, beside the fastest server that it measures.

use std::time::Instant;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::contestant::{Contestant, Kind};
use crate::crowd::{Crowd, Visit};
use crate::figure::{Figure, Samples, Sides};
use crate::plan::Plan;
use crate::prepared;
use crate::stand::{Pace, Stand};

/// Measures it.
///
/// # Errors
/// A server doesn't start, or an event is lost, doubled or out of order.
pub(super) fn run(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in [100, 1_000] {
        let mut limit = Stand::new(Kind::Limit, runtime, connections, 1, Pace::SATURATED)?;
        let [mut ours, mut twin, mut theirs] = [(); 3].map(|()| Samples::default());
        let [mut cpu, mut cpu_twin] = [(); 2].map(|()| Samples::default());
        for _ in 0..plan.rounds() {
            for (rate, spent) in [(&mut ours, &mut cpu), (&mut twin, &mut cpu_twin)] {
                let (per_second, client_us) = prepared(runtime, plan, connections)?;
                crate::say(&format!("       prepared bytes: {per_second:.0}/s, client {client_us:.2} us"));
                rate.0.push(per_second);
                spent.0.push(client_us);
            }
            theirs.0.push(limit.round(plan, Pace::SATURATED)?.per_second);
        }
        let told = format!("{connections} connections: deliveries of prepared bytes");
        let sides = Sides { ours: &ours, twin: &twin, theirs: &theirs };
        figures.push(Figure::ratio(&told, "a bare hyper server", "1/s", sides).at_least(1.0));
        let told = format!("{connections} connections: CPU of the client for a delivery");
        figures.push(Figure::alone(&told, "us", &cpu, &cpu_twin).lower());
    }
    Ok(figures)
}

/// Deliveries a second, and microseconds of CPU of the client for each.
fn prepared(runtime: &Runtime, plan: Plan, connections: u32) -> Result<(f64, f64)> {
    let server = Contestant::start(Kind::Prepared, runtime, 1)?;
    let visit = Visit { wrap: prepared::EVENTS, ..server.visit(connections, 1, 0)? };
    let crowd = Crowd::open(visit, None)?;
    crowd.all_open()?;
    std::thread::sleep(plan.warm());
    let (begun, before, spent) = (Instant::now(), crowd.deliveries(), crowd.cpu_seconds());
    std::thread::sleep(plan.time());
    let (after, seconds) = (crowd.deliveries(), begun.elapsed().as_secs_f64());
    let deliveries = after.saturating_sub(before).max(1) as f64;
    crowd.check()?;
    Ok((deliveries / seconds, (crowd.cpu_seconds() - spent) * 1e6 / deliveries))
}
