//! Platform filter for GitHub webhooks published as `github.<event>`: whose event it is, its type, its summary.
//!
//! What comes out is described in the README, two folders up.

mod company;
mod object;
mod summary;

use serde::Deserialize;
use tidegate_guest::{Error, Event, Result, Verdict, filter};

use object::Object;

/// The longest event name and the longest action; together with the `_` between them they make an event type.
const NAME_BYTES_MAX: usize = 63;

/// What decides over company and type. Serde refuses a key that stands twice: readers differ on which one counts.
#[derive(Deserialize)]
#[serde(expecting = "a webhook's payload, which is an object")]
struct Payload {
    action: Option<String>,
    repository: Option<Repository>,
    organization: Option<Account>,
    sender: Option<Account>,
}

#[derive(Deserialize)]
#[serde(expecting = "a repository, which is an object")]
struct Repository {
    owner: Option<Account>,
}

#[derive(Deserialize)]
#[serde(expecting = "an account, which is an object")]
struct Account {
    login: Option<String>,
}

/// Makes of each webhook one event of the company that it belongs to.
#[filter(name = "github", reads = ["github.*"])]
pub fn github(event: &Event) -> Result<Verdict> {
    let name = event_name(event.subject())?;
    let payload: Payload = event.json()?;
    // Read above, so it is UTF-8 and JSON; but serde takes an array for a struct, too.
    let text = std::str::from_utf8(event.payload())?;
    let Some(members) = Object::of(text) else {
        return Err(Error::new("not a webhook: the payload is an array"));
    };
    let company = company::of(&payload)?;
    let event_type = event_type(name, payload.action.as_deref())?;
    let summary = summary::of(name, &members);
    Ok(Verdict::emit_json(&event_type, &summary).to_companies([company.as_str()]))
}

/// `github.pull_request` is `pull_request`.
fn event_name(subject: &str) -> Result<&str> {
    match subject.strip_prefix("github.") {
        Some(name) if is_name(name) => Ok(name),
        _ => {
            Err(Error::new(format_args!("the subject `{subject}` isn't `github.<event>`, as in `github.pull_request`")))
        }
    }
}

/// `pull_request` and `opened` make `pull_request_opened`.
fn event_type(name: &str, action: Option<&str>) -> Result<String> {
    match action {
        // Here the action is the sender's own text: browsers can't listen to types that nobody knows beforehand.
        None => Ok(name.to_owned()),
        Some(_) if name == "repository_dispatch" => Ok(name.to_owned()),
        Some(action) if is_name(action) => Ok(format!("{name}_{action}")),
        Some(action) => Err(Error::new(format_args!(
            "the action {:?} can't be part of an event type: 1 to {NAME_BYTES_MAX} of a-z 0-9 _ are accepted",
            action.chars().take(NAME_BYTES_MAX).collect::<String>()
        ))),
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Outcome, Recorder, TestEvent, check_cases};

    use super::*;

    fn run(subject: &str, payload: &str) -> Outcome {
        Recorder::<github>::new().run(&TestEvent::new(subject, payload))
    }

    fn error(subject: &str, payload: &str) -> String {
        match run(subject, payload) {
            Outcome::Error(text) => text,
            other => panic!("{subject} {payload}: {other:?}"),
        }
    }

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<github>("cases");
    }

    #[test]
    fn a_subject_that_names_no_event_is_an_error() {
        for subject in ["github", "github.", "github.a.b", "github.Push", "github.a-b", "metrics.push", "xgithub.push"]
        {
            let text = error(subject, r#"{"sender":{"login":"ada"}}"#);
            assert_eq!(text, format!("the subject `{subject}` isn't `github.<event>`, as in `github.pull_request`"));
        }
    }

    #[test]
    fn the_type_is_the_event_with_its_action() {
        assert_eq!(event_type("push", None).unwrap(), "push");
        assert_eq!(event_type("pull_request", Some("opened")).unwrap(), "pull_request_opened");
        assert_eq!(event_type("repository_dispatch", Some("Anything at all\n")).unwrap(), "repository_dispatch");
    }

    #[test]
    fn an_action_can_not_break_out_of_the_event_type() {
        for action in ["", "open ed", "opened\ndata: x", "ge\u{f6}ffnet", &"x".repeat(64)] {
            assert!(event_type("issues", Some(action)).unwrap_err().to_string().contains("can't be part"), "{action}");
        }
    }

    #[test]
    fn the_longest_names_still_make_an_event_type() {
        let name = "x".repeat(NAME_BYTES_MAX);
        assert!(event_type(&name, Some(&name)).unwrap().len() <= 128);
    }

    #[test]
    fn what_is_no_payload_is_an_error_that_says_why() {
        for (payload, part) in [
            ("", "not JSON"),
            ("{\"sender\":", "not JSON"),
            ("7", "a webhook's payload, which is an object"),
            ("[]", "a webhook's payload, which is an object"),
            (r#"["opened",{"owner":{"login":"ada"}},null,null]"#, "the payload is an array"),
            (r#"{"action":7,"sender":{"login":"ada"}}"#, "field `action`"),
            (r#"{"repository":{"owner":{"login":7}}}"#, "field `repository.owner.login`"),
            (r#"{"repository":7}"#, "a repository, which is an object"),
            (r#"{"sender":{"login":"ada"},"sender":{"login":"eve"}}"#, "duplicate field `sender`"),
            (r#"{"sender":{"login":"ada","login":"eve"}}"#, "duplicate field `login`"),
        ] {
            let text = error("github.push", payload);
            assert!(text.contains(part), "{payload}: {text}");
        }
        let bytes = TestEvent::new("github.push", b"{\"sender\":{\"login\":\"\xff\"}}");
        let outcome = Recorder::<github>::new().run(&bytes);
        assert!(matches!(&outcome, Outcome::Error(text) if text.starts_with("not JSON")), "{outcome:?}");
    }
}
