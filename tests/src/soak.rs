//! A soak: events flow past several hosts for a long time, faults come every few seconds, clients come and go, and a
//! history check judges each of them. Nothing of it is ever lost for good, so nobody may miss or be told to miss anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use crate::hosts::Hosts;
use crate::publish::Publisher;
use crate::verdict::Verdict;
use doors::Doors;
use flow::{COMPANIES, Counters};
use follower::Follower;
use level::Level;
use marks::Marks;
pub use report::Report;
use strike::{Strike, Target};
use victims::{Struck, Victims};
use visitor::Visitors;

mod doors;
mod flow;
mod follower;
mod judge;
mod level;
mod marks;
mod report;
mod strike;
mod victims;
mod visitor;

const HOSTS: usize = 3;
const LEASE: &str = "2s";
/// How long events are kept: short, so that trimming is part of it.
const RETENTION: Duration = Duration::from_secs(600);
/// Clients that follow each company to the end.
const FOLLOWERS: usize = 2;
/// How long a fault lasts, in milliseconds: often longer than the lease.
const LASTS_MS: std::ops::Range<u64> = 200..7_000;
/// Between two faults, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 200..4_000;
/// One fault in so many comes with another.
const PAIRED: u32 = 3;
/// In which every client must have everything after a fault; a flushed store is filled again from the stream meanwhile.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two lines that say how it goes.
const LINES: Duration = Duration::from_secs(60);

/// What a soak is to be like.
#[derive(Clone, Debug)]
pub struct Soak {
    /// For how long.
    pub time: Duration,
    /// Draws strikes and clients.
    pub seed: u64,
    /// Events a second.
    pub rate: u32,
    /// Where the hosts' logs are kept afterwards.
    pub logs: Option<PathBuf>,
}

/// What every client knows.
#[derive(Debug)]
struct Street {
    doors: Arc<Doors>,
    marks: Marks,
    /// Visitors begin at no older place than this.
    oldest_mark: Duration,
}

/// Runs it; `tell` is given a line now and then.
///
/// # Errors
/// It could not even begin.
pub async fn run(soak: &Soak, mut tell: impl FnMut(&str)) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(soak.seed);
    let mut hosts = Hosts::prepare(HOSTS, LEASE).await?;
    for host in &mut hosts.hosts {
        host.set(&format!("replay.retention={}s", RETENTION.as_secs()));
        host.start().await?;
    }
    hosts.redis.set("maxmemory-policy", "noeviction").await?;
    let level = Level::begin(hosts.hosts.first().context("a host")?.process()?.id());
    let publisher = Publisher::Insisting(jetstream::new(hosts.nats.client().await?));
    let doors = Arc::new(Doors::default());
    let victims = Victims::of(hosts, Arc::clone(&doors), StdRng::seed_from_u64(random.random())).await?;
    let street = Arc::new(Street { doors, marks: Marks::default(), oldest_mark: RETENTION / 3 });
    let followers: Vec<Follower> = (0..COMPANIES.len() * FOLLOWERS)
        .map(|number| Follower::begin(number % COMPANIES.len(), random.random(), &street))
        .collect();
    let visitors = Visitors::begin(random.random(), &street);
    let counters = Counters::default();
    let steady = flow::begin(&publisher, soak.rate, random.random(), &counters);
    let mut course = Course {
        random,
        begun: Instant::now(),
        victims,
        followers,
        counters,
        strikes: BTreeMap::new(),
        timeline: Vec::new(),
        recoveries: Vec::new(),
    };
    let mut trouble = course.go(soak.time, &visitors, &mut tell).await.err();
    let published = match steady.stop().await {
        Ok(published) => published,
        Err(error) => {
            trouble.get_or_insert(error.context("the publisher"));
            course.counters.sum()
        }
    };
    if trouble.is_none() {
        trouble = course.settle().await.err();
    }
    if let Some(folder) = &soak.logs {
        course.keep_logs(folder)?;
    }
    Ok(Report {
        seed: soak.seed,
        lasted: course.begun.elapsed(),
        published,
        hosts: HOSTS,
        followers: course.verdict(),
        strikes: course.strikes,
        timeline: course.timeline,
        recoveries: course.recoveries,
        visitors: visitors.verdict(),
        quarters: level.quarters(),
        trouble: trouble.map(|error| format!("{error:#}")),
    })
}

/// The soak while it goes on.
struct Course {
    random: StdRng,
    begun: Instant,
    victims: Victims,
    followers: Vec<Follower>,
    counters: Counters,
    strikes: BTreeMap<Strike, u64>,
    timeline: Vec<String>,
    recoveries: Vec<Duration>,
}

impl Course {
    /// Fault after fault, until the time is over or a promise broke.
    async fn go(&mut self, time: Duration, visitors: &Visitors, tell: &mut impl FnMut(&str)) -> Result<()> {
        let mut line = Instant::now() + LINES;
        while self.begun.elapsed() < time {
            self.pause(PAUSE_MS).await;
            let mut struck = vec![self.strike(None).await?];
            if self.random.random_ratio(1, PAIRED) {
                let spared = struck.first().map(|first| first.strike.target());
                self.pause(0..1_000).await;
                struck.push(self.strike(spared).await?);
            }
            self.pause(LASTS_MS).await;
            // Servers first: a host that starts waits for them.
            struck.sort_by_key(|struck| struck.strike.target() == Target::Host);
            for struck in struck {
                self.victims.heal(struck).await?;
            }
            self.settle().await?;
            if let Some(story) = [self.verdict(), visitors.verdict()].iter().find(|verdict| !verdict.is_clean()) {
                bail!("{story}");
            }
            if Instant::now() > line {
                line = Instant::now() + LINES;
                tell(&self.line(visitors));
            }
        }
        Ok(())
    }

    async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.random.random_range(milliseconds))).await;
    }

    async fn strike(&mut self, spared: Option<Target>) -> Result<Struck> {
        let strike = Strike::draw(&mut self.random, spared);
        let struck = self.victims.strike(strike).await?;
        *self.strikes.entry(strike).or_default() += 1;
        let (at, host) = (self.begun.elapsed().as_secs_f64(), struck.host);
        self.timeline.push(format!("{at:9.2} s  {} (host {host})", strike.name()));
        Ok(struck)
    }

    /// Waits until every follower has everything that was published up to now.
    async fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        let wanted: Vec<u64> = (0..COMPANIES.len()).map(|company| self.counters.of(company)).collect();
        for follower in &self.followers {
            let wanted = wanted.get(follower.company).copied().unwrap_or(0);
            if !follower.reaches(wanted, begun + PATIENCE).await {
                bail!(
                    "a follower of {} waits for event {} of {wanted} since {PATIENCE:?}",
                    flow::name(follower.company),
                    follower.next()
                );
            }
        }
        self.recoveries.push(begun.elapsed());
        Ok(())
    }

    fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for follower in &self.followers {
            verdict += follower.verdict();
        }
        verdict
    }

    fn line(&self, visitors: &Visitors) -> String {
        format!(
            "{:4} min: {} events, {} faults, {} deliveries, {} visits",
            self.begun.elapsed().as_secs() / 60,
            self.counters.sum(),
            self.strikes.values().sum::<u64>(),
            self.verdict().events + visitors.verdict().events,
            visitors.verdict().connections
        )
    }

    fn keep_logs(&self, folder: &std::path::Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        for (number, host) in self.victims.hosts.hosts.iter().enumerate() {
            let path = folder.join(format!("host-{number}.log"));
            fs::write(&path, host.log()).with_context(|| format!("write {}", path.display()))?;
        }
        let path = folder.join("redis.log");
        fs::write(&path, self.victims.hosts.redis.log()).with_context(|| format!("write {}", path.display()))
    }
}
