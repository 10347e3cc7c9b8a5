//! `capture`: real events of a company as its filters are given them, one a line, for `test --events` and `bench --events`.

mod redact;

use super::Done;
use super::admin::AdminArgs;
use super::out::{Out, complain};
use super::since::Since;
use anyhow::Context as _;
use redact::Redaction;
use serde_json::Value;

/// Events asked for at a time.
const AT_ONCE: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose events
    #[arg(long, value_name = "COMPANY")]
    company: String,
    /// Since then: `2h`, RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: Since,
    /// On this subject alone
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// At most so many, the oldest first
    #[arg(long, value_name = "EVENTS", default_value_t = 100)]
    limit: usize,
    /// Blot a field of payloads out: `email` wherever it stands, `user.email` from the top, or a header's name; may be repeated
    #[arg(long, value_name = "FIELD")]
    redact: Vec<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let redaction = Redaction::of(&args.redact);
    let (mut given, mut left_out, mut after) = (0, 0, None);
    while given < args.limit {
        let answer = args.admin.get(&path(&args, after, (args.limit - given).min(AT_ONCE))).await?;
        let lines = answer.get("lines").and_then(Value::as_array).context("the host's answer has no lines")?;
        for line in lines.iter().filter_map(Value::as_str).take(args.limit - given) {
            match redaction.line(line)? {
                Some(line) => out.line(&line)?,
                None => left_out += 1,
            }
            given += 1;
        }
        after = answer.get("after").and_then(Value::as_u64);
        if after.is_none() {
            break;
        }
    }
    if left_out > 0 {
        complain(&format!(
            "tidegate: {left_out} events were left out: their payload is no JSON, so nothing in it can be redacted"
        ));
    }
    if given == 0 {
        complain(&format!("tidegate: the source holds no event of {} since then", args.company));
    }
    Ok(Done::Well)
}

fn path(args: &Args, after: Option<u64>, limit: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("company", &args.company).append_pair("since", &args.since.ms().to_string());
    if let Some(subject) = &args.subject {
        query.append_pair("subject", subject);
    }
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    query.append_pair("limit", &limit.to_string());
    format!("/admin/events?{}", query.finish())
}
