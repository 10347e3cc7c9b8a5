//! Row 12: whether an event costs the same however many companies, connections and events there are.

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::contestant::{Filters, Kind, Store};
use crate::figure::{Figure, Samples, Sides};
use crate::lane::Lane;
use crate::plan::Plan;
use crate::stand::{Pace, Stand};

/// Events that a client reads back, by the way of a stream of one company.
const REPLAYS: [u64; 3] = [1_000, 10_000, 100_000];
/// Events a second while latencies are measured: few, so that the most connections don't fill the machine.
const RATE: u32 = 10;

/// Measures it.
///
/// # Errors
/// Something doesn't start, or an event is lost, doubled or out of order.
pub(super) fn run(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let mut figures = companies(runtime, plan)?;
    figures.extend(connections(runtime, plan)?);
    figures.extend(replays(runtime, plan)?);
    Ok(figures)
}

/// Sizes with their samples; the first is measured twice in each round, for the control.
struct Sizes {
    base: Samples,
    again: Samples,
    others: Vec<(String, Samples)>,
}

impl Sizes {
    fn figures(&self, what: &str, against: &str, unit: &str) -> Vec<Figure> {
        let figure = |(told, ours): &(String, Samples)| {
            // As far as the first size is from itself in that round.
            let apart = self.again.0.iter().zip(&self.base.0).map(|(again, base)| again / base);
            let twin = Samples(ours.0.iter().zip(apart).map(|(ours, apart)| ours * apart).collect());
            let sides = Sides { ours, twin: &twin, theirs: &self.base };
            Figure::ratio(&format!("{what} {told}"), against, unit, sides)
        };
        self.others.iter().map(figure).collect()
    }
}

fn companies(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let counts = [1, 1, 10, 100, 1_000];
    let start = |count: &u32| Lane::new(runtime, Filters::Rename, Store::Redis, *count);
    let mut lanes = counts.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut seen = vec![Samples::default(); counts.len()];
    for _ in 0..plan.rounds() {
        for ((lane, count), seen) in lanes.iter_mut().zip(counts).zip(&mut seen) {
            let passed = lane.pass(runtime, plan.events())?;
            crate::say(&format!("       {count} companies: {:.0} events/s", passed.per_second));
            seen.0.push(passed.per_second);
        }
    }
    let told = |index: usize| (format!("{} companies", counts[index]), seen[index].clone());
    let sizes = Sizes { base: seen[0].clone(), again: seen[1].clone(), others: [2, 3, 4].map(told).to_vec() };
    let flat = |figure: Figure| figure.at_least(1.0 / 1.5);
    Ok(sizes.figures("events of", "one company", "1/s").into_iter().map(flat).collect())
}

fn connections(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let (counts, pace) = ([10, 10, 100, 1_000, 5_000], Pace::PerSecond(RATE));
    let start = |count: &u32| Stand::new(Kind::Tidegate(Filters::Rename), runtime, *count, 1, pace);
    let mut stands = counts.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut seen = vec![Samples::default(); counts.len()];
    for _ in 0..plan.rounds() {
        for ((stand, count), seen) in stands.iter_mut().zip(counts).zip(&mut seen) {
            let round = stand.round(plan, pace)?;
            crate::say(&format!("       {count} connections: p50 {:.2} ms", round.latency.p50_ms));
            seen.0.push(round.latency.p50_ms);
        }
    }
    let told = |index: usize| (format!("{} connections", counts[index]), seen[index].clone());
    let sizes = Sizes { base: seen[0].clone(), again: seen[1].clone(), others: [2, 3, 4].map(told).to_vec() };
    let flat = |figure: Figure| figure.at_most(1.5);
    let what = format!("p50 at {RATE} events/s of");
    Ok(sizes.figures(&what, "10 connections", "ms").into_iter().map(flat).collect())
}

fn replays(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let mut lane = Lane::new(runtime, Filters::Platform, Store::Redis, 1)?;
    let mut seen = vec![Samples::default(); REPLAYS.len() + 1];
    for _ in 0..plan.rounds() {
        for (count, seen) in [REPLAYS[0]].iter().chain(&REPLAYS).zip(&mut seen) {
            let each = lane.replay(*count)? * 1e6 / *count as f64;
            crate::say(&format!("       replay of {count}: {each:.2} us an event"));
            seen.0.push(each);
        }
    }
    let told = |index: usize| (crate::results::number(REPLAYS[index - 1] as f64), seen[index].clone());
    let sizes = Sizes { base: seen[0].clone(), again: seen[1].clone(), others: [2, 3].map(told).to_vec() };
    let flat = |figure: Figure| figure.at_most(1.5);
    Ok(sizes.figures("an event in a replay of", "a replay of 1,000", "us").into_iter().map(flat).collect())
}
