//! Takes configured places out of JSON payloads; everything else stays byte for byte as it was.
//!
//! ```toml
//! [config]
//! pointers = ["/user/email", "/items/*/price"]   # JSON pointers; `*` is every element of an array
//! replace = "[redacted]"                          # optional: instead of leaving the place out
//! ```
//!
//! A payload that isn't JSON is an error: what can't be read can't be redacted.

mod cut;
mod places;

use places::Places;
use serde::Deserialize;
use tidegate_guest::json::{self, Pointer};
use tidegate_guest::{Event, Verdict, filter};

/// What is taken out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    pointers: Vec<Pointer>,
    replace: Option<String>,
}

/// What is taken out, made ready once.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    places: Places,
    /// JSON text.
    replace: Option<String>,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.pointers.is_empty() {
            return Err("`pointers` is empty: say what to redact, as in [\"/user/email\"]".to_owned());
        }
        let replace = written.replace.map(|text| serde_json::Value::String(text).to_string());
        Ok(Self { places: Places::new(&written.pointers)?, replace })
    }
}

/// Passes each event on without what the configuration names.
#[filter(name = "redact", config_schema = "schema.json")]
pub fn redact(event: &Event, config: &Config) -> Verdict {
    let text = json::check(event.payload())?;
    let cuts = cut::cuts(text, &config.places, config.replace.is_some());
    if cuts.is_empty() {
        return Verdict::pass(event);
    }
    Verdict::emit_with("", |data| {
        let mut kept = 0;
        for cut in &cuts {
            data.push(&text.as_bytes()[kept..cut.start]);
            data.push(config.replace.as_deref().unwrap_or("").as_bytes());
            kept = cut.end;
        }
        data.push(&text.as_bytes()[kept..]);
    })
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Emission, Outcome, Recorder, TestEvent, check_cases};

    use super::*;

    fn redacted(config: &str, payload: &str) -> String {
        let mut recorder = Recorder::<redact>::with_config(config).expect("a configuration");
        match recorder.run(&TestEvent::new("metrics.a", payload).with_type("metric_updated")) {
            Outcome::Emit(emissions) => match &emissions[..] {
                [Emission { event_type, data, .. }] if event_type == "metric_updated" => {
                    String::from_utf8(data.clone()).expect("text")
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<redact>("cases");
    }

    #[test]
    fn what_stays_keeps_its_form() {
        let config = r#"{"pointers":["/user/email"]}"#;
        assert_eq!(
            redacted(
                config,
                r#"{ "n" : 1.50e+1, "big":12345678901234567890123, "user" : { "email" : "a@b", "t":"\u00e9\/" } }"#
            ),
            r#"{ "n" : 1.50e+1, "big":12345678901234567890123, "user" : { "t":"\u00e9\/" } }"#
        );
        let untouched = "{ \"a\" : [ 1.0 ,\n2 ] }";
        assert_eq!(redacted(config, untouched), untouched);
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let config = r#"{"pointers":["/email"]}"#;
        assert_eq!(redacted(config, r#"{"em\u0061il":"a@b","x":1}"#), r#"{"x":1}"#);
        assert_eq!(redacted(config, r#"{"email":1,"x":2,"email":3}"#), r#"{"x":2}"#);
    }

    #[test]
    fn what_is_left_is_json_whichever_places_go() {
        let keys = ["a", "b", "c", "d"];
        for chosen in 1u32..16 {
            let is_chosen = |index: usize| chosen & (1 << index) != 0;
            let pointers: Vec<String> =
                (0..4).filter(|index| is_chosen(*index)).map(|index| format!("/{}", keys[index])).collect();
            let config = serde_json::json!({ "pointers": pointers }).to_string();
            let text = redacted(&config, r#"{ "a" : 0 , "b":1, "c" : [2] ,"d":{"x":3} }"#);
            let left: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let expected: Vec<&str> = (0..4).filter(|index| !is_chosen(*index)).map(|index| keys[index]).collect();
            assert_eq!(left.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");

            let pointers: Vec<String> =
                (0..4).filter(|index| is_chosen(*index)).map(|index| format!("/{index}")).collect();
            let config = serde_json::json!({ "pointers": pointers }).to_string();
            let text = redacted(&config, "[ 0 , 1,2 ,3 ]");
            let left: Vec<usize> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(left, (0..4).filter(|index| !is_chosen(*index)).collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn a_replacement_stands_in_the_place() {
        let config = r#"{"pointers":["/a","/l/*/x"],"replace":"\"gone\""}"#;
        assert_eq!(
            redacted(config, r#"{"a":{"b":1},"l":[{"x":1},{"y":2}]}"#),
            r#"{"a":"\"gone\"","l":[{"x":"\"gone\""},{"y":2}]}"#
        );
    }

    #[test]
    fn a_wrong_configuration_is_refused_by_name() {
        let refused = |config| Recorder::<redact>::with_config(config).err().expect("refused");
        assert!(refused("{}").contains("missing field `pointers`"), "{}", refused("{}"));
        assert!(
            refused(r#"{"pointers":["email"]}"#).contains("`pointers[0]`"),
            "{}",
            refused(r#"{"pointers":["email"]}"#)
        );
        assert!(refused(r#"{"pointers":["email"]}"#).contains("begins with `/`"));
        assert!(refused(r#"{"pointers":[]}"#).contains("`pointers` is empty"));
        assert!(refused(r#"{"pointers":[""]}"#).contains("the whole payload"));
        assert!(refused(r#"{"pointer":["/a"]}"#).contains("unknown field `pointer`"));
        assert!(refused(r#"{"pointers":["/a"],"replace":1}"#).contains("field `replace`"));
    }
}
