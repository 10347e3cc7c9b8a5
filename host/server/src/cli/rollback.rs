//! `rollback`: what ran before in a folder runs again.

use super::Done;
use super::admin::AdminArgs;
use super::out::{Out, member};
use super::place::{ActorArgs, PlaceArgs};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// To the release of this number, as `modules` lists them [default: to what ran before]
    #[arg(long, value_name = "RELEASE")]
    to: Option<u64>,
    /// To what the folder's files make: gives it back to them
    #[arg(long, conflicts_with = "to")]
    files: bool,
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
    let wish = json!({
        "folder": folder, "to": args.to, "files": args.files, "by": args.actor.by(), "message": args.actor.message(),
    });
    let answer = args.admin.post("/admin/rollback", &wish).await?;
    if args.json {
        out.json(&answer)?;
        return Ok(Done::Well);
    }
    let runs = answer.get("runs").and_then(Value::as_bool).unwrap_or(false);
    let when = if runs { "runs" } else { "runs within a second, on the host that owns the partition" };
    let chain: String = member(&answer, "chain").chars().take(12).collect();
    let chain = if chain.is_empty() { "no chain of its own".to_owned() } else { format!("chain {chain}") };
    let said = match answer.get("release").and_then(Value::as_u64) {
        Some(release) => format!("{folder} {when} release {release} ({chain})"),
        None => format!("{folder} {when} what its files make ({chain})"),
    };
    out.line(&said)?;
    Ok(Done::Well)
}
