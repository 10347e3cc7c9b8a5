//! The recorded cases beside a module, run before it is switched to, and by `tidegate check` and `test`.
//!
//! Each case runs by itself on a fresh instance. Those of one configuration and company then run again, in one batch, one
//! at a time and in random batches on one instance: memory between calls is a cache, and must change nothing.

mod case;
mod outcome;
mod play;
mod record;

pub use case::{Event, Expect, event_line};
pub use outcome::{Emission, Failed, Outcome};
pub use record::rewritten;

use bytes::Bytes;
use case::Case;
use play::{Instances, Player, State, splits};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::event::Company;
use tidegate_filter::{Chain, Engine, Filter, Role};

/// The longest event, expectation or outcome in the sentence of a verdict, in bytes.
const SHOWN_BYTES_MAX: usize = 400;
/// The longest that all cases of a filter take together: a host runs them before each switch.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What the cases say of a filter.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that were run.
    pub cases: usize,
    /// What became of the event of each case that could be run, by its line.
    pub came: Vec<(usize, Event, Outcome)>,
    /// What is wrong, in the order of the lines; a case may be told twice, for each [`Problem`].
    pub failures: Vec<Failure>,
}

/// What is wrong with one case.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its event, as it is written.
    pub event: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// What may be wrong with a case.
#[derive(Debug, Clone)]
pub enum Problem {
    /// The line can't be read.
    Unreadable(String),
    /// The filter refuses the case's configuration, or can't be started.
    Refused(String),
    /// Something else came of the event.
    Different {
        /// What must become of it.
        expected: Value,
        /// What became of it.
        came: Outcome,
    },
    /// The cases take too long together: this one, and those after it, were not run.
    TooLong(Duration),
    /// Something else came of it in another batch or on another instance: what the filter answers depends on what lies in
    /// its memory.
    Undetermined {
        /// What became of it on a fresh instance.
        fresh: Outcome,
        /// What became of it otherwise.
        other: Outcome,
        /// How.
        how: String,
    },
}

impl Problem {
    /// A short word for it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Refused(_) => "refused",
            Self::Different { .. } => "different",
            Self::TooLong(_) => "too-long",
            Self::Undetermined { .. } => "undetermined",
        }
    }
}

impl Report {
    /// The host's verdict in a sentence: the first failure, and how many there are.
    ///
    /// # Errors
    /// Any failure.
    pub fn verdict(&self, name: &str) -> Result<(), String> {
        let Some(first) = self.failures.first() else { return Ok(()) };
        let what = match &first.problem {
            Problem::Unreadable(problem) | Problem::Refused(problem) => problem.clone(),
            Problem::TooLong(most) => too_long(*most),
            Problem::Different { expected, came } => {
                format!("expected {}, got {}", short(&expected.to_string()), short(&came.json().to_string()))
            }
            Problem::Undetermined { fresh, other, how } => format!(
                "{} on a fresh instance, but {} {how}: the answer depends on memory between calls",
                short(&fresh.json().to_string()),
                short(&other.json().to_string())
            ),
        };
        let more = match self.failures.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Err(format!("self-test, line {} of {name}.test.ndjson: {what}{more}", first.line))
    }
}

/// What is told of cases that take too long.
#[must_use]
pub fn too_long(most: Duration) -> String {
    format!("the cases take over {} ms together, the most that they may: keep fewer of them", most.as_millis())
}

fn short(text: &str) -> String {
    match text.len() {
        0..=SHOWN_BYTES_MAX => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]),
    }
}

/// The events of the cases that can be read, in their order.
#[must_use]
pub fn events(cases: &str) -> Vec<Event> {
    cases.lines().filter_map(|text| Case::read(text).ok()).map(|case| case.event).collect()
}

/// A case that came out by itself.
struct Ran {
    line: usize,
    case: Case,
    outcome: Outcome,
}

/// Runs every case through the filter.
#[must_use]
pub fn run(engine: &Engine, filter: &Arc<Filter>, role: Role, cases: &str) -> Report {
    run_within(engine, filter, role, cases, TIME_MAX)
}

/// The same, within this time.
fn run_within(engine: &Engine, filter: &Arc<Filter>, role: Role, cases: &str, time_max: Duration) -> Report {
    let until = Instant::now() + time_max;
    let too_long = |line| {
        let problem = Problem::TooLong(time_max);
        (Instant::now() >= until).then_some(Failure { line, event: None, problem })
    };
    let mut player = Player::new(engine, filter, role);
    let mut report = Report::default();
    let mut groups: BTreeMap<(Option<String>, Company), Vec<Ran>> = BTreeMap::new();
    for (index, text) in cases.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        report.cases += 1;
        let line = index + 1;
        if let Some(failure) = too_long(line) {
            report.failures.push(failure);
            break;
        }
        let case = match Case::read(text) {
            Ok(case) => case,
            Err(problem) => {
                report.failures.push(Failure { line, event: None, problem: Problem::Unreadable(problem) });
                continue;
            }
        };
        let event = Some(case.event.text.clone());
        let alone = player
            .chain(case.config.as_deref())
            .and_then(|chain| player.play(&chain, &[&case.event], &case.state, &[1], Instances::Fresh));
        match alone.map(|mut outcomes| outcomes.pop()) {
            Ok(Some(outcome)) => {
                if !outcome.is(&case.expect) {
                    let problem = Problem::Different { expected: case.expect.json(), came: outcome.clone() };
                    report.failures.push(Failure { line, event, problem });
                }
                report.came.push((line, case.event.clone(), outcome.clone()));
                let group = groups.entry((case.config.clone(), case.event.company.clone())).or_default();
                group.push(Ran { line, case, outcome });
            }
            Ok(None) => {}
            Err(problem) => report.failures.push(Failure { line, event, problem: Problem::Refused(problem) }),
        }
    }
    for ((config, _), ran) in groups {
        if let Some(failure) = too_long(ran.first().map_or(0, |ran| ran.line)) {
            report.failures.push(failure);
            break;
        }
        // It was there a moment ago.
        let Ok(chain) = player.chain(config.as_deref()) else { continue };
        report.failures.extend(together(&player, &chain, &ran));
    }
    report.failures.sort_by_key(|failure| failure.line);
    report
}

/// Cases once more, one after the other.
fn together(player: &Player<'_>, chain: &Chain, ran: &[Ran]) -> Vec<Failure> {
    let state: Vec<(Box<str>, Bytes)> = ran.iter().flat_map(|ran| ran.case.state.iter().cloned()).collect();
    let mut events: Vec<(usize, &Event)> = ran.iter().map(|ran| (ran.line, &ran.case.event)).collect();
    // One event alone can't show what the one before it left.
    if let [only] = events[..] {
        events.push(only);
    }
    // What a filter remembers may change what becomes of the next event: then the cases by themselves say nothing here.
    let fresh = if chain.is_stateful() {
        None
    } else {
        Some(ran.iter().chain(ran).take(events.len()).map(|ran| ran.outcome.clone()).collect())
    };
    match undetermined(player, chain, &events, &state, fresh) {
        Ok((_, failures)) => failures,
        Err(problem) => {
            let line = ran.first().map_or(0, |ran| ran.line);
            vec![Failure { line, event: None, problem: Problem::Refused(problem) }]
        }
    }
}

/// What became of each event, and where it was something else.
type Outcomes = (Vec<Outcome>, Vec<Failure>);

/// Runs events of one company on fresh instances, unless that was done, and in other ways, and compares.
fn undetermined(
    player: &Player<'_>,
    chain: &Chain,
    events: &[(usize, &Event)],
    state: &State,
    fresh: Option<Vec<Outcome>>,
) -> Result<Outcomes, String> {
    let list: Vec<&Event> = events.iter().map(|(_, event)| *event).collect();
    let fresh = match fresh {
        Some(fresh) => fresh,
        None => player.play(chain, &list, state, &vec![1; list.len()], Instances::Fresh)?,
    };
    let mut failures: BTreeMap<usize, Failure> = BTreeMap::new();
    for (batches, how) in splits(list.len(), seed(&list)) {
        let others = player.play(chain, &list, state, &batches, Instances::Kept)?;
        for (((line, event), fresh), other) in events.iter().zip(&fresh).zip(others) {
            if *fresh == other || fresh.is_by_time() || other.is_by_time() {
                continue;
            }
            failures.entry(*line).or_insert_with(|| Failure {
                line: *line,
                event: Some(event.text.clone()),
                problem: Problem::Undetermined { fresh: fresh.clone(), other, how: how.clone() },
            });
        }
    }
    Ok((fresh, failures.into_values().collect()))
}

/// Random, and yet the same for the same events: a failure comes again.
fn seed(events: &[&Event]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for event in events {
        hasher.update(event.text.as_bytes()).update(b"\n");
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

/// Runs events one after the other as a host would, each company's by itself from no state on, with the filter's own
/// configuration. Each has the number of its line. Returns what became of each, in their order, and where it was something
/// else in other batches.
///
/// # Errors
/// The filter can't be started.
pub fn run_events(
    engine: &Engine,
    filter: &Arc<Filter>,
    role: Role,
    events: &[(usize, Event)],
) -> Result<Outcomes, String> {
    let mut player = Player::new(engine, filter, role);
    let chain = player.chain(None)?;
    let mut companies: BTreeMap<Option<&Company>, Vec<(usize, &Event)>> = BTreeMap::new();
    for (line, event) in events {
        // The platform chain sees all companies' events in one.
        let company = (role == Role::Company).then_some(&event.company);
        companies.entry(company).or_default().push((*line, event));
    }
    let mut all = BTreeMap::new();
    let mut failures = Vec::new();
    for of_company in companies.into_values() {
        let (outcomes, undetermined) = undetermined(&player, &chain, &of_company, &[], None)?;
        all.extend(of_company.iter().map(|(number, _)| *number).zip(outcomes));
        failures.extend(undetermined);
    }
    failures.sort_by_key(|failure| failure.line);
    Ok((all.into_values().collect(), failures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_filter::{EngineSettings, Limits, OnError};

    #[test]
    fn cases_that_take_too_long_together_are_given_up() {
        let engine = Engine::new(EngineSettings::default()).expect("an engine");
        let code = engine.load(&tidegate_hostile::harmless(), Role::Company, &Limits::default()).expect("loads");
        let filter = Filter::new(&engine, "10-a", code, "{}", Limits::default(), OnError::DeadLetter).expect("starts");
        let filter = Arc::new(filter);
        let case = r#"{"event":{"subject":"a","company":"acme","payload":{"do":"."}},"expect":{"emit":[{"type":"event","data":{"do":"."}}]}}"#;
        let cases = format!("{case}\n{case}\n");
        let report = run_within(&engine, &filter, Role::Company, &cases, Duration::ZERO);
        assert!(report.came.is_empty());
        let told = report.verdict("10-a").expect_err("given up");
        assert!(told.contains("line 1 of 10-a.test.ndjson: the cases take over 0 ms together"), "{told}");
        assert_eq!(run(&engine, &filter, Role::Company, &cases).came.len(), 2);
    }
}
