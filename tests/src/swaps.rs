//! Code swaps under load: each event through exactly one version, and how long it takes from a file to its first event.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

use crate::backend::{Backend, World};
use crate::history::{number, payload};
use crate::modules::{Volume, distinct};
use crate::process::memory;
use crate::stream::Request;
use crate::tools;

const COMPANY: &str = "swapped";
const SUBJECT: &str = "metrics.calculated";
/// A version that is not seen by then never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often memory is looked at, evenly over all swaps.
const LOOKS: u32 = 10;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Swaps {
    /// How many versions follow one another.
    pub swaps: u32,
    /// Events a second.
    pub rate: u32,
    /// After so many swaps each, the host is killed while a new version lies there; 0: never.
    pub kill_every: u32,
    /// So many codes take turns; what a version is comes from its settings, too.
    pub codes: u32,
}

/// What was seen.
#[derive(Debug)]
pub struct SwapsReport {
    what: Swaps,
    events: u64,
    faults: Vec<String>,
    /// From the new file to the first event of it, without those around a kill.
    latencies: Vec<Duration>,
    /// Bytes resident after each tenth of the swaps; the first is taken as the one of before.
    memory: Vec<u64>,
}

/// What a stream was sent so far.
#[derive(Debug, Default)]
struct Seen {
    next: u64,
    version: u32,
    first: HashMap<u32, Instant>,
    faults: Vec<String>,
    last_id: Option<String>,
}

impl Seen {
    fn event(&mut self, n: u64, version: u32, at: Instant) {
        if n != self.next {
            self.faults.push(format!("event {n} where {} was due", self.next));
        }
        if version < self.version {
            self.faults.push(format!("event {n} is of version {version} after one of {}", self.version));
        }
        (self.next, self.version) = (n + 1, version.max(self.version));
        self.first.entry(version).or_insert(at);
    }
}

/// Runs it.
///
/// # Errors
/// Something doesn't start, or a version never comes; what goes wrong otherwise is in the report.
pub async fn run(backend: Backend, what: Swaps) -> Result<SwapsReport> {
    let mut world = World::prepare(backend).await?;
    let module = fs::read(tools::filter("rename")?)?;
    let mut volume = Volume::at(world.host.modules().join(COMPANY));
    let mut publish = |version: u32| -> Result<Instant> {
        let settings = format!("[config.types]\nmetric_updated = \"v{version}\"\n");
        let code = distinct(&module, version % what.codes.max(1));
        volume.publish(&[("10-rename.toml", settings.as_bytes()), ("10-rename.wasm", &code)])?;
        Ok(Instant::now())
    };
    publish(1)?;
    world.host.start().await?;
    world.host.keep_port();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut reader = JoinSet::new();
    reader.spawn(read(world.host.http()?, Arc::clone(&seen)));
    let publisher = world.publisher().await?;
    let flow = publisher.steady(what.rate, u64::MAX, |n| (SUBJECT.to_owned(), payload(COMPANY, n)));
    first_of(&seen, 1).await?;
    let (mut latencies, mut resident) = (Vec::new(), Vec::new());
    for version in 2..=what.swaps + 1 {
        let written = publish(version)?;
        let kill = what.kill_every > 0 && version % what.kill_every == 0;
        if kill {
            world.host.kill()?;
            world.host.restart().await?;
        }
        let at = first_of(&seen, version).await?;
        if !kill {
            latencies.push(at.saturating_duration_since(written));
        }
        if (version - 1) % (what.swaps / LOOKS).max(1) == 0 {
            resident.push(memory(world.host.process()?.id(), "VmRSS:")?);
        }
    }
    let sent = flow.stop().await?;
    let until = Instant::now() + PATIENCE;
    while lock(&seen).next < sent {
        ensure!(Instant::now() < until, "{} of {sent} events arrived", lock(&seen).next);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let faults = std::mem::take(&mut lock(&seen).faults);
    Ok(SwapsReport { what, events: sent, faults, latencies, memory: resident })
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn first_of(seen: &Mutex<Seen>, version: u32) -> Result<Instant> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(at) = lock(seen).first.get(&version) {
            return Ok(*at);
        }
        ensure!(Instant::now() < until, "no event of version {version}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads the stream, and opens it again after its last event where it ends.
async fn read(address: std::net::SocketAddr, seen: Arc<Mutex<Seen>>) {
    loop {
        let request = match lock(&seen).last_id.clone() {
            Some(id) => Request::company(COMPANY).after(&id),
            None => Request::company(COMPANY),
        };
        if let Ok(mut connection) = crate::stream::Connection::open(address, &request).await {
            while let Ok(Some(frame)) = connection.next().await {
                let mut seen = lock(&seen);
                if let Some(id) = &frame.id {
                    seen.last_id = Some(id.clone());
                }
                if frame.kind() == "gap" {
                    seen.faults.push("a gap was told".to_owned());
                }
                let version = frame.kind().strip_prefix('v').and_then(|version| version.parse().ok());
                if let (Some(n), Some(version)) = (number(&frame), version) {
                    seen.event(n, version, Instant::now());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl SwapsReport {
    /// What was wrong with the stream.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// From the file to the first event of it, in milliseconds: this share of swaps took less. None without a swap.
    #[must_use]
    pub fn latency_ms(&self, share: f64) -> Option<f64> {
        let mut millis: Vec<f64> = self.latencies.iter().map(|latency| latency.as_secs_f64() * 1e3).collect();
        millis.sort_by(f64::total_cmp);
        millis.get((millis.len() as f64 * share) as usize).or(millis.last()).copied()
    }

    /// The report, a line each.
    ///
    /// # Errors
    /// There was no swap.
    pub fn text(&self) -> Result<String> {
        let (p50, p99) = (self.latency_ms(0.5).context("no swap")?, self.latency_ms(0.99).context("no swap")?);
        let Swaps { swaps, rate, kill_every, .. } = self.what;
        let kills = if kill_every == 0 { "no kill".to_owned() } else { format!("a kill -9 every {kill_every}") };
        let mib: Vec<f64> = self.memory.iter().map(|bytes| *bytes as f64 / f64::from(1 << 20)).collect();
        let (before, after) = (mib.first().context("no swap")?, mib.last().context("no swap")?);
        let series = mib.iter().map(|mib| format!("{mib:.1}")).collect::<Vec<_>>().join(", ");
        Ok(format!(
            "{swaps} swaps of code under {rate} events/s, {kills}: {} events, {} lost, doubled, reordered or of a wrong \
             version\nfrom the file to the first event of it: median {p50:.1} ms, p99 {p99:.1} ms\nmemory by \
             tenth of the swaps {series} MiB ({:+.1} %)",
            self.events,
            self.faults.len(),
            (after / before - 1.0) * 100.0
        ))
    }
}
