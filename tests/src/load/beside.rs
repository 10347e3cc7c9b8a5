//! What a company with a bad filter costs its neighbours: their latency beside it, and beside the same one while it behaves.

use anyhow::{Context as _, Result};
use std::fmt::Write as _;

use super::report::{Report, backend_name, record};
use super::{Load, phase};
use crate::backend::{Backend, World};
use crate::modules::{Modules, commanded, obedient};

/// One in so many events is the bad company's.
const ONE_IN: u32 = 10;
/// What its filter does at each event ([`obedient`]), in words.
const WAYS: [(char, &str); 3] =
    [('.', "passes it on"), ('w', "works longer than a batch may take"), ('l', "loops until its time limit")];

/// What came out, in the order of the ways.
#[derive(Debug)]
pub struct Beside {
    load: Load,
    backend: Backend,
    reports: Vec<Report>,
}

/// Runs the load once beside each way, on one host.
///
/// # Errors
/// Something doesn't start.
pub async fn run(backend: Backend, load: Load) -> Result<Beside> {
    let mut world = World::prepare(backend).await?;
    for (number, _) in WAYS.iter().enumerate() {
        Modules::of(&world.host.modules(), &name(number)).put("10-guest.wasm", &obedient()?)?;
    }
    world.host.start().await?;
    let mut reports = Vec::new();
    for (number, (command, _)) in WAYS.iter().enumerate() {
        let (command, company) = (*command, name(number));
        let (rate, total) = (load.rate / ONE_IN, u64::from(load.rate) * u64::from(load.seconds) / u64::from(ONE_IN));
        let flow = world
            .publisher()
            .await?
            .steady(rate, total, move |n| (super::SUBJECT.to_owned(), commanded(command, &company, n)));
        reports.push(phase(&world, load).await?);
        drop(flow);
    }
    Ok(Beside { load, backend, reports })
}

fn name(number: usize) -> String {
    format!("bad-{number}")
}

impl Beside {
    /// As Markdown.
    #[must_use]
    pub fn text(&self) -> String {
        let Load { connections, rate, seconds } = self.load;
        let mut text = format!(
            "### Beside a company with a bad filter: {connections} connections, {rate} events/s, {seconds} s each, {}\n\n\
             One in {ONE_IN} events more is that company's. The latencies are its neighbour's.\n\n\
             | at each event the filter | p50 | p95 | p99 | max | p99 to the first row | lost, doubled, out of order |\n\
             |---|---|---|---|---|---|---|\n",
            backend_name(self.backend)
        );
        let first = self.reports.first().map_or(0.0, |report| report.latency_ms()[2]);
        for ((_, way), report) in WAYS.iter().zip(&self.reports) {
            let [p50, p95, p99, max] = report.latency_ms();
            let ratio = p99 / first.max(0.001);
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "| {way} | {p50:.1} ms | {p95:.1} ms | {p99:.1} ms | {max:.1} ms | {ratio:.2} | {} |",
                report.wrong()
            );
        }
        text
    }

    /// Writes it into `tests/bench/RESULTS.md`, in place of the last one of its kind.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn record(&self) -> Result<()> {
        record(&format!("beside, {}", backend_name(self.backend)), &self.text()).context("record the results")
    }

    /// Events that a neighbour was not sent as it should.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.reports.iter().map(Report::wrong).sum()
    }
}
