//! Row 8: many clients that were cut come back together, some hundred events behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::clock::{Clock, Latency};
use crate::contestant::{Contestant, Filters, Kind};
use crate::crowd::{Crowd, Visit};
use crate::feed::Feed;
use crate::figure::{Figure, Samples, Sides};
use crate::plan::Plan;

/// Clients that come back.
const CLIENTS: u32 = 2_000;
/// Events that each has missed.
const BEHIND: u64 = 500;
/// Streams of the company beside them, and its events a second.
const NEIGHBOURS: u32 = 10;
const RATE: u32 = 500;
/// How long the neighbour is watched at least, so that its 99th percentile says something.
const WATCHED: Duration = Duration::from_secs(1);

/// One round of one host.
#[derive(Clone, Copy, Debug)]
struct Storm {
    /// From the first event to the last delivery while all are there, in seconds.
    live: f64,
    /// From the first connection to the last delivery after they were cut, in seconds.
    replay: f64,
    /// The neighbour's latencies with nothing beside it, beside the events live, and in the storm.
    quiet: Latency,
    busy: Latency,
    stormy: Latency,
}

/// Measures it.
///
/// # Errors
/// A server doesn't start, or an event is lost, doubled or out of order.
pub(super) fn run(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let kind = Kind::Tidegate(Filters::Platform);
    let mut hosts = [Host::new(runtime, kind)?, Host::new(runtime, kind)?];
    let mut storms = [Vec::new(), Vec::new()];
    for _ in 0..plan.rounds() {
        for (host, storms) in hosts.iter_mut().zip(&mut storms) {
            let storm = host.storm()?;
            crate::say(&format!(
                "       live {:.0} ms, replay {:.0} ms; neighbour p99 {:.2} ms, beside the live ones {:.2} ms, in the storm {:.2} ms",
                storm.live * 1e3,
                storm.replay * 1e3,
                storm.quiet.p99_ms,
                storm.busy.p99_ms,
                storm.stormy.p99_ms
            ));
            storms.push(storm);
        }
    }
    let [ours, twin] = &storms;
    let side = |storms: &[Storm], measure: fn(&Storm) -> f64| Samples(storms.iter().map(measure).collect());
    let (told, replayed) = (side(ours, |storm| storm.live * 1e3), side(ours, |storm| storm.replay * 1e3));
    let (stormy, quiet) = (side(ours, |storm| storm.stormy.p99_ms), side(ours, |storm| storm.quiet.p99_ms));
    let stormy_twin = side(twin, |storm| storm.stormy.p99_ms);
    let caught_up = Figure::ratio(
        &format!("{CLIENTS} clients come back {BEHIND} events behind: until all have them"),
        "the same events live",
        "ms",
        Sides { ours: &replayed, twin: &side(twin, |storm| storm.replay * 1e3), theirs: &told },
    );
    let neighbour = Figure::ratio(
        "p99 of another company meanwhile",
        "itself without them",
        "ms",
        Sides { ours: &stormy, twin: &stormy_twin, theirs: &quiet },
    );
    let busy = side(ours, |storm| storm.busy.p99_ms);
    let sides = Sides { ours: &stormy, twin: &stormy_twin, theirs: &busy };
    let beside_live =
        Figure::ratio("p99 of another company meanwhile", "itself beside the same events live", "ms", sides);
    Ok(vec![caught_up.at_most(3.0), neighbour.at_most(2.0), beside_live.lower()])
}

/// A host whose company 0 is cut and whose company 1 is watched.
struct Host {
    server: Contestant,
    feed: Feed,
    /// One client of company 0 that is always there.
    follower: Crowd,
    neighbours: Crowd,
    neighbour: Feed,
    clock: Arc<Clock>,
}

impl Host {
    fn new(runtime: &Runtime, kind: Kind) -> Result<Self> {
        let server = Contestant::start(kind, runtime, 2)?;
        let clock = Arc::new(Clock::new());
        let visit = Visit { targets: vec![server.path(1)], ..server.visit(NEIGHBOURS, 1, 0)? };
        let neighbours = Crowd::open(visit, Some(Arc::clone(&clock)))?;
        neighbours.all_open()?;
        let follower = Crowd::open(Visit { ids: true, ..server.visit(1, 1, 0)? }, None)?;
        follower.all_open()?;
        let target = server.target()?;
        let (feed, neighbour) = (Feed::new(&target, 0, 1)?, Feed::new(&target, 1, 1)?);
        Ok(Self { server, feed, follower, neighbours, neighbour, clock })
    }

    fn storm(&mut self) -> Result<Storm> {
        let crowd = Crowd::open(self.visit()?, None)?;
        crowd.all_open()?;
        let (live, busy) = self.watched(|feed| {
            let began = Instant::now();
            feed.burst(BEHIND)?;
            crowd.all_came(BEHIND * u64::from(CLIENTS))?;
            Ok(began.elapsed().as_secs_f64())
        })?;
        drop(crowd);
        self.follower.all_came(self.feed.sent())?;
        let header = format!("Last-Event-ID: {}\r\n", self.follower.id());
        let visit = Visit { header, opening: CLIENTS, ..self.visit()? };
        let ((), quiet) = self.watched(|_| Ok(()))?;
        // What they miss is committed before they come back.
        self.feed.burst(BEHIND)?;
        self.follower.all_came(self.feed.sent())?;
        let (replay, stormy) = self.watched(|_| {
            let began = Instant::now();
            let crowd = Crowd::open(visit, None)?;
            crowd.all_came(BEHIND * u64::from(CLIENTS))?;
            Ok(began.elapsed().as_secs_f64())
        })?;
        Ok(Storm { live, replay, quiet, busy, stormy })
    }

    fn visit(&self) -> Result<Visit> {
        self.server.visit(CLIENTS, 1, self.feed.sent())
    }

    /// Something, while the neighbour gets its events; its latencies meanwhile.
    fn watched<T>(&mut self, work: impl FnOnce(&mut Feed) -> Result<T>) -> Result<(T, Latency)> {
        let stop = AtomicBool::new(false);
        let Self { feed, neighbour, clock, neighbours, .. } = self;
        let (done, latency) = std::thread::scope(|scope| {
            let publisher = scope.spawn(|| neighbour.pace(RATE, clock, &stop));
            std::thread::sleep(Duration::from_millis(200));
            clock.take();
            let began = Instant::now();
            let done = work(feed);
            let latency = match done {
                Ok(_) => {
                    // A short storm is judged by the time in which it was.
                    std::thread::sleep(WATCHED.saturating_sub(began.elapsed()));
                    clock.take()
                }
                Err(_) => Latency::default(),
            };
            stop.store(true, Ordering::Relaxed);
            publisher.join().map_err(|panic| anyhow::anyhow!("the publisher panicked: {panic:?}"))??;
            anyhow::Ok((done?, latency))
        })?;
        neighbours.all_came(neighbour.deliveries(neighbours.connections())).context("the neighbour")?;
        Ok((done, latency))
    }
}
