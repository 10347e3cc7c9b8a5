//! A histogram that takes many equal observations at once and never locks: deliveries come by the million.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts durations in buckets.
#[derive(Debug, Clone)]
pub(super) struct Durations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Upper bounds in microseconds, rising; what lies above the last is counted in the bucket after it.
    bounds_us: &'static [u64],
    counts: Vec<AtomicU64>,
    /// In nanoseconds: what takes a microsecond or two would be a third too little in whole ones.
    sum_ns: AtomicU64,
}

impl Durations {
    pub(super) fn new(bounds_us: &'static [u64]) -> Self {
        let counts = (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds_us, counts, sum_ns: AtomicU64::new(0) }))
    }

    /// Counts `times` observations of the same duration.
    pub(super) fn observe(&self, duration: Duration, times: u64) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.0.bounds_us.partition_point(|bound| bound * 1000 < ns);
        self.0.counts[bucket].fetch_add(times, Ordering::Relaxed);
        self.0.sum_ns.fetch_add(ns.saturating_mul(times), Ordering::Relaxed);
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = self.0.bounds_us.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> =
            bounds.zip(self.0.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_ns.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
