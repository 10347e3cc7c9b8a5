//! Passes an event once: what has the key of another one within the window before it is dropped.
//!
//! ```toml
//! [config]
//! pointer = "/id"              # JSON pointer to the key, a text or a number
//! # header = "X-Event-Id"      # or the header that holds it
//! window = 600                 # seconds of event time for which a key is remembered
//! types = ["metric_updated"]   # optional: events of other types pass and are not looked at
//! max-keys = 10000             # optional, the default: beyond it the oldest is forgotten
//! missing = "pass"             # "pass" (the default), "drop" or "error": events without a key
//! ```
//!
//! Time is the events' own: an event counts as a duplicate if its key was first passed less than `window` seconds before it, or
//! after it. Duplicates don't prolong that.

use serde::Deserialize;
use tidegate_guest::json::{self, Pointer};
use tidegate_guest::{Event, Result, State, Verdict, filter};

/// Keys that one event forgets at most: old ones go little by little.
const FORGOTTEN_AT_ONCE: u32 = 32;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    pointer: Option<Pointer>,
    header: Option<String>,
    window: u64,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default = "max_keys")]
    max_keys: u64,
    #[serde(default)]
    missing: Missing,
}

fn max_keys() -> u64 {
    10_000
}

/// What becomes of an event without a key.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    Pass,
    Drop,
    Error,
}

/// Where the key is.
#[derive(Debug)]
enum Place {
    Pointer(Pointer),
    Header(String),
}

/// What makes two events the same, and for how long.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    place: Place,
    window_ms: u64,
    types: Vec<String>,
    max_keys: u64,
    missing: Missing,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(mut written: Written) -> std::result::Result<Self, String> {
        let place = match (written.pointer.take(), written.header.take()) {
            (Some(pointer), None) => Place::Pointer(pointer),
            (None, Some(header)) => Place::Header(header),
            _ => return Err("one of `pointer` and `header` says where the key is".to_owned()),
        };
        if written.window == 0 || written.max_keys == 0 {
            return Err("`window` and `max-keys` are 1 or more".to_owned());
        }
        let window_ms = written.window.saturating_mul(1_000);
        let Written { types, max_keys, missing, .. } = written;
        Ok(Self { place, window_ms, types, max_keys, missing })
    }
}

/// Drops events whose key was seen within the window.
#[filter(name = "dedup", state_version = 1, config_schema = "schema.json")]
pub fn dedup(event: &Event, config: &Config, state: &mut State) -> Verdict {
    if !config.types.is_empty() && !config.types.iter().any(|name| name == event.event_type()) {
        return Verdict::pass(event);
    }
    let Some(key) = key_of(event, &config.place)? else {
        return match config.missing {
            Missing::Pass => Verdict::pass(event),
            Missing::Drop => Verdict::drop("no key"),
            Missing::Error => Verdict::error("the event has no key to be known by"),
        };
    };
    let (seen, now) = (format!("k{key}"), event.time_ms());
    if let Some(first) = state.get_json::<u64>(&seen)? {
        if first.abs_diff(now) < config.window_ms {
            return Verdict::drop("duplicate");
        }
        forget(state, first, &key)?;
    }
    forget_old(state, config, now)?;
    remember(state, now, &key)?;
    Verdict::pass(event)
}

fn key_of(event: &Event, place: &Place) -> Result<Option<String>> {
    match place {
        Place::Header(name) => Ok(event.header(name).map(str::to_owned)),
        Place::Pointer(pointer) => pointer.find_key(json::check(event.payload())?),
    }
}

/// Keys by the time at which they were passed, oldest first: `t`, twenty digits, the key.
fn by_time(time_ms: u64, key: &str) -> String {
    format!("t{time_ms:020}{key}")
}

/// All of it or nothing: an event that becomes a dead letter where the state is full must not be a duplicate when it is retried.
fn remember(state: &mut State, now: u64, key: &str) -> Result<()> {
    let written = write(state, now, key);
    if written.is_err() {
        state.delete(&format!("k{key}"));
        state.delete(&by_time(now, key));
    }
    written
}

fn write(state: &mut State, now: u64, key: &str) -> Result<()> {
    state.set_json(&format!("k{key}"), &now)?;
    state.set(&by_time(now, key), b"")?;
    let kept = state.get_json::<u64>("n")?.unwrap_or(0);
    state.set_json("n", &(kept + 1))
}

fn forget(state: &mut State, first: u64, key: &str) -> Result<()> {
    state.delete(&format!("k{key}"));
    state.delete(&by_time(first, key));
    let kept = state.get_json::<u64>("n")?.unwrap_or(0);
    state.set_json("n", &kept.saturating_sub(1))
}

/// Forgets what is out of the window, and the oldest where there are too many.
fn forget_old(state: &mut State, config: &Config, now: u64) -> Result<()> {
    let mut kept = state.get_json::<u64>("n")?.unwrap_or(0);
    for _ in 0..FORGOTTEN_AT_ONCE {
        let Some((entry, _)) = state.scan("t", 1).pop() else { break };
        let Some((time, key)) = entry.get(1..21).zip(entry.get(21..)) else { break };
        let first: u64 = time.parse()?;
        if first.saturating_add(config.window_ms) > now && kept < config.max_keys {
            break;
        }
        forget(state, first, key)?;
        kept = kept.saturating_sub(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Outcome, Recorder, TestEvent, check_cases};

    use super::*;

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<dedup>("cases");
    }

    fn at(seconds: u64, key: &str) -> TestEvent {
        let mut event = TestEvent::new("metrics.a", format!("{{\"id\":{key}}}"));
        event.time_ms = seconds * 1_000;
        event
    }

    fn recorder(more: &str) -> Recorder<dedup> {
        Recorder::with_config(&format!("{{\"pointer\":\"/id\",\"window\":10{more}}}")).expect("a configuration")
    }

    fn passes(recorder: &mut Recorder<dedup>, event: &TestEvent) -> bool {
        matches!(recorder.run(event), Outcome::Emit(_))
    }

    #[test]
    fn a_key_passes_once_in_a_window_of_event_time() {
        let mut recorder = recorder("");
        for (seconds, key, expected) in [
            (100, "1", true),
            (100, "\"1\"", false),
            (109, "1", false),
            (110, "1", true),
            (119, "1", false),
            (101, "1", false),
            (99, "1", true),
        ] {
            assert_eq!(passes(&mut recorder, &at(seconds, key)), expected, "{seconds} {key}");
        }
    }

    #[test]
    fn what_is_out_of_the_window_is_forgotten() {
        let mut recorder = recorder("");
        for n in 0..100 {
            assert!(passes(&mut recorder, &at(100, &n.to_string())));
        }
        for n in 0..10 {
            assert!(passes(&mut recorder, &at(200 + n, &format!("\"b{n}\""))));
        }
        assert_eq!(recorder.state().len(), 10 * 2 + 1, "{:?}", recorder.state());
        assert_eq!(recorder.state()["n"], b"10");
    }

    #[test]
    fn the_oldest_key_gives_way_where_there_are_too_many() {
        let mut recorder = recorder(",\"max-keys\":3");
        for n in 0..5 {
            assert!(passes(&mut recorder, &at(100 + n, &n.to_string())));
        }
        assert_eq!(recorder.state()["n"], b"3");
        assert!(!passes(&mut recorder, &at(105, "2")) && passes(&mut recorder, &at(105, "1")));
    }

    #[test]
    fn an_event_that_failed_where_the_state_is_full_is_no_duplicate_of_itself() {
        // Room for the key's time (`k1`, 6 digits), not for its place in time.
        let mut full = recorder("").with_state_quota(20);
        assert!(matches!(full.run(&at(100, "1")), Outcome::Error(_)));
        assert!(full.state().is_empty(), "{:?}", full.state());
        assert!(matches!(full.run(&at(100, "1")), Outcome::Error(_)), "it is tried again, and no duplicate");
    }

    #[test]
    fn a_wrong_configuration_is_refused_by_name() {
        let refused = |config| Recorder::<dedup>::with_config(config).err().expect("refused");
        assert!(refused(r#"{"window":1}"#).contains("one of `pointer` and `header`"));
        assert!(refused(r#"{"pointer":"/a","header":"b","window":1}"#).contains("one of `pointer` and `header`"));
        assert!(refused(r#"{"pointer":"/a"}"#).contains("missing field `window`"));
        assert!(refused(r#"{"pointer":"/a","window":0}"#).contains("1 or more"));
        assert!(refused(r#"{"pointer":"/a","window":1,"max_keys":1}"#).contains("max_keys"));
    }
}
