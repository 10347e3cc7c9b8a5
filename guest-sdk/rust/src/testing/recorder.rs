//! The host's place in a native test: runs batches, keeps what the filter logs and remembers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::bindings::tidegate::filter::types::{self, Place, Span, VerdictKind};
use crate::filter::{self, Filter};
use crate::log::Level;

use super::host::{self, Host};

/// An event for a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestEvent {
    /// The subject.
    pub subject: String,
    /// The sequence in the source.
    pub sequence: u64,
    /// The time in the source, in milliseconds since 1970.
    pub time_ms: u64,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The company; empty before the platform chain decided it.
    pub company: String,
    /// The event type; empty before a filter decided it.
    pub event_type: String,
    /// The payload.
    pub payload: Vec<u8>,
}

impl TestEvent {
    /// An event with this subject and payload, and nothing else.
    pub fn new(subject: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self { subject: subject.into(), sequence: 1, payload: payload.into(), ..Self::default() }
    }

    /// The same with an event type.
    #[must_use]
    pub fn with_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = event_type.into();
        self
    }

    /// The same with a company.
    #[must_use]
    pub fn with_company(mut self, company: impl Into<String>) -> Self {
        self.company = company.into();
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not passed on; the reason may be empty.
    Drop(String),
    /// Passed on as these.
    Emit(Vec<Emission>),
    /// Not handled, with this text.
    Error(String),
}

/// One event that a filter passed on.
#[derive(Clone, PartialEq, Eq)]
pub struct Emission {
    /// Its type: the event's own, if the filter gave none.
    pub event_type: String,
    /// The companies that a platform filter named.
    pub companies: Vec<String>,
    /// Its data.
    pub data: Vec<u8>,
}

impl Emission {
    /// An emission that names no companies.
    pub fn new(event_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { event_type: event_type.into(), companies: Vec::new(), data: data.into() }
    }

    /// The same for these companies.
    #[must_use]
    pub fn to_companies<'a>(mut self, companies: impl IntoIterator<Item = &'a str>) -> Self {
        self.companies = companies.into_iter().map(str::to_owned).collect();
        self
    }
}

impl fmt::Debug for Emission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emission")
            .field("event_type", &self.event_type)
            .field("companies", &self.companies)
            .field("data", &String::from_utf8_lossy(&self.data))
            .finish()
    }
}

/// A line that a filter logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
}

/// Runs a filter as the host does, one instance of it: batches of events, one configuration, logs and state recorded.
pub struct Recorder<F: Filter> {
    config: F::Config,
    host: Host,
}

impl<F: Filter> Recorder<F> {
    /// A filter without configuration.
    ///
    /// # Panics
    /// When the filter needs one.
    #[expect(clippy::new_without_default, reason = "it panics where a configuration is needed")]
    #[track_caller]
    pub fn new() -> Self {
        Self::with_config("{}").unwrap_or_else(|error| panic!("{error}"))
    }

    /// A filter with this configuration, as JSON text.
    ///
    /// # Errors
    /// The text with which the filter refuses it.
    pub fn with_config(json: &str) -> Result<Self, String> {
        Ok(Self { config: filter::configure::<F>(json)?, host: Host::default() })
    }

    /// The same with a quota of bytes for its state.
    #[must_use]
    pub fn with_state_quota(mut self, bytes_max: usize) -> Self {
        self.host.state_bytes_max = Some(bytes_max);
        self
    }

    /// What became of this event, in a batch of its own.
    ///
    /// # Panics
    /// When the filter does, or emits what it doesn't declare.
    pub fn run(&mut self, event: &TestEvent) -> Outcome {
        self.run_batch(std::slice::from_ref(event)).remove(0)
    }

    /// What became of these events, in one batch.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_batch(&mut self, events: &[TestEvent]) -> Vec<Outcome> {
        let (records, bytes) = flatten(events);
        let config = &self.config;
        let result = host::swapped(&mut self.host, || filter::process::<F>(config, &records, &bytes));
        let outcomes = outcomes(events, &bytes, &result);
        let declared = F::describe().emits;
        for outcome in &outcomes {
            let Outcome::Emit(emissions) = outcome else { continue };
            for emission in emissions.iter().filter(|_| !declared.is_empty()) {
                let known = declared.contains(&emission.event_type.as_str());
                assert!(known, "`{}` is emitted, but `emits` declares only {declared:?}", emission.event_type);
            }
        }
        outcomes
    }

    /// How long the filter takes for this batch, without what a recorder does around it. Logs are not kept.
    pub(super) fn time(&mut self, batch: &Flat) -> Duration {
        let config = &self.config;
        let took = host::swapped(&mut self.host, || {
            let began = Instant::now();
            std::hint::black_box(filter::process::<F>(config, &batch.records, &batch.bytes));
            began.elapsed()
        });
        self.host.logs.clear();
        took
    }

    /// What the filter logged so far.
    pub fn logs(&self) -> &[LogLine] {
        &self.host.logs
    }

    /// What the filter keeps.
    pub fn state(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.host.state
    }

    /// What the filter keeps, to be set before a run.
    pub fn state_mut(&mut self) -> &mut BTreeMap<String, Vec<u8>> {
        &mut self.host.state
    }

    pub(super) fn used_state(&self) -> bool {
        self.host.state_used
    }
}

/// A batch as the host lays it out.
pub(super) struct Flat {
    records: Vec<types::Event>,
    bytes: Vec<u8>,
}

impl Flat {
    pub(super) fn of(events: &[TestEvent]) -> Self {
        let (records, bytes) = flatten(events);
        Self { records, bytes }
    }
}

/// The batch as the host lays it out.
fn flatten(events: &[TestEvent]) -> (Vec<types::Event>, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut append = |part: &[u8]| {
        let offset = u32::try_from(bytes.len()).expect("a test's batch is below 4 GiB");
        bytes.extend_from_slice(part);
        Span { offset, length: u32::try_from(part.len()).expect("a test's batch is below 4 GiB") }
    };
    let records = events
        .iter()
        .map(|event| {
            let headers: String = event.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            types::Event {
                subject: append(event.subject.as_bytes()),
                headers: append(headers.as_bytes()),
                company: append(event.company.as_bytes()),
                event_type: append(event.event_type.as_bytes()),
                payload: append(&event.payload),
                sequence: event.sequence,
                time_ms: event.time_ms,
            }
        })
        .collect();
    (records, bytes)
}

fn outcomes(events: &[TestEvent], input: &[u8], result: &types::BatchResult) -> Vec<Outcome> {
    assert_eq!(result.verdicts.len(), events.len(), "one verdict for each event");
    let slice = |bytes: &[u8], span: Span| bytes[span.offset as usize..][..span.length as usize].to_vec();
    let text = |span| String::from_utf8(slice(&result.bytes, span)).expect("texts are UTF-8");
    let mut emissions = result.emissions.iter();
    let outcomes = result
        .verdicts
        .iter()
        .zip(events)
        .map(|(verdict, event)| match verdict.kind {
            VerdictKind::Drop => Outcome::Drop(text(verdict.text)),
            VerdictKind::Error => Outcome::Error(text(verdict.text)),
            VerdictKind::Emit => Outcome::Emit(
                emissions
                    .by_ref()
                    .take(verdict.emissions as usize)
                    .map(|emission| Emission {
                        event_type: match text(emission.event_type) {
                            own if own.is_empty() => event.event_type.clone(),
                            given => given,
                        },
                        companies: match text(emission.companies) {
                            none if none.is_empty() => Vec::new(),
                            names => names.split(',').map(str::to_owned).collect(),
                        },
                        data: match emission.data_place {
                            Place::Input => slice(input, emission.data),
                            Place::Output => slice(&result.bytes, emission.data),
                        },
                    })
                    .collect(),
            ),
        })
        .collect();
    assert!(emissions.next().is_none(), "every emission belongs to an event");
    outcomes
}
