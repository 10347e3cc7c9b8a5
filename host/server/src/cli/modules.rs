//! `modules`: what a running host has in each folder of filters.

use super::Done;
use super::admin::AdminArgs;
use super::out::{Out, member};
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the host's answer as it is
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let answer = args.admin.get("/admin/modules").await?;
    if args.json {
        out.json(&answer)?;
        return Ok(Done::Well);
    }
    show(&answer, out)?;
    Ok(Done::Well)
}

fn show(answer: &Value, out: &mut Out) -> anyhow::Result<()> {
    let folders = answer.get("folders").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = folders.into_iter().flatten().flat_map(rows).collect();
    if rows.is_empty() {
        out.line("no filters: the built-in platform chain alone")?;
        return Ok(());
    }
    out.table(&["FOLDER", "FILTER", "VERSION", "STATE", "SINCE", "REASON"], &rows)?;
    Ok(())
}

/// One row for each filter of a folder; one for a folder without any that has something to say.
fn rows(folder: &Value) -> Vec<Vec<String>> {
    let (name, state, since) = (member(folder, "folder"), member(folder, "state"), member(folder, "since"));
    let lost = member(folder, "stateSince");
    let lost = (!lost.is_empty()).then(|| format!("its state is from {lost} on: the replay cache began empty then"));
    let refused = Some(member(folder, "reason")).filter(|reason| !reason.is_empty());
    let reason = refused.into_iter().chain(lost).collect::<Vec<_>>().join("; ");
    let row = |filter: String, version: String| {
        vec![name.clone(), filter, version, state.clone(), since.clone(), reason.clone()]
    };
    let filters = folder.get("filters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if filters.is_empty() {
        return vec![row("-".to_owned(), "-".to_owned())];
    }
    let short = |digest: String| digest.chars().take(12).collect::<String>();
    filters.iter().map(|filter| row(member(filter, "name"), short(member(filter, "digest")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::Printed;
    use serde_json::json;

    #[test]
    fn the_table_names_folder_filter_version_state_and_reason() {
        let answer = json!({"folders": [
            {"folder": "acme", "state": "active", "since": "2026-01-02T03:04:05Z", "reason": null,
             "filters": [{"name": "10-redact", "digest": "0123456789abcdef"}, {"name": "20-rename", "digest": "fedcba9876543210"}]},
            {"folder": "counts", "state": "active", "since": "2026-01-02T03:04:05Z", "stateSince": "2026-01-02T04:00:00Z",
             "reason": null, "filters": [{"name": "10-count", "digest": "00112233445566778899"}]},
            {"folder": "b", "state": "refused", "since": "2026-01-02T03:04:06Z", "reason": "20-x.wasm: it is\u{1b}[2J no filter", "filters": []},
        ]});
        let printed = Printed::default();
        show(&answer, &mut Out::to(printed.clone())).expect("prints");
        assert_eq!(
            printed.text(),
            "FOLDER  FILTER     VERSION       STATE    SINCE                 REASON\n\
             acme    10-redact  0123456789ab  active   2026-01-02T03:04:05Z\n\
             acme    20-rename  fedcba987654  active   2026-01-02T03:04:05Z\n\
             counts  10-count   001122334455  active   2026-01-02T03:04:05Z  its state is from 2026-01-02T04:00:00Z on: the replay cache began empty then\n\
             b       -          -             refused  2026-01-02T03:04:06Z  20-x.wasm: it is\u{fffd}[2J no filter\n"
        );
    }
}
