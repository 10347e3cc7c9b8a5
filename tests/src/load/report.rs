//! What came out of a load test, and whether it was good enough.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::Load;
use super::judge::Judge;
use crate::backend::Backend;
use crate::tools::root;

/// 95 % of deliveries are faster, in milliseconds.
const P95_MS: f64 = 500.0;
/// Of connections that open, in per cent.
const OPEN_PER_CENT: f64 = 95.0;
/// Errors of all connections together stay below.
const ERRORS: u64 = 10;

/// The result.
#[derive(Debug)]
pub struct Report {
    backend: Backend,
    load: Load,
    published: u64,
    opened: u64,
    deliveries: u64,
    errors: u64,
    wrong: u64,
    told: Vec<String>,
    /// 50, 95, 99 per cent and all, in milliseconds.
    latency_ms: [f64; 4],
    cpu_seconds: f64,
    memory_bytes: u64,
}

impl Report {
    /// Sums up.
    #[must_use]
    pub fn new(
        backend: Backend,
        load: Load,
        published: u64,
        judges: Vec<Judge>,
        cpu_seconds: f64,
        memory_bytes: u64,
    ) -> Self {
        let opened = judges.iter().filter(|judge| judge.open).count() as u64;
        let errors = judges.iter().map(|judge| judge.errors).sum();
        let wrong = judges.iter().map(Judge::wrong_events).sum();
        let told = judges.iter().flat_map(|judge| judge.told.iter().cloned()).take(10).collect();
        let mut latencies: Vec<u64> = judges.into_iter().flat_map(|judge| judge.latencies).collect();
        latencies.sort_unstable();
        let latency_ms = [0.50, 0.95, 0.99, 1.0].map(|part| millis(&latencies, part));
        let deliveries = latencies.len() as u64;
        Self {
            backend,
            load,
            published,
            opened,
            deliveries,
            errors,
            wrong,
            told,
            latency_ms,
            cpu_seconds,
            memory_bytes,
        }
    }

    /// The thresholds that were missed, in words.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if self.deliveries == 0 || self.latency_ms[1] >= P95_MS {
            missed.push(format!("95 % within {P95_MS} ms: {:.1} ms", self.latency_ms[1]));
        }
        let open = self.open_per_cent();
        if open < OPEN_PER_CENT {
            missed.push(format!("{OPEN_PER_CENT} % of connections open to the end: {open:.1} %"));
        }
        if self.errors >= ERRORS {
            missed.push(format!("under {ERRORS} errors: {}", self.errors));
        }
        if self.wrong > 0 {
            missed.push(format!("each event once and in order: {} were not", self.wrong));
        }
        missed
    }

    /// The report as Markdown.
    #[must_use]
    pub fn text(&self) -> String {
        let Load { connections, rate, seconds } = self.load;
        let [p50, p95, p99, max] = self.latency_ms;
        let mut text =
            format!("### {connections} connections, {rate} events/s, {seconds} s, {}\n\n", backend_name(self.backend));
        let per_delivery = self.cpu_seconds * 1e6 / self.deliveries.max(1) as f64;
        let rows = [
            (
                "connections open to the end",
                format!("{} of {connections} ({:.1} %)", self.opened, self.open_per_cent()),
            ),
            ("events published", self.published.to_string()),
            ("deliveries", format!("{} of {}", self.deliveries, self.published * u64::from(connections))),
            ("events lost, doubled, out of order", self.wrong.to_string()),
            ("streams not opened or broken off, gaps", self.errors.to_string()),
            ("latency p50 / p95 / p99 / max", format!("{p50:.1} / {p95:.1} / {p99:.1} / {max:.1} ms")),
            ("CPU of the host", format!("{:.1} s ({per_delivery:.1} us a delivery)", self.cpu_seconds)),
            ("peak memory of the host", format!("{} MiB", self.memory_bytes >> 20)),
        ];
        text.push_str("| what | measured |\n|---|---|\n");
        for (name, value) in rows {
            // Writing to a String can't fail.
            let _ = writeln!(text, "| {name} | {value} |");
        }
        for fault in &self.told {
            let _ = writeln!(text, "- {fault}");
        }
        text
    }

    /// Of deliveries, in milliseconds: 50, 95, 99 per cent, and all.
    #[must_use]
    pub fn latency_ms(&self) -> [f64; 4] {
        self.latency_ms
    }

    /// Events lost, doubled or out of order.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.wrong
    }

    /// Writes the report into `tests/bench/RESULTS.md`, in place of the last one of its kind.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn record(&self) -> Result<()> {
        record(backend_name(self.backend), &self.text())
    }

    fn open_per_cent(&self) -> f64 {
        100.0 * self.opened as f64 / f64::from(self.load.connections.max(1))
    }
}

/// Writes a section into `tests/bench/RESULTS.md`, in place of the last one of this name, with when and on what it was measured.
///
/// # Errors
/// The file can't be read or written.
pub fn record(name: &str, text: &str) -> Result<()> {
    let path = root().join("tests/bench/RESULTS.md");
    let present = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let date = time::OffsetDateTime::now_utc().date();
    let note = format!("Measured on {date}, {cores} cores shared by host, servers and clients.\n");
    fs::write(&path, replaced(&present, name, &format!("{text}\n{note}")))
        .with_context(|| format!("write {}", path.display()))
}

/// What a backend is called in a report.
#[must_use]
pub fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Embedded => "embedded log and store",
        Backend::JetStream => "NATS JetStream and Redis",
        Backend::OldJetStream => "NATS JetStream 2.9 and Redis",
        Backend::Core => "core NATS and Redis",
    }
}

fn millis(sorted: &[u64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |micros| *micros as f64 / 1_000.0)
}

/// The document with the section of this name replaced, or added at the end.
fn replaced(document: &str, name: &str, section: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let section = format!("{begin}{section}{end}");
    match document.split_once(&begin) {
        Some((before, rest)) => {
            let after = rest.split_once(&end).map_or("", |(_, after)| after);
            format!("{before}{section}{after}")
        }
        None => format!("{document}\n{section}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_its_neighbours_stay() {
        let once = replaced("# Results\n", "a", "1\n");
        let twice = replaced(&replaced(&once, "b", "2\n"), "a", "3\n");
        assert_eq!(twice, "# Results\n\n<!-- begin a -->\n3\n<!-- end a -->\n\n<!-- begin b -->\n2\n<!-- end b -->\n");
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let sorted: Vec<u64> = (1..=100).map(|n| n * 1_000).collect();
        assert_eq!([0.5, 0.95, 0.99, 1.0].map(|part| millis(&sorted, part)), [50.0, 95.0, 99.0, 100.0]);
        assert_eq!(millis(&[], 0.5), 0.0);
    }

    #[test]
    fn each_threshold_is_judged() {
        let load = Load { connections: 2, rate: 1, seconds: 1 };
        let mut good = Judge::new(0);
        good.opened();
        good.latencies = vec![1_000; 100];
        let mut slow = Judge::new(0);
        slow.opened();
        slow.latencies = vec![600_000; 100];
        assert!(
            Report::new(Backend::Embedded, Load { connections: 1, ..load }, 1, vec![good], 1.0, 1).missed().is_empty()
        );
        let report = Report::new(Backend::Embedded, load, 1, vec![slow, Judge::unopened("no")], 1.0, 1);
        assert_eq!(report.missed().len(), 2, "{:?}", report.missed());
    }

    fn quick(total: u64) -> Judge {
        let mut judge = Judge::new(total);
        judge.opened();
        judge.latencies = vec![1_000; 100];
        judge
    }

    #[test]
    fn one_event_that_never_came_fails_the_test() {
        let load = Load { connections: 1, rate: 1, seconds: 1 };
        let missed = Report::new(Backend::Embedded, load, 1, vec![quick(1)], 1.0, 1).missed();
        assert_eq!(missed, ["each event once and in order: 1 were not"]);
    }

    #[test]
    fn a_stream_that_breaks_is_no_successful_connection() {
        let load = Load { connections: 10, rate: 1, seconds: 1 };
        let judges = |broken: usize| {
            let open = (broken..10).map(|_| quick(0));
            open.chain((0..broken).map(|_| quick(1).broken("cut"))).collect::<Vec<_>>()
        };
        assert!(Report::new(Backend::Embedded, load, 1, judges(0), 1.0, 1).missed().is_empty());
        let missed = Report::new(Backend::Embedded, load, 1, judges(1), 1.0, 1).missed();
        assert_eq!(missed, ["95 % of connections open to the end: 90.0 %"]);
        assert_eq!(Report::new(Backend::Embedded, load, 1, judges(10), 1.0, 1).missed().len(), 2, "and ten errors");
    }
}
