//! Every metric of the host, by name, with its help and unit.

use super::capped::{CompanyGauges, CompanySum, ReasonCounters};
use super::figures::Figures;
use super::histogram::Durations;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tidegate_core::event::Company;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From 0.5 ms to a minute: the promise is 500 ms, a good day is 2 ms.
const LATENCY_US: &[u64] = &[
    500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 60_000_000,
];
/// From 5 µs, a call for one event, to 10 s, the ceiling of a call with its repeats.
const CALL_US: &[u64] = &[
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000,
];
/// From 100 µs, a commit to the embedded store, to 10 s.
const COMMIT_US: &[u64] =
    &[100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 10_000_000];

/// Which chain a filter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// `_platform`
    Platform,
    /// A company's own, or `_default`.
    Company,
}

type Labels = [(&'static str, &'static str); 1];

/// The metrics. Cheap to clone; all clones count into the same ones.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    figures: Figures,
    registry: Registry,
    /// The same metrics, with sums instead of companies.
    registry_without_companies: Registry,
    connections: CompanyGauges,
    connections_opened: Counter,
    connections_closed: ReasonCounters,
    connection_errors: ReasonCounters,
    delivery_latency: Durations,
    deliveries: Counter,
    delivered_bytes: Counter,
    gaps: ReasonCounters,
    replay_requests: ReasonCounters,
    replay_pages_read: Counter,
    replay_pages_shared: Counter,
    events_received: Counter,
    events_emitted: Counter,
    events_dropped: ReasonCounters,
    dead_letters: ReasonCounters,
    dead_letters_dropped: Counter,
    dead_letters_retried: Counter,
    outputs: Counter,
    platform_calls: Durations,
    company_calls: Durations,
    filter_errors: ReasonCounters,
    module_swaps: ReasonCounters,
    owner: Gauge,
    source_lag: Gauge,
    source_lost: Counter,
    source_deleted: Counter,
    backlog: CompanyGauges,
    commits: Durations,
    commits_unconfirmed: Counter,
    components: Family<Labels, Gauge<u64, AtomicU64>>,
    memory: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut list = List::new();
        let connections = list.companies(
            "connections",
            "Open streams: the hundred companies with most, the rest as `other`",
            "Open streams",
        );
        let connections_opened = list.add("connections_opened", "Streams opened", Counter::default());
        let connections_closed =
            list.add("connections_closed", "Streams ended, by reason", ReasonCounters::new("reason", &[]));
        let connection_errors = list.add(
            "connection_errors",
            "Streams refused or broken off, by reason",
            ReasonCounters::new("reason", &[]),
        );
        let delivery_latency = list.seconds(
            "delivery_latency",
            "From an event's time in the source to its write to a socket",
            Durations::new(LATENCY_US),
        );
        let deliveries =
            list.add("deliveries", "Events written to sockets, one for each connection", Counter::default());
        let delivered_bytes =
            list.in_unit("delivered", "Bytes of events written to sockets", Unit::Bytes, Counter::default());
        let gaps = list.add("gaps", "`gap` events sent, by reason", ReasonCounters::new("reason", &[]));
        let replay_requests = list.add(
            "replay_requests",
            "Streams opened with a cursor: `hit` nothing missed, `partial` a gap and then events, `miss` nothing left",
            ReasonCounters::new("result", &["hit", "partial", "miss"]),
        );
        let replay_pages_read =
            list.add("replay_pages_read", "Pages of replays read from the replay cache", Counter::default());
        let replay_pages_shared = list.add(
            "replay_pages_shared",
            "Pieces of such pages that streams took after they were read",
            Counter::default(),
        );
        let events_received = list.add("events_received", "Events taken from the source", Counter::default());
        let events_emitted = list.add(
            "events_emitted",
            "Events of which something was emitted and nothing dead-lettered",
            Counter::default(),
        );
        let events_dropped =
            list.add("events_dropped", "Events dropped by a filter, by its reason", ReasonCounters::new("reason", &[]));
        let dead_letters =
            list.add("dead_letters", "Events dead-lettered, by reason", ReasonCounters::new("reason", &[]));
        let dead_letters_dropped = list.add(
            "dead_letters_dropped",
            "Dead letters dropped because too many waited to be published",
            Counter::default(),
        );
        let dead_letters_retried =
            list.add("dead_letters_retried", "Dead letters published again by an operator", Counter::default());
        let outputs = list.add("outputs", "Outputs committed, one for each company and emission", Counter::default());
        let (platform_calls, company_calls) = (Durations::new(CALL_US), Durations::new(CALL_US));
        list.seconds(
            "filter_duration",
            "Time of one call of a filter with its part of a batch",
            ByChain(platform_calls.clone(), company_calls.clone()),
        );
        let filter_errors =
            list.add("filter_errors", "Events at which a filter failed, by kind", ReasonCounters::new("kind", &[]));
        let module_swaps = list.add(
            "module_swaps",
            "Chains swapped while running, by result",
            ReasonCounters::new("result", &["applied", "refused"]),
        );
        let source_lost =
            list.add("source_lost", "Events the source lost before they reached this host", Counter::default());
        let source_deleted = list.add(
            "source_deleted",
            "Messages deleted one by one from the stream before they were read",
            Counter::default(),
        );
        let owner = list.add("owner", "1 while this host owns the partition, 0 while it stands by", Gauge::default());
        let source_lag =
            list.add("source_lag_events", "Events in the source that are not committed yet", Gauge::default());
        let backlog = list.companies(
            "backlog_events",
            "Inputs waiting in backlogs: the hundred companies with most, the rest as `other`",
            "Inputs waiting in backlogs",
        );
        let commits = list.seconds("commit_duration", "Time of one commit to the store", Durations::new(COMMIT_US));
        let commits_unconfirmed = list.add(
            "commits_unconfirmed",
            "Commits that fewer replicas confirmed in time than redis.wait-replicas asks for",
            Counter::default(),
        );
        let components = list.add("component_up", "Whether a part of the host works: 1 or 0", Family::default());
        let memory =
            list.in_unit("resident_memory", "Memory of this process that is in use", Unit::Bytes, Gauge::default());
        Self(Arc::new(Inner {
            figures: Figures::default(),
            registry: list.all,
            registry_without_companies: list.without_companies,
            connections,
            connections_opened,
            connections_closed,
            connection_errors,
            delivery_latency,
            deliveries,
            delivered_bytes,
            gaps,
            replay_requests,
            replay_pages_read,
            replay_pages_shared,
            events_received,
            events_emitted,
            events_dropped,
            dead_letters,
            dead_letters_dropped,
            dead_letters_retried,
            outputs,
            platform_calls,
            company_calls,
            filter_errors,
            module_swaps,
            owner,
            source_lag,
            source_lost,
            source_deleted,
            backlog,
            commits,
            commits_unconfirmed,
            components,
            memory,
        }))
    }

    /// A stream of this company was opened.
    pub fn connection_opened(&self, company: &Company) {
        self.0.connections.raise(company.as_str());
        self.0.connections_opened.inc();
    }

    /// A stream of this company has ended; call it once for each [`Metrics::connection_opened`].
    pub fn connection_closed(&self, company: &Company, reason: &'static str) {
        self.0.connections.lower(company.as_str());
        self.0.connections_closed.add(reason, 1);
    }

    /// A stream was refused or broken off.
    pub fn connection_error(&self, reason: &'static str) {
        self.0.connection_errors.add(reason, 1);
    }

    /// `events` with the same `latency` (source time to socket write) were written in `bytes`.
    pub fn delivered(&self, latency: Duration, events: u64, bytes: u64) {
        self.0.delivery_latency.observe(latency, events);
        self.0.deliveries.inc_by(events);
        self.0.delivered_bytes.inc_by(bytes);
    }

    /// Events of a replay were written: their age says nothing of the host.
    pub fn replayed(&self, events: u64, bytes: u64) {
        self.0.deliveries.inc_by(events);
        self.0.delivered_bytes.inc_by(bytes);
    }

    /// A `gap` was sent.
    pub fn gap(&self, reason: &'static str) {
        self.0.gaps.add(reason, 1);
    }

    /// A stream was opened with a cursor; `result` is `hit`, `partial` or `miss`.
    pub fn replay_request(&self, result: &'static str) {
        self.0.replay_requests.add(result, 1);
    }

    /// A page of a replay is read from the store.
    pub fn replay_page_read(&self) {
        self.0.replay_pages_read.inc();
    }

    /// A stream took a page that was read before.
    pub fn replay_page_shared(&self) {
        self.0.replay_pages_shared.inc();
    }

    /// Events came from the source.
    pub fn events_received(&self, events: u64) {
        self.0.events_received.inc_by(events);
    }

    /// Events were committed as emitted; each input counts once, here or as dropped or dead-lettered.
    pub fn events_emitted(&self, events: u64) {
        self.0.events_emitted.inc_by(events);
    }

    /// Events were committed as dropped. The first hundred reasons are told apart.
    pub fn events_dropped(&self, reason: &str, events: u64) {
        self.0.events_dropped.add(reason, events);
    }

    /// Events were committed as dead letters.
    pub fn dead_letters(&self, reason: &str, events: u64) {
        self.0.dead_letters.add(reason, events);
    }

    /// An operator had a dead letter published again.
    pub fn dead_letter_retried(&self) {
        self.0.dead_letters_retried.inc();
    }

    /// A full outbox dropped its oldest letters.
    pub fn dead_letters_dropped(&self, letters: u64) {
        self.0.dead_letters_dropped.inc_by(letters);
    }

    /// Outputs were committed.
    pub fn outputs(&self, outputs: u64) {
        self.0.outputs.inc_by(outputs);
    }

    /// What each filter did, for the listing.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// A filter was called once.
    pub fn filter_called(&self, chain: Chain, duration: Duration) {
        match chain {
            Chain::Platform => self.0.platform_calls.observe(duration, 1),
            Chain::Company => self.0.company_calls.observe(duration, 1),
        }
    }

    /// A call of a filter failed.
    pub fn filter_error(&self, kind: &str) {
        self.0.filter_errors.add(kind, 1);
    }

    /// A folder changed; `result` is `applied` or `refused`.
    pub fn module_swap(&self, result: &'static str) {
        self.0.module_swaps.add(result, 1);
    }

    /// How many events of the source are not committed yet.
    pub fn source_lag(&self, events: u64) {
        self.0.source_lag.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// The source lost events before they reached this host; one where it can't say how many.
    pub fn source_lost(&self, events: Option<u64>) {
        self.0.source_lost.inc_by(events.unwrap_or(1));
    }

    /// Messages were deleted one by one before they were read.
    pub fn source_deleted(&self, messages: u64) {
        self.0.source_deleted.inc_by(messages);
    }

    /// How many inputs wait in a company's backlog; 0 takes the company off the list.
    pub fn backlog(&self, company: &Company, events: u64) {
        self.0.backlog.set(company.as_str(), events);
    }

    /// This host owns the partition, or another one does: then lag and backlogs are that one's to tell.
    pub fn owner(&self, owns: bool) {
        self.0.owner.set(i64::from(owns));
        if !owns {
            self.0.source_lag.set(0);
            self.0.backlog.clear();
        }
    }

    /// A commit was answered.
    pub fn commit(&self, duration: Duration) {
        self.0.commits.observe(duration, 1);
    }

    /// Fewer replicas than wished for have a stored commit.
    pub fn commit_unconfirmed(&self) {
        self.0.commits_unconfirmed.inc();
    }

    /// Whether a part of the host (`nats`, `redis`, `platform`, …) works.
    pub fn component_up(&self, component: &'static str, up: bool) {
        self.0.components.get_or_create(&[("component", component)]).set(u64::from(up));
    }

    /// All metrics as text, of the type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        self.text(&self.0.registry)
    }

    /// As [`Metrics::encode`], but no company is named: for listeners where companies may not know of each other.
    #[must_use]
    pub fn encode_without_companies(&self) -> String {
        self.text(&self.0.registry_without_companies)
    }

    fn text(&self, registry: &Registry) -> String {
        if let Some(bytes) = resident_bytes() {
            self.0.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = String::with_capacity(16 << 10);
        // Writing to a string fails only where a metric's own encoding does.
        if encode(&mut text, registry).is_err() {
            tracing::error!("metrics could not be encoded");
        }
        text
    }
}

/// Registers metrics under `tidegate_`.
struct List {
    all: Registry,
    without_companies: Registry,
}

impl List {
    /// With the version alone.
    fn new() -> Self {
        let registry = || {
            let mut registry = Registry::with_prefix("tidegate");
            let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
            registry.register("build", "The version of this host", version);
            registry
        };
        Self { all: registry(), without_companies: registry() }
    }

    fn add<M: Metric + Clone>(&mut self, name: &'static str, help: &'static str, metric: M) -> M {
        self.all.register(name, help, metric.clone());
        self.without_companies.register(name, help, metric.clone());
        metric
    }

    fn in_unit<M: Metric + Clone>(&mut self, name: &'static str, help: &'static str, unit: Unit, metric: M) -> M {
        self.all.register_with_unit(name, help, unit.clone(), metric.clone());
        self.without_companies.register_with_unit(name, help, unit, metric.clone());
        metric
    }

    fn seconds<M: Metric + Clone>(&mut self, name: &'static str, help: &'static str, metric: M) -> M {
        self.in_unit(name, help, Unit::Seconds, metric)
    }

    fn companies(&mut self, name: &'static str, help: &'static str, help_of_sum: &'static str) -> CompanyGauges {
        let gauges = CompanyGauges::default();
        self.all.register(name, help, gauges.clone());
        self.without_companies.register(name, help_of_sum, CompanySum(gauges.clone()));
        gauges
    }
}

/// The durations of the two kinds of chains under one name.
#[derive(Debug, Clone)]
struct ByChain(Durations, Durations);

impl EncodeMetric for ByChain {
    fn encode(&self, mut encoder: prometheus_client::encoding::MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (chain, durations) in [("platform", &self.0), ("company", &self.1)] {
            let labels = [("chain", chain)];
            durations.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> prometheus_client::metrics::MetricType {
        prometheus_client::metrics::MetricType::Histogram
    }
}

/// From the second field of `statm`, in pages of 4 KiB; nothing on systems without it.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4_096)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(name: &str) -> Company {
        Company::new(name).expect("a company's name")
    }

    #[test]
    fn every_metric_of_the_contract_is_there_with_help() {
        let metrics = Metrics::new();
        metrics.connection_opened(&company("a"));
        metrics.backlog(&company("a"), 3);
        metrics.component_up("nats", true);
        metrics.connection_error("limit");
        metrics.events_dropped("below threshold", 2);
        metrics.dead_letters("no company", 1);
        metrics.filter_error("trap");
        metrics.delivered(Duration::from_millis(3), 10, 1_000);
        let text = metrics.encode();
        for line in [
            "tidegate_connections{company=\"a\"} 1",
            "tidegate_connection_errors_total{reason=\"limit\"} 1",
            "tidegate_delivery_latency_seconds_count 10",
            "tidegate_delivery_latency_seconds_bucket{le=\"0.005\"} 10",
            "tidegate_replay_requests_total{result=\"hit\"} 0",
            "tidegate_events_received_total 0",
            "tidegate_events_emitted_total 0",
            "tidegate_events_dropped_total{reason=\"below threshold\"} 2",
            "tidegate_dead_letters_total{reason=\"no company\"} 1",
            "tidegate_dead_letters_dropped_total 0",
            "tidegate_filter_duration_seconds_count{chain=\"company\"} 0",
            "tidegate_filter_errors_total{kind=\"trap\"} 1",
            "tidegate_module_swaps_total{result=\"applied\"} 0",
            "tidegate_owner 0",
            "tidegate_source_lag_events 0",
            "tidegate_backlog_events{company=\"a\"} 3",
            "tidegate_commit_duration_seconds_count 0",
            "tidegate_commits_unconfirmed_total 0",
            "tidegate_component_up{component=\"nats\"} 1",
            "tidegate_outputs_total 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(types, text.lines().filter(|line| line.starts_with("# HELP")).count());
        assert!(text.contains("# UNIT tidegate_commit_duration_seconds seconds"), "{text}");
    }

    #[test]
    fn only_the_hundred_largest_companies_have_a_name() {
        let metrics = Metrics::new();
        for number in 0..150_u32 {
            for _ in 0..=number {
                metrics.connection_opened(&company(&format!("c{number}")));
            }
        }
        let text = metrics.encode();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("tidegate_connections{")).collect();
        assert_eq!(rows.len(), 101);
        assert!(rows.contains(&"tidegate_connections{company=\"c149\"} 150"));
        assert!(rows.contains(&"tidegate_connections{company=\"other\"} 1275"), "1 + 2 + … + 50");
        assert!(!text.contains("company=\"c49\""));
    }

    #[test]
    fn without_companies_there_are_sums_and_everything_else() {
        let metrics = Metrics::new();
        for name in ["acme", "acme", "globex"] {
            metrics.connection_opened(&company(name));
        }
        metrics.backlog(&company("acme"), 3);
        metrics.backlog(&company("globex"), 4);
        let text = metrics.encode_without_companies();
        assert!(!text.contains("acme") && !text.contains("company=\""), "{text}");
        assert!(text.lines().any(|line| line == "tidegate_connections 3"), "{text}");
        assert!(text.lines().any(|line| line == "tidegate_backlog_events 7"), "{text}");
        let names = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("# TYPE")).map(ToOwned::to_owned).collect()
        };
        assert_eq!(names(&text), names(&metrics.encode()));
    }

    #[test]
    fn a_company_without_streams_is_forgotten() {
        let metrics = Metrics::new();
        metrics.connection_opened(&company("a"));
        metrics.connection_closed(&company("a"), "client");
        metrics.connection_closed(&company("a"), "client");
        assert!(!metrics.encode().contains("company=\"a\""));
    }

    #[test]
    fn reasons_from_outside_do_not_grow_without_end() {
        let metrics = Metrics::new();
        for number in 0..1_000 {
            metrics.events_dropped(&format!("reason {number} {}", "é".repeat(100)), 1);
        }
        let text = metrics.encode();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("tidegate_events_dropped_total{")).collect();
        assert_eq!(rows.len(), 101);
        assert!(rows.contains(&"tidegate_events_dropped_total{reason=\"other\"} 900"));
    }
}
