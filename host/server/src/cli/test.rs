//! `test`: recorded cases, or a run of events, through a filter by the host's own code.

use super::filter::{FilterArgs, Loaded};
use super::out::{Out, plain};
use super::replace::replace;
use super::{Done, UsageError, cases};
use crate::modules::selftest::{self, Event, Expect, Failure, Outcome, Problem};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// The recorded cases, one a line [default: NAME.test.ndjson beside the filter]
    #[arg(long, value_name = "FILE", conflicts_with = "events")]
    cases: Option<PathBuf>,
    /// Events, one a line as in a case's `event`, run one after the other; what becomes of them is printed
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// What must become of the events, one a line as in a case's `expect`
    #[arg(long, value_name = "FILE", requires = "events")]
    expect: Option<PathBuf>,
    /// Write what came in place of what was expected
    #[arg(long)]
    update: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<Done> {
    if args.update && args.events.is_some() && args.expect.is_none() {
        return Err(UsageError("--update needs --expect FILE with --events".to_owned()).into());
    }
    let loaded = match args.filter.load()? {
        Ok(loaded) => loaded,
        Err(refused) => {
            refused.tell(&args.filter.file, args.json, out)?;
            return Ok(Done::Badly);
        }
    };
    match &args.events {
        None => recorded(args, &loaded, out),
        Some(events) => played(args, &loaded, events, out),
    }
}

fn recorded(args: &Args, loaded: &Loaded, out: &mut Out) -> anyhow::Result<Done> {
    let beside = args.filter.file.with_file_name(format!("{}.test.ndjson", loaded.filter.name()));
    let path = args.cases.as_ref().unwrap_or(&beside);
    let text = match (&args.cases, &loaded.cases) {
        (Some(path), _) => read(path)?,
        (None, Some(text)) => text.clone(),
        (None, None) => {
            let problem = format!("{} isn't there: name recorded cases with --cases, or --events", beside.display());
            return Err(UsageError(problem).into());
        }
    };
    let report = selftest::run(&loaded.engine, &loaded.filter, loaded.role, &text);
    if report.cases == 0 {
        return Err(UsageError(format!("{} holds no case", path.display())).into());
    }
    let mut updated = BTreeMap::new();
    if args.update {
        updated.extend(report.failures.iter().filter_map(|failure| match &failure.problem {
            Problem::Different { came, .. } => Some((failure.line, came.json())),
            Problem::Unreadable(_) | Problem::Refused(_) | Problem::TooLong(_) | Problem::Undetermined { .. } => None,
        }));
        if !updated.is_empty() {
            let text = selftest::rewritten(&text, &updated).map_err(anyhow::Error::msg)?;
            replace(path, text.as_bytes())?;
        }
    }
    let told = Told { what: "cases", count: report.cases, failures: &report.failures, updated: updated.len(), path };
    told.tell(args, loaded, None, out)
}

/// Events and their expectations, in their order.
fn played(args: &Args, loaded: &Loaded, path: &Path, out: &mut Out) -> anyhow::Result<Done> {
    let mut failures = Vec::new();
    let mut events = Vec::new();
    for (line, text) in lines(&read(path)?) {
        match Event::read(text) {
            Ok(event) => events.push((line, event)),
            Err(problem) => failures.push(Failure { line, event: None, problem: Problem::Unreadable(problem) }),
        }
    }
    if !failures.is_empty() {
        let told = Told { what: "events", count: failures.len() + events.len(), failures: &failures, updated: 0, path };
        return told.tell(args, loaded, None, out);
    }
    if events.is_empty() {
        return Err(UsageError(format!("{} holds no event", path.display())).into());
    }
    let (outcomes, undetermined) =
        selftest::run_events(&loaded.engine, &loaded.filter, loaded.role, &events).map_err(anyhow::Error::msg)?;
    failures.extend(undetermined);
    let mut updated = 0;
    if let Some(expect) = &args.expect {
        let written = if args.update && !expect.exists() { String::new() } else { read(expect)? };
        let (text, different) = compared(&events, &outcomes, &written);
        failures.extend(different);
        failures.sort_by_key(|failure| failure.line);
        if args.update && text != written {
            updated = failures.iter().filter(|failure| is_expectation(&failure.problem)).count();
            replace(expect, text.as_bytes())?;
        }
    }
    let came = args.expect.is_none().then_some(&*outcomes);
    let path = args.expect.as_deref().unwrap_or(path);
    Told { what: "events", count: events.len(), failures: &failures, updated, path }.tell(args, loaded, came, out)
}

/// Each outcome against its line; returns the lines as they would be right, and what is wrong with them.
fn compared(events: &[(usize, Event)], outcomes: &[Outcome], written: &str) -> (String, Vec<Failure>) {
    let mut failures = Vec::new();
    let mut right = String::new();
    let mut expectations = lines(written);
    for ((line, event), outcome) in events.iter().zip(outcomes) {
        let expected = expectations.next();
        let read = expected.map(|(_, text)| Expect::read(text));
        if let (Some((_, text)), Some(Ok(expect))) = (expected, &read)
            && outcome.is(expect)
        {
            right.push_str(text);
        } else {
            let expected = match read {
                Some(Ok(expect)) => expect.json(),
                Some(Err(problem)) => json!({ "unreadable": problem }),
                None => Value::Null,
            };
            let problem = Problem::Different { expected, came: outcome.clone() };
            failures.push(Failure { line: *line, event: Some(event.text().to_owned()), problem });
            right.push_str(&outcome.json().to_string());
        }
        right.push('\n');
    }
    for (line, text) in expectations {
        let problem = Problem::Unreadable(format!("an expectation without an event (line {line}): {text}"));
        failures.push(Failure { line: events.last().map_or(0, |(line, _)| line + 1), event: None, problem });
    }
    (right, failures)
}

/// Mended by writing what came.
fn is_expectation(problem: &Problem) -> bool {
    matches!(problem, Problem::Different { .. } | Problem::Unreadable(_))
}

/// What is told in the end.
struct Told<'a> {
    what: &'static str,
    count: usize,
    failures: &'a [Failure],
    updated: usize,
    path: &'a Path,
}

impl Told<'_> {
    fn tell(&self, args: &Args, loaded: &Loaded, came: Option<&[Outcome]>, out: &mut Out) -> anyhow::Result<Done> {
        let Self { what, count, failures, updated, path } = self;
        let failed = failures.len() - updated;
        if args.json {
            let mut value = json!({
                "file": args.filter.file, (*what): count, "passed": failed == 0, "updated": updated,
                "failures": cases::json(failures, &loaded.filter),
            });
            if let Some(outcomes) = came {
                value["came"] = outcomes.iter().map(Outcome::json).collect();
            }
            out.json(&value)?;
        } else {
            for outcome in came.into_iter().flatten() {
                out.line(&outcome.json().to_string())?;
            }
            cases::show(failures, &loaded.filter, out)?;
            let summary = match (failures.len(), updated) {
                (0, _) if came.is_some() => None,
                (0, _) => Some(format!("{count} {what} as expected, alone and in batches")),
                (all, 0) => Some(format!("\n{count} {what}, {all} failures")),
                (_, _) => Some(format!(
                    "\n{count} {what}, {updated} expectations updated in {}, {failed} failures left",
                    plain(&path.display().to_string())
                )),
            };
            if let Some(summary) = summary {
                out.line(&summary)?;
            }
        }
        Ok(if failed == 0 { Done::Well } else { Done::Badly })
    }
}

/// The lines that hold something, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.trim().is_empty())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} can not be read", path.display()))
}

/// The events of a file, one a line, with their lines; the inner error says which line is none, and why.
pub(super) fn events(path: &Path) -> anyhow::Result<Result<Vec<(usize, Event)>, String>> {
    let event = |(line, text)| match Event::read(text) {
        Ok(event) => Ok((line, event)),
        Err(problem) => Err(format!("{}, line {line}: {problem}", path.display())),
    };
    Ok(lines(&read(path)?).map(event).collect())
}
