//! Row 6 and the paced part of row 5: 1,000 events a second to 100 connections.

use anyhow::Result;
use tokio::runtime::Runtime;

use super::samples;
use crate::contestant::{Filters, Kind};
use crate::figure::{Figure, Samples, Sides};
use crate::plan::Plan;
use crate::stand::{Pace, Round, Stand, in_turn};

const CONNECTIONS: u32 = 100;
const PACE: Pace = Pace::PerSecond(1_000);
const NCHAN: &str = "nginx with nchan, which has none of these in the way";

/// Row 6: the company has a filter, too.
///
/// # Errors
/// As [`in_turn`].
pub(super) fn run(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let rounds = paced(runtime, plan, Filters::Rename)?;
    let figure = |measure: fn(&Round) -> f64, what: &str| {
        let [ours, twin, theirs] = sides(&rounds, measure);
        Figure::difference(what, NCHAN, "ms", Sides { ours: &ours, twin: &twin, theirs: &theirs })
    };
    Ok(vec![
        figure(|round| round.latency.p50_ms, "p50, JetStream, two filters and Redis in the way").at_most(3.0),
        figure(|round| round.latency.p99_ms, "p99, JetStream, two filters and Redis in the way").at_most(10.0),
    ])
}

/// The last figure of row 5.
///
/// # Errors
/// As [`in_turn`].
pub(super) fn cpu(runtime: &Runtime, plan: Plan) -> Result<Figure> {
    let rounds = paced(runtime, plan, Filters::Platform)?;
    let [ours, twin, theirs] = sides(&rounds, |round| round.cpu_us);
    let sides = Sides { ours: &ours, twin: &twin, theirs: &theirs };
    let what = "100 connections, 1,000 events/s: CPU of a delivery";
    Ok(Figure::ratio(what, "nginx with nchan", "us", sides).at_most(0.8))
}

fn paced(runtime: &Runtime, plan: Plan, filters: Filters) -> Result<Vec<Vec<Round>>> {
    let start = |kind| Stand::new(kind, runtime, CONNECTIONS, 1, PACE);
    let kinds = [Kind::Tidegate(filters), Kind::Tidegate(filters), Kind::Nchan];
    let mut stands = kinds.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    in_turn(&mut stands, plan, PACE)
}

/// The host, the same again, nchan.
fn sides(rounds: &[Vec<Round>], measure: fn(&Round) -> f64) -> [Samples; 3] {
    [0, 1, 2].map(|number| samples(rounds.get(number).map_or(&[][..], Vec::as_slice), measure))
}
