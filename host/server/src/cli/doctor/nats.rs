//! Looks at NATS: reachable, JetStream, the stream that holds the subjects.

use super::Finding;
use crate::cli::publish::connect_nats;
use crate::config::{Config, redact_url};
use async_nats::jetstream::stream::{Info, RetentionPolicy, StorageType};
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
    let mut context = jetstream::new(client);
    context.set_timeout(Duration::from_secs(5));
    if let Err(error) = jetstream_there(&context).await {
        let way = "start nats-server with JetStream (-js -sd FOLDER)";
        findings.push(if config.nats.capture {
            Finding::wrong("jetstream", format!("nats.capture is true, but: {error}"), way)
        } else {
            Finding::warning(
                "jetstream",
                format!("not there ({error}): core NATS, and what is published while the host is away or slow is lost"),
                way,
            )
        });
        return findings;
    }
    findings.extend(streams(&context, config, older_than_2_10(&info.version)).await);
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

async fn streams(context: &Context, config: &Config, old: bool) -> Vec<Finding> {
    let holding = match holders(context, config).await {
        Ok(holding) => holding,
        Err(problem) => {
            return vec![Finding::wrong("stream", problem, "see the server's log and the account's permissions")];
        }
    };
    let mut names: Vec<&str> = holding.values().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let without: Vec<&str> = holding.iter().filter(|(_, name)| name.is_none()).map(|(subject, _)| *subject).collect();
    match names.as_slice() {
        [] if config.nats.capture => {
            vec![Finding::ok("stream", "none holds the subjects: the host will make TIDEGATE over them")]
        }
        [] => vec![Finding::warning(
            "stream",
            "none holds the subjects: core NATS, and what is published while the host is away or slow is lost",
            "set nats.capture = true, or make a stream over them",
        )],
        [one] if without.is_empty() => match context.get_stream(*one).await {
            Ok(mut stream) => match stream.info().await {
                Ok(info) => judge(info, config, old),
                Err(error) => vec![Finding::wrong("stream", format!("{one}: {error}"), "see the server's log")],
            },
            Err(error) => vec![Finding::wrong("stream", format!("{one}: {error}"), "see the server's log")],
        },
        [one] => vec![Finding::wrong(
            "stream",
            format!("{one} holds only some of the subjects; not {}", without.join(", ")),
            "add them to the stream, or take them out of source.subjects",
        )],
        several if config.nats.capture => vec![Finding::ok(
            "stream",
            format!(
                "the subjects lie in {}: the host will make TIDEGATE that sources them into one order",
                several.join(", ")
            ),
        )],
        several => vec![Finding::wrong(
            "stream",
            format!("the subjects lie in several streams: {}", several.join(", ")),
            "set nats.capture = true for one that sources them into one order, or gather the subjects in one stream",
        )],
    }
}

/// Which stream holds which subject.
async fn holders<'a>(context: &Context, config: &'a Config) -> Result<BTreeMap<&'a str, Option<String>>, String> {
    use async_nats::jetstream::context::GetStreamByNameErrorKind;
    let mut holding = BTreeMap::new();
    for subject in &config.source.subjects {
        if let Some(name) = &config.nats.stream {
            context.get_stream(name).await.map_err(|error| format!("nats.stream = {name}: {error}"))?;
            holding.insert(subject.as_str(), Some(name.clone()));
            continue;
        }
        let found = match context.stream_by_subject(subject.as_str()).await {
            Ok(name) => Some(name),
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => None,
            Err(error) => return Err(format!("{subject}: {error}")),
        };
        holding.insert(subject.as_str(), found);
    }
    Ok(holding)
}

fn judge(info: &Info, config: &Config, old: bool) -> Vec<Finding> {
    let stream = &info.config;
    let name = &stream.name;
    let mut findings = Vec::new();
    if stream.retention != RetentionPolicy::Limits {
        findings.push(Finding::wrong(
            "stream",
            format!("{name} has retention {:?}: messages go once a consumer has them", stream.retention),
            "use a stream with retention limits; one that sources this one will do",
        ));
    }
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
    fn versions_are_compared_as_numbers() {
        assert!(older_than_2_10("2.9.10"));
        assert!(!older_than_2_10("2.10.0"));
        assert!(!older_than_2_10("2.15.1"));
        assert!(!older_than_2_10("3.0.0-beta"));
    }
}
