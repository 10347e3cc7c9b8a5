//! `explain`: what became of one event for one company, on one screen.

use super::Done;
use super::admin::AdminArgs;
use super::out::{Out, text};
use serde_json::Value;

/// Connections that are shown; `--json` has more.
const CONNECTIONS_SHOWN: usize = 10;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["event", "sequence"]))]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Whose stream
    #[arg(long, value_name = "COMPANY")]
    company: String,
    /// The event, by the id that clients were sent
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// The event, by its sequence in the stream
    #[arg(long, value_name = "N", conflicts_with = "event")]
    sequence: Option<u64>,
    /// The subject it should have; another one is pointed out
    #[arg(long, value_name = "SUBJECT", requires = "sequence")]
    subject: Option<String>,
    /// Which life of the stream, where it was made anew; the present one unless given
    #[arg(long, value_name = "N", requires = "sequence")]
    generation: Option<u16>,
    /// Print the host's answer as it is
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let answer = args.admin.get(&path(&args)).await?;
    if args.json {
        out.json(&answer)?;
    } else {
        show(&answer, out)?;
    }
    Ok(Done::Well)
}

fn path(args: &Args) -> String {
    let path = "/admin/explain?";
    let mut query = form_urlencoded::Serializer::for_suffix(path.to_owned(), path.len());
    query.append_pair("company", &args.company);
    let (sequence, generation) = (args.sequence.map(|n| n.to_string()), args.generation.map(|n| n.to_string()));
    let given =
        [("event", &args.event), ("sequence", &sequence), ("subject", &args.subject), ("generation", &generation)];
    for (name, value) in given {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

fn show(answer: &Value, out: &mut Out) -> anyhow::Result<()> {
    let event = &answer["event"];
    let what = match text(&event["id"]) {
        id if id.is_empty() => format!("sequence {}", text(&event["sequence"])),
        id => id,
    };
    out.line(&format!("{what} for {}: {}", text(&answer["company"]), text(&answer["fate"])))?;
    let row = |out: &mut Out, name: &str, text: &str| out.line(&format!("  {name:<11}{text}"));
    row(out, "what", &text(&answer["story"]))?;
    row(out, "event", &event_line(event))?;
    for (name, key) in [("received", "received"), ("decided", "waitedSince")] {
        if answer[key].is_object() {
            // What waited was received in one commit and decided in another.
            let commit = if key == "waitedSince" { &answer["committed"] } else { &answer[key] };
            row(out, name, &format!("in commit {} at {}", text(&commit["commit"]), text(&commit["at"])))?;
        }
    }
    for (name, key) in [("platform", "platform"), ("chain", "chain")] {
        if answer[key].is_object() {
            for line in chain_lines(&answer[key], verdict_of(answer, key)) {
                row(out, name, &line)?;
            }
        }
    }
    let outputs = &answer["outputs"];
    if outputs["committed"].as_u64() > Some(0) || outputs["cached"].as_u64() > Some(0) {
        row(out, "cache", &cache_line(outputs))?;
        row(out, "sent to", &recipients_line(answer))?;
        let connections = answer["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
        for connection in connections.iter().take(CONNECTIONS_SHOWN) {
            row(out, "", &connection_line(connection))?;
        }
        if connections.len() > CONNECTIONS_SHOWN {
            row(out, "", &format!("and {} more (--json)", connections.len() - CONNECTIONS_SHOWN))?;
        }
    }
    Ok(())
}

fn event_line(event: &Value) -> String {
    let mut line = format!("sequence {} of stream generation {}", text(&event["sequence"]), text(&event["generation"]));
    if event["subject"].is_string() {
        line.push_str(&format!(", {} at {}", text(&event["subject"]), text(&event["time"])));
    }
    line.push_str(match event["inSource"].as_bool() {
        Some(true) => "; the source still has it",
        Some(false) => "; the source no longer has it, or never had",
        None => "",
    });
    if event["idAgrees"] == Value::Bool(false) {
        line.push_str("; nothing speaks for the id's time, so this may be of another event");
    }
    if event["subjectAgrees"] == Value::Bool(false) {
        line.push_str("; that is not the subject that was asked for");
    }
    line
}

/// Where a chain ended the event, if it did: the filter's file name.
fn verdict_of<'a>(answer: &'a Value, key: &str) -> Option<&'a Value> {
    let ended = |input: &&Value| matches!(input["verdict"].as_str(), Some("dropped" | "dead-lettered"));
    let platform = answer["chain"].is_null();
    let inputs = answer["inputs"].as_array().filter(|_| platform == (key == "platform"))?;
    inputs.iter().find(ended)
}

/// One line for each filter: what it did with the event, and what its calls took.
fn chain_lines(chain: &Value, ended: Option<&Value>) -> Vec<String> {
    let digest = text(&chain["digest"]);
    let filters = chain["filters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if filters.is_empty() {
        return vec![format!("chain {digest}: no filter ran; what comes in goes out as it is")];
    }
    let module = ended.map(|ended| text(&ended["module"])).unwrap_or_default();
    let blamed = |filter: &str| {
        ended.is_some_and(|ended| text(&ended["filter"]) == filter) || module.split('@').next() == Some(filter)
    };
    let last = filters.iter().position(|one| blamed(&text(&one["filter"])));
    let line = |(at, one): (usize, &Value)| {
        let did = match (last, ended) {
            (Some(last), _) if at > last => "not reached",
            (Some(last), Some(ended)) if at == last => match ended["verdict"].as_str() {
                Some("dropped") => "dropped it",
                _ => "failed",
            },
            _ => "passed it on",
        };
        let (calls, events) = (one["calls"].as_u64().unwrap_or(0), one["events"].as_u64().unwrap_or(0));
        let millis = one["micros"].as_u64().unwrap_or(0) as f64 / 1000.0;
        // An event has no time of its own: a call takes many at once.
        let calls = if calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") };
        let events = if events == 1 { "1 event".to_owned() } else { format!("{events} events") };
        format!("{}: {did} ({calls} for {events}: {millis:.2} ms)", text(&one["filter"]))
    };
    let mut lines = vec![format!("chain {digest}")];
    lines.extend(filters.iter().enumerate().map(line));
    lines
}

fn cache_line(outputs: &Value) -> String {
    let (committed, cached) = (text(&outputs["committed"]), text(&outputs["cached"]));
    let mut line = format!("{cached} of {committed} outputs");
    if committed == "0" {
        line = format!("{cached} outputs");
    }
    let gone = &outputs["gone"];
    if gone.is_object() {
        line.push_str(&format!("; gone up to sequence {} ({})", text(&gone["upto"]), text(&gone["reason"])));
    }
    line
}

/// Speaks of the host that answered, and of none else.
fn recipients_line(answer: &Value) -> String {
    let host = text(&answer["host"]);
    let found = answer["recipients"].as_u64().unwrap_or(0);
    let connections = if found == 1 { "1 connection".to_owned() } else { format!("{found} connections") };
    let open = text(&answer["connected"]);
    format!("{connections} of host {host} ({open} of the company are open now); other hosts have their own")
}

fn connection_line(connection: &Value) -> String {
    let (from, to) = (text(&connection["sentFrom"]), text(&connection["sentTo"]));
    let when = match connection["sent"].as_str() {
        Some("yes") if from == to => format!("sent at {from}"),
        Some("yes") => format!("sent between {from} and {to}"),
        _ => "what it was sent so long ago is no longer known".to_owned(),
    };
    let ended = &connection["ended"];
    let ended = match ended.is_object() {
        true => format!("; ended at {} ({})", text(&ended["at"]), text(&ended["reason"])),
        false => String::new(),
    };
    format!("#{} {}: {when}{ended}", text(&connection["connectionId"]), text(&connection["peer"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::Printed;
    use serde_json::json;

    fn printed(answer: &Value) -> String {
        let printed = Printed::default();
        show(answer, &mut Out::to(printed.clone())).expect("prints");
        printed.text()
    }

    #[test]
    fn an_emitted_event_is_told_with_its_chains_and_connections() {
        let answer = json!({
            "company": "acme", "fate": "emitted", "story": "emitted as 1 output",
            "event": {"id": "metrics.a-17-1700000000000", "sequence": 17, "generation": 1, "subject": "metrics.a",
                      "time": "2023-11-14T22:13:20Z", "inSource": true, "idAgrees": true, "subjectAgrees": true},
            "received": {"commit": 9, "at": "2023-11-14T22:13:20.01Z"},
            "committed": {"commit": 9, "at": "2023-11-14T22:13:20.01Z"}, "waitedSince": null,
            "platform": {"digest": "00000000000000aa", "filters": [{"filter": "00-builtin", "calls": 1, "micros": 1250, "events": 12}]},
            "chain": {"digest": "00000000000000bb", "filters": [{"filter": "10-redact", "calls": 2, "micros": 300, "events": 1}]},
            "inputs": [{"verdict": "emitted", "outputs": 1}],
            "outputs": {"committed": 1, "cached": 1, "gone": null}, "host": "h1", "connected": 1, "recipients": 2,
            "connections": [
                {"connectionId": 1, "peer": "127.0.0.1:5", "sent": "yes", "sentFrom": "a", "sentTo": "b", "ended": {"at": "c", "reason": "client"}},
                {"connectionId": 2, "peer": "127.0.0.1:6\u{1b}[2J", "sent": "yes", "sentFrom": "d", "sentTo": "d", "ended": null},
            ],
        });
        assert_eq!(
            printed(&answer),
            "metrics.a-17-1700000000000 for acme: emitted\n  \
               what       emitted as 1 output\n  \
               event      sequence 17 of stream generation 1, metrics.a at 2023-11-14T22:13:20Z; the source still has it\n  \
               received   in commit 9 at 2023-11-14T22:13:20.01Z\n  \
               platform   chain 00000000000000aa\n  \
               platform   00-builtin: passed it on (1 call for 12 events: 1.25 ms)\n  \
               chain      chain 00000000000000bb\n  \
               chain      10-redact: passed it on (2 calls for 1 event: 0.30 ms)\n  \
               cache      1 of 1 outputs\n  \
               sent to    2 connections of host h1 (1 of the company are open now); other hosts have their own\n             \
                          #1 127.0.0.1:5: sent between a and b; ended at c (client)\n             \
                          #2 127.0.0.1:6\u{fffd}[2J: sent at d\n"
        );
    }

    #[test]
    fn the_filter_that_ended_it_is_named_and_those_after_it_were_not_reached() {
        let filters = json!([{"filter": "10-a", "calls": 1, "micros": 10, "events": 3},
                             {"filter": "20-b", "calls": 1, "micros": 10, "events": 3},
                             {"filter": "30-c", "calls": 1, "micros": 10, "events": 2}]);
        for (input, said) in [
            (json!({"verdict": "dropped", "filter": "20-b", "reason": "no"}), "dropped it"),
            (json!({"verdict": "dead-lettered", "kind": "trap", "reason": "x", "module": "20-b@12ab"}), "failed"),
        ] {
            let answer = json!({"company": "acme", "fate": "x", "event": {"sequence": 4, "generation": 2}, "inputs": [input],
                "platform": {"digest": "p", "filters": [{"filter": "00-p", "calls": 1, "micros": 1, "events": 1}]},
                "chain": {"digest": "c", "filters": filters}});
            let text = printed(&answer);
            assert!(text.starts_with("sequence 4 for acme: x\n"), "{text}");
            assert!(text.contains("00-p: passed it on") && text.contains("10-a: passed it on"), "{text}");
            assert!(text.contains(&format!("20-b: {said}")) && text.contains("30-c: not reached"), "{text}");
            assert!(!text.contains("sent to"), "{text}");
        }
    }
}
