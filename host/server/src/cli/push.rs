//! `push`: a filter into the folder of a running host, judged before anything changes.

use super::admin::AdminArgs;
use super::out::{Out, member};
use super::place::{ActorArgs, PlaceArgs};
use super::since::Since;
use super::{Done, UsageError};
use crate::modules::file::FilterFile;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest module that is read; the host has its own ceiling (filters.limits-max.module-mib).
const MODULE_BYTES_MAX: u64 = 1 << 30;
/// How long a host may take to compile and test a module, and to start it.
pub(super) const JUDGING: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The module; NAME.toml and NAME.test.ndjson beside it go with it
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Its name in the chain, which runs in the order of the names [default: the file's]
    #[arg(long, value_name = "NN-NAME", conflicts_with = "remove")]
    name: Option<String>,
    /// Take the filter of this name out of the chain instead
    #[arg(long, value_name = "NN-NAME")]
    remove: Option<String>,
    /// Only if none of the company's events since then fails that did not fail before
    #[arg(long, value_name = "TIME", requires = "company")]
    shadow: Option<Since>,
    /// And only if at most so many of them come out otherwise
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0, requires = "shadow")]
    different_max: f64,
    /// Only say what the host would make of it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    actor: ActorArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the host's answer as it is
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let folder = args.place.folder()?;
    let mut wish = json!({
        "folder": folder, "by": args.actor.by(), "message": args.actor.message(), "dryRun": args.dry_run,
    });
    match (&args.file, &args.remove) {
        (Some(path), _) => read(path, args.name.as_deref(), &mut wish)?,
        (None, Some(name)) => wish["filter"] = name.as_str().into(),
        (None, None) => return Err(UsageError("which filter? FILE or --remove NN-NAME".to_owned()).into()),
    }
    if let Some(since) = args.shadow {
        wish["shadow"] = json!({ "since": since.ms(), "differentMax": args.different_max });
    }
    let answer = args.admin.post_within(JUDGING, "/admin/push", &wish).await?;
    if args.json {
        out.json(&answer)?;
        return Ok(Done::Well);
    }
    show(folder, args.dry_run, &answer, out)?;
    Ok(Done::Well)
}

/// Reads a filter's files into what is asked.
pub(super) fn read(path: &Path, name: Option<&str>, wish: &mut Value) -> Result<(), UsageError> {
    let file = FilterFile::read(path, MODULE_BYTES_MAX).map_err(UsageError)?;
    wish["filter"] = name.map_or(file.name, str::to_owned).into();
    wish["module"] = STANDARD.encode(&*file.wasm).into();
    wish["settings"] = file.settings.into();
    wish["cases"] = file.cases.into();
    Ok(())
}

fn show(folder: &str, dry_run: bool, answer: &Value, out: &mut Out) -> anyhow::Result<()> {
    if let Some(filter) = answer.get("filter").filter(|filter| !filter.is_null()) {
        let cases = answer.get("cases").and_then(Value::as_u64).unwrap_or(0);
        let (module, version) = (member(filter, "module"), member(filter, "version"));
        out.line(&format!("accepted {module} ({version}); {cases} recorded cases pass"))?;
    }
    let filters: Vec<&str> =
        answer.get("filters").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let filters = if filters.is_empty() { "no filter".to_owned() } else { filters.join(", ") };
    let deployed = answer.get("deployed").filter(|deployed| !deployed.is_null());
    let said = match deployed {
        Some(deployed) => {
            let runs = deployed.get("runs").and_then(Value::as_bool).unwrap_or(false);
            let when = if runs { "runs" } else { "runs within a second, on the host that owns the partition" };
            format!("release {} of {folder} {when}: {filters}", member(deployed, "release"))
        }
        None if answer.get("before") == answer.get("chain") => format!("nothing changes: {folder} runs that already"),
        None if dry_run => format!("{folder} would run: {filters}"),
        None => format!("{folder}: nothing was done"),
    };
    out.line(&said)?;
    Ok(())
}
