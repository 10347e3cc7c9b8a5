//! `modules`: what a running host has in each folder of filters, and what was deployed to one of them.

use super::Done;
use super::admin::AdminArgs;
use super::out::{Out, member};
use super::place::PlaceArgs;
use super::schema::{self, Key};
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// What may be configured: the keys of each filter that brings a JSON Schema
    #[arg(long)]
    config: bool,
    /// Print the host's answer as it is
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let answer = match args.place.given() {
        Some(folder) if !args.config => args.admin.get(&format!("/admin/releases?folder={}", encoded(folder))).await?,
        _ => args.admin.get("/admin/modules").await?,
    };
    match (args.json, args.place.given()) {
        (true, _) => out.json(&answer)?,
        (false, folder) if args.config => show_config(&answer, folder, out)?,
        (false, Some(_)) => show_releases(&answer, out)?,
        (false, None) => show(&answer, out)?,
    }
    Ok(Done::Well)
}

fn encoded(folder: &str) -> String {
    form_urlencoded::byte_serialize(folder.as_bytes()).collect()
}

/// What stands in an answer under a name; nothing where there is no list.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn show(answer: &Value, out: &mut Out) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> = list(answer, "folders").iter().flat_map(rows).collect();
    if rows.is_empty() {
        out.line("no filters: the built-in platform chain alone")?;
        return Ok(());
    }
    let head =
        ["FOLDER", "FILTER", "VERSION", "STATE", "SINCE", "RELEASE", "EVENTS", "FAILED", "TIME", "MEMORY", "REASON"];
    out.table(&head, &rows)?;
    Ok(())
}

/// One row for each key, of one folder or of all.
fn show_config(answer: &Value, only: Option<&str>, out: &mut Out) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for folder in list(answer, "folders") {
        let name = member(folder, "folder");
        if only.is_some_and(|only| only != name) {
            continue;
        }
        for filter in list(folder, "filters") {
            let schema = filter.get("configSchema").filter(|schema| !schema.is_null());
            let keys = schema.map(schema::keys).unwrap_or_default();
            rows.extend(keys.into_iter().map(|key| {
                [name.clone(), member(filter, "name")].into_iter().chain(key.cells()).collect::<Vec<String>>()
            }));
        }
    }
    if rows.is_empty() {
        out.line("no filter here says what it can be configured with")?;
        return Ok(());
    }
    out.table(&[["FOLDER", "FILTER"].as_slice(), &Key::HEADS].concat(), &rows)?;
    Ok(())
}

/// One row for each filter of a folder; one for a folder without any that has something to say.
fn rows(folder: &Value) -> Vec<Vec<String>> {
    let (name, state, since) = (member(folder, "folder"), member(folder, "state"), member(folder, "since"));
    let lost = member(folder, "stateSince");
    let lost = (!lost.is_empty()).then(|| format!("its state is from {lost} on: the replay cache began empty then"));
    let refused = Some(member(folder, "reason")).filter(|reason| !reason.is_empty());
    let reason = refused.into_iter().chain(lost).collect::<Vec<_>>().join("; ");
    let release = match folder.get("deployed").filter(|deployed| !deployed.is_null()) {
        Some(deployed) => format!("{} by {}", member(deployed, "release"), member(deployed, "by")),
        None => "-".to_owned(),
    };
    let row = |filter: String, version: String, figures: [String; 4]| {
        let before = [name.clone(), filter, version, state.clone(), since.clone(), release.clone()];
        before.into_iter().chain(figures).chain([reason.clone()]).collect()
    };
    let filters = list(folder, "filters");
    if filters.is_empty() {
        return vec![row("-".to_owned(), "-".to_owned(), nothing())];
    }
    let version = |filter: &Value| short(&member(filter, "digest"));
    filters.iter().map(|filter| row(member(filter, "name"), version(filter), figures(filter))).collect()
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn nothing() -> [String; 4] {
    ["-", "-", "-", "-"].map(str::to_owned)
}

/// Events, the share of them that failed, time an event, memory.
fn figures(filter: &Value) -> [String; 4] {
    let Some(figures) = filter.get("figures").filter(|figures| !figures.is_null()) else { return nothing() };
    let number = |name: &str| figures.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    [
        member(figures, "events"),
        format!("{:.1}%", number("errorRate") * 100.0),
        format!("{:.1}us", number("microsPerEvent")),
        format!("{:.1}MiB", number("memoryBytes") / f64::from(1 << 20)),
    ]
}

fn show_releases(answer: &Value, out: &mut Out) -> anyhow::Result<()> {
    let folder = member(answer, "folder");
    let (releases, log) = (list(answer, "releases"), list(answer, "log"));
    let serves = answer.get("serves").filter(|serves| !serves.is_null());
    out.line(&match serves {
        None => format!("{folder} is served by its files"),
        Some(serves) => match short(&member(serves, "insteadOf")).as_str() {
            "" => format!("{folder} is served by release {}, whatever its files are", member(serves, "release")),
            instead => format!(
                "{folder} is served by release {}, as long as its files make chain {instead}",
                member(serves, "release")
            ),
        },
    })?;
    if !releases.is_empty() {
        let row = |release: &Value| {
            let filters: Vec<String> = list(release, "filters").iter().map(|filter| member(filter, "module")).collect();
            vec![
                member(release, "release"),
                member(release, "at"),
                member(release, "by"),
                filters.join(", "),
                member(release, "message"),
            ]
        };
        out.line("")?;
        out.table(&["RELEASE", "AT", "BY", "FILTERS", "MESSAGE"], &releases.iter().map(row).collect::<Vec<_>>())?;
    }
    if !log.is_empty() {
        let row = |action: &Value| {
            let to = match member(action, "release").as_str() {
                "" => "files".to_owned(),
                number => number.to_owned(),
            };
            vec![
                member(action, "at"),
                member(action, "by"),
                member(action, "action"),
                member(action, "filter"),
                to,
                member(action, "message"),
            ]
        };
        out.line("")?;
        out.table(&["AT", "BY", "ACTION", "FILTER", "TO", "MESSAGE"], &log.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::Printed;
    use serde_json::json;

    #[test]
    fn the_table_names_folder_filter_version_state_figures_and_reason() {
        let figures =
            json!({"events": 200, "failed": 3, "errorRate": 0.015, "microsPerEvent": 1.26, "memoryBytes": 1_200_000});
        let answer = json!({"folders": [
            {"folder": "acme", "state": "active", "since": "2026-01-02T03:04:05Z", "reason": null,
             "deployed": {"release": 3, "by": "ann"},
             "filters": [{"name": "10-redact", "digest": "0123456789abcdef", "figures": figures},
                         {"name": "20-rename", "digest": "fedcba9876543210", "figures": null}]},
            {"folder": "counts", "state": "active", "since": "2026-01-02T03:04:05Z", "stateSince": "2026-01-02T04:00:00Z",
             "reason": null, "filters": [{"name": "10-count", "digest": "00112233445566778899"}]},
            {"folder": "b", "state": "refused", "since": "2026-01-02T03:04:06Z", "reason": "20-x.wasm: it is\u{1b}[2J no filter", "filters": []},
        ]});
        let printed = Printed::default();
        show(&answer, &mut Out::to(printed.clone())).expect("prints");
        assert_eq!(
            printed.text(),
            "FOLDER  FILTER     VERSION       STATE    SINCE                 RELEASE   EVENTS  FAILED  TIME   MEMORY  REASON\n\
             acme    10-redact  0123456789ab  active   2026-01-02T03:04:05Z  3 by ann  200     1.5%    1.3us  1.1MiB\n\
             acme    20-rename  fedcba987654  active   2026-01-02T03:04:05Z  3 by ann  -       -       -      -\n\
             counts  10-count   001122334455  active   2026-01-02T03:04:05Z  -         -       -       -      -       its state is from 2026-01-02T04:00:00Z on: the replay cache began empty then\n\
             b       -          -             refused  2026-01-02T03:04:06Z  -         -       -       -      -       20-x.wasm: it is\u{fffd}[2J no filter\n"
        );
    }

    #[test]
    fn what_can_be_configured_is_told_by_filter() {
        let schema =
            json!({"required": ["min"], "properties": {"min": {"type": "number", "description": "the least"}}});
        let answer = json!({"folders": [
            {"folder": "acme", "filters": [{"name": "10-a", "configSchema": schema}, {"name": "20-b", "configSchema": null}]},
            {"folder": "b", "filters": [{"name": "10-a", "configSchema": schema}]},
        ]});
        let told = |only| {
            let printed = Printed::default();
            show_config(&answer, only, &mut Out::to(printed.clone())).expect("prints");
            printed.text()
        };
        assert_eq!(
            told(Some("acme")),
            "FOLDER  FILTER  KEY  TYPE    DEFAULT   MEANING\n\
             acme    10-a    min  number  required  the least\n"
        );
        assert_eq!(told(None).lines().count(), 3);
        assert_eq!(told(Some("c")), "no filter here says what it can be configured with\n");
    }

    #[test]
    fn what_was_deployed_is_told_with_who_did_it() {
        let answer = json!({"folder": "acme", "serves": {"release": 1, "insteadOf": "aabbccddeeff00"},
            "releases": [{"release": 1, "at": "2026-01-02T03:04:05Z", "by": "ann", "message": "first",
                          "filters": [{"module": "10-f@1"}, {"module": "20-g@2"}]}],
            "log": [{"at": "2026-01-02T03:04:05Z", "by": "ann", "action": "push", "filter": "10-f", "release": 1, "message": "first"},
                    {"at": "2026-01-02T03:05:05Z", "by": "bob", "action": "give-back", "filter": null, "release": null, "message": ""}]});
        let printed = Printed::default();
        show_releases(&answer, &mut Out::to(printed.clone())).expect("prints");
        assert_eq!(
            printed.text(),
            "acme is served by release 1, as long as its files make chain aabbccddeeff\n\
             \n\
             RELEASE  AT                    BY   FILTERS         MESSAGE\n\
             1        2026-01-02T03:04:05Z  ann  10-f@1, 20-g@2  first\n\
             \n\
             AT                    BY   ACTION     FILTER  TO     MESSAGE\n\
             2026-01-02T03:04:05Z  ann  push       10-f    1      first\n\
             2026-01-02T03:05:05Z  bob  give-back          files\n"
        );
    }
}
