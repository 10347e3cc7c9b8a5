//! A host with its servers whose stream is filled while it is away: how fast it works that off, and what came of it.
//!
//! Nobody publishes and nobody listens meanwhile. Then a client reads back what was committed.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::nats::Nats;
use tokio::runtime::Runtime;

use crate::contestant::{Contestant, Filters, Store, Tidegate};
use crate::crowd::{Crowd, Visit};
use crate::feed::Feed;
use crate::pull::Pulled;
use crate::usage::cpu_seconds;

/// The stream that the host makes.
const STREAM: &str = "TIDEGATE";
/// Events in one write while the stream is filled.
const BURST: u64 = 500;
/// Events after which the server is waited for: it drops what it can't take, and nobody waits for its answers.
const UNDER_WAY: u64 = 4_000;
/// Between two looks at how far the host is.
const LOOK: Duration = Duration::from_millis(20);
/// What isn't committed by then never is.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one way through the pipeline gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// Events a second.
    pub(crate) per_second: f64,
    /// Microseconds of CPU of the host for each event.
    pub(crate) cpu_us: f64,
    /// The same with NATS and the store's server.
    pub(crate) all_us: f64,
}

/// A host with its servers, and how far its stream is filled.
pub(crate) struct Lane {
    tidegate: Contestant,
    feed: Feed,
    companies: u32,
    /// Events before those that are measured.
    before: u64,
    /// Id of the last event that somebody read.
    id: String,
}

impl Lane {
    /// Starts it, and lets each company have an event.
    ///
    /// # Errors
    /// Something doesn't start.
    pub(crate) fn new(runtime: &Runtime, filters: Filters, store: Store, companies: u32) -> Result<Self> {
        let tidegate = Contestant::Tidegate(Box::new(Tidegate::start(runtime, filters, store, companies)?));
        let mut feed = Feed::new(&tidegate.target()?, 0, companies)?;
        // The first start of a store on a stream that holds events is another way: a checkpoint has to be there.
        let crowd = Crowd::open(Visit { ids: true, ..tidegate.visit(companies, companies, 0)? }, None)?;
        crowd.all_open()?;
        feed.burst(u64::from(companies))?;
        crowd.all_came(u64::from(companies))?;
        Ok(Self { tidegate, feed, companies, before: 0, id: crowd.id() })
    }

    /// The folder of modules.
    ///
    /// # Errors
    /// It is no host.
    pub(crate) fn modules(&self) -> Result<std::path::PathBuf> {
        match &self.tidegate {
            Contestant::Tidegate(tidegate) => Ok(tidegate.world.host.modules()),
            Contestant::Nchan(_) | Contestant::Bare(_) => bail!("no host"),
        }
    }

    /// Fills the stream while the host is away, and sees how fast it works that off.
    ///
    /// # Errors
    /// The host doesn't come back, or an event is lost, doubled or out of order.
    pub(crate) fn pass(&mut self, runtime: &Runtime, all: u64) -> Result<Passed> {
        let Contestant::Tidegate(tidegate) = &mut self.tidegate else { bail!("no host") };
        let host = &mut tidegate.world.host;
        host.terminate()?;
        runtime.block_on(host.end())?;
        let since = now_ms();
        self.before = self.feed.sent();
        let nats = tidegate.world.nats.as_ref().context("no NATS")?;
        while self.feed.sent() < self.before + all {
            self.feed.burst(BURST.min(self.before + all - self.feed.sent()))?;
            if (self.feed.sent() - self.before).is_multiple_of(UNDER_WAY) {
                stored(runtime, nats, self.feed.sent())?;
            }
        }
        stored(runtime, nats, self.feed.sent())?;
        runtime.block_on(tidegate.world.host.start())?;
        let passed = self.watch(runtime, all)?;
        self.read_back(since, all)?;
        Ok(passed)
    }

    /// From the first tenth to the last event.
    fn watch(&self, runtime: &Runtime, all: u64) -> Result<Passed> {
        let Contestant::Tidegate(tidegate) = &self.tidegate else { bail!("no host") };
        let (own, beside) = (self.tidegate.processes()?, self.tidegate.beside()?);
        let look = || {
            let committed = runtime.block_on(tidegate.world.host.metrics())?.sum("events_emitted_total") as u64;
            anyhow::Ok((Instant::now(), committed, cpu_seconds(&own)?, cpu_seconds(&beside)?))
        };
        let until = Instant::now() + PATIENCE;
        let mut begun = None;
        loop {
            let seen = look()?;
            if begun.is_none() && seen.1 * 10 >= all {
                begun = Some(seen);
            }
            if let Some(begun) = begun.filter(|_| seen.1 >= all) {
                let events = seen.1.saturating_sub(begun.1);
                ensure!(events * 2 > all, "too few events are left after the first look: {events} of {all}");
                let (own, beside) = (seen.2 - begun.2, seen.3 - begun.3);
                let each = |seconds: f64| seconds * 1e6 / events as f64;
                return Ok(Passed {
                    per_second: events as f64 / seen.0.saturating_duration_since(begun.0).as_secs_f64(),
                    cpu_us: each(own),
                    all_us: each(own + beside),
                });
            }
            ensure!(Instant::now() < until, "{} of {all} events passed", seen.1);
            std::thread::sleep(LOOK);
        }
    }

    /// Reads the committed events from the replay cache: each once, in order.
    fn read_back(&self, since: i128, all: u64) -> Result<()> {
        let companies = u64::from(self.companies);
        let mut visit = self.tidegate.visit(self.companies, self.companies, self.before / companies)?;
        visit.targets.iter_mut().for_each(|target| target.push_str(&format!("&since={since}")));
        let crowd = Crowd::open(visit, None)?;
        crowd.all_open()?;
        crowd.all_came(all).context("what was committed")
    }

    /// Publishes so many events of one company, and reads them from the replay cache once they are there, after the id before
    /// them; gives the seconds that takes.
    ///
    /// # Errors
    /// One is missing, or out of order.
    pub(crate) fn replay(&mut self, all: u64) -> Result<f64> {
        self.before = self.feed.sent();
        let follower = Visit { ids: true, ..self.tidegate.visit(1, 1, self.before)? };
        let follower = Crowd::open(follower, None)?;
        follower.all_open()?;
        for done in 1..=all / BURST {
            self.feed.burst(BURST)?;
            if (done * BURST).is_multiple_of(UNDER_WAY) {
                follower.all_came(done * BURST)?;
            }
        }
        follower.all_came(all)?;
        let header = format!("Last-Event-ID: {}\r\n", self.id);
        let visit = Visit { header, ..self.tidegate.visit(1, 1, self.before)? };
        let began = Instant::now();
        let again = Crowd::open(visit, None)?;
        again.all_came(all)?;
        let seconds = began.elapsed().as_secs_f64();
        self.id = follower.id();
        Ok(seconds)
    }

    /// A bare consumer over the same messages.
    ///
    /// # Errors
    /// It misses one.
    pub(crate) fn pull(&self, all: u64) -> Result<Pulled> {
        let Contestant::Tidegate(tidegate) = &self.tidegate else { bail!("no host") };
        let done = Command::new(std::env::current_exe()?)
            .args(["pull", &tidegate.world.nats()?.url(), STREAM])
            .args([(self.before + 1).to_string(), all.to_string()])
            .output()
            .context("run the bare consumer")?;
        ensure!(done.status.success(), "the bare consumer: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).context("what the bare consumer tells")
    }
}

/// The time, for `since`. What is published from now on is later.
fn now_ms() -> i128 {
    std::thread::sleep(Duration::from_millis(20));
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    std::thread::sleep(Duration::from_millis(20));
    now
}

/// Waits until the stream holds so many messages.
fn stored(runtime: &Runtime, nats: &Nats, messages: u64) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let info = runtime.block_on(nats.ask(&format!("STREAM.INFO.{STREAM}"), &serde_json::Value::Null))?;
        let last = info["state"]["last_seq"].as_u64().context("a stream without a last sequence")?;
        if last >= messages {
            ensure!(last == messages, "the stream holds {last} messages, not {messages}");
            return Ok(());
        }
        ensure!(Instant::now() < until, "{last} of {messages} messages are stored");
        std::thread::sleep(LOOK / 10);
    }
}
