//! `shadow`: a new version of a filter over a company's real events, beside the one that runs.

use super::Done;
use super::admin::AdminArgs;
use super::diff;
use super::out::{Out, member, plain};
use super::push::{JUDGING, read};
use super::since::Since;
use serde_json::{Value, json};
use std::path::PathBuf;

/// How the two may differ, and what that means.
const WORDS: [(&str, &str); 6] = [
    ("same", "the same comes out"),
    ("changed", "something else comes out"),
    ("dropped", "it drops what is passed on now"),
    ("added", "it passes on what is dropped now"),
    ("failed", "it fails, and did not before"),
    ("mended", "it does not fail any more"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The module; NAME.toml and NAME.test.ndjson beside it go with it
    file: PathBuf,
    /// Whose events, and whose chain it would be in
    #[arg(long, value_name = "COMPANY")]
    company: String,
    /// Its name in the chain: the filter of this name makes room for it [default: the file's]
    #[arg(long, value_name = "NN-NAME")]
    name: Option<String>,
    /// Events since then: `2h`, RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: Since,
    /// At most so many, the oldest first
    #[arg(long, value_name = "EVENTS", default_value_t = 100_000)]
    limit: usize,
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the host's answer as it is
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let mut wish = json!({ "company": args.company, "since": args.since.ms(), "limit": args.limit });
    read(&args.file, args.name.as_deref(), &mut wish)?;
    let answer = args.admin.post_within(JUDGING, "/admin/shadow", &wish).await?;
    if args.json {
        out.json(&answer)?;
    } else {
        show(&answer, out)?;
    }
    let failed = answer.get("failed").and_then(Value::as_u64).unwrap_or(0);
    Ok(if failed > 0 { Done::Badly } else { Done::Well })
}

fn show(answer: &Value, out: &mut Out) -> anyhow::Result<()> {
    let micros = |name: &str| answer.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let part = match answer.get("whole").and_then(Value::as_bool) {
        Some(true) => "",
        _ => ", the oldest: there are more",
    };
    out.line(&format!("{} events{part}", member(answer, "events")))?;
    let rows: Vec<Vec<String>> =
        WORDS.iter().map(|(word, what)| vec![(*word).to_owned(), member(answer, word), (*what).to_owned()]).collect();
    for row in rows.iter().filter(|row| row[1] != "0" || row[0] == "same") {
        out.line(&format!("  {:<8}{:>9}  {}", row[0], row[1], row[2]))?;
    }
    out.line(&format!(
        "{:.1} us an event now, {:.1} us with the new version",
        micros("liveMicrosPerEvent"),
        micros("newMicrosPerEvent")
    ))?;
    for example in answer.get("examples").and_then(Value::as_array).into_iter().flatten() {
        out.line("")?;
        out.line(&format!(
            "{}: sequence {}: {}",
            member(example, "difference"),
            member(example, "sequence"),
            plain(&member(example, "event"))
        ))?;
        let text = |name: &str| serde_json::to_string_pretty(&example[name]).unwrap_or_default();
        for line in diff::lines(&text("live"), &text("new")) {
            out.line(&format!("  {}", plain(&line)))?;
        }
    }
    Ok(())
}
