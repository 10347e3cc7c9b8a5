//! The rows of the table: what is measured, and what should come out.

mod client;
mod fan_out;
mod filter;
mod growth;
mod latency;
mod memory;
mod pipeline;
mod starts;
mod storm;
mod swaps;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::figure::{Figure, Samples};
use crate::plan::Plan;
use crate::stand::Round;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Its number.
    pub(crate) number: u32,
    /// What is measured, in words.
    pub(crate) title: &'static str,
    /// Measures it.
    run: fn(&Runtime, Plan) -> Result<Vec<Figure>>,
}

/// All of them.
pub(crate) const ROWS: &[Row] = &[
    Row { number: 1, title: "An event through a filter", run: filter::run },
    Row {
        number: 2,
        title: "JetStream to Redis through a platform filter and one company filter",
        run: pipeline::redis,
    },
    Row { number: 3, title: "JetStream to the embedded store without company filters", run: pipeline::embedded },
    Row { number: 4, title: "Fan-out at saturation, one company", run: fan_out::one_company },
    Row { number: 5, title: "Fan-out to 50 companies, and at a steady rate", run: fan_out::many_companies },
    Row { number: 6, title: "Latency from publishing to the client at 1,000 events/s", run: latency::run },
    Row { number: 7, title: "Memory of idle connections", run: memory::run },
    Row { number: 8, title: "Clients that come back together", run: storm::run },
    Row { number: 9, title: "Swaps of code", run: swaps::run },
    Row { number: 10, title: "Cold start with 100 modules", run: starts::hundred },
    Row { number: 11, title: "Companies with a module each", run: starts::thousand },
    Row { number: 12, title: "Growth", run: growth::run },
    Row { number: 13, title: "The client alone", run: client::run },
];

impl Row {
    /// Measures it.
    ///
    /// # Errors
    /// Something doesn't start, or an event is lost, doubled or out of order.
    pub(crate) fn measure(&self, runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
        (self.run)(runtime, plan)
    }
}

/// One measure of all rounds.
fn samples(rounds: &[Round], measure: impl Fn(&Round) -> f64) -> Samples {
    Samples(rounds.iter().map(measure).collect())
}
