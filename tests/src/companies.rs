//! Many companies with a module each: the time to start, memory, and that every event passes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::backend::{Backend, World};
use crate::history::payload;
use crate::modules::{Modules, distinct};
use crate::process::memory;
use crate::tools;

const SUBJECT: &str = "metrics.calculated";
/// Events for each company.
const ROUNDS: u64 = 5;
/// Starts with everything compiled. The first one after all has been compiled is the slowest.
const STARTS: usize = 5;
/// What is not there by then is lost.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was seen.
#[derive(Debug)]
pub struct CompaniesReport {
    companies: u32,
    /// To ready with nothing compiled before.
    cold: Duration,
    /// To ready with everything compiled before, each time.
    warm: Vec<Duration>,
    /// Of a host without modules, with all of them loaded, and after all companies had events.
    memory: [u64; 3],
    /// The same without what is mapped from files, such as compiled code.
    own: [u64; 3],
    events: u64,
}

/// Gives so many companies a module each, none like another.
///
/// # Errors
/// The filter isn't built, or can't be written.
pub fn fill(modules: &Path, companies: u32) -> Result<()> {
    let module = fs::read(tools::filter("rename")?)?;
    for number in 0..companies {
        let folder = Modules::of(modules, &name(number));
        folder.put("10-rename.toml", b"[config.types]\nmetric_updated = \"renamed\"\n")?;
        folder.put("10-rename.wasm", &distinct(&module, number))?;
    }
    Ok(())
}

/// Runs it.
///
/// # Errors
/// Something doesn't start, or an event doesn't pass.
pub async fn run(backend: Backend, companies: u32) -> Result<CompaniesReport> {
    let mut world = World::prepare(backend).await?;
    world.host.start().await?;
    let empty = resident(&world)?;
    let empty_own = own(&world)?;
    world.host.terminate()?;
    world.host.end().await?;
    fill(&world.host.modules(), companies)?;
    let cold = started(&mut world).await?;
    let mut warm = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        world.host.terminate()?;
        world.host.end().await?;
        warm.push(started(&mut world).await?);
    }
    let loaded = resident(&world)?;
    let loaded_own = own(&world)?;
    let publisher = world.publisher().await?;
    for round in 0..ROUNDS {
        let events = (0..companies).map(|number| payload(&name(number), round)).collect();
        publisher.send_all(SUBJECT, events).await?;
    }
    let (all, until) = (u64::from(companies) * ROUNDS, Instant::now() + PATIENCE);
    loop {
        let metrics = world.host.metrics().await?;
        let (passed, dead) = (metrics.sum("events_emitted_total"), metrics.sum("dead_letters_total"));
        if passed as u64 >= all {
            break;
        }
        ensure!(dead == 0.0 && Instant::now() < until, "{passed} of {all} events passed, {dead} dead letters");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let used = resident(&world)?;
    Ok(CompaniesReport {
        companies,
        cold,
        warm,
        memory: [empty, loaded, used],
        own: [empty_own, loaded_own, own(&world)?],
        events: all,
    })
}

fn name(number: u32) -> String {
    format!("company-{number}")
}

fn resident(world: &World) -> Result<u64> {
    memory(world.host.process()?.id(), "VmRSS:")
}

fn own(world: &World) -> Result<u64> {
    memory(world.host.process()?.id(), "RssAnon:")
}

async fn started(world: &mut World) -> Result<Duration> {
    let began = Instant::now();
    world.host.launch().await?;
    let until = began + PATIENCE;
    while world.host.ready().await.is_err() {
        ensure!(Instant::now() < until, "not ready within {PATIENCE:?}");
    }
    Ok(began.elapsed())
}

impl CompaniesReport {
    /// To ready with everything compiled before, each time.
    #[must_use]
    pub fn warm_starts(&self) -> &[Duration] {
        &self.warm
    }

    /// Bytes of a host without modules, with all of them loaded, and after all companies had events.
    #[must_use]
    pub fn memory(&self) -> [u64; 3] {
        self.memory
    }

    /// The same without what is mapped from files, and can be read again.
    #[must_use]
    pub fn memory_of_its_own(&self) -> [u64; 3] {
        self.own
    }

    /// The report, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        let [empty, loaded, used] = self.memory.map(|bytes| bytes as f64 / f64::from(1 << 20));
        let each = |mib: f64| mib * 1024.0 / f64::from(self.companies.max(1));
        let [empty_own, loaded_own, used_own] = self.own.map(|bytes| bytes as f64 / f64::from(1 << 20));
        let warm: Vec<String> = self.warm.iter().map(|time| format!("{:.1}", time.as_secs_f64())).collect();
        let (cold, warm) = (self.cold.as_secs_f64(), warm.join(", "));
        format!(
            "{} companies with a module each, {} events through all of them\nfrom start to ready: {cold:.1} s with nothing \
             compiled, {warm} s with compiled code cached\nmemory: {empty:.0} MiB without modules, {loaded:.0} MiB with all \
             loaded ({:.0} KiB a module), {used:.0} MiB after all had events ({:.0} KiB a company)\nof that \
             without mapped files: {:.0} KiB a module, {:.0} KiB a company",
            self.companies,
            self.events,
            each(loaded - empty),
            each(used - empty),
            each(loaded_own - empty_own),
            each(used_own - empty_own),
        )
    }
}
