//! `bench`: what a filter takes, measured as a host's metrics would show it, and natively where that can be.

mod native;

use super::filter::{FilterArgs, Loaded};
use super::out::{Out, plain};
use super::{Done, UsageError, test};
use crate::bench::{Bench, Cost, Load, Measured, Start, Times};
use crate::modules::selftest::{self, Event};
use native::Native;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tidegate_filter::EngineSettings;

/// Sizes of batches that are measured: events that come one by one, and a crowd of them. Each twice: with a pause
/// between batches, so that each finds caches that others have used, as it does on a host, and one right after the other.
const SIZES: [usize; 2] = [1, 64];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// Events, one a line as in a case's `event` [default: those of NAME.test.ndjson beside the filter]
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// How long each measurement takes
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// From one batch to the next where they come apart; the host's platform chain runs before each
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1)]
    pause_ms: u64,
    /// Leave out the native build of the project that the filter lies in
    #[arg(long)]
    no_native: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_error| "a number is accepted".to_owned())?;
    if (0.001..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("0.001 to 3600 are accepted".to_owned()) }
}

/// One size of batches.
struct Row {
    size: usize,
    apart: bool,
    seen: Measured,
    /// WebAssembly instructions of one event.
    instructions: f64,
    native: Option<Times>,
}

/// Everything that is told.
struct Report<'a> {
    args: &'a Args,
    loaded: &'a Loaded,
    events: usize,
    start: Start,
    memory_bytes: usize,
    rows: Vec<Row>,
    native: Result<(), String>,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    // As a host has it, so that compiling takes what it takes there.
    let loaded = match args.filter.load_on(EngineSettings::default())? {
        Ok(loaded) => loaded,
        Err(refused) => {
            refused.tell(&args.filter.file, args.json, out)?;
            return Ok(Done::Badly);
        }
    };
    let events = events(&args, &loaded)?;
    let native = match args.no_native {
        true => Err("left out".to_owned()),
        false => Native::of(&args.filter.file, &loaded.filter)
            .and_then(|native| native.run(&events, &SIZES, Duration::from_secs_f64(args.seconds))),
    };
    let bench = bench(&loaded, events.clone())?;
    let start = bench.start().map_err(anyhow::Error::msg)?;
    let instructions = instructions(&args, &events).await?;
    let mut rows = Vec::new();
    for (apart, (index, size)) in
        [true, false].into_iter().flat_map(|apart| SIZES.into_iter().enumerate().map(move |size| (apart, size)))
    {
        let pause = if apart { Duration::from_millis(args.pause_ms) } else { Duration::ZERO };
        let load = Load { size, pause, time: Duration::from_secs_f64(args.seconds) };
        let seen = bench.run(load).await.map_err(anyhow::Error::msg)?;
        // Which is measured one batch right after the other.
        let native = native.as_ref().ok().filter(|_| !apart).and_then(|times| times.get(index)).copied();
        rows.push(Row { size, apart, seen, instructions: instructions.get(index).copied().unwrap_or(0.0), native });
    }
    let memory_bytes = rows.last().map_or(0, |row| row.seen.memory_bytes);
    let native = native.map(|_| ());
    let report = Report { args: &args, loaded: &loaded, events: events.len(), start, memory_bytes, rows, native };
    if args.json {
        out.json(&report.json())?
    } else {
        report.show(out)?
    }
    Ok(Done::Well)
}

fn bench(loaded: &Loaded, events: Vec<Event>) -> anyhow::Result<Bench> {
    Bench::new(&loaded.engine, &loaded.filter, loaded.role, events).map_err(anyhow::Error::msg)
}

fn events(args: &Args, loaded: &Loaded) -> anyhow::Result<Vec<Event>> {
    let (events, place) = match &args.events {
        Some(path) => {
            let events = test::events(path)?.map_err(anyhow::Error::msg)?;
            (events.into_iter().map(|(_, event)| event).collect(), path.clone())
        }
        None => {
            let beside = args.filter.file.with_file_name(format!("{}.test.ndjson", loaded.filter.name()));
            (selftest::events(loaded.cases.as_deref().unwrap_or_default()), beside)
        }
    };
    if events.is_empty() {
        let problem = format!("{} holds no event: name a file of events with --events", place.display());
        return Err(UsageError(problem).into());
    }
    Ok(events)
}

/// What one event takes in instructions, by size, on an engine that counts them: the time of that one tells nothing.
async fn instructions(args: &Args, events: &[Event]) -> anyhow::Result<Vec<f64>> {
    let settings = EngineSettings { count_instructions: true, ..EngineSettings::default() };
    let Ok(loaded) = args.filter.load_on(settings)? else { return Ok(Vec::new()) };
    let bench = bench(&loaded, events.to_vec())?;
    let mut counts = Vec::new();
    for size in SIZES {
        let load = Load { size, pause: Duration::ZERO, time: Duration::ZERO };
        let measured = bench.run(load).await.map_err(anyhow::Error::msg)?;
        counts.push(measured.instructions as f64 / measured.events.max(1) as f64);
    }
    Ok(counts)
}

impl Report<'_> {
    fn cost(&self) -> Option<Cost> {
        match &self.rows[..] {
            [alone, together, ..] => {
                Some(Cost::of(alone.seen.times.mean_ns, together.size, together.seen.times.mean_ns))
            }
            _ => None,
        }
    }

    fn json(&self) -> Value {
        let Self { args, loaded, events, start, memory_bytes, rows, native } = self;
        let described = loaded.filter.code().description();
        let batches: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "size": row.size, "apart": row.apart, "event": row.seen.times, "instructions": row.instructions,
                    "native": row.native, "events": row.seen.events, "calls": row.seen.calls,
                    "late": row.seen.late, "emitted": row.seen.verdicts.emitted,
                    "dropped": row.seen.verdicts.dropped, "failed": row.seen.verdicts.failed,
                })
            })
            .collect();
        json!({
            "file": args.filter.file, "name": described.name, "version": described.version, "bytes": loaded.bytes,
            "compileMs": millis(loaded.compiled), "startMs": millis(start.time), "events": events,
            "memoryBytes": {"started": start.memory_bytes, "after": memory_bytes}, "batches": batches,
            "cost": self.cost().map(|cost| json!({"callNs": cost.call_ns, "eventNs": cost.event_ns})),
            "noNative": native.as_ref().err(),
        })
    }

    fn show(&self, out: &mut Out) -> anyhow::Result<()> {
        let Self { loaded, events, start, memory_bytes, rows, native, .. } = self;
        let described = loaded.filter.code().description();
        out.line(&format!(
            "{} {}: {} bytes, {events} events",
            plain(&described.name),
            plain(&described.version),
            loaded.bytes
        ))?;
        out.line(&format!(
            "  start   compiled in {:.1} ms, an instance in {:.3} ms",
            millis(loaded.compiled),
            millis(start.time)
        ))?;
        let kib = |bytes: usize| bytes.div_ceil(1024);
        out.line(&format!("  memory  {} KiB, {} KiB after the events", kib(start.memory_bytes), kib(*memory_bytes)))?;
        if let Some(cost) = self.cost() {
            out.line(&format!(
                "  live    {:.2} µs a call and {:.2} µs an event, as tidegate_filter_duration_seconds shows it",
                cost.call_ns / 1e3,
                cost.event_ns / 1e3
            ))?;
        }
        out.line("")?;
        let micros = |ns: f64| format!("{:.2}", ns / 1e3);
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let times = row.seen.times;
                let natively = |tell: &dyn Fn(Times) -> String| row.native.map_or_else(|| "-".to_owned(), tell);
                vec![
                    row.size.to_string(),
                    if row.apart { "apart" } else { "in a row" }.to_owned(),
                    micros(times.mean_ns),
                    micros(times.p50_ns),
                    micros(times.p99_ns),
                    format!("{:.0}", row.instructions),
                    natively(&|native| micros(native.mean_ns)),
                    natively(&|native| format!("{:.1}×", times.mean_ns / native.mean_ns)),
                ]
            })
            .collect();
        out.table(&["BATCH", "COME", "µs/EVENT", "P50", "P99", "INSTRUCTIONS", "NATIVE", "RATIO"], &cells)?;
        if let Err(reason) = native {
            out.line(&format!("not measured natively: {}", plain(reason)))?;
        }
        let worst = rows.iter().map(|row| (row.seen.verdicts.failed, row.seen.late, row.seen.events));
        for (failed, late, events) in worst.filter(|(failed, late, _)| failed + late > 0) {
            out.line(&format!(
                "of {events} events {failed} failed; {late} batches were late, for a company's backlog"
            ))?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
