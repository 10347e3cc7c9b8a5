//! Families whose labels come from outside, so that their number is bounded: companies, reasons.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the rest is counted.
const OTHER: &str = "other";
/// Label values a counter distinguishes; whatever comes later is `other`, since a counter must not move.
const REASONS_MAX: usize = 100;
/// The longest label value, in bytes.
const REASON_BYTES_MAX: usize = 64;
/// Companies shown; the rest is `other`.
const COMPANIES_MAX: usize = 100;

/// A counter for each reason.
#[derive(Debug, Clone)]
pub(super) struct ReasonCounters {
    label: &'static str,
    counts: Arc<Mutex<HashMap<String, u64>>>,
}

impl ReasonCounters {
    /// Values in `known` are shown from the start with 0, so that a rate can be asked for before the first.
    pub(super) fn new(label: &'static str, known: &[&str]) -> Self {
        let counts = known.iter().map(|value| ((*value).to_owned(), 0)).collect();
        Self { label, counts: Arc::new(Mutex::new(counts)) }
    }

    pub(super) fn add(&self, reason: &str, count: u64) {
        let reason = cut(if reason.is_empty() { "none" } else { reason });
        let mut counts = lock(&self.counts);
        if let Some(sum) = counts.get_mut(reason) {
            *sum += count;
            return;
        }
        let reason = if counts.len() < REASONS_MAX { reason } else { OTHER };
        *counts.entry(reason.to_owned()).or_insert(0) += count;
    }
}

impl EncodeMetric for ReasonCounters {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let mut rows: Vec<(String, u64)> =
            lock(&self.counts).iter().map(|(reason, count)| (reason.clone(), *count)).collect();
        rows.sort_unstable();
        for (reason, count) in rows {
            let labels = [(self.label, reason)];
            ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A gauge for each company; only the largest are shown by name. A company at 0 is forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct CompanyGauges(Arc<Mutex<HashMap<String, u64>>>);

impl CompanyGauges {
    pub(super) fn set(&self, company: &str, value: u64) {
        let mut values = lock(&self.0);
        if value == 0 {
            values.remove(company);
        } else if let Some(old) = values.get_mut(company) {
            *old = value;
        } else {
            values.insert(company.to_owned(), value);
        }
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(super) fn raise(&self, company: &str) {
        let mut values = lock(&self.0);
        match values.get_mut(company) {
            Some(value) => *value += 1,
            None => {
                values.insert(company.to_owned(), 1);
            }
        }
    }

    pub(super) fn lower(&self, company: &str) {
        let mut values = lock(&self.0);
        if let Some(value) = values.get_mut(company) {
            *value = value.saturating_sub(1);
            if *value == 0 {
                values.remove(company);
            }
        }
    }
}

impl EncodeMetric for CompanyGauges {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let mut rows: Vec<(String, u64)> =
            lock(&self.0).iter().map(|(company, value)| (company.clone(), *value)).collect();
        // Largest first; the name decides between equals, so that rows don't jump.
        rows.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        let rest: u64 = rows.iter().skip(COMPANIES_MAX).map(|(_, value)| value).sum();
        let hidden = rows.len() > COMPANIES_MAX;
        rows.truncate(COMPANIES_MAX);
        // A company may be called `other`; one label value stands in one row.
        if hidden {
            match rows.iter_mut().find(|(company, _)| company == OTHER) {
                Some((_, value)) => *value += rest,
                None => rows.push((OTHER.to_owned(), rest)),
            }
        }
        for (company, value) in rows {
            let labels = [("company", company)];
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// The sum over all companies, without a name.
#[derive(Debug, Clone)]
pub(super) struct CompanySum(pub(super) CompanyGauges);

impl EncodeMetric for CompanySum {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let sum: u64 = lock(&self.0.0).values().sum();
        ConstGauge::new(i64::try_from(sum).unwrap_or(i64::MAX)).encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn lock(values: &Mutex<HashMap<String, u64>>) -> MutexGuard<'_, HashMap<String, u64>> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}
