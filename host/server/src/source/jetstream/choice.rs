//! Which stream the events come from: the named one, the one that holds them, or one made for them.

use super::super::{SourceError, subject};
use super::api::{self, StreamConfig};
use crate::source::nats::Nats;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The stream made when `nats.capture` asks for one.
pub const CAPTURE_STREAM: &str = "TIDEGATE";
/// A stream of that name is there with another configuration.
const NAME_IN_USE: u64 = 10058;
/// How long JetStream remembers message ids unless told otherwise.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What the configuration asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `source.subjects`.
    pub subjects: Vec<String>,
    /// `nats.stream`.
    pub stream: Option<String>,
    /// `nats.capture`.
    pub capture: bool,
    /// `replay.retention`: how long a captured stream keeps its messages.
    pub retention: Duration,
}

/// What to do about the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Read this one as it is.
    Use(String),
    /// There is none: core NATS.
    Core,
    /// Make [`CAPTURE_STREAM`] (or change it) so that it holds these.
    Capture {
        /// Subjects it takes itself.
        subjects: Vec<String>,
        /// Subjects it takes from other streams, by stream.
        sources: BTreeMap<String, Vec<String>>,
    },
}

/// The name of the stream to read, made or changed first where that was asked for; `None`: there is no stream and none
/// was asked for, so core NATS is what remains.
///
/// # Errors
/// [`SourceError::Refused`] with the way out where the streams there can't be read as one ordered log;
/// [`SourceError::Away`] while the server can't be asked.
pub async fn choose(nats: &Nats, wanted: &Wanted) -> Result<Option<String>, SourceError> {
    let (choice, streams) = look(nats, wanted).await?;
    match choice {
        Choice::Use(name) => {
            if name == CAPTURE_STREAM && wanted.capture {
                keep_for(nats, &streams, wanted.retention).await?;
            }
            Ok(Some(name))
        }
        Choice::Core => Ok(None),
        Choice::Capture { subjects, sources } => {
            capture(nats, &subjects, &sources, wanted.retention).await?;
            Ok(Some(CAPTURE_STREAM.to_owned()))
        }
    }
}

/// What [`choose`] would do, and nothing done: for `doctor`.
///
/// # Errors
/// As [`choose`].
pub async fn consider(nats: &Nats, wanted: &Wanted) -> Result<Choice, SourceError> {
    look(nats, wanted).await.map(|(choice, _streams)| choice)
}

/// The choice, and the streams that it was made among.
async fn look(nats: &Nats, wanted: &Wanted) -> Result<(Choice, Vec<StreamConfig>), SourceError> {
    subject::check(&wanted.subjects).map_err(SourceError::Refused)?;
    let streams = match api::streams(nats).await? {
        Ok(streams) => streams,
        Err(refusal) if refusal.says_no_jetstream() => {
            return without_jetstream(nats, wanted).map(|()| (Choice::Core, Vec::new()));
        }
        Err(refusal) => return Err(SourceError::Away(format!("listing the streams: {refusal}"))),
    };
    let configs: Vec<StreamConfig> = streams.into_iter().map(|stream| stream.config).collect();
    let choice = decide(wanted, &configs).map_err(SourceError::Refused)?;
    Ok((choice, configs))
}

fn without_jetstream(nats: &Nats, wanted: &Wanted) -> Result<(), SourceError> {
    // A server that is just starting may not answer yet: falling back to core NATS then would lose events.
    if nats.client().server_info().jetstream {
        return Err(SourceError::Away("JetStream does not answer yet".into()));
    }
    let key = match (&wanted.stream, wanted.capture) {
        (Some(_), _) => "nats.stream",
        (None, true) => "nats.capture",
        (None, false) => return Ok(()),
    };
    Err(SourceError::Refused(format!(
        "{key} needs JetStream, which this NATS server or account does not have: enable it (`nats-server -js`) or unset {key}"
    )))
}

fn decide(wanted: &Wanted, streams: &[StreamConfig]) -> Result<Choice, String> {
    let subjects = subject::reduce(&wanted.subjects);
    if let Some(name) = &wanted.stream {
        return named(name, &subjects, streams);
    }
    let holder =
        |wanted: &str| streams.iter().find(|stream| stream.subjects.iter().any(|held| subject::covers(held, wanted)));
    if let Some(first) = subjects.first().and_then(|first| holder(first))
        && subjects.iter().all(|subject| holder(subject).is_some_and(|stream| stream.name == first.name))
    {
        readable(first)?;
        return Ok(Choice::Use(first.name.clone()));
    }
    let mut own = Vec::new();
    let mut sources: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for wanted in &subjects {
        let part = |stream: &&StreamConfig| stream.subjects.iter().any(|held| subject::overlaps(held, wanted));
        match holder(wanted).or_else(|| streams.iter().find(part)) {
            Some(stream)
                if !stream.subjects.iter().any(|held| subject::covers(held, wanted))
                    && stream.name != CAPTURE_STREAM =>
            {
                return Err(format!(
                    "stream {} holds only a part of `{wanted}` (it holds {}): widen the stream's subjects, or name in source.subjects what it holds",
                    stream.name,
                    stream.subjects.join(", ")
                ));
            }
            Some(stream) if stream.name != CAPTURE_STREAM => {
                readable(stream)?;
                sources.entry(stream.name.clone()).or_default().push(wanted.clone());
            }
            _ => own.push(wanted.clone()),
        }
    }
    if wanted.capture {
        if let Some(existing) = streams.iter().find(|stream| stream.name == CAPTURE_STREAM) {
            readable(existing)?;
            own.extend(existing.subjects.iter().cloned());
        }
        return Ok(Choice::Capture { subjects: subject::reduce(&own), sources });
    }
    if sources.is_empty() && own.iter().all(|subject| holder(subject).is_none()) {
        return Ok(Choice::Core);
    }
    let spread: Vec<String> = subjects
        .iter()
        .map(|subject| format!("{subject} in {}", holder(subject).map_or("none", |stream| &stream.name)))
        .collect();
    Err(format!(
        "the source subjects are not in one stream ({}), so they have no order: set nats.capture = true to gather them into a stream {CAPTURE_STREAM}, \
         or nats.stream to one that holds them all",
        spread.join("; ")
    ))
}

fn named(name: &str, subjects: &[String], streams: &[StreamConfig]) -> Result<Choice, String> {
    let Some(stream) = streams.iter().find(|stream| stream.name == name) else {
        return Err(format!("nats.stream: there is no stream {name}: create it, or unset nats.stream"));
    };
    readable(stream)?;
    // What a mirror or a sourcing stream holds is not told by its own subjects.
    let gathers = !stream.sources.is_empty() || stream.mirror.is_some();
    let missing = subjects.iter().find(|wanted| !stream.subjects.iter().any(|held| subject::covers(held, wanted)));
    match missing.filter(|_| !gathers) {
        Some(missing) => Err(format!(
            "nats.stream: {name} does not hold `{missing}` (it holds {}): add it to the stream, or change source.subjects",
            stream.subjects.join(", ")
        )),
        None => Ok(Choice::Use(name.to_owned())),
    }
}

/// Can it be read as a log, by whoever comes, and beside the dead letters?
fn readable(stream: &StreamConfig) -> Result<(), String> {
    if stream.retention == "workqueue" || stream.retention == "interest" {
        return Err(format!(
            "stream {} has {} retention: it drops messages that others acknowledged, so nothing could be replayed from it. \
             Use a stream with limits retention, or make one that sources it and name it in nats.stream",
            stream.name, stream.retention
        ));
    }
    match stream.subjects.iter().find(|held| subject::overlaps(held, subject::DEAD_LETTERS)) {
        Some(held) => Err(format!(
            "stream {} holds `{held}`, which takes in the dead letters ({}): narrow its subjects, so that they can be kept apart",
            stream.name,
            subject::DEAD_LETTERS
        )),
        None => Ok(()),
    }
}

async fn capture(
    nats: &Nats,
    subjects: &[String],
    sources: &BTreeMap<String, Vec<String>>,
    retention: Duration,
) -> Result<(), SourceError> {
    // Before 2.10 a source takes one filter; with several it takes the whole stream, and the reader skips the rest.
    let filters = nats.server_version() >= (2, 10);
    let sources: Vec<Value> = sources
        .iter()
        .map(|(name, subjects)| match subjects.as_slice() {
            [one] => json!({ "name": name, "filter_subject": one }),
            many if filters => {
                let kept: Vec<Value> = many.iter().map(|subject| json!({ "src": subject, "dest": "" })).collect();
                json!({ "name": name, "subject_transforms": kept })
            }
            _ => json!({ "name": name }),
        })
        .collect();
    let mut wanted = json!({
        "name": CAPTURE_STREAM, "subjects": subjects, "retention": "limits", "storage": "file", "discard": "old",
        "num_replicas": 1, "max_age": nanoseconds(retention), "duplicate_window": nanoseconds(DUPLICATE_WINDOW.min(retention)),
        "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
    });
    if !sources.is_empty() {
        wanted["sources"] = sources.into();
    }
    make(nats, CAPTURE_STREAM, &wanted, &["subjects", "sources", "max_age", "duplicate_window"]).await
}

async fn keep_for(nats: &Nats, streams: &[StreamConfig], retention: Duration) -> Result<(), SourceError> {
    let kept = streams.iter().find(|stream| stream.name == CAPTURE_STREAM).map_or(0, |stream| stream.max_age);
    if kept == nanoseconds(retention) {
        return Ok(());
    }
    let wanted =
        json!({ "max_age": nanoseconds(retention), "duplicate_window": nanoseconds(DUPLICATE_WINDOW.min(retention)) });
    update(nats, CAPTURE_STREAM, &wanted, &["max_age", "duplicate_window"]).await
}

/// Makes the stream; one of that name that differs has these keys changed, and keeps the rest.
pub(super) async fn make(nats: &Nats, name: &str, wanted: &Value, keys: &[&str]) -> Result<(), SourceError> {
    match api::ask::<Value>(nats, &format!("STREAM.CREATE.{name}"), wanted).await? {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.err_code == NAME_IN_USE => update(nats, name, wanted, keys).await,
        Err(refusal) => Err(refused(name, &refusal)),
    }
}

async fn update(nats: &Nats, name: &str, wanted: &Value, keys: &[&str]) -> Result<(), SourceError> {
    let mut info = match api::ask::<Value>(nats, &format!("STREAM.INFO.{name}"), &Value::Null).await? {
        Ok(info) => info,
        Err(refusal) => return Err(SourceError::Away(format!("stream {name}: {refusal}"))),
    };
    let mut config = info["config"].take();
    for key in keys {
        match wanted.get(*key) {
            Some(value) => config[*key] = value.clone(),
            None => {
                config.as_object_mut().map(|config| config.remove(*key));
            }
        }
    }
    match api::ask::<Value>(nats, &format!("STREAM.UPDATE.{name}"), &config).await? {
        Ok(_) => Ok(()),
        Err(refusal) => Err(refused(name, &refusal)),
    }
}

fn refused(name: &str, refusal: &api::Refusal) -> SourceError {
    // 5xx is the server's own trouble and passes.
    if refusal.code >= 500 && refusal.err_code != api::INSUFFICIENT_RESOURCES {
        return SourceError::Away(format!("making stream {name}: {refusal}"));
    }
    SourceError::Refused(format!(
        "the NATS server refuses the stream {name}: {refusal}. Create it by hand and name it in nats.stream"
    ))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, subjects: &[&str]) -> StreamConfig {
        StreamConfig {
            name: name.into(),
            subjects: subjects.iter().map(|s| (*s).into()).collect(),
            retention: "limits".into(),
            ..StreamConfig::default()
        }
    }

    fn wanted(capture: bool) -> Wanted {
        Wanted {
            subjects: ["metrics.*", "journey.*"].map(String::from).to_vec(),
            stream: None,
            capture,
            retention: Duration::from_secs(9),
        }
    }

    #[test]
    fn the_stream_that_holds_all_is_used_and_none_is_core() {
        let all = stream("EVENTS", &["metrics.>", "journey.*", "other"]);
        assert_eq!(decide(&wanted(false), &[stream("X", &["x"]), all.clone()]), Ok(Choice::Use("EVENTS".into())));
        assert_eq!(decide(&wanted(true), &[all]), Ok(Choice::Use("EVENTS".into())));
        assert_eq!(decide(&wanted(false), &[stream("X", &["x"])]), Ok(Choice::Core));
        let made = decide(&wanted(true), &[]).unwrap();
        assert_eq!(made, Choice::Capture { subjects: wanted(true).subjects, sources: BTreeMap::new() });
    }

    #[test]
    fn subjects_over_several_streams_need_capture() {
        let streams = [stream("M", &["metrics.*"]), stream("J", &["journey.*"])];
        let refusal = decide(&wanted(false), &streams).unwrap_err();
        assert!(refusal.contains("nats.capture = true") && refusal.contains("metrics.* in M"), "{refusal}");
        let Ok(Choice::Capture { subjects, sources }) = decide(&wanted(true), &streams) else { panic!() };
        assert!(subjects.is_empty());
        assert_eq!(sources.keys().collect::<Vec<_>>(), ["J", "M"]);
        let Ok(Choice::Capture { subjects, sources }) = decide(&wanted(true), &streams[..1]) else { panic!() };
        assert_eq!((subjects.as_slice(), sources.len()), (&["journey.*".to_owned()][..], 1));
        assert!(decide(&wanted(false), &streams[..1]).is_err(), "half of it would be lost silently");
    }

    #[test]
    fn what_can_not_be_a_log_is_refused_with_the_way_out() {
        for retention in ["workqueue", "interest"] {
            let queue = StreamConfig { retention: retention.into(), ..stream("Q", &["metrics.*", "journey.*"]) };
            assert!(decide(&wanted(true), &[queue]).unwrap_err().contains("limits retention"));
        }
        assert!(decide(&wanted(true), &[stream("ALL", &[">"])]).unwrap_err().contains("tidegate.dlq.>"));
        let part = decide(&wanted(true), &[stream("P", &["metrics.a"])]).unwrap_err();
        assert!(part.contains("only a part of `metrics.*`"), "{part}");
    }

    #[test]
    fn a_named_stream_must_be_there_and_hold_the_subjects() {
        let named = |name: &str| Wanted { stream: Some(name.into()), ..wanted(false) };
        let streams = [
            stream("M", &["metrics.*"]),
            StreamConfig { mirror: Some(api::Origin { name: "M".into() }), ..stream("C", &[]) },
        ];
        assert!(decide(&named("N"), &streams).unwrap_err().contains("there is no stream N"));
        assert!(decide(&named("M"), &streams).unwrap_err().contains("`journey.*`"));
        assert_eq!(decide(&named("C"), &streams), Ok(Choice::Use("C".into())));
    }
}
