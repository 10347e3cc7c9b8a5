//! Recorded cases: one JSON object a line, with an event and what must become of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::filter::Filter;

use super::diff;
use super::recorder::{Emission, Outcome, Recorder, TestEvent};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    event: CaseEvent,
    config: Option<Box<RawValue>>,
    state: Option<BTreeMap<String, Box<RawValue>>>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseEvent {
    subject: String,
    #[serde(default)]
    sequence: u64,
    /// Milliseconds since 1970.
    #[serde(default)]
    time: u64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    company: String,
    #[serde(default, rename = "type")]
    event_type: String,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Emit(Vec<ExpectedEmission>),
    Drop(Option<String>),
    Error(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedEmission {
    /// The event's own, if left out.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Compared where a case names them.
    companies: Option<Vec<String>>,
    data: Box<RawValue>,
}

impl CaseEvent {
    pub(super) fn into_event(self) -> Result<TestEvent, String> {
        Ok(TestEvent {
            subject: self.subject,
            sequence: self.sequence,
            time_ms: self.time,
            headers: self.headers.into_iter().collect(),
            company: self.company,
            event_type: self.event_type,
            payload: bytes(&self.payload)?,
        })
    }
}

/// Runs the cases of a file, or of every `*.ndjson` file of a folder; relative to the package, as `cargo test` runs.
///
/// Each case runs on a fresh instance; cases of the same configuration then run again as one batch, since the size of
/// a batch and the age of an instance must change nothing (unless the filter keeps state).
///
/// # Panics
/// With the differences, if a case comes out otherwise than expected; when there is no case.
#[track_caller]
pub fn check_cases<F: Filter>(path: impl AsRef<Path>) {
    let mut report = String::new();
    let mut count = 0;
    for file in files(path.as_ref()) {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut batches = BTreeMap::<String, Vec<(String, TestEvent, Outcome)>>::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let name = format!("{}:{}", file.display(), index + 1);
            count += 1;
            match run::<F>(line) {
                Ok((config, event, outcome, None)) => batches.entry(config).or_default().push((name, event, outcome)),
                Ok((.., Some(difference))) => {
                    let _ = write!(report, "\n{name}: - expected, + came\n{difference}");
                }
                Err(error) => {
                    let _ = write!(report, "\n{name}: {error}\n");
                }
            }
        }
        for (config, cases) in batches {
            report.push_str(&run_together::<F>(&config, &cases));
        }
    }
    assert!(count > 0, "{} holds no case", path.as_ref().display());
    assert!(report.is_empty(), "{report}");
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    files
}

/// Configuration, event, outcome and the difference from what is expected.
type Ran = (String, TestEvent, Outcome, Option<String>);

fn run<F: Filter>(line: &str) -> Result<Ran, String> {
    let case: Case = serde_json::from_str(line).map_err(|error| format!("not a case: {error}"))?;
    let config = case.config.as_deref().map_or("{}", RawValue::get);
    let mut recorder = Recorder::<F>::with_config(config)?;
    let stateful = case.state.is_some();
    for (key, value) in case.state.unwrap_or_default() {
        recorder.state_mut().insert(key, bytes(&value)?);
    }
    let event = case.event.into_event()?;
    let outcome = recorder.run(&event);
    let (expected, came) = readable(&case.expect, &event, &outcome)?;
    let difference = (expected != came).then(|| diff::lines(&pretty(&expected), &pretty(&came)));
    // What a filter remembers may change what becomes of the next event: such cases stand alone.
    let config = if stateful || recorder.used_state() { format!("{config}\n{line}") } else { config.to_owned() };
    Ok((config, event, outcome, difference))
}

/// The same cases once more, as one batch.
fn run_together<F: Filter>(config: &str, cases: &[(String, TestEvent, Outcome)]) -> String {
    if cases.len() < 2 {
        return String::new();
    }
    let mut recorder = match Recorder::<F>::with_config(config) {
        Ok(recorder) => recorder,
        Err(error) => return format!("\nthe configuration was refused the second time: {error}\n"),
    };
    let events: Vec<TestEvent> = cases.iter().map(|(_, event, _)| event.clone()).collect();
    let mut report = String::new();
    for ((name, _, alone), together) in cases.iter().zip(recorder.run_batch(&events)) {
        if *alone != together {
            let (alone, together) = (format!("{alone:#?}"), format!("{together:#?}"));
            let _ = write!(report, "\n{name}: - alone, + in a batch with others\n{}", diff::lines(&alone, &together));
        }
    }
    report
}

/// The text as it stands, or the bytes of `{"base64":"…"}`.
fn bytes(value: &RawValue) -> Result<Vec<u8>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Encoded {
        base64: String,
    }
    match serde_json::from_str::<Encoded>(value.get()) {
        Ok(encoded) => STANDARD.decode(encoded.base64).map_err(|error| format!("base64: {error}")),
        Err(_not_encoded) => Ok(value.get().as_bytes().to_vec()),
    }
}

/// Expectation and outcome in the form of a case's `expect`.
fn readable(expect: &Expect, event: &TestEvent, outcome: &Outcome) -> Result<(Value, Value), String> {
    let mut named_companies = Vec::new();
    let expected = match expect {
        Expect::Drop(reason) => json!({ "drop": reason.as_deref().unwrap_or("") }),
        Expect::Error(text) => json!({ "error": text }),
        Expect::Emit(emissions) => {
            let mut list = Vec::new();
            for emission in emissions {
                named_companies.push(emission.companies.is_some());
                list.push(emitted(&Emission {
                    event_type: emission.event_type.clone().unwrap_or_else(|| event.event_type.clone()),
                    companies: emission.companies.clone().unwrap_or_default(),
                    data: bytes(&emission.data)?,
                }));
            }
            json!({ "emit": list })
        }
    };
    let came = match outcome {
        Outcome::Drop(reason) => json!({ "drop": reason }),
        Outcome::Error(text) => json!({ "error": text }),
        Outcome::Emit(emissions) => {
            let list: Vec<Value> = emissions
                .iter()
                .enumerate()
                .map(|(index, emission)| match named_companies.get(index) {
                    Some(false) => emitted(&Emission { companies: Vec::new(), ..emission.clone() }),
                    _ => emitted(emission),
                })
                .collect();
            json!({ "emit": list })
        }
    };
    Ok((expected, came))
}

fn emitted(emission: &Emission) -> Value {
    let data = serde_json::from_slice(&emission.data)
        .unwrap_or_else(|_not_json| json!({ "base64": STANDARD.encode(&emission.data) }));
    let mut value = json!({ "type": emission.event_type, "data": data });
    if !emission.companies.is_empty() {
        value["companies"] = json!(emission.companies);
    }
    value
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
