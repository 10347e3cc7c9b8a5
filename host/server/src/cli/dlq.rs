//! `dlq`: the dead letters of a running host, listed, shown, tried again.

use super::admin::AdminArgs;
use super::out::{Out, complain, member, plain};
use super::since::Since;
use super::{Done, UsageError};
use anyhow::Context as _;
use base64::Engine as _;
use serde_json::{Value, json};

/// Letters that one request lists or retries.
const AT_ONCE: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List dead letters, the newest first
    List {
        #[command(flatten)]
        which: Which,
        /// Only those that were not retried yet
        #[arg(long)]
        open: bool,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        admin: AdminArgs,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one with everything that is known of it
    Show {
        /// Its place, as listed
        place: u64,
        /// Print its payload alone, byte for byte
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        #[command(flatten)]
        admin: AdminArgs,
        /// Print the host's answer as it is: the payload is base64
        #[arg(long)]
        json: bool,
    },
    /// Publish them again, each for the company and the part that had failed, the oldest first
    Retry {
        /// Their places, as listed
        places: Vec<u64>,
        #[command(flatten)]
        which: Which,
        /// All that were not retried yet
        #[arg(long)]
        all: bool,
        /// Also those that were retried before
        #[arg(long)]
        again: bool,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        admin: AdminArgs,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// Which letters.
#[derive(Debug, clap::Args)]
struct Which {
    /// Of this company
    #[arg(long, value_name = "COMPANY")]
    company: Option<String>,
    /// Of this kind, as `dead_letters_total` counts them: `trap`, `no company`, …
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// With these words in its reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Of events on this subject
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Since then: `2h`, RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
}

impl Which {
    fn is_given(&self) -> bool {
        let texts = [&self.company, &self.kind, &self.reason, &self.subject];
        self.since.is_some() || texts.iter().any(|text| text.is_some())
    }

    fn path(&self, open: bool, before: Option<u64>, limit: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let texts =
            [("company", &self.company), ("kind", &self.kind), ("reason", &self.reason), ("subject", &self.subject)];
        for (name, value) in texts {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if let Some(since) = self.since {
            query.append_pair("since", &since.ms().to_string());
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        if open {
            query.append_pair("open", "true");
        }
        query.append_pair("limit", &limit.to_string());
        format!("/admin/dead-letters?{}", query.finish())
    }
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    match args.what {
        What::List { which, open, limit, admin, json } => {
            let letters = find(&admin, &which, open, limit).await?;
            list(&letters, json, out)?;
            Ok(Done::Well)
        }
        What::Show { place, raw, admin, json } => {
            let letter = admin.get(&format!("/admin/dead-letters/{place}")).await?;
            match (raw, json) {
                (true, _) => out.bytes(&payload(&letter)?)?,
                (false, true) => out.json(&letter)?,
                (false, false) => show(&letter, out)?,
            }
            Ok(Done::Well)
        }
        What::Retry { places, which, all, again, dry_run, admin, json } => {
            if places.is_empty() != (all || which.is_given()) {
                let usage = "either places, or --all, --company, --kind, --reason, --subject, --since: which letters are meant?";
                return Err(UsageError(usage.to_owned()).into());
            }
            let places = match places.is_empty() {
                false => places,
                true => places_of(&find(&admin, &which, !again, usize::MAX).await?),
            };
            retry(&admin, places, again, dry_run, json, out).await
        }
    }
}

/// Asks until there are enough, or no more.
async fn find(admin: &AdminArgs, which: &Which, open: bool, limit: usize) -> anyhow::Result<Vec<Value>> {
    let (mut letters, mut before) = (Vec::new(), None);
    loop {
        let wanted = (limit - letters.len()).min(AT_ONCE);
        let mut answer = admin.get(&which.path(open, before, wanted)).await?;
        if let Some(Value::Array(more)) = answer.get_mut("letters").map(Value::take) {
            letters.extend(more);
        }
        before = answer.get("before").and_then(Value::as_u64);
        if before.is_none() || letters.len() >= limit {
            return Ok(letters);
        }
    }
}

fn places_of(letters: &[Value]) -> Vec<u64> {
    letters.iter().filter_map(|letter| letter.get("place")?.as_u64()).collect()
}

fn list(letters: &[Value], json: bool, out: &mut Out) -> anyhow::Result<()> {
    if json {
        return letters.iter().try_for_each(|letter| out.json(letter)).map_err(Into::into);
    }
    if letters.is_empty() {
        out.line("no dead letters")?;
        return Ok(());
    }
    let row = |letter: &Value| {
        let retried = letter.get("retried").filter(|retried| !retried.is_null());
        let retried = retried.map_or_else(String::new, |retried| match member(retried, "sequence").as_str() {
            "" => "yes".to_owned(),
            sequence => format!("as {sequence}"),
        });
        let short: String = member(letter, "reason").chars().take(80).collect();
        vec![
            member(letter, "place"),
            member(letter, "time"),
            member(letter, "kind"),
            member(letter, "company"),
            member(letter, "subject"),
            member(letter, "sequence"),
            retried,
            short,
        ]
    };
    let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    out.table(&["PLACE", "TIME", "KIND", "COMPANY", "SUBJECT", "SEQUENCE", "RETRIED", "REASON"], &rows)?;
    Ok(())
}

fn show(letter: &Value, out: &mut Out) -> anyhow::Result<()> {
    let retried = letter.get("retried").filter(|retried| !retried.is_null()).map(|retried| {
        let (time, sequence) = (member(retried, "time"), member(retried, "sequence"));
        if sequence.is_empty() { time } else { format!("{time}, as sequence {sequence}") }
    });
    let cut = member(letter, "truncatedBytes");
    let bytes = match cut.as_str() {
        "" => member(letter, "payloadBytes"),
        cut => format!("{}; {cut} more were cut off", member(letter, "payloadBytes")),
    };
    let headers_cut = match member(letter, "headersCut").as_str() {
        "" => String::new(),
        cut => format!("{cut} headers"),
    };
    let facts = [
        ("place", member(letter, "place")),
        ("time", member(letter, "time")),
        ("kind", member(letter, "kind")),
        ("reason", member(letter, "reason")),
        ("company", member(letter, "company")),
        ("module", member(letter, "module")),
        ("subject", member(letter, "subject")),
        ("sequence", member(letter, "sequence")),
        ("retried", retried.unwrap_or_default()),
        ("bytes", bytes),
        ("cut", headers_cut),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        out.line(&format!("{name:9} {value}"))?;
    }
    for pair in letter.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let part = |at: usize| plain(pair.get(at).and_then(Value::as_str).unwrap_or_default());
        out.line(&format!("header    {}: {}", part(0), part(1)))?;
    }
    if let Some(backtrace) = letter.get("backtrace").and_then(Value::as_str) {
        for line in backtrace.lines() {
            out.line(&format!("          {}", plain(line)))?;
        }
    }
    out.line("")?;
    let payload = payload(letter)?;
    match String::from_utf8(payload) {
        Ok(text) => text.lines().try_for_each(|line| out.line(&plain(line)))?,
        Err(_) => out.line("(the payload is not UTF-8: --raw prints it byte for byte)")?,
    }
    Ok(())
}

async fn retry(
    admin: &AdminArgs,
    mut places: Vec<u64>,
    again: bool,
    dry_run: bool,
    json: bool,
    out: &mut Out,
) -> anyhow::Result<Done> {
    // The oldest first, whatever the order in which they were given.
    places.sort_unstable();
    places.dedup();
    let (mut published, mut others) = (0_usize, 0_usize);
    for some in places.chunks(AT_ONCE) {
        let wish = json!({ "places": some, "again": again, "dryRun": dry_run });
        let answer = admin.post("/admin/dead-letters/retry", &wish).await?;
        let results = answer.get("results").and_then(Value::as_array).context("the host's answer has no results")?;
        let mut failed = false;
        for result in results {
            let what = member(result, "result");
            let well = matches!(what.as_str(), "published" | "would be published");
            (published, others) = (published + usize::from(well), others + usize::from(!well));
            failed |= what == "failed";
            if json {
                out.json(result)?;
                continue;
            }
            let more = match (member(result, "sequence").as_str(), member(result, "reason").as_str()) {
                ("", "") => String::new(),
                ("", reason) => format!(": {reason}"),
                (sequence, _) => format!(" as sequence {sequence}"),
            };
            out.line(&format!("{}: {what}{more}", member(result, "place")))?;
            if let Some(why) = result.get("unnoted").and_then(Value::as_str) {
                let place = member(result, "place");
                complain(&format!("tidegate: {place} was published, but it could not be noted: {}", plain(why)));
            }
        }
        if failed {
            break;
        }
    }
    if !json {
        let verb = if dry_run { "would be published" } else { "published" };
        out.line(&format!("{published} {verb}, {others} not, of {}", places.len()))?;
    }
    Ok(if published == places.len() { Done::Well } else { Done::Badly })
}

fn payload(letter: &Value) -> anyhow::Result<Vec<u8>> {
    let text = letter.get("payload").and_then(Value::as_str).context("the host's answer has no payload")?;
    base64::engine::general_purpose::STANDARD.decode(text).context("the payload is no base64")
}
