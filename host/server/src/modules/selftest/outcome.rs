//! What became of an event, in the words of a case.

use super::case::{Expect, shown};
use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_core::event::{Fault, Verdict};
use tidegate_filter::PlatformVerdict;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was passed on as these.
    Emitted(Vec<Emission>),
    /// It was dropped, for this reason.
    Dropped(String),
    /// It could not be handled.
    Failed(Failed),
}

/// One event that was passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// Its type.
    pub event_type: String,
    /// The companies that a platform filter named.
    pub companies: Vec<String>,
    /// Its data.
    pub data: Bytes,
}

/// Why an event could not be handled.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The word for metrics: `error` where the filter said so itself, `trap`, `timeout`, …
    pub kind: &'static str,
    /// What happened, without where.
    pub text: String,
    /// `name@digest` of the filter, where one is to blame.
    pub module: Option<String>,
    /// In source lines, where the module holds them.
    pub backtrace: Option<String>,
}

/// The backtrace is for the reader: it may lead another way through inlined code.
impl PartialEq for Failed {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.text) == (other.kind, &other.text)
    }
}

impl Eq for Failed {}

impl Failed {
    fn of(fault: &Fault) -> Self {
        let module = fault.module.as_deref();
        // The place in the batch is not the filter's doing, and another one in every run.
        let own =
            module.and_then(|module| fault.reason.strip_prefix(module)).filter(|rest| rest.starts_with(" failed at "));
        let text = own.and_then(|rest| rest.split_once("): ")).map_or(&*fault.reason, |(_, text)| text);
        Self {
            kind: fault.kind,
            text: text.to_owned(),
            module: module.map(str::to_owned),
            backtrace: fault.backtrace.as_deref().map(str::to_owned),
        }
    }
}

impl Outcome {
    pub(super) fn of_platform(verdict: PlatformVerdict) -> Self {
        match verdict {
            PlatformVerdict::Emitted(inputs) => {
                let emission = |input: tidegate_core::event::Input| Emission {
                    event_type: input.event_type.to_string(),
                    companies: vec![input.company.to_string()],
                    data: input.data,
                };
                Self::Emitted(inputs.into_iter().map(emission).collect())
            }
            PlatformVerdict::Dropped { reason, .. } => Self::Dropped(reason.to_string()),
            PlatformVerdict::Dead(fault) => Self::Failed(Failed::of(&fault)),
        }
    }

    /// A company's chain's.
    #[must_use]
    pub fn of_company(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Emitted(outputs) => {
                let emission = |output: tidegate_core::event::Output| Emission {
                    event_type: output.event_type.to_string(),
                    companies: Vec::new(),
                    data: output.data,
                };
                Self::Emitted(outputs.into_iter().map(emission).collect())
            }
            Verdict::Dropped { reason, .. } => Self::Dropped(reason.to_string()),
            Verdict::Dead(fault) => Self::Failed(Failed::of(&fault)),
        }
    }

    /// Whether it is what was expected.
    #[must_use]
    pub fn is(&self, expect: &Expect) -> bool {
        match (expect, self) {
            (Expect::Emit(wanted), Self::Emitted(came)) => {
                let all = |came: &[Emission]| {
                    wanted.len() == came.len() && wanted.iter().zip(came).all(|(wanted, came)| wanted.is(came))
                };
                all(came) || all(&gathered(came))
            }
            (Expect::Drop(wanted), Self::Dropped(reason)) => wanted.as_ref().is_none_or(|wanted| wanted == reason),
            (Expect::Error(wanted), Self::Failed(failed)) => failed.text.contains(wanted.as_str()),
            (Expect::Emit(_) | Expect::Drop(_) | Expect::Error(_), _) => false,
        }
    }

    /// As a case's `expect` says it.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Emitted(emissions) => {
                json!({"emit": gathered(emissions).iter().map(Emission::json).collect::<Vec<_>>()})
            }
            Self::Dropped(reason) => json!({ "drop": reason }),
            Self::Failed(failed) => json!({"error": failed.text}),
        }
    }

    /// Decided by time, which is another one in every run.
    pub(super) fn is_by_time(&self) -> bool {
        matches!(self, Self::Failed(failed) if failed.kind == "timeout")
    }
}

impl Emission {
    fn json(&self) -> Value {
        let mut value = json!({"type": self.event_type, "data": shown(&self.data)});
        if !self.companies.is_empty() {
            value["companies"] = json!(self.companies);
        }
        value
    }
}

/// One emission for several companies arrives once for each.
fn gathered(emissions: &[Emission]) -> Vec<Emission> {
    let mut list: Vec<Emission> = Vec::new();
    for emission in emissions {
        match list.last_mut() {
            Some(last)
                if !emission.companies.is_empty()
                    && (&last.event_type, &last.data) == (&emission.event_type, &emission.data) =>
            {
                last.companies.extend(emission.companies.iter().cloned());
            }
            _ => list.push(emission.clone()),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emission(companies: &[&str]) -> Emission {
        let companies = companies.iter().map(|&name| name.to_owned()).collect();
        Emission { event_type: "a".into(), companies, data: Bytes::from_static(b"{\"v\": 1}") }
    }

    #[test]
    fn data_is_compared_as_json_and_companies_where_they_are_told() {
        let came = Outcome::Emitted(vec![emission(&["a"]), emission(&["b"])]);
        for (expect, same) in [
            (r#"{"emit":[{"type":"a","companies":["a","b"],"data":{"v":1}}]}"#, true),
            (r#"{"emit":[{"data":{"v":1}}]}"#, true),
            (r#"{"emit":[{"companies":["a"],"data":{"v":1}},{"companies":["b"],"data":{"v":1}}]}"#, true),
            (r#"{"emit":[{"companies":["b","a"],"data":{"v":1}}]}"#, false),
            (r#"{"emit":[{"type":"b","data":{"v":1}}]}"#, false),
            (r#"{"emit":[{"data":{"v":2}}]}"#, false),
            (r#"{"emit":[]}"#, false),
            (r#"{"drop":null}"#, false),
        ] {
            assert_eq!(came.is(&Expect::read(expect).expect("an expectation")), same, "{expect}");
        }
    }

    #[test]
    fn a_failure_is_told_without_its_place_in_the_batch() {
        let fault = |reason: &str, module: Option<&str>| {
            Failed::of(&Fault { kind: "error", reason: reason.into(), module: module.map(Into::into), backtrace: None })
        };
        assert_eq!(fault("f@1 failed at sequence 3 (event 1 of 9): no: (a): b", Some("f@1")).text, "no: (a): b");
        assert_eq!(fault("no filter decided it", None).text, "no filter decided it");
    }
}
