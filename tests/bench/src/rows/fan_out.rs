//! Rows 4 and 5: how many deliveries a second, and what each costs.

use anyhow::Result;
use tokio::runtime::Runtime;

use super::samples;
use crate::contestant::{Filters, Kind};
use crate::figure::{Figure, Sides};
use crate::plan::Plan;
use crate::stand::{Pace, Round, Stand, in_turn};

/// The host, the same again, nginx with nchan, and the bare server.
const KINDS: [Kind; 4] =
    [Kind::Tidegate(Filters::Platform), Kind::Tidegate(Filters::Platform), Kind::Nchan, Kind::Limit];
const NCHAN: &str = "nginx with nchan";
const LIMIT: &str = "a bare hyper server";

/// Row 4.
///
/// # Errors
/// As [`in_turn`].
pub(super) fn one_company(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in [100, 1_000] {
        let rounds = saturated(runtime, plan, [connections, 1], Pace::SATURATED)?;
        let told = format!("{} connections", crate::results::number(f64::from(connections)));
        let [deliveries, cpu, limit] = three(&rounds, &told);
        figures.extend([deliveries.at_least(8.0), cpu.at_most(1.0 / 6.0), limit.at_least(0.7)]);
        figures.push(with_servers(&rounds, &told));
    }
    // Here the publisher waits for the clients most of the time: what is seen is a round trip, which the host makes
    // through JetStream, a filter and Redis.
    let rounds = saturated(runtime, plan, [100, 1], Pace::SHORT)?;
    let told = "100 connections, at most 32 events under way";
    let [deliveries, cpu, limit] = three(&rounds, told);
    figures.extend([
        deliveries.at_least(8.0),
        cpu.at_most(1.0 / 6.0),
        limit.at_least(0.7),
        with_servers(&rounds, told),
    ]);
    Ok(figures)
}

/// Row 5.
///
/// # Errors
/// As [`in_turn`].
pub(super) fn many_companies(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let told = "1,000 connections over 50 companies";
    let rounds = saturated(runtime, plan, [1_000, 50], Pace::SATURATED)?;
    let [deliveries, cpu, limit] = three(&rounds, told);
    Ok(vec![
        deliveries.at_least(6.0),
        cpu.lower(),
        limit,
        with_servers(&rounds, told),
        super::latency::cpu(runtime, plan)?,
    ])
}

/// On so many connections, over so many companies.
fn saturated(runtime: &Runtime, plan: Plan, spread: [u32; 2], pace: Pace) -> Result<Vec<Vec<Round>>> {
    let [connections, companies] = spread;
    let start = |kind| Stand::new(kind, runtime, connections, companies, pace);
    let mut stands = KINDS.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    in_turn(&mut stands, plan, pace)
}

/// Deliveries and CPU beside nchan, deliveries beside the bare server.
fn three(rounds: &[Vec<Round>], told: &str) -> [Figure; 3] {
    let figure = |measure: fn(&Round) -> f64, theirs: usize, what: &str, against: &str, unit: &str| {
        let side = |number: usize| samples(rounds.get(number).map_or(&[][..], Vec::as_slice), measure);
        let (ours, twin, theirs) = (side(0), side(1), side(theirs));
        Figure::ratio(&format!("{told}: {what}"), against, unit, Sides { ours: &ours, twin: &twin, theirs: &theirs })
    };
    [
        figure(|round| round.per_second, 2, "deliveries", NCHAN, "1/s"),
        figure(|round| round.cpu_us, 2, "CPU of a delivery", NCHAN, "us"),
        figure(|round| round.per_second, 3, "deliveries", LIMIT, "1/s"),
    ]
}

/// CPU of the host and of the servers that it stands on.
fn with_servers(rounds: &[Vec<Round>], told: &str) -> Figure {
    let side = |number: usize| {
        samples(rounds.get(number).map_or(&[][..], Vec::as_slice), |round| round.cpu_us + round.beside_us)
    };
    let (ours, twin, theirs) = (side(0), side(1), side(2));
    let what = format!("{told}: CPU of a delivery, NATS and Redis counted");
    Figure::ratio(&what, NCHAN, "us", Sides { ours: &ours, twin: &twin, theirs: &theirs }).lower()
}
