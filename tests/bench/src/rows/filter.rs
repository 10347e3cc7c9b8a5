//! Row 1: one event through one filter, natively and as WebAssembly.
//!
//! `tidegate bench` measures both: the filter on a host's own threads, within its limits and deadlines, and the same code
//! built for this machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::folder::Folder;
use tidegate_tests::host::Host;
use tokio::runtime::Runtime;

use crate::figure::{Figure, Samples, Sides};
use crate::payload::{Payload, company};
use crate::plan::Plan;

/// Parses the payload into a type of its own, changes it, and writes it.
const SOURCE: &str = r#"//! Parses a payload, changes it, and writes it.

use serde::{Deserialize, Serialize};
use tidegate_guest::{Event, Verdict, filter};

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    n: u64,
    company_id: String,
    metric_name: String,
    value: f64,
    previous_value: f64,
    period: String,
    source: String,
}

/// Adds the previous value to the value.
#[filter(name = "sum", emits = ["sum"])]
pub fn sum(event: &Event) -> Verdict {
    let Ok(mut metric) = serde_json::from_slice::<Metric>(event.payload()) else {
        return Verdict::error("no metric");
    };
    metric.value += metric.previous_value;
    match serde_json::to_vec(&metric) {
        Ok(payload) => Verdict::emit("sum", &payload),
        Err(error) => Verdict::error(error),
    }
}
"#;
/// Events that are measured with.
const EVENTS: u64 = 64;
/// Size of the batches.
const BATCH: u64 = 64;

/// Measures it.
///
/// # Errors
/// The filter doesn't build.
pub(super) fn run(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let (host, folder) = (Host::new()?, Folder::new("bench-filter")?);
    let project = folder.path().join("sum");
    let at = project.display().to_string();
    tidegate(runtime, &host, &["new", "sum", "--dir", &at])?;
    fs::write(project.join("src/lib.rs"), SOURCE)?;
    let manifest = fs::read_to_string(project.join("Cargo.toml"))?;
    fs::write(
        project.join("Cargo.toml"),
        manifest.replacen("[dependencies]\n", "[dependencies]\nserde_json = \"1\"\n", 1),
    )?;
    // Cases and settings of the template are of the template's filter.
    for entry in fs::read_dir(&project)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".test.ndjson") || name == "sum.toml" {
            fs::remove_file(entry.path())?;
        }
    }
    fs::write(project.join("events.ndjson"), events()?)?;
    tidegate(runtime, &host, &["build", &at])?;
    let [mut wasm, mut wasm_twin, mut native, mut native_twin] = [(); 4].map(|()| Samples::default());
    for _ in 0..plan.rounds() {
        for (wasm, native) in [(&mut wasm, &mut native), (&mut wasm_twin, &mut native_twin)] {
            let (micros, natively) = times(runtime, &host, &project, plan)?;
            crate::say(&format!("       {micros:.3} us, natively {natively:.3} us"));
            wasm.0.push(micros);
            native.0.push(natively);
        }
    }
    let sides = Sides { ours: &wasm, twin: &wasm_twin, theirs: &native };
    let what = format!("{}-byte JSON parsed, changed and written, in batches of {BATCH}", crate::payload::BYTES);
    Ok(vec![Figure::ratio(&what, "the same code natively", "us", sides).at_most(1.8)])
}

/// Microseconds of an event as WebAssembly and natively.
fn times(runtime: &Runtime, host: &Host, project: &Path, plan: Plan) -> Result<(f64, f64)> {
    let (module, events) = (project.join("sum.wasm"), project.join("events.ndjson"));
    let seconds = if plan.quick { "0.2" } else { "1" };
    let [module, events] = [module, events].map(|path| path.display().to_string());
    let told = tidegate(runtime, host, &["bench", &module, "--events", &events, "--seconds", seconds, "--json"])?;
    let told: Value = serde_json::from_slice(&told).context("what `tidegate bench` tells")?;
    let batches = told["batches"].as_array().context("no batches")?;
    let batch = batches.iter().find(|batch| batch["size"] == BATCH && batch["apart"] == false);
    let batch = batch.context("no batch of that size")?;
    ensure!(batch["failed"] == 0 && batch["late"] == 0, "the filter failed: {batch}");
    // The median batch: one that another process of the machine interrupts says nothing of the filter.
    let nanos = |value: &Value| value["p50Ns"].as_f64().map(|nanos| nanos / 1e3).context("no time");
    Ok((nanos(&batch["event"])?, nanos(&batch["native"]).with_context(|| told["noNative"].to_string())?))
}

fn events() -> Result<Vec<u8>> {
    let (payload, mut lines) = (Payload::of(&company(0)), Vec::new());
    for n in 0..EVENTS {
        let mut event = Vec::new();
        payload.write(&mut event, 100_000 + n);
        let event = String::from_utf8(event)?;
        lines.extend(
            format!("{{\"subject\":\"{}\",\"company\":\"company-0\",\"payload\":{event}}}\n", crate::wire::SUBJECT)
                .bytes(),
        );
    }
    Ok(lines)
}

/// Runs `tidegate`; what it prints.
///
/// # Errors
/// It can't be run, or fails.
pub(super) fn tidegate(runtime: &Runtime, host: &Host, args: &[&str]) -> Result<Vec<u8>> {
    let done = runtime.block_on(host.run(args))?;
    let said = || [&done.stdout[..], &done.stderr[..]].map(String::from_utf8_lossy).join("\n");
    ensure!(done.status.success(), "tidegate {}: {}\n{}", args.join(" "), done.status, said());
    Ok(done.stdout)
}
