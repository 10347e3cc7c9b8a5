//! Looks at NATS: reachable, JetStream, the stream that holds the subjects.

use super::Finding;
use crate::cli::publish::connect_nats;
use crate::config::{Config, redact_url};
use crate::server::wanted_stream;
use crate::source::SourceError;
use crate::source::jetstream::{CAPTURE_STREAM, Choice, consider};
use crate::source::nats::Nats;
use async_nats::jetstream::stream::{Info, StorageType};
use async_nats::jetstream::{self, Context};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let Some(url) = &config.nats.url else {
        return vec![Finding::ok("nats", "not configured: events come from the embedded log in data.dir")];
    };
    let at = redact_url(url.expose());
    let client = match connect_nats(url, config).await {
        Ok(client) => client,
        Err(error) => {
            return vec![Finding::wrong(
                "nats",
                format!("{error:#}"),
                "start nats-server there, or mend NATS_URL and NATS_CREDS",
            )];
        }
    };
    let info = client.server_info();
    let mut findings = vec![Finding::ok("nats", format!("{at} answers: nats-server {}", info.version))];
    if info.max_payload < config.limits.event_bytes {
        findings.push(Finding::warning(
            "nats",
            format!(
                "the server takes messages of {} bytes, limits.event-bytes is {}",
                info.max_payload, config.limits.event_bytes
            ),
            "raise max_payload on the server if larger events are meant to come",
        ));
    }
    let mut context = jetstream::new(client.clone());
    context.set_timeout(Duration::from_secs(5));
    let verdict = consider(&Nats::over(client), &wanted_stream(config)).await;
    if let (Ok(Choice::Core), Err(error)) = (&verdict, jetstream_there(&context).await) {
        findings.push(Finding::warning(
            "jetstream",
            format!("not there ({error}): core NATS, and what is published while the host is away or slow is lost"),
            "start nats-server with JetStream (-js -sd FOLDER)",
        ));
        return findings;
    }
    findings.extend(stream(&context, verdict, config, older_than_2_10(&info.version)).await);
    findings
}

/// Asked in JSON: older servers leave out what the client library's own type for this answer wants.
async fn jetstream_there(context: &Context) -> Result<(), String> {
    let answer: Result<serde_json::Value, _> = context.request("INFO", &()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.get("error").and_then(|error| error.get("description")) {
        None => Ok(()),
        Some(description) => Err(description.to_string()),
    }
}

/// The host's own verdict over the streams that are there, and what is to be said of the one that it reads.
async fn stream(context: &Context, verdict: Result<Choice, SourceError>, config: &Config, old: bool) -> Vec<Finding> {
    let name = match verdict {
        Ok(Choice::Use(name)) => name,
        Ok(Choice::Core) => {
            return vec![Finding::warning(
                "stream",
                "none holds the subjects: core NATS, and what is published while the host is away or slow is lost",
                "set nats.capture = true, or make a stream over them",
            )];
        }
        Ok(Choice::Capture { subjects, sources }) => return vec![Finding::ok("stream", captures(&subjects, &sources))],
        Err(SourceError::Refused(problem)) => {
            return vec![Finding::wrong("stream", problem, "do what stands there: the host ends with it")];
        }
        Err(error) => {
            return vec![Finding::wrong(
                "stream",
                error.to_string(),
                "see the server's log and the account's permissions: the host waits for it",
            )];
        }
    };
    let unreadable = |error: String| Finding::wrong("stream", format!("{name}: {error}"), "see the server's log");
    match context.get_stream(&name).await {
        Ok(mut stream) => match stream.info().await {
            Ok(info) => judge(info, config, old),
            Err(error) => vec![unreadable(error.to_string())],
        },
        Err(error) => vec![unreadable(error.to_string())],
    }
}

/// What the host will make, in words.
fn captures(subjects: &[String], sources: &BTreeMap<String, Vec<String>>) -> String {
    let mut parts: Vec<String> =
        sources.iter().map(|(stream, subjects)| format!("{} from {stream}", subjects.join(", "))).collect();
    if !subjects.is_empty() {
        parts.push(format!("{} itself", subjects.join(", ")));
    }
    format!("none holds all subjects: the host will keep {CAPTURE_STREAM}, which takes {}", parts.join("; "))
}

fn judge(info: &Info, config: &Config, old: bool) -> Vec<Finding> {
    let stream = &info.config;
    let name = &stream.name;
    let mut findings = Vec::new();
    let age = stream.max_age;
    let kept = if age.is_zero() { "without end".to_owned() } else { format!("{age:?}") };
    if !age.is_zero() && age < config.replay.rebuild {
        findings.push(Finding::warning(
            "stream",
            format!("{name} keeps messages {kept}, replay.rebuild asks for {:?}: an emptied store is rebuilt for the shorter time alone", config.replay.rebuild),
            "raise max_age on the stream, or lower replay.retention",
        ));
    }
    if stream.storage == StorageType::Memory {
        findings.push(Finding::warning(
            "stream",
            format!("{name} lies in memory: a restart of the server empties it"),
            "use file storage",
        ));
    }
    if stream.num_replicas == 1 {
        findings.push(Finding::warning(
            "stream",
            format!("{name} has one replica: a power failure can lose messages that were acknowledged"),
            "3 replicas in a cluster, or sync_interval: always on the server",
        ));
    }
    if old && config.source.subjects.len() > 1 {
        findings.push(Finding::warning(
            "nats",
            "before nats-server 2.10 a consumer filters by one subject: the host reads the whole stream and skips others",
            "use nats-server 2.10 or later",
        ));
    }
    findings.insert(
        0,
        Finding::ok(
            "stream",
            format!(
                "{name}: {} messages, kept {kept}, {} replicas, publishes deduplicated within {:?}",
                info.state.messages, stream.num_replicas, stream.duplicate_window
            ),
        ),
    );
    findings
}

fn older_than_2_10(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (2, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_gathered_is_named_stream_by_stream() {
        let sources = BTreeMap::from([("M".to_owned(), vec!["metrics.*".to_owned()])]);
        let told = captures(&["journey.*".to_owned()], &sources);
        assert!(told.ends_with("which takes metrics.* from M; journey.* itself"), "{told}");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(older_than_2_10("2.9.10"));
        assert!(!older_than_2_10("2.10.0"));
        assert!(!older_than_2_10("2.15.1"));
        assert!(!older_than_2_10("3.0.0-beta"));
    }
}
