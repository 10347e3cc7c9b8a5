//! Lets only events pass whose value lies within bounds.
//!
//! ```toml
//! [config]
//! pointer = "/value"            # JSON pointer to the number
//! min = 10                      # optional: below it an event is dropped
//! max = 90.5                    # optional: above it an event is dropped
//! types = ["metric_updated"]    # optional: events of other types pass
//! missing = "pass"              # "pass" (the default), "drop" or "error": events without a value there, or with null
//! ```
//!
//! At least one of `min` and `max` is needed. A value that isn't a number is an error, as is a payload that isn't JSON.

use serde::Deserialize;
use tidegate_guest::json::{self, Pointer};
use tidegate_guest::{Error, Event, Verdict, filter};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    pointer: Pointer,
    min: Option<f64>,
    max: Option<f64>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    missing: Missing,
}

/// What becomes of an event without a value.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Pass,
    Drop,
    Error,
}

/// The bounds, and what they are for.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config(Written);

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match (written.min, written.max) {
            (None, None) => Err("neither `min` nor `max` is set".to_owned()),
            (Some(min), Some(max)) if min > max => Err(format!("`min` {min} is above `max` {max}")),
            _ => Ok(Self(written)),
        }
    }
}

/// Drops events whose value is out of bounds.
#[filter(name = "threshold", config_schema = "schema.json")]
pub fn threshold(event: &Event, config: &Config) -> Verdict {
    let Config(config) = config;
    if !config.types.is_empty() && !config.types.iter().any(|name| name == event.event_type()) {
        return Verdict::pass(event);
    }
    let text = json::check(event.payload())?;
    let value = match config.pointer.find(text) {
        None | Some("null") => {
            return match config.missing {
                Missing::Pass => Verdict::pass(event),
                Missing::Drop => Verdict::drop("no value"),
                Missing::Error => Verdict::error(format_args!("no value at `{}`", config.pointer)),
            };
        }
        Some(value) => number(value).ok_or_else(|| Error::new(format_args!("`{}` is no number", config.pointer)))?,
    };
    if config.min.is_some_and(|min| value < min) {
        return Verdict::drop("below min");
    }
    if config.max.is_some_and(|max| value > max) {
        return Verdict::drop("above max");
    }
    Verdict::pass(event)
}

fn number(text: &str) -> Option<f64> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Outcome, Recorder, TestEvent, check_cases};

    use super::*;

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<threshold>("cases");
    }

    #[test]
    fn bounds_belong_to_what_passes() {
        let mut recorder =
            Recorder::<threshold>::with_config(r#"{"pointer":"/v","min":-1.5,"max":2}"#).expect("a configuration");
        let mut passes = |value: &str| {
            let outcome = recorder.run(&TestEvent::new("metrics.a", format!("{{\"v\":{value}}}")));
            matches!(outcome, Outcome::Emit(_))
        };
        for (value, expected) in [
            ("-1.5", true),
            ("-1.51", false),
            ("2", true),
            ("2.0e0", true),
            ("2.0000001", false),
            ("-1e400", false),
            ("0", true),
        ] {
            assert_eq!(passes(value), expected, "{value}");
        }
    }

    #[test]
    fn a_wrong_configuration_is_refused_by_name() {
        let refused = |config| Recorder::<threshold>::with_config(config).err().expect("refused");
        assert!(refused(r#"{"min":1}"#).contains("missing field `pointer`"));
        assert!(refused(r#"{"pointer":"/v"}"#).contains("neither `min` nor `max`"));
        assert!(refused(r#"{"pointer":"/v","min":2,"max":1}"#).contains("`min` 2 is above `max` 1"));
        assert!(refused(r#"{"pointer":"/v","min":"2"}"#).contains("field `min`"));
        assert!(refused(r#"{"pointer":"v","min":2}"#).contains("field `pointer`"));
        assert!(refused(r#"{"pointer":"/v","min":2,"missing":"no"}"#).contains("field `missing`"));
    }
}
