//! A recorded case as it is written: an event, what stands around it, and what must become of it.

use super::outcome::Emission;
use crate::source::headers::pairs;
use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_core::event::{Company, Input, SourceEvent};

/// One line of `NAME.test.ndjson`.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) event: Event,
    /// Its own configuration, as JSON text, in place of the filter's.
    pub(super) config: Option<String>,
    /// What the filter remembers before the event.
    pub(super) state: Vec<(Box<str>, Bytes)>,
    pub(super) expect: Expect,
}

/// An event as a case, or a line of `--events`, tells it.
#[derive(Debug, Clone)]
pub struct Event {
    pub(super) source: SourceEvent,
    pub(super) company: Company,
    pub(super) event_type: Arc<str>,
    /// The text it was read from.
    pub(super) text: String,
}

/// What must become of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It is passed on as these.
    Emit(Vec<Expected>),
    /// It is dropped; without a reason, for any.
    Drop(Option<String>),
    /// It fails, and the error holds this text.
    Error(String),
}

/// An emission that must come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Compared where it is told.
    pub(super) event_type: Option<String>,
    /// Compared where they are told.
    pub(super) companies: Option<Vec<String>>,
    pub(super) data: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    config: Option<Box<RawValue>>,
    #[serde(default)]
    state: BTreeMap<String, Box<RawValue>>,
    #[serde(borrow)]
    expect: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEvent {
    subject: String,
    #[serde(default = "one")]
    sequence: u64,
    #[serde(default)]
    time: u64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    company: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum WrittenExpect {
    Emit(Vec<WrittenEmission>),
    Drop(Option<String>),
    Error(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEmission {
    #[serde(rename = "type")]
    event_type: Option<String>,
    companies: Option<Vec<String>>,
    data: Box<RawValue>,
}

fn one() -> u64 {
    1
}

impl Case {
    /// Reads one line.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let written: Written<'_> = serde_json::from_str(line).map_err(|error| format!("no case: {error}"))?;
        let state = written.state.into_iter().map(|(key, value)| Ok((key.into(), bytes_of(value.get())?)));
        Ok(Self {
            event: Event::read(written.event.get())?,
            config: written.config.map(|config| config.get().to_owned()),
            state: state.collect::<Result<_, String>>()?,
            expect: Expect::read(written.expect.get())?,
        })
    }
}

impl Event {
    /// Reads `{"subject":…,"payload":…}`, as it stands in a case.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let written: WrittenEvent = serde_json::from_str(text).map_err(|error| format!("no event: {error}"))?;
        let headers: String = written.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let source = SourceEvent {
            sequence: written.sequence,
            time_ms: written.time,
            subject: written.subject.into(),
            headers: headers.into(),
            payload: bytes_of(written.payload.get())?,
        };
        let company = written.company.as_deref().unwrap_or("company");
        Ok(Self {
            source,
            company: Company::new(company).map_err(|error| error.to_string())?,
            event_type: written.event_type.unwrap_or_else(|| "event".to_owned()).into(),
            text: text.to_owned(),
        })
    }

    /// The company whose event it is; `company` where none is told.
    #[must_use]
    pub fn company(&self) -> &Company {
        &self.company
    }

    /// The text it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As the source holds it.
    #[must_use]
    pub fn source(&self) -> &SourceEvent {
        &self.source
    }

    /// As a company's chain is given it.
    #[must_use]
    pub fn input(&self) -> Input {
        Input {
            source: self.source.clone(),
            emission: 0,
            company: self.company.clone(),
            event_type: self.event_type.clone(),
            data: self.source.payload.clone(),
        }
    }
}

impl Expect {
    /// Reads `{"emit":[…]}`, `{"drop":…}` or `{"error":…}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let written: WrittenExpect =
            serde_json::from_str(text).map_err(|error| format!("no expectation (emit, drop or error): {error}"))?;
        Ok(match written {
            WrittenExpect::Drop(reason) => Self::Drop(reason),
            WrittenExpect::Error(text) => Self::Error(text),
            WrittenExpect::Emit(emissions) => {
                let read = |written: WrittenEmission| {
                    let data = bytes_of(written.data.get())?;
                    Ok(Expected { event_type: written.event_type, companies: written.companies, data })
                };
                Self::Emit(emissions.into_iter().map(read).collect::<Result<_, String>>()?)
            }
        })
    }

    /// As it is shown beside what came.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Emit(emissions) => json!({"emit": emissions.iter().map(Expected::json).collect::<Vec<_>>()}),
            Self::Drop(reason) => json!({ "drop": reason }),
            Self::Error(text) => json!({ "error": text }),
        }
    }
}

impl Expected {
    pub(super) fn is(&self, came: &Emission) -> bool {
        self.event_type.as_deref().is_none_or(|wanted| wanted == came.event_type)
            && self.companies.as_ref().is_none_or(|wanted| *wanted == came.companies)
            && (self.data == came.data || as_json(&self.data).is_some_and(|wanted| Some(wanted) == as_json(&came.data)))
    }

    fn json(&self) -> Value {
        let mut value = json!({"data": shown(&self.data)});
        if let Some(event_type) = &self.event_type {
            value["type"] = json!(event_type);
        }
        if let Some(companies) = &self.companies {
            value["companies"] = json!(companies);
        }
        value
    }
}

/// What a company's chain is given, as a line of `--events` tells it: [`Event::read`] reads it again.
#[must_use]
pub fn event_line(input: &Input) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        subject: &'a str,
        sequence: u64,
        time: u64,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        company: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
        payload: Box<RawValue>,
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let source = &input.source;
    let line = Line {
        subject: &source.subject,
        sequence: source.sequence,
        time: source.time_ms,
        headers: pairs(&source.headers).map(|(name, value)| (text(name), text(value))).collect(),
        company: input.company.as_str(),
        event_type: &input.event_type,
        payload: written(&input.data),
    };
    // Texts and numbers, and JSON that was read: there is nothing to fail.
    serde_json::to_string(&line).unwrap_or_default()
}

/// The bytes as [`bytes_of`] reads them: the text as it stands where it is JSON on one line.
fn written(data: &Bytes) -> Box<RawValue> {
    let text = std::str::from_utf8(data).ok().filter(|text| !text.contains(['\n', '\r']));
    let raw = text.and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let raw = raw.filter(|raw| bytes_of(raw.get()).is_ok_and(|read| read == data));
    raw.or_else(|| {
        let value = as_json(data).filter(|value| value.get("base64").is_none());
        serde_json::value::to_raw_value(&value.unwrap_or_else(|| encoded(data))).ok()
    })
    .unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// JSON as it is, other bytes as `{"base64":"…"}`.
pub(super) fn shown(data: &Bytes) -> Value {
    as_json(data).unwrap_or_else(|| encoded(data))
}

fn encoded(data: &Bytes) -> Value {
    json!({"base64": base64::engine::general_purpose::STANDARD.encode(data)})
}

fn as_json(data: &Bytes) -> Option<Value> {
    serde_json::from_slice(data).ok()
}

/// The text as it stands, or the bytes of `{"base64":"…"}`.
fn bytes_of(text: &str) -> Result<Bytes, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Encoded {
        base64: String,
    }
    match serde_json::from_str::<Encoded>(text) {
        Ok(encoded) => base64::engine::general_purpose::STANDARD
            .decode(encoded.base64)
            .map(Bytes::from)
            .map_err(|error| format!("base64: {error}")),
        Err(_not_encoded) => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_the_text_as_it_stands_or_base64() {
        let payload = |text: &str| {
            Event::read(&format!(r#"{{"subject":"a","payload":{text}}}"#)).map(|event| event.source.payload)
        };
        assert_eq!(payload(r#"{"b": 1,  "a":2}"#).expect("JSON"), r#"{"b": 1,  "a":2}"#);
        assert_eq!(payload(r#"{"base64":"AP8="}"#).expect("bytes"), &[0_u8, 255][..]);
        assert_eq!(payload(r#"{"base64":"AP8=","x":1}"#).expect("JSON"), r#"{"base64":"AP8=","x":1}"#);
        assert!(payload(r#"{"base64":"*"}"#).expect_err("no base64").contains("base64"));
    }

    #[test]
    fn a_captured_event_is_read_as_it_was_given() {
        for data in
            [&br#"{"b": 1,  "a":2}"#[..], b"{\n \"b\": 1}", br#"{"base64":"AP8="}"#, b"\x00\xff", b"not JSON", b""]
        {
            let line = r#"{"subject":"s.t","sequence":7,"time":8,"headers":{"A":"b: c"},"company":"acme","type":"t","payload":0}"#;
            let mut input = Event::read(line).expect("an event").input();
            input.data = Bytes::copy_from_slice(data);
            let line = event_line(&input);
            assert!(!line.contains('\n'), "{line}");
            let read = Event::read(&line).expect("reads").input();
            assert_eq!((&read.company, &read.event_type), (&input.company, &input.event_type));
            let (of, was) = (&read.source, &input.source);
            assert_eq!((&of.subject, of.sequence, of.time_ms, &of.headers), (&was.subject, 7, 8, &was.headers));
            let same = read.data == input.data
                || (as_json(&read.data).is_some() && as_json(&read.data) == as_json(&input.data));
            assert!(same, "{line}");
        }
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for line in [
            r#"{"event":{"subject":"a","payload":1},"expect":{"emitt":[]}}"#,
            r#"{"event":{"subject":"a","payload":1},"expect":{"emit":[{"data":1,"tpye":"a"}]}}"#,
            r#"{"event":{"subject":"a","payload":1,"tmie":1},"expect":{"drop":null}}"#,
            r#"{"event":{"subject":"a","payload":1,"company":"_a"},"expect":{"drop":null}}"#,
            r#"{"event":{"subject":"a","payload":1}}"#,
        ] {
            assert!(Case::read(line).is_err(), "{line}");
        }
    }
}
