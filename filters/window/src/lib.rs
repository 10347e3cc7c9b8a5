//! Counts and sums a number in tumbling windows of event time, and emits each window once it is over.
//!
//! ```toml
//! [config]
//! length = 60                   # seconds; windows begin at its multiples since 1970
//! pointer = "/value"            # optional: JSON pointer to the number; without it events are counted
//! group = "/metricName"         # optional: a window for each text or number there
//! grace = 5                     # optional: seconds that a window waits for late events
//! types = ["metric_updated"]    # optional: events of other types pass and are not looked at
//! emit = "window"               # optional, the default: the type of what is emitted
//! pass = true                   # optional, the default: the events themselves are passed on, too
//! ```
//!
//! A window is over when an event of its company that is looked at comes whose time is past its end and the grace: no clock is asked, so the same
//! events always give the same windows. What comes later is not counted. One event ends fifty windows at most, the others
//! end with the next ones. A window is emitted as
//! `{"group":"score","from":60000,"to":120000,"count":3,"sum":6.0,"mean":2.0,"min":1.0,"max":3.0}`, times in milliseconds since 1970.

use serde::{Deserialize, Serialize};
use tidegate_guest::json::{self, Pointer};
use tidegate_guest::{Error, Event, Result, State, Verdict, filter};

/// Windows that one event ends at most: half of the outputs that a filter may have by default.
const ENDED_AT_ONCE: u32 = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    length: u64,
    pointer: Option<Pointer>,
    group: Option<Pointer>,
    #[serde(default)]
    grace: u64,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default = "window_type")]
    emit: String,
    #[serde(default = "yes")]
    pass: bool,
}

fn window_type() -> String {
    "window".to_owned()
}

fn yes() -> bool {
    true
}

/// What is summed, and for how long.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    length_ms: u64,
    grace_ms: u64,
    written: Written,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        const YEAR: u64 = 366 * 24 * 3_600;
        if !(1..=YEAR).contains(&written.length) || written.grace > YEAR {
            return Err(format!("`length` is 1 to {YEAR} seconds, and `grace` no more than that"));
        }
        if written.emit.is_empty() {
            return Err("`emit` is the type of what is emitted, and not empty".to_owned());
        }
        Ok(Self { length_ms: written.length * 1_000, grace_ms: written.grace * 1_000, written })
    }
}

/// What a window holds so far.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Sums {
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Values>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Values {
    sum: f64,
    min: f64,
    max: f64,
}

/// A window, as it is emitted.
#[derive(Debug, Serialize)]
struct Window<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    from: u64,
    to: u64,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    values: Option<Summed>,
}

#[derive(Debug, Serialize)]
struct Summed {
    sum: f64,
    mean: f64,
    min: f64,
    max: f64,
}

/// Sums, and emits windows that are over.
#[filter(name = "window", state_version = 1, config_schema = "schema.json")]
pub fn window(event: &Event, config: &Config, state: &mut State) -> Verdict {
    let written = &config.written;
    if !written.types.is_empty() && !written.types.iter().any(|name| name == event.event_type()) {
        return Verdict::pass(event);
    }
    let counted = count(event, config, state)?;
    let newest = state.get_json::<u64>("newest")?.unwrap_or(0).max(event.time_ms());
    state.set_json("newest", &newest)?;
    let ended = end(config, state, newest)?;
    if !written.pass && ended.is_empty() {
        return Verdict::drop(if counted { "counted" } else { "not counted" });
    }
    let verdict = if written.pass { Verdict::pass(event) } else { Verdict::none() };
    ended.iter().fold(verdict, |verdict, data| verdict.and(&written.emit, data))
}

/// Adds the event to its window. False: it has no number, or comes too late.
fn count(event: &Event, config: &Config, state: &mut State) -> Result<bool> {
    let from = event.time_ms() / config.length_ms * config.length_ms;
    if from < state.get_json::<u64>("ended")?.unwrap_or(0) {
        return Ok(false);
    }
    let (mut value, mut group) = (None, String::new());
    if config.written.pointer.is_some() || config.written.group.is_some() {
        let text = json::check(event.payload())?;
        if let Some(pointer) = &config.written.pointer {
            match pointer.find(text) {
                None | Some("null") => return Ok(false),
                Some(found) => value = Some(number(found, pointer)?),
            }
        }
        if let Some(pointer) = &config.written.group {
            group = pointer.find_key(text)?.unwrap_or_default();
        }
    }
    let key = format!("w{from:020}{group}");
    let mut sums = state.get_json::<Sums>(&key)?.unwrap_or_default();
    sums.count += 1;
    if let Some(value) = value {
        sums.values = Some(match sums.values {
            None => Values { sum: value, min: value, max: value },
            Some(so_far) => Values { sum: so_far.sum + value, min: so_far.min.min(value), max: so_far.max.max(value) },
        });
        if sums.values.is_some_and(|values| !values.sum.is_finite()) {
            return Err(Error::new("the sum of the window is too large for a number"));
        }
    }
    state.set_json(&key, &sums)?;
    Ok(true)
}

fn number(text: &str, pointer: &Pointer) -> Result<f64> {
    let number: Option<f64> = serde_json::from_str(text).ok();
    number.ok_or_else(|| Error::new(format_args!("`{pointer}` is no number")))
}

/// The windows that are over, oldest first.
fn end(config: &Config, state: &mut State, newest: u64) -> Result<Vec<Vec<u8>>> {
    let mut ended = Vec::new();
    for _ in 0..ENDED_AT_ONCE {
        let Some((key, sums)) = state.scan("w", 1).pop() else { break };
        let Some((from, group)) = key.get(1..21).zip(key.get(21..)) else { break };
        let from: u64 = from.parse()?;
        let to = from + config.length_ms;
        if to + config.grace_ms > newest {
            break;
        }
        let Sums { count, values } = serde_json::from_slice(&sums)?;
        let values = values.map(|Values { sum, min, max }| Summed { sum, mean: sum / count.max(1) as f64, min, max });
        let group = config.written.group.is_some().then_some(group);
        ended.push(serde_json::to_vec(&Window { group, from, to, count, values })?);
        state.delete(&key);
        // From now on it counts nothing more, even if others of its time are still to end.
        state.set_json("ended", &to)?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Outcome, Recorder, TestEvent, check_cases};

    use super::*;

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<window>("cases");
    }

    fn at(seconds: u64, payload: &str) -> TestEvent {
        let mut event = TestEvent::new("metrics.a", payload).with_type("metric_updated");
        event.time_ms = seconds * 1_000;
        event
    }

    fn recorder(config: &str) -> Recorder<window> {
        Recorder::with_config(config).expect("a configuration")
    }

    /// What comes out besides the event itself.
    fn ended(recorder: &mut Recorder<window>, event: &TestEvent) -> Vec<String> {
        match recorder.run(event) {
            Outcome::Emit(emissions) => {
                let ended = emissions.iter().filter(|emission| emission.event_type == "window");
                ended.map(|emission| String::from_utf8_lossy(&emission.data).into_owned()).collect()
            }
            Outcome::Drop(_) => Vec::new(),
            Outcome::Error(text) => panic!("{text}"),
        }
    }

    #[test]
    fn a_window_is_emitted_when_an_event_is_past_its_end_and_grace() {
        let mut recorder = recorder(r#"{"length":10,"pointer":"/v","grace":2}"#);
        for (seconds, value) in [(100, "1"), (109, "4.5"), (111, "100"), (105, "-1")] {
            assert!(ended(&mut recorder, &at(seconds, &format!("{{\"v\":{value}}}"))).is_empty(), "{seconds}");
        }
        assert_eq!(
            ended(&mut recorder, &at(112, r#"{"v":1}"#)),
            [r#"{"from":100000,"to":110000,"count":3,"sum":4.5,"mean":1.5,"min":-1.0,"max":4.5}"#]
        );
        // Too late for the one that is over; the next goes on.
        assert!(ended(&mut recorder, &at(101, r#"{"v":7}"#)).is_empty());
        assert_eq!(
            ended(&mut recorder, &at(150, r#"{"v":1}"#)),
            [r#"{"from":110000,"to":120000,"count":2,"sum":101.0,"mean":50.5,"min":1.0,"max":100.0}"#]
        );
    }

    #[test]
    fn each_group_has_its_own_and_all_end_in_order() {
        let mut recorder = recorder(r#"{"length":10,"group":"/g"}"#);
        for (seconds, group) in [(100, "\"b\""), (101, "\"a\""), (102, "\"b\""), (103, "7"), (104, "null")] {
            ended(&mut recorder, &at(seconds, &format!("{{\"g\":{group}}}")));
        }
        assert_eq!(
            ended(&mut recorder, &at(110, "{}")),
            [
                r#"{"group":"","from":100000,"to":110000,"count":1}"#,
                r#"{"group":"7","from":100000,"to":110000,"count":1}"#,
                r#"{"group":"a","from":100000,"to":110000,"count":1}"#,
                r#"{"group":"b","from":100000,"to":110000,"count":2}"#,
            ]
        );
    }

    #[test]
    fn more_windows_than_one_event_may_emit_end_with_the_next_ones() {
        let mut recorder = recorder(r#"{"length":10,"group":"/g"}"#);
        for group in 0..120 {
            ended(&mut recorder, &at(100, &format!("{{\"g\":{group}}}")));
        }
        let counts: Vec<usize> = (0..4).map(|n| ended(&mut recorder, &at(120 + n, "{}")).len()).collect();
        assert_eq!(counts, [50, 50, 20, 0]);
    }

    #[test]
    fn the_events_themselves_are_kept_back_on_request() {
        let mut recorder = recorder(r#"{"length":10,"pointer":"/v","pass":false,"emit":"minute"}"#);
        assert_eq!(recorder.run(&at(100, r#"{"v":1}"#)), Outcome::Drop("counted".into()));
        assert_eq!(recorder.run(&at(100, r#"{"other":1}"#)), Outcome::Drop("not counted".into()));
        let Outcome::Emit(emissions) = recorder.run(&at(110, r#"{"v":1}"#)) else { panic!("a window") };
        assert_eq!((emissions.len(), emissions[0].event_type.as_str()), (1, "minute"));
        assert!(matches!(recorder.run(&at(110, r#"{"v":"x"}"#)), Outcome::Error(text) if text.contains("`/v`")));
        assert!(matches!(recorder.run(&at(110, r#"{"v":1e308}"#)), Outcome::Drop(_)));
        assert!(matches!(recorder.run(&at(110, r#"{"v":1e308}"#)), Outcome::Error(text) if text.contains("too large")));
    }

    #[test]
    fn a_wrong_configuration_is_refused_by_name() {
        let refused = |config| Recorder::<window>::with_config(config).err().expect("refused");
        assert!(refused(r#"{}"#).contains("missing field `length`"));
        assert!(refused(r#"{"length":0}"#).contains("`length` is 1 to"));
        assert!(refused(r#"{"length":1,"emit":""}"#).contains("`emit`"));
        assert!(refused(r#"{"length":1,"pointer":"v"}"#).contains("field `pointer`"));
    }
}
