//! When each event was sent, and what one connection got of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::history::number;
use crate::sse::Frame;
use crate::wait;

/// Mistakes of one connection that are kept in words; all are counted.
const TOLD: usize = 3;

/// When each event was handed to the publisher, on the clock that reads them, too.
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    sent: Vec<AtomicU64>,
    reading: AtomicU64,
    end: watch::Sender<Option<tokio::time::Instant>>,
}

impl Clock {
    /// For so many events.
    ///
    /// # Errors
    /// More than memory can hold.
    pub fn new(total: u64) -> Result<Self> {
        let sent = (0..usize::try_from(total).context("too many events")?).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { begun: Instant::now(), sent, reading: AtomicU64::new(0), end: watch::channel(None).0 })
    }

    /// How many events.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Event `n` is sent now; gives the time in microseconds since the beginning.
    pub fn sends(&self, n: u64) -> u64 {
        let now = self.micros(Instant::now());
        if let Some(sent) = usize::try_from(n).ok().and_then(|n| self.sent.get(n)) {
            sent.store(now, Ordering::Relaxed);
        }
        now
    }

    /// From sending event `n` to a moment, in microseconds.
    #[must_use]
    pub fn since(&self, n: u64, at: Instant) -> Option<u64> {
        let sent = usize::try_from(n).ok().and_then(|n| self.sent.get(n))?.load(Ordering::Relaxed);
        Some(self.micros(at).saturating_sub(sent))
    }

    /// One more connection reads, or never will.
    pub fn reads(&self) {
        self.reading.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until all connections that were opened read.
    ///
    /// # Errors
    /// One doesn't by the deadline.
    pub async fn all_are_reading(&self, connections: u32) -> Result<()> {
        let enough = u64::from(connections) * 95 / 100;
        wait::until("the connections are open", || async {
            (self.reading.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await
    }

    /// The readers stop at that time from now.
    pub fn ends_after(&self, patience: Duration) {
        self.end.send_replace(Some(tokio::time::Instant::now() + patience));
    }

    /// Waits for the end that [`Clock::ends_after`] sets.
    pub async fn ended(&self) {
        let mut end = self.end.subscribe();
        let at = end.wait_for(Option::is_some).await.map(|end| *end);
        if let Ok(Some(at)) = at {
            tokio::time::sleep_until(at).await;
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX)
    }
}

/// What one connection got.
#[derive(Debug)]
pub struct Judge {
    /// Whether its stream opened and did not break.
    pub open: bool,
    /// The time of each delivery, in microseconds.
    pub latencies: Vec<u64>,
    /// Streams that did not open or broke, and what the host told to be missing.
    pub errors: u64,
    /// Events lost, doubled, out of order or of somebody else, but for those that never came.
    wrong: u64,
    /// The first of both in words.
    pub told: Vec<String>,
    next: u64,
    total: u64,
}

impl Judge {
    /// Of a connection that is to get so many events.
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self { open: false, latencies: Vec::new(), errors: 0, wrong: 0, told: Vec::new(), next: 0, total }
    }

    /// Of a connection that never opened.
    #[must_use]
    pub fn unopened(why: &str) -> Self {
        Self::new(0).broken(why)
    }

    /// Its stream is open.
    pub fn opened(&mut self) {
        self.open = true;
    }

    /// Whether the last event has come.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.next >= self.total
    }

    /// Judges a frame: each event once, in order.
    pub fn takes(&mut self, frame: &Frame, clock: &Clock) {
        if frame.is_control() {
            if matches!(frame.kind(), "gap" | "bye") {
                self.errors += 1;
                self.tell(&format!("{} {}", frame.kind(), frame.text()));
            }
            return;
        }
        let Some(n) = number(frame) else {
            self.wrong(1, &format!("an event of somebody else: {}", frame.text()));
            return;
        };
        if n < self.next {
            self.wrong(1, &format!("event {n} after {}", self.next - 1));
            return;
        }
        if n > self.next {
            self.wrong(n - self.next, &format!("events {} to {} are lost", self.next, n - 1));
        }
        self.next = n + 1;
        self.latencies.extend(clock.since(n, frame.at));
    }

    /// The connection broke: what would have come after that is not lost, as nobody came back for it.
    #[must_use]
    pub fn broken(mut self, why: &str) -> Self {
        self.open = false;
        self.errors += 1;
        self.tell(why);
        self
    }

    /// Events lost, doubled, out of order or of somebody else. A stream that is open to the end has to bring them all.
    #[must_use]
    pub fn wrong_events(&self) -> u64 {
        let missing = if self.open { self.total - self.next.min(self.total) } else { 0 };
        self.wrong + missing
    }

    fn wrong(&mut self, count: u64, what: &str) {
        self.wrong += count;
        self.tell(what);
    }

    fn tell(&mut self, what: &str) {
        if self.told.len() < TOLD {
            self.told.push(what.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64) -> Frame {
        let mut frames = Vec::new();
        let text = format!("event: metric_updated\ndata: {{\"n\":{n}}}\nid: metrics.x-{}-1700000000000\n\n", n + 1);
        crate::sse::Parser::default().read(text.as_bytes(), Instant::now(), &mut frames);
        frames.remove(0)
    }

    #[test]
    fn lost_doubled_and_missing_events_count_each() {
        let clock = Clock::new(10).expect("a clock");
        let mut judge = Judge::new(10);
        judge.opened();
        for n in [0, 1, 4, 4, 5] {
            judge.takes(&event(n), &clock);
        }
        // 2 and 3 are lost, 4 came twice, 6 to 9 never came.
        assert_eq!((judge.wrong_events(), judge.latencies.len()), (2 + 1 + 4, 4));
        assert_eq!(judge.errors, 0);
        assert!(!judge.is_complete());
        let judge = judge.broken("cut");
        assert_eq!((judge.open, judge.errors, judge.wrong_events()), (false, 1, 2 + 1));
    }
}
