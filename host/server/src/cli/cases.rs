//! What recorded cases say of a filter, for the reader and for programs.

use super::diff;
use super::out::{Out, plain};
use crate::modules::selftest::{self, Failed, Failure, Outcome, Problem};
use serde_json::{Value, json};
use tidegate_filter::Filter;

/// Of an event, so much is shown, in bytes.
const EVENT_BYTES_MAX: usize = 2000;

/// Prints each failure: the event, what differs, the trap with its source lines.
pub(super) fn show(failures: &[Failure], filter: &Filter, out: &mut Out) -> anyhow::Result<()> {
    for failure in failures {
        let what = match &failure.problem {
            Problem::Unreadable(problem) | Problem::Refused(problem) => plain(problem),
            Problem::TooLong(most) => selftest::too_long(*most),
            Problem::Different { .. } => "- expected, + came".to_owned(),
            Problem::Undetermined { how, .. } => {
                format!("the answer depends on memory between calls: - on a fresh instance, + {how}")
            }
        };
        out.line("")?;
        out.line(&format!("line {}: {what}", failure.line))?;
        if let Some(event) = &failure.event {
            let end = event.floor_char_boundary(EVENT_BYTES_MAX);
            let more = if end < event.len() { "…" } else { "" };
            out.line(&format!("  event   {}{more}", plain(&event[..end])))?;
        }
        out.line(&format!("  filter  {}", filter.module()))?;
        match &failure.problem {
            Problem::Unreadable(_) | Problem::Refused(_) | Problem::TooLong(_) => {}
            Problem::Different { expected, came } => {
                difference(expected, &came.json(), out)?;
                trap(came, out)?;
            }
            Problem::Undetermined { fresh, other, .. } => {
                difference(&fresh.json(), &other.json(), out)?;
                trap(fresh, out)?;
                trap(other, out)?;
            }
        }
    }
    Ok(())
}

fn difference(first: &Value, second: &Value, out: &mut Out) -> anyhow::Result<()> {
    for line in diff::lines(&pretty(first), &pretty(second)) {
        out.line(&format!("  {}", plain(&line)))?;
    }
    Ok(())
}

/// What a filter did not say itself.
fn trap(outcome: &Outcome, out: &mut Out) -> anyhow::Result<()> {
    let Outcome::Failed(Failed { kind, text, backtrace, .. }) = outcome else { return Ok(()) };
    if *kind == "error" {
        return Ok(());
    }
    out.line(&format!("  {kind:<7} {}", plain(text)))?;
    for line in backtrace.iter().flat_map(|trace| trace.lines()) {
        out.line(&format!("    {}", plain(line)))?;
    }
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// The failures for programs.
pub(super) fn json(failures: &[Failure], filter: &Filter) -> Value {
    failures.iter().map(|failure| one(failure, filter)).collect()
}

fn one(failure: &Failure, filter: &Filter) -> Value {
    let mut value = json!({"line": failure.line, "kind": failure.problem.kind(), "filter": &**filter.module()});
    if let Some(event) = &failure.event {
        value["event"] = serde_json::from_str(event).unwrap_or_else(|_| json!(event));
    }
    match &failure.problem {
        Problem::Unreadable(problem) | Problem::Refused(problem) => value["reason"] = json!(problem),
        Problem::TooLong(most) => value["reason"] = json!(selftest::too_long(*most)),
        Problem::Different { expected, came } => {
            value["expected"] = expected.clone();
            value["came"] = came.json();
            value["trap"] = fault(came);
        }
        Problem::Undetermined { fresh, other, how } => {
            value["fresh"] = fresh.json();
            value["came"] = other.json();
            value["how"] = json!(how);
            value["trap"] = fault(other);
        }
    }
    value
}

fn fault(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Failed(Failed { kind, text, module, backtrace }) => {
            let lines: Vec<&str> = backtrace.iter().flat_map(|trace| trace.lines()).collect();
            json!({"kind": kind, "reason": text, "module": module, "backtrace": lines})
        }
        Outcome::Emitted(_) | Outcome::Dropped(_) => Value::Null,
    }
}
