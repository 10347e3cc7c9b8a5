//! A server with its clients and its publisher, measured again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::clock::{Clock, Latency};
use crate::contestant::{Contestant, Kind};
use crate::crowd::Crowd;
use crate::feed::Feed;
use crate::plan::Plan;
use crate::usage::cpu_seconds;

/// Between opening the streams and the first event: nchan answers before it has joined a client to its channel.
const SETTLE: Duration = Duration::from_millis(500);

/// One side of a comparison.
pub(crate) struct Stand {
    pub(crate) contestant: Contestant,
    pub(crate) crowd: Crowd,
    pub(crate) feed: Feed,
    pub(crate) clock: Arc<Clock>,
}

/// What one round of a stand gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Round {
    /// Deliveries a second.
    pub(crate) per_second: f64,
    /// Microseconds of CPU of the server for each delivery.
    pub(crate) cpu_us: f64,
    /// The same of the servers that it stands on.
    pub(crate) beside_us: f64,
    /// The same of the client.
    pub(crate) client_us: f64,
    /// Latencies, of a paced round.
    pub(crate) latency: Latency,
}

/// How events are published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as the streams take them, and so many events before them on average.
    Ahead(u64),
    /// So many a second.
    PerSecond(u32),
}

impl Stand {
    /// Starts the server and opens the streams.
    ///
    /// # Errors
    /// Something doesn't start or open.
    pub(crate) fn new(kind: Kind, runtime: &Runtime, connections: u32, companies: u32, pace: Pace) -> Result<Self> {
        let contestant = Contestant::start(kind, runtime, companies).with_context(|| format!("start {kind:?}"))?;
        let clock = Arc::new(Clock::new());
        // Reading a clock for each event would be a part of what is measured.
        let told = matches!(pace, Pace::PerSecond(_)).then(|| Arc::clone(&clock));
        let crowd = Crowd::open(contestant.visit(connections, companies, 0)?, told)?;
        crowd.all_open().with_context(|| format!("the streams of {kind:?}"))?;
        std::thread::sleep(SETTLE);
        let feed = Feed::new(&contestant.target()?, 0, companies)?;
        Ok(Self { contestant, crowd, feed, clock })
    }

    /// Measures one round and waits until everything came.
    ///
    /// # Errors
    /// Something was lost, doubled or out of order, or a server ended.
    pub(crate) fn round(&mut self, plan: Plan, pace: Pace) -> Result<Round> {
        let stop = AtomicBool::new(false);
        let Self { contestant, crowd, feed, clock } = &mut *self;
        let measured = std::thread::scope(|scope| {
            let publisher = scope.spawn(|| match pace {
                Pace::Ahead(ahead) => feed.saturate(crowd, ahead, &stop),
                Pace::PerSecond(rate) => feed.pace(rate, clock, &stop),
            });
            let measured = measure(contestant, crowd, clock, plan);
            stop.store(true, Ordering::Relaxed);
            publisher.join().map_err(|panic| anyhow::anyhow!("the publisher panicked: {panic:?}"))??;
            measured
        })?;
        self.crowd.all_came(self.feed.deliveries(self.crowd.connections()))?;
        Ok(measured)
    }
}

fn measure(contestant: &Contestant, crowd: &Crowd, clock: &Clock, plan: Plan) -> Result<Round> {
    std::thread::sleep(plan.warm());
    let (own, beside) = (contestant.processes()?, contestant.beside()?);
    let look = || {
        anyhow::Ok((Instant::now(), crowd.deliveries(), cpu_seconds(&own)?, cpu_seconds(&beside)?, crowd.cpu_seconds()))
    };
    clock.take();
    let before = look()?;
    std::thread::sleep(plan.time());
    let after = look()?;
    let latency = clock.take();
    let deliveries = after.1.saturating_sub(before.1).max(1) as f64;
    let each = |seconds: f64| seconds * 1e6 / deliveries;
    Ok(Round {
        per_second: deliveries / after.0.saturating_duration_since(before.0).as_secs_f64(),
        cpu_us: each(after.2 - before.2),
        beside_us: each(after.3 - before.3),
        client_us: each(after.4 - before.4),
        latency,
    })
}

impl Pace {
    /// Enough ahead to keep every server busy, and less than nchan keeps.
    pub(crate) const SATURATED: Self = Self::Ahead(1_000);
    /// Small pieces: what a server gains by putting many events into one write counts for little.
    pub(crate) const SHORT: Self = Self::Ahead(32);
}

/// Measures stands in turn; the rounds of each.
///
/// # Errors
/// As [`Stand::round`].
pub(crate) fn in_turn(stands: &mut [Stand], plan: Plan, pace: Pace) -> Result<Vec<Vec<Round>>> {
    let mut rounds = vec![Vec::new(); stands.len()];
    for round in 0..plan.rounds() {
        for (stand, rounds) in stands.iter_mut().zip(&mut rounds) {
            let seen = stand.round(plan, pace)?;
            crate::say(&format!(
                "       round {round}: {:.0}/s, CPU {:.2} us + {:.2} beside, client {:.2} us, p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
                seen.per_second,
                seen.cpu_us,
                seen.beside_us,
                seen.client_us,
                seen.latency.p50_ms,
                seen.latency.p99_ms,
                seen.latency.max_ms
            ));
            rounds.push(seen);
        }
    }
    Ok(rounds)
}
