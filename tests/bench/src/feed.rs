//! Publishes the events of several companies in turn, as fast as their streams take them or at a rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::payload::{Payload, company};
use crate::wire::{Target, Wire};

/// Events in one write of a saturating publisher.
const BATCH: u64 = 64;
/// How long a publisher that is far enough ahead waits.
const PAUSE: Duration = Duration::from_micros(200);

/// A publisher with the numbers that it has reached.
#[derive(Debug)]
pub(crate) struct Feed {
    wire: Wire,
    payloads: Vec<Payload>,
    /// Events published so far, over all companies.
    sent: u64,
    payload: Vec<u8>,
}

impl Feed {
    /// For companies with the numbers from `first`.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn new(target: &Target, first: u32, companies: u32) -> Result<Self> {
        let payloads = (first..first + companies).map(|number| Payload::of(&company(number))).collect();
        Ok(Self { wire: Wire::connect(target)?, payloads, sent: 0, payload: Vec::new() })
    }

    /// Events published so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Deliveries that these events make on so many connections, spread evenly over the companies.
    pub(crate) fn deliveries(&self, connections: u64) -> u64 {
        self.sent * connections / self.payloads.len().max(1) as u64
    }

    /// Publishes until it is told to stop, `ahead` events before the streams on average. Ends after a whole turn.
    ///
    /// # Errors
    /// The connection breaks.
    pub(crate) fn saturate(&mut self, crowd: &Crowd, ahead: u64, stop: &AtomicBool) -> Result<()> {
        let turn = self.payloads.len() as u64;
        while !stop.load(Ordering::Relaxed) || !self.sent.is_multiple_of(turn) {
            let open = self.deliveries(crowd.connections()).saturating_sub(crowd.deliveries());
            if open * turn > ahead * crowd.connections() && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
                continue;
            }
            // After the stop only the turn is ended.
            let count =
                if stop.load(Ordering::Relaxed) { turn - self.sent % turn } else { BATCH.min(ahead / 2).max(1) };
            self.burst(count)?;
        }
        Ok(())
    }

    /// Publishes so many in one write.
    ///
    /// # Errors
    /// The connection breaks.
    pub(crate) fn burst(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.add();
        }
        self.wire.send()
    }

    /// Publishes at a rate until it is told to stop, each event at its own moment, told to the clock.
    ///
    /// # Errors
    /// The connection breaks.
    pub(crate) fn pace(&mut self, per_second: u32, clock: &Clock, stop: &AtomicBool) -> Result<()> {
        let (begun, first, turn) = (Instant::now(), self.sent, self.payloads.len() as u64);
        while !stop.load(Ordering::Relaxed) || !self.sent.is_multiple_of(turn) {
            let due = begun + Duration::from_secs_f64((self.sent - first) as f64 / f64::from(per_second.max(1)));
            let now = Instant::now();
            if due > now {
                std::thread::sleep(due - now);
            }
            // After a sleep that took too long all that is due goes in one write, as one client would send it.
            let late = Instant::now().saturating_duration_since(due).as_secs_f64();
            for _ in 0..1 + ((late * f64::from(per_second)) as u64).min(BATCH) {
                clock.sends(self.sent / turn);
                self.add();
            }
            self.wire.send()?;
        }
        Ok(())
    }

    fn add(&mut self) {
        let turn = self.payloads.len() as u64;
        let number = (self.sent % turn) as u32;
        self.payload.clear();
        if let Some(payload) = self.payloads.get(number as usize) {
            payload.write(&mut self.payload, self.sent / turn);
        }
        self.wire.add(number, &self.payload);
        self.sent += 1;
    }
}
