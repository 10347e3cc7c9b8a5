//! `GET /admin/explain`: what became of one event for one company.

use super::{Admin, rfc3339_ms};
use crate::explain::{Asked, Found, Recipient, gather};
use crate::http::respond::{Answer, json, refused};
use http::{Response, StatusCode};
use serde_json::{Value, json as value};
use tidegate_core::cursor::{event_id, parse_id};
use tidegate_core::event::Company;
use tidegate_core::explain::{Fate, InSource};
use tidegate_core::gap::GapReason;
use tidegate_core::limits::EXPLAINED_CONNECTIONS;
use tidegate_core::position::Position;
use tidegate_core::record::{Became, Pass};
use tidegate_core::sent::Told;

impl Admin {
    pub(super) async fn explain(&self, query: &str) -> Response<Answer> {
        let (company, asked, subject) = match question(query) {
            Ok(question) => question,
            Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
        };
        match gather(&self.site, company, &asked).await {
            Ok(Some(found)) => json(StatusCode::OK, &answer(&found, &asked, subject.as_deref(), &self.host)),
            Ok(None) => refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "nothing was ever committed: the host has not read its source yet",
            ),
            Err(error) => {
                let message = format!("what is kept can't be read: {error}; try again once Redis answers");
                refused(StatusCode::SERVICE_UNAVAILABLE, &message)
            }
        }
    }
}

/// Reads the query: company, and an event's id or its sequence.
fn question(query: &str) -> Result<(Company, Asked, Option<String>), String> {
    let (mut company, mut event, mut sequence, mut generation, mut subject) = (None, None, None, None, None);
    for (key, text) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "company" => company = Some(text.into_owned()),
            "event" => event = Some(text.into_owned()),
            "sequence" => sequence = Some(text.into_owned()),
            "generation" => generation = Some(text.into_owned()),
            "subject" => subject = Some(text.into_owned()),
            _ => {}
        }
    }
    let company = company.ok_or("`company` is missing")?;
    let company = Company::new(&company).map_err(|error| format!("company={company}: {error}"))?;
    let asked = match (event, sequence) {
        (Some(event), None) => {
            let id = parse_id(&event).ok_or_else(|| {
                format!("event={event}: an event's id is accepted, such as metrics.calculated-17-1700000000000")
            })?;
            if id.output == u32::MAX {
                return Err(format!("event={event}: that is a place between events, not an event"));
            }
            Asked::Id(id)
        }
        (None, Some(sequence)) => {
            let wrong = |what: &str, text: &str| format!("{what}={text}: a whole number is accepted");
            let number = sequence.parse().ok().filter(|number| *number <= tidegate_core::position::SEQUENCE_MAX);
            let generation =
                generation.map(|text| text.parse().ok().ok_or_else(|| wrong("generation", &text))).transpose()?;
            Asked::Sequence { sequence: number.ok_or_else(|| wrong("sequence", &sequence))?, generation }
        }
        _ => return Err("either `event` (its id) or `sequence` is needed".to_owned()),
    };
    Ok((company, asked, subject))
}

fn answer(found: &Found, asked: &Asked, subject: Option<&str>, host: &str) -> Value {
    let (said, evidence) = (&found.explanation, &found.evidence);
    let (source_subject, time_ms) = match (&evidence.source, evidence.cached.first()) {
        (InSource::Held { subject, time_ms }, _) => (Some(subject), Some(*time_ms)),
        (_, Some(cached)) => (Some(&cached.subject), Some(cached.time_ms)),
        _ => (None, None),
    };
    let position = Position::new(found.question.generation, found.question.sequence, 1);
    let id = source_subject.zip(time_ms).map(|(subject, time_ms)| event_id(subject, position, time_ms));
    let asked_id = match asked {
        Asked::Id(id) => Some(id.text.as_str()),
        Asked::Sequence { .. } => None,
    };
    let other_subject = subject.zip(source_subject).is_some_and(|(asked, found)| asked != &**found);
    let waiting = matches!(said.fate, Fate::Waiting).then(|| evidence.company.map(|head| head.waiting));
    let lines = match &said.fate {
        Fate::Decided(became) => became.iter().map(line).collect(),
        Fate::Platform(became) => vec![line(became)],
        _ => Vec::new(),
    };
    value!({
        "company": found.question.company.as_str(),
        "event": {
            "id": asked_id.map(str::to_owned).or(id),
            "sequence": found.question.sequence,
            "generation": found.question.generation,
            "subject": source_subject.map(|subject| &**subject),
            "time": time_ms.and_then(rfc3339_ms),
            "inSource": match evidence.source {
                InSource::Held { .. } => Some(true),
                InSource::NotHeld => Some(false),
                InSource::Unknown => None,
            },
            "idAgrees": !found.doubtful,
            "subjectAgrees": !other_subject,
        },
        "fate": word(&said.fate),
        "story": story(found),
        "inputs": lines,
        "received": said.taken_in.map(commit),
        "committed": said.decided.or(said.taken_in).filter(|_| !matches!(said.fate, Fate::Waiting | Fate::LeftBacklog)).map(commit),
        "waitedSince": said.decided.and(said.taken_in).map(commit),
        "waiting": waiting.flatten(),
        "platform": said.platform.as_ref().map(pass),
        "chain": said.chain.as_ref().map(pass),
        "outputs": {
            "committed": said.outputs,
            "cached": evidence.cached.len(),
            "gone": said.gone.filter(|_| (evidence.cached.len() as u64) < u64::from(said.outputs)).map(|floor| value!({
                "reason": floor.reason.as_str(),
                "upto": floor.position.sequence,
            })),
        },
        "checkpoint": evidence.checkpoint.map(|place| value!({ "generation": place.generation, "sequence": place.sequence })),
        "recordsFrom": evidence.oldest.as_ref().map(|oldest| value!({
            "commit": oldest.number,
            "at": rfc3339_ms(oldest.at_ms),
            "afterSequence": oldest.record.after.sequence,
        })),
        "host": host,
        "connected": found.connected,
        "recipients": found.recipients.len(),
        "connections": found.recipients.iter().take(EXPLAINED_CONNECTIONS).map(recipient).collect::<Vec<_>>(),
    })
}

fn commit((number, at_ms): (u64, u64)) -> Value {
    value!({ "commit": number, "at": rfc3339_ms(at_ms) })
}

fn pass(pass: &Pass) -> Value {
    let filters: Vec<Value> = pass
        .filters
        .iter()
        .map(|one| value!({ "filter": &*one.filter, "calls": one.calls, "micros": one.micros, "events": one.events }))
        .collect();
    value!({ "digest": format!("{:016x}", pass.chain), "filters": filters })
}

fn line(became: &Became) -> Value {
    match became {
        Became::Emitted(outputs) => value!({ "verdict": "emitted", "outputs": outputs }),
        Became::Dropped { filter, reason } => {
            value!({ "verdict": "dropped", "filter": &**filter, "reason": &**reason })
        }
        Became::Dead { kind, reason, module } => {
            value!({ "verdict": "dead-lettered", "kind": &**kind, "reason": &**reason, "module": module.as_deref() })
        }
        Became::Waits => value!({ "verdict": "waiting" }),
        Became::PassedOver => value!({ "verdict": "passed-over" }),
    }
}

fn recipient(one: &Recipient) -> Value {
    let stretch = match one.told {
        Told::Sent(stretch) => Some(stretch),
        Told::Not | Told::Forgotten => None,
    };
    value!({
        "connectionId": one.connection.connection_id,
        "peer": one.connection.peer,
        "since": rfc3339_ms(one.connection.since_ms),
        "sent": if stretch.is_some() { "yes" } else { "unknown" },
        "sentFrom": stretch.and_then(|stretch| rfc3339_ms(stretch.from_ms)),
        "sentTo": stretch.and_then(|stretch| rfc3339_ms(stretch.to_ms)),
        "ended": one.ended.map(|(at_ms, reason)| value!({ "at": rfc3339_ms(at_ms), "reason": reason })),
    })
}

/// The strongest of what became of its inputs, in a word.
fn word(fate: &Fate) -> &'static str {
    let of = |became: &Became| match became {
        Became::Emitted(0) | Became::Dropped { .. } => "dropped",
        Became::Emitted(_) => "emitted",
        Became::Dead { .. } => "dead-lettered",
        Became::Waits => "waiting",
        Became::PassedOver => "passed-over",
    };
    match fate {
        Fate::Platform(became) => of(became),
        Fate::Decided(all) => {
            let is = |word| all.iter().any(|became| of(became) == word).then_some(word);
            is("dead-lettered").or(is("emitted")).unwrap_or("dropped")
        }
        Fate::PassedOver => "passed-over",
        Fate::Waiting => "waiting",
        Fate::LeftBacklog => "left-backlog",
        Fate::Others(_) => "other-company",
        Fate::NotYet => "not-yet",
        Fate::SourceLost => "source-lost",
        Fate::NeverSeen | Fate::NotInSource => "never-seen",
        Fate::RecordsGone { .. } => "records-gone",
    }
}

fn story(found: &Found) -> String {
    let (said, evidence, company) = (&found.explanation, &found.evidence, &found.question.company);
    let cached = evidence.cached.len();
    match &said.fate {
        Fate::Platform(became) => format!("the platform chain ended it: {}", of_input(became)),
        Fate::Decided(all) => {
            let gone = match said.gone.map(|floor| floor.reason) {
                _ if cached as u64 >= u64::from(said.outputs) => String::new(),
                Some(GapReason::Trimmed) => {
                    format!("; {cached} of them are still in the replay cache, the others were trimmed")
                }
                Some(reason) => format!("; {cached} of them are in the replay cache ({})", reason.as_str()),
                None => format!("; {cached} of them are in the replay cache"),
            };
            format!("{}{gone}", all.iter().map(of_input).collect::<Vec<_>>().join("; "))
        }
        Fate::PassedOver => {
            "the replay cache was emptied and is filled again from a later event on (replay.rebuild)".to_owned()
        }
        Fate::Waiting => {
            let inputs = evidence.company.map_or(0, |head| head.waiting);
            format!("it waits for {company}'s chain, in a backlog of {inputs} inputs")
        }
        Fate::LeftBacklog => format!("it waited in {company}'s backlog and left it; the record of that commit is gone"),
        Fate::Others(1) => format!("it went to another company, not to {company}"),
        Fate::Others(companies) => format!("it went to {companies} other companies, not to {company}"),
        Fate::NotYet => "it is in the source and not committed yet".to_owned(),
        Fate::SourceLost => "the source lost it before it was read".to_owned(),
        Fate::NeverSeen => "no event of this number was received, though all around it was".to_owned(),
        Fate::NotInSource => "no event of this number was received, nor does the source tell of one".to_owned(),
        Fate::RecordsGone { .. } => {
            let begin = evidence.oldest.as_ref().map_or_else(
                || "no records are kept".to_owned(),
                |oldest| format!("records are kept from sequence {} on", oldest.record.after.sequence + 1),
            );
            match cached {
                0 => format!("what was decided is no longer known: {begin}"),
                cached => format!("{begin}; {cached} outputs of it are in the replay cache, so it was emitted"),
            }
        }
    }
}

fn of_input(became: &Became) -> String {
    let because = |reason: &str| if reason.is_empty() { "no reason given".to_owned() } else { reason.to_owned() };
    match became {
        Became::Emitted(1) => "emitted as 1 output".to_owned(),
        Became::Emitted(outputs) => format!("emitted as {outputs} outputs"),
        Became::Dropped { filter, reason } => format!("dropped by {filter}: {}", because(reason)),
        Became::Dead { kind, reason, .. } => format!("dead-lettered ({kind}): {reason}"),
        Became::Waits => "waiting in the backlog".to_owned(),
        Became::PassedOver => "passed over".to_owned(),
    }
}
