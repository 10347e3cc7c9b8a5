//! The recorded cases beside a module, run before it is switched to.

use base64::Engine as _;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tidegate_core::event::{Company, Input, SourceEvent, Verdict};
use tidegate_filter::{
    Budget, Chain, ChainState, Engine, Filter, InstancePool, PlatformVerdict, PoolSettings, Role, StateWrite, Worker,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    event: CaseEvent,
    config: Option<Value>,
    #[serde(default)]
    state: serde_json::Map<String, Value>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseEvent {
    subject: String,
    #[serde(default = "one")]
    sequence: u64,
    #[serde(default)]
    time: u64,
    #[serde(default)]
    headers: serde_json::Map<String, Value>,
    company: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    payload: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Expect {
    Emit(Vec<Emission>),
    Drop(Option<String>),
    Error(String),
}

#[derive(Debug, Deserialize)]
struct Emission {
    #[serde(rename = "type")]
    event_type: Option<String>,
    data: Value,
}

fn one() -> u64 {
    1
}

/// Runs every case through the filter.
///
/// # Errors
/// Names the first case that fails, what was expected and what came.
pub fn run(engine: &Engine, filter: &Arc<Filter>, role: Role, cases: &str) -> Result<(), String> {
    let mut worker = Worker::new(engine.clone(), InstancePool::new(PoolSettings::default()));
    for (number, line) in cases.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let failed = |what: String| format!("self-test, line {} of {}.test.ndjson: {what}", number + 1, filter.name());
        let case: Case = serde_json::from_str(line).map_err(|error| failed(error.to_string()))?;
        one_case(engine, &mut worker, filter, role, &case).map_err(failed)?;
    }
    Ok(())
}

fn one_case(engine: &Engine, worker: &mut Worker, filter: &Arc<Filter>, role: Role, case: &Case) -> Result<(), String> {
    let filter = match &case.config {
        None => Arc::clone(filter),
        Some(config) => {
            let made = Filter::new(
                engine,
                filter.name(),
                Arc::clone(filter.code()),
                &config.to_string(),
                *filter.limits(),
                filter.on_error(),
            );
            Arc::new(made.map_err(|error| error.to_string())?)
        }
    };
    let chain = Chain::new(vec![Arc::clone(&filter)], role).map_err(|error| error.to_string())?;
    let source = source(&case.event)?;
    let got = match role {
        Role::Platform => {
            let run = worker.run_platform(&chain, &[source]).map_err(|error| error.to_string())?;
            platform_outcome(run.verdicts)
        }
        Role::Company => {
            let company =
                Company::new(case.event.company.as_deref().unwrap_or("company")).map_err(|error| error.to_string())?;
            let event_type = case.event.event_type.clone().unwrap_or_else(|| "event".to_owned()).into();
            let data = source.payload.clone();
            let input = Input { source, emission: 0, company: company.clone(), event_type, data };
            let mut state = ChainState::new();
            for (key, value) in &case.state {
                state.apply(StateWrite {
                    filter: filter.state_name().clone(),
                    key: key.as_str().into(),
                    value: Some(bytes_of(value)?),
                });
            }
            let run = worker
                .run_company(&chain, &company, &[input], &mut state, Budget::default())
                .map_err(|error| error.to_string())?;
            company_outcome(run.verdicts)
        }
    };
    compare(&case.expect, &got)
}

#[derive(Debug)]
enum Got {
    Emitted(Vec<(String, Bytes)>),
    Dropped(String),
    Failed(String),
}

fn platform_outcome(verdicts: Vec<PlatformVerdict>) -> Got {
    match verdicts.into_iter().next() {
        Some(PlatformVerdict::Emitted(inputs)) => {
            Got::Emitted(inputs.into_iter().map(|i| (i.event_type.to_string(), i.data)).collect())
        }
        Some(PlatformVerdict::Dropped { reason, .. }) => Got::Dropped(reason.to_string()),
        Some(PlatformVerdict::Dead(fault)) => Got::Failed(fault.reason.to_string()),
        None => Got::Failed("no verdict".to_owned()),
    }
}

fn company_outcome(verdicts: Vec<Verdict>) -> Got {
    match verdicts.into_iter().next() {
        Some(Verdict::Emitted(outputs)) => {
            Got::Emitted(outputs.into_iter().map(|o| (o.event_type.to_string(), o.data)).collect())
        }
        Some(Verdict::Dropped { reason, .. }) => Got::Dropped(reason.to_string()),
        Some(Verdict::Dead(fault)) => Got::Failed(fault.reason.to_string()),
        None => Got::Failed("no verdict: the filter paused".to_owned()),
    }
}

fn compare(expect: &Expect, got: &Got) -> Result<(), String> {
    let same = match (expect, got) {
        (Expect::Emit(wanted), Got::Emitted(made)) => {
            wanted.len() == made.len()
                && wanted.iter().zip(made).all(|(wanted, (event_type, data))| emitted(wanted, event_type, data))
        }
        (Expect::Drop(wanted), Got::Dropped(reason)) => wanted.as_ref().is_none_or(|wanted| wanted == reason),
        // The host's words stand around the filter's.
        (Expect::Error(wanted), Got::Failed(reason)) => reason.contains(wanted.as_str()),
        (Expect::Emit(_) | Expect::Drop(_) | Expect::Error(_), _) => false,
    };
    if same { Ok(()) } else { Err(format!("expected {expect:?}, got {got:?}")) }
}

fn emitted(wanted: &Emission, event_type: &str, data: &Bytes) -> bool {
    let same_type = wanted.event_type.as_deref().is_none_or(|wanted| wanted == event_type);
    let same_data = match serde_json::from_slice::<Value>(data) {
        Ok(value) if value == wanted.data => true,
        Ok(_) | Err(_) => bytes_of(&wanted.data).is_ok_and(|bytes| bytes == *data),
    };
    same_type && same_data
}

fn source(event: &CaseEvent) -> Result<SourceEvent, String> {
    let mut headers = String::new();
    for (name, value) in &event.headers {
        let value = value.as_str().ok_or_else(|| format!("header {name} is no text"))?;
        headers.push_str(&format!("{name}: {value}\n"));
    }
    Ok(SourceEvent {
        sequence: event.sequence,
        time_ms: event.time,
        subject: event.subject.as_str().into(),
        headers: headers.into(),
        payload: bytes_of(&event.payload)?,
    })
}

/// `{"base64": "…"}`, a text as it is, or JSON.
fn bytes_of(value: &Value) -> Result<Bytes, String> {
    if let Some(text) =
        value.get("base64").and_then(Value::as_str).filter(|_| value.as_object().is_some_and(|o| o.len() == 1))
    {
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| format!("base64: {error}"))?;
        return Ok(bytes.into());
    }
    Ok(value.to_string().into())
}
