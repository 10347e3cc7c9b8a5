//! `check`: the host's own verdict over a filter, without a host.

use super::Done;
use super::cases;
use super::filter::{FilterArgs, Loaded, Refused};
use super::out::{Out, plain};
use super::schema;
use crate::modules::selftest;
use serde_json::{Value, json};
use std::path::Path;
use tidegate_filter::World;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// Tell the verdict as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<Done> {
    judge(&args.filter, args.json, out)
}

/// Tells what the host says of a filter, its recorded cases included.
pub(super) fn judge(filter: &FilterArgs, json: bool, out: &mut Out) -> anyhow::Result<Done> {
    let loaded = match filter.load()? {
        Ok(loaded) => loaded,
        Err(refused) => {
            refused.tell(&filter.file, json, out)?;
            return Ok(Done::Badly);
        }
    };
    let text = loaded.cases.as_deref().unwrap_or_default();
    let report = selftest::run(&loaded.engine, &loaded.filter, loaded.role, text);
    if let Err(reason) = report.verdict(loaded.filter.name()) {
        Refused { kind: "self-test", reason }.tell(&filter.file, json, out)?;
        if !json {
            cases::show(&report.failures, &loaded.filter, out)?;
        }
        return Ok(Done::Badly);
    }
    accepted(&filter.file, &loaded, report.cases, json, out)?;
    Ok(Done::Well)
}

fn accepted(file: &Path, loaded: &Loaded, cases: usize, json: bool, out: &mut Out) -> anyhow::Result<()> {
    let Loaded { filter, bytes, role, .. } = loaded;
    let code = filter.code();
    let described = code.description();
    let role = role.name();
    if json {
        let value: Value = json!({
            "file": file, "accepted": true, "role": role, "name": described.name, "version": described.version,
            "codeDigest": &**code.digest(), "filterDigest": filter.digest(), "bytes": bytes, "reads": described.reads,
            "emits": described.emits, "usesState": code.imports_state(), "cases": cases,
            "world": code.world().number(), "configSchema": code.config_schema(),
            "limits": serde_json::to_value(filter.limits())?,
        });
        out.json(&value)?;
        return Ok(());
    }
    let list = |items: &[String]| if items.is_empty() { "(not told)".to_owned() } else { plain(&items.join(", ")) };
    out.line(&format!(
        "accepted: {} {} ({role} filter, {bytes} bytes)",
        plain(&described.name),
        plain(&described.version)
    ))?;
    out.line(&format!("  code    {}", code.digest()))?;
    out.line(&format!("  version {} (code, configuration and limits)", filter.digest()))?;
    out.line(&format!("  reads   {}", list(&described.reads)))?;
    out.line(&format!("  emits   {}", list(&described.emits)))?;
    out.line(&format!("  state   {}", if code.imports_state() { "kept for each company" } else { "none" }))?;
    let world = match code.world() {
        World::V1 => "1 (the one before the present 2: it is served until there is a third)",
        World::V2 => "2",
    };
    out.line(&format!("  world   {world}"))?;
    if let Some(schema) = code.config_schema() {
        for (n, key) in schema::keys(schema).into_iter().enumerate() {
            let [name, kind, needed, meaning] = key.cells();
            let facts =
                [kind, needed, meaning].into_iter().filter(|fact| !fact.is_empty()).collect::<Vec<_>>().join(", ");
            out.line(&format!("  {:7} {name}: {facts}", if n == 0 { "config" } else { "" }))?;
        }
    }
    let told = match cases {
        0 => "none recorded".to_owned(),
        _ => format!("{cases} as expected, alone and in batches"),
    };
    out.line(&format!("  cases   {told}"))?;
    Ok(())
}
