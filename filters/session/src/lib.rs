//! Gathers the events of a user into sessions, with the stages of its journey, and emits each once the user has been quiet.
//!
//! ```toml
//! [config]
//! user = "/userId"             # JSON pointer to who it is, a text or a number
//! stage = "/flag"              # optional: JSON pointer to the stage that the event stands for
//! quiet = 1800                 # seconds of event time without an event of the user, after which the session is over
//! types = ["journey_flag_updated"]  # optional: events of other types pass and are not looked at
//! max-stages = 100             # optional, the default: what is beyond is counted only
//! emit = "session"             # optional, the default: the type of what is emitted
//! pass = true                  # optional, the default: the events themselves are passed on, too
//! ```
//!
//! A session is over when an event of its company that has a user and is looked at comes whose time is `quiet` after its last: no clock is asked, so the same events
//! always give the same sessions. One event ends fifty sessions at most, the others end with the next ones. A session is emitted as
//! `{"user":"u1","from":1000,"to":9000,"events":3,"stages":[{"stage":"onboarded","at":1000}]}`, times in milliseconds since 1970;
//! a stage that follows itself is told once. Events without a user pass.

use serde::{Deserialize, Serialize};
use tidegate_guest::json::{self, Pointer};
use tidegate_guest::{Event, Result, State, Verdict, filter};

/// Sessions that one event ends at most: half of the outputs that a filter may have by default.
const ENDED_AT_ONCE: u32 = 50;

/// Whose sessions, and when they are over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    user: Pointer,
    stage: Option<Pointer>,
    quiet: Seconds,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default = "max_stages")]
    max_stages: usize,
    #[serde(default = "session_type")]
    emit: String,
    #[serde(default = "yes")]
    pass: bool,
}

/// A time that is not empty.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
struct Seconds(u64);

impl TryFrom<u64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: u64) -> std::result::Result<Self, &'static str> {
        if seconds == 0 { Err("a session is over after 1 second or more") } else { Ok(Self(seconds)) }
    }
}

impl Seconds {
    fn ms(self) -> u64 {
        self.0.saturating_mul(1_000)
    }
}

fn max_stages() -> usize {
    100
}

fn session_type() -> String {
    "session".to_owned()
}

fn yes() -> bool {
    true
}

/// What is known of a user who is active.
#[derive(Debug, Deserialize, Serialize)]
struct Session {
    from: u64,
    to: u64,
    events: u64,
    stages: Vec<Stage>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Stage {
    stage: String,
    at: u64,
}

/// A session, as it is emitted.
#[derive(Serialize)]
struct Ended<'a> {
    user: &'a str,
    #[serde(flatten)]
    session: Session,
}

/// Gathers, and emits sessions that are over.
#[filter(name = "session", state_version = 1, config_schema = "schema.json")]
pub fn session(event: &Event, config: &Config, state: &mut State) -> Verdict {
    if !config.types.is_empty() && !config.types.iter().any(|name| name == event.event_type()) {
        return Verdict::pass(event);
    }
    let text = json::check(event.payload())?;
    let Some(user) = config.user.find_key(text)? else {
        return Verdict::pass(event);
    };
    let stage = match &config.stage {
        Some(pointer) => pointer.find_key(text)?,
        None => None,
    };
    // What is over ends before the event begins another one.
    let newest = state.get_json::<u64>("newest")?.unwrap_or(0).max(event.time_ms());
    state.set_json("newest", &newest)?;
    let ended = end(config, state, newest)?;
    add(event, &user, stage, config, state)?;
    if !config.pass && ended.is_empty() {
        return Verdict::drop("counted");
    }
    let verdict = if config.pass { Verdict::pass(event) } else { Verdict::none() };
    ended.iter().fold(verdict, |verdict, data| verdict.and(&config.emit, data))
}

/// Sessions by the time of their last event: `t`, twenty digits, the user.
fn by_time(to: u64, user: &str) -> String {
    format!("t{to:020}{user}")
}

fn add(event: &Event, user: &str, stage: Option<String>, config: &Config, state: &mut State) -> Result<()> {
    let (key, now) = (format!("u{user}"), event.time_ms());
    let mut session = match state.get_json::<Session>(&key)? {
        Some(session) => {
            state.delete(&by_time(session.to, user));
            session
        }
        None => Session { from: now, to: now, events: 0, stages: Vec::new() },
    };
    session.from = session.from.min(now);
    session.to = session.to.max(now);
    session.events += 1;
    if let Some(stage) = stage {
        // Events may come out of their order by a little.
        let at = session.stages.partition_point(|known| known.at <= now);
        let told = at.checked_sub(1).is_some_and(|before| session.stages[before].stage == stage);
        if !told && session.stages.len() < config.max_stages {
            session.stages.insert(at, Stage { stage, at: now });
        }
    }
    state.set_json(&key, &session)?;
    state.set(&by_time(session.to, user), b"")
}

/// The sessions that are over, the longest quiet first.
fn end(config: &Config, state: &mut State, newest: u64) -> Result<Vec<Vec<u8>>> {
    let mut ended = Vec::new();
    for _ in 0..ENDED_AT_ONCE {
        let Some((entry, _)) = state.scan("t", 1).pop() else { break };
        let Some((to, user)) = entry.get(1..21).zip(entry.get(21..)) else { break };
        if to.parse::<u64>()?.saturating_add(config.quiet.ms()) > newest {
            break;
        }
        let key = format!("u{user}");
        if let Some(session) = state.get_json::<Session>(&key)? {
            ended.push(serde_json::to_vec(&Ended { user, session })?);
        }
        state.delete(&key);
        state.delete(&entry);
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Outcome, Recorder, TestEvent, check_cases};

    use super::*;

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<session>("cases");
    }

    fn at(seconds: u64, user: &str, stage: &str) -> TestEvent {
        let payload = format!("{{\"userId\":\"{user}\",\"flag\":\"{stage}\"}}");
        let mut event = TestEvent::new("journey.flags", payload).with_type("journey_flag_updated");
        event.time_ms = seconds * 1_000;
        event
    }

    fn recorder(more: &str) -> Recorder<session> {
        let config = format!("{{\"user\":\"/userId\",\"stage\":\"/flag\",\"quiet\":10{more}}}");
        Recorder::with_config(&config).expect("a configuration")
    }

    /// What comes out besides the event itself.
    fn ended(recorder: &mut Recorder<session>, event: &TestEvent) -> Vec<String> {
        match recorder.run(event) {
            Outcome::Emit(emissions) => {
                let ended = emissions.iter().filter(|emission| emission.event_type == "session");
                ended.map(|emission| String::from_utf8_lossy(&emission.data).into_owned()).collect()
            }
            Outcome::Drop(_) => Vec::new(),
            Outcome::Error(text) => panic!("{text}"),
        }
    }

    #[test]
    fn a_session_is_emitted_once_its_user_has_been_quiet() {
        let mut recorder = recorder("");
        for (seconds, user, stage) in
            [(100, "u1", "a"), (103, "u1", "a"), (109, "u1", "c"), (105, "u1", "b"), (112, "u2", "a")]
        {
            assert!(ended(&mut recorder, &at(seconds, user, stage)).is_empty(), "{seconds}");
        }
        assert_eq!(
            ended(&mut recorder, &at(119, "u1", "d")),
            [concat!(
                r#"{"user":"u1","from":100000,"to":109000,"events":4,"stages":[{"stage":"a","at":100000},"#,
                r#"{"stage":"b","at":105000},{"stage":"c","at":109000}]}"#
            )]
        );
        assert_eq!(
            ended(&mut recorder, &at(200, "u3", "a")),
            [
                r#"{"user":"u2","from":112000,"to":112000,"events":1,"stages":[{"stage":"a","at":112000}]}"#,
                r#"{"user":"u1","from":119000,"to":119000,"events":1,"stages":[{"stage":"d","at":119000}]}"#,
            ]
        );
    }

    #[test]
    fn stages_and_sessions_are_bounded() {
        let mut recorder = recorder(",\"max-stages\":2");
        for (n, stage) in ["a", "b", "c"].into_iter().enumerate() {
            ended(&mut recorder, &at(100 + n as u64, "u", stage));
        }
        let told = ended(&mut recorder, &at(200, "v", "a"));
        assert!(
            told[0].contains("\"events\":3") && told[0].contains("\"b\"") && !told[0].contains("\"c\""),
            "{told:?}"
        );
        for n in 0..120 {
            ended(&mut recorder, &at(300, &format!("u{n}"), "a"));
        }
        let counts: Vec<usize> = (0..4).map(|n| ended(&mut recorder, &at(400 + n, "w", "a")).len()).collect();
        assert_eq!(counts, [50, 50, 20, 0]);
        assert_eq!(recorder.state().len(), 3, "the newest time and one user: {:?}", recorder.state());
    }

    #[test]
    fn what_has_no_user_passes_and_the_rest_is_kept_back_on_request() {
        let mut recorder = recorder(",\"pass\":false,\"types\":[\"journey_flag_updated\"]");
        assert_eq!(recorder.run(&at(100, "u", "a")), Outcome::Drop("counted".into()));
        let without = TestEvent::new("journey.flags", "{}").with_type("journey_flag_updated");
        assert!(matches!(recorder.run(&without), Outcome::Emit(emissions) if emissions.len() == 1));
        let other = TestEvent::new("metrics.a", "not JSON").with_type("metric_updated");
        assert!(matches!(recorder.run(&other), Outcome::Emit(_)));
    }

    #[test]
    fn a_wrong_configuration_is_refused_by_name() {
        let refused = |config| Recorder::<session>::with_config(config).err().expect("refused");
        assert!(refused(r#"{"quiet":1}"#).contains("missing field `user`"));
        assert!(refused(r#"{"user":"/u","quiet":0}"#).contains("1 second or more"));
        assert!(refused(r#"{"user":"/u","quiet":1,"stages":1}"#).contains("stages"));
    }
}
