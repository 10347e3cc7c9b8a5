//! Row 9: how long a swap takes, and what it costs those whose events flow past.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidegate_tests::backend::Backend;
use tidegate_tests::folder::Folder;
use tidegate_tests::host::Host;
use tidegate_tests::modules::{Volume, another_version};
use tidegate_tests::swaps::{self, Swaps};
use tidegate_tests::tools;
use tokio::runtime::Runtime;

use crate::contestant::{Contestant, Filters, Kind, Store};
use crate::figure::{Figure, Samples, Sides};
use crate::lane::Lane;
use crate::payload::company;
use crate::plan::Plan;
use crate::stand::{Pace, Stand};
use crate::usage::memory_bytes;

/// Events a second while latencies of swaps are measured.
const RATE: u32 = 1_000;
/// Events a second past the swaps whose memory is measured.
const FAST: u32 = 50_000;
/// From one swap to the next.
const BETWEEN: Duration = Duration::from_millis(100);

/// Measures it.
///
/// # Errors
/// Something doesn't start, or an event is lost, doubled, out of order or of a wrong version.
pub(super) fn run(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let mut figures = latencies(runtime, plan)?;
    figures.push(throughput(runtime, plan)?);
    figures.extend(memory(runtime, plan)?);
    Ok(figures)
}

fn latencies(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let count = if plan.quick { 20 } else { 150 };
    let what = |codes| Swaps { swaps: count, rate: RATE, kill_every: 0, codes };
    let p99 = |codes| -> Result<f64> {
        let seen = runtime.block_on(swaps::run(Backend::JetStream, what(codes)))?;
        anyhow::ensure!(seen.faults().is_empty(), "{:?}", seen.faults());
        crate::say(&format!("       {}", seen.text()?.replace('\n', "\n       ")));
        seen.latency_ms(0.99).context("no swap")
    };
    let told = "p99 from the file to the first event through it";
    let [mut known, mut known_twin, mut new, mut new_twin, mut alone] = [(); 5].map(|()| Samples::default());
    for _ in 0..plan.rounds().min(2) {
        for (known, new) in [(&mut known, &mut new), (&mut known_twin, &mut new_twin)] {
            // With two codes in turn, all but the first two swaps find theirs compiled.
            known.0.push(p99(2)?);
            new.0.push(p99(u32::MAX)?);
        }
        alone.0.push(compiling(runtime)?);
    }
    let sides = Sides { ours: &new, twin: &new_twin, theirs: &alone };
    Ok(vec![
        Figure::alone(&format!("{told}, compiled before"), "ms", &known, &known_twin).at_most(100.0),
        Figure::alone(&format!("{told}, not compiled before"), "ms", &new, &new_twin),
        Figure::difference("the same, beyond what compiling takes", "checking and compiling alone", "ms", sides)
            .at_most(100.0),
    ])
}

/// Milliseconds that checking and compiling the filter takes on an idle machine, with as many threads as in a host: one.
fn compiling(runtime: &Runtime) -> Result<f64> {
    let (host, folder) = (Host::new()?, Folder::new("bench-compile")?);
    let module = folder.path().join("rename.wasm");
    std::fs::copy(tools::filter("rename")?, &module)?;
    std::fs::write(module.with_extension("toml"), "[config.types]\nmetric_updated = \"v1\"\n")?;
    let events = folder.path().join("events.ndjson");
    std::fs::write(&events, "{\"subject\":\"s\",\"company\":\"c\",\"type\":\"metric_updated\",\"payload\":{}}\n")?;
    let [module, events] = [module, events].map(|path| path.display().to_string());
    let mut times = Samples::default();
    for _ in 0..3 {
        let args = ["bench", &module, "--events", &events, "--seconds", "0.05", "--json"];
        let told = super::filter::tidegate(runtime, &host, &args)?;
        let told: serde_json::Value = serde_json::from_slice(&told).context("what `tidegate bench` tells")?;
        times.0.push(told["compileMs"].as_f64().context("no time")?);
    }
    crate::say(&format!("       checking and compiling alone: {:.0} ms", times.median()));
    Ok(times.median())
}

/// Swaps a company's code between two versions until it is told to stop.
struct Swapping {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Result<u32>>>,
}

impl Swapping {
    fn begin(modules: &Path) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let module = std::fs::read(tools::filter("rename")?)?;
        let codes = [another_version(&module), module];
        let (stopped, folder) = (Arc::clone(&stop), modules.join(company(0)));
        let thread = std::thread::spawn(move || {
            let (mut volume, mut swaps) = (Volume::at(folder), 0);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let settings = format!("[config.types]\nmetric_updated = \"v{swaps}\"\n");
                let code = &codes[swaps as usize % codes.len()];
                volume.publish(&[("10-rename.toml", settings.as_bytes()), ("10-rename.wasm", code)])?;
                swaps += 1;
                std::thread::sleep(BETWEEN.saturating_sub(began.elapsed()));
            }
            Ok(swaps)
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// How many there were.
    fn end(mut self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("no thread")?;
        thread.join().map_err(|panic| anyhow::anyhow!("the swapping thread panicked: {panic:?}"))?
    }
}

fn throughput(runtime: &Runtime, plan: Plan) -> Result<Figure> {
    let mut lanes = [(); 3].map(|()| Lane::new(runtime, Filters::Platform, Store::Redis, 1));
    let mut seen = [(); 3].map(|()| Samples::default());
    for _ in 0..plan.rounds() {
        for (number, (lane, seen)) in lanes.iter_mut().zip(&mut seen).enumerate() {
            let lane = lane.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            // All have the filter; of the first it is swapped.
            let swapping = Swapping::begin(&lane.modules()?)?;
            let swapping = if number == 0 { Some(swapping) } else { swapping.end().map(|_| None)? };
            let passed = lane.pass(runtime, plan.events())?;
            let swaps = swapping.map_or(Ok(0), Swapping::end)?;
            crate::say(&format!("       {:.0} events/s past {swaps} swaps", passed.per_second));
            seen.0.push(passed.per_second);
        }
    }
    let [swapped, still, twin] = &seen;
    // As far as two hosts are apart whose code stays.
    let apart = twin.0.iter().zip(&still.0).map(|(twin, still)| twin / still);
    let twin = Samples(swapped.0.iter().zip(apart).map(|(swapped, apart)| swapped * apart).collect());
    let sides = Sides { ours: swapped, twin: &twin, theirs: still };
    Ok(Figure::ratio("events while 10 swaps a second go on", "no swaps", "1/s", sides).at_least(0.9))
}

/// Memory after many swaps past many events, beside that after the first ones.
fn memory(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let pace = Pace::PerSecond(FAST);
    let [mut grown, mut twin] = [(); 2].map(|()| Samples::default());
    for samples in [&mut grown, &mut twin] {
        let mut stand = Stand::new(Kind::Tidegate(Filters::Platform), runtime, 1, 1, pace)?;
        let Contestant::Tidegate(tidegate) = &stand.contestant else { anyhow::bail!("no host") };
        let swapping = Swapping::begin(&tidegate.world.host.modules())?;
        let (processes, mut before, mut rate) = (stand.contestant.processes()?, 0, 0.0);
        for round in 0..=plan.rounds() * 2 {
            rate = stand.round(plan, pace)?.per_second;
            if round == 0 {
                before = memory_bytes(&processes)?;
            }
        }
        let (swaps, after) = (swapping.end()?, memory_bytes(&processes)?);
        let ratio = after as f64 / before as f64;
        crate::say(&format!(
            "       {swaps} swaps past {rate:.0} events/s: memory {ratio:.3} times that of the first ones"
        ));
        samples.0.push(ratio);
    }
    let what = format!(
        "memory after swaps past {} events/s, by that after the first",
        crate::results::number(f64::from(FAST))
    );
    Ok(vec![Figure::alone(&what, "×", &grown, &twin).at_most(1.05)])
}
