//! When each event was sent, and how long it took to come.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Events whose times are kept: more than any paced measurement has on their way.
const KEPT: u64 = 1 << 16;
/// Microseconds of one step of the histogram.
const STEP_US: u64 = 10;
/// Steps: a second altogether; what takes longer counts as that.
const STEPS: usize = 100_000;

/// Times of events on one clock, and the latencies that came of them.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    sent: Vec<AtomicU64>,
    latencies: Vec<AtomicU32>,
}

/// Latencies of one measurement, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Latency {
    /// Half were faster.
    pub(crate) p50_ms: f64,
    /// 99 of a hundred were faster.
    pub(crate) p99_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
}

impl Clock {
    /// A clock that has seen nothing.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            sent: (0..KEPT).map(|_| AtomicU64::new(0)).collect(),
            latencies: (0..=STEPS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Event `n` is sent now.
    pub(crate) fn sends(&self, n: u64) {
        if let Some(sent) = self.sent.get((n % KEPT) as usize) {
            sent.store(self.micros(Instant::now()), Ordering::Relaxed);
        }
    }

    /// Event `n` came at a moment.
    pub(crate) fn came(&self, n: u64, at: Instant) {
        let sent = self.sent.get((n % KEPT) as usize).map_or(0, |sent| sent.load(Ordering::Relaxed));
        let step = (self.micros(at).saturating_sub(sent) / STEP_US).min(STEPS as u64) as usize;
        if let Some(count) = self.latencies.get(step) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The latencies since this was asked last.
    pub(crate) fn take(&self) -> Latency {
        let counts: Vec<u64> = self.latencies.iter().map(|count| u64::from(count.swap(0, Ordering::Relaxed))).collect();
        let all: u64 = counts.iter().sum();
        let at = |part: f64| {
            let rank = ((all as f64 * part).ceil() as u64).max(1);
            let mut below = 0;
            let step = counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            step.map_or(0.0, |step| (step as u64 * STEP_US) as f64 / 1e3)
        };
        Latency { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_latency_is_from_sending_to_coming() {
        let clock = Clock::new();
        let now = Instant::now();
        for n in 0..100 {
            clock.sends(n);
            clock.came(n, now + Duration::from_millis(if n < 60 { 5 } else { 50 }));
        }
        let latency = clock.take();
        assert!((4.0..6.0).contains(&latency.p50_ms) && (49.0..51.0).contains(&latency.p99_ms), "{latency:?}");
        assert_eq!(clock.take().max_ms, 0.0);
    }
}
