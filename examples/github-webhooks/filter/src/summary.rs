//! What a dashboard shows of a webhook: a dozen fields out of many hundreds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::object::Object;

/// The longest text that is passed on, in characters; a longer one ends with an ellipsis.
const TEXT_CHARS_MAX: usize = 200;

/// Counters of the event's own objects, by what GitHub calls them and what we do.
const OWN_COUNTERS: [(&str, &str); 6] = [
    ("additions", "additions"),
    ("deletions", "deletions"),
    ("changed_files", "changedFiles"),
    ("commits", "commits"),
    ("comments", "comments"),
    ("review_comments", "reviewComments"),
];

/// Counters of the repository.
const REPOSITORY_COUNTERS: [(&str, &str); 3] =
    [("stargazers_count", "stars"), ("forks_count", "forks"), ("open_issues_count", "openIssues")];

/// Lists of the payload of which only the length is told.
const LISTS: [(&str, &str); 5] = [
    ("commits", "commits"),
    ("pages", "pages"),
    ("repositories", "repositories"),
    ("repositories_added", "repositoriesAdded"),
    ("repositories_removed", "repositoriesRemoved"),
];

/// The data of an event. What the webhook doesn't have is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<&'static str, u64>,
}

/// The summary of a payload. A field of an unexpected kind counts as missing: a dashboard can do without it.
pub(crate) fn of<'a>(event: &'a str, payload: &Object<'_>) -> Summary<'a> {
    let objects: Vec<Object> = objects(event).iter().filter_map(|key| payload.object(key)).collect();
    let repository = payload.object("repository");
    let text = |keys: &[&str]| objects.iter().find_map(|object| object.text(keys));
    let login = |account: &str| payload.object(account)?.text(&["login"]);
    let branch = || objects.iter().find_map(|object| object.object("head")?.text(&["ref"]));
    let message = || payload.object("head_commit")?.text(&["message"]);
    let address = || repository.as_ref()?.text(&["html_url"]);
    Summary {
        event,
        action: payload.text(&["action"]).map(cut),
        repository: repository.as_ref().and_then(|repository| repository.text(&["full_name", "name"])).map(cut),
        sender: login("sender").map(cut),
        number: payload.number("number").or_else(|| objects.iter().find_map(|object| object.number("number"))),
        title: text(&["title", "display_title", "name", "tag_name", "login", "summary", "note", "environment"])
            .or_else(message)
            .or_else(|| payload.text(&["context", "workflow", "zen"]))
            .map(first_line)
            .map(cut),
        state: text(&["conclusion", "state", "status"]).or_else(|| payload.text(&["state", "status"])).map(cut),
        r#ref: payload
            .text(&["ref", "branch"])
            .or_else(|| text(&["ref", "head_branch", "tag_name"]))
            .or_else(branch)
            .map(cut),
        // A page makes links of it: nothing but a web address passes, and half of one leads nowhere.
        url: text(&["html_url"])
            .or_else(|| payload.text(&["compare", "target_url"]))
            .or_else(address)
            .filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        counters: counters(&objects, repository.as_ref(), payload),
    }
}

/// The members that a webhook is about, the nearest first.
fn objects(event: &str) -> [&str; 2] {
    match event {
        "branch_protection_rule" => ["rule", ""],
        "code_scanning_alert" | "dependabot_alert" | "repository_vulnerability_alert" | "secret_scanning_alert" => {
            ["alert", ""]
        }
        "commit_comment" => ["comment", ""],
        "deploy_key" => ["key", ""],
        "deployment_review" => ["workflow_job_run", "workflow_run"],
        "deployment_status" => ["deployment_status", "deployment"],
        "discussion_comment" => ["comment", "discussion"],
        "fork" => ["forkee", ""],
        "issue_comment" => ["comment", "issue"],
        "issues" => ["issue", ""],
        "membership" => ["member", "team"],
        "meta" | "ping" => ["hook", ""],
        "org_block" => ["blocked_user", ""],
        "page_build" => ["build", ""],
        "pull_request_review" => ["review", "pull_request"],
        "pull_request_review_comment" => ["comment", "pull_request"],
        "pull_request_review_thread" => ["thread", "pull_request"],
        "registry_package" => ["registry_package", "package"],
        "team_add" => ["team", ""],
        same => [same, ""],
    }
}

fn counters(
    objects: &[Object<'_>],
    repository: Option<&Object<'_>>,
    payload: &Object<'_>,
) -> BTreeMap<&'static str, u64> {
    let own = objects
        .iter()
        .flat_map(|object| OWN_COUNTERS.iter().filter_map(|(key, name)| Some((*name, object.number(key)?))));
    let lists = LISTS.iter().filter_map(|(key, name)| Some((*name, payload.length(key)?)));
    let around = repository.into_iter().flat_map(|repository| {
        REPOSITORY_COUNTERS.iter().filter_map(|(key, name)| Some((*name, repository.number(key)?)))
    });
    own.chain(lists).chain(around).collect()
}

fn first_line(text: String) -> String {
    text.lines().next().map(str::to_owned).unwrap_or_default()
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn summary(event: &str, payload: &Value) -> Value {
        let text = payload.to_string();
        serde_json::to_value(of(event, &Object::of(&text).unwrap())).unwrap()
    }

    #[test]
    fn a_comment_tells_of_what_it_comments() {
        let payload = json!({
            "action": "created",
            "comment": {"html_url": "https://git.test/c/1", "body": "I agree"},
            "issue": {"number": 4, "title": "Too slow", "state": "open", "html_url": "https://git.test/i/4", "comments": 3},
            "repository": {"full_name": "acme/site", "stargazers_count": 9, "private": true},
            "sender": {"login": "ada", "id": 1},
        });
        let expected = json!({
            "event": "issue_comment", "action": "created", "repository": "acme/site", "sender": "ada", "number": 4,
            "title": "Too slow", "state": "open", "url": "https://git.test/c/1", "counters": {"comments": 3, "stars": 9},
        });
        assert_eq!(summary("issue_comment", &payload), expected);
    }

    #[test]
    fn a_push_shows_its_last_message_and_counts_its_commits() {
        let payload = json!({
            "ref": "refs/heads/main", "compare": "https://git.test/compare", "commits": [{}, {}],
            "head_commit": {"message": "Make it fast\n\nBy doing less."},
        });
        let expected = json!({
            "event": "push", "title": "Make it fast", "ref": "refs/heads/main", "url": "https://git.test/compare",
            "counters": {"commits": 2},
        });
        assert_eq!(summary("push", &payload), expected);
    }

    #[test]
    fn a_conclusion_says_more_than_a_status() {
        let run = |conclusion: Value| json!({"check_run": {"status": "completed", "conclusion": conclusion}});
        assert_eq!(summary("check_run", &run(json!("failure")))["state"], "failure");
        assert_eq!(summary("check_run", &run(Value::Null))["state"], "completed");
    }

    #[test]
    fn what_is_no_web_address_never_becomes_a_link() {
        let payload = json!({"issue": {"html_url": "javascript:alert(1)"}});
        assert_eq!(summary("issues", &payload), json!({"event": "issues"}));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let payload = json!({"issue": {"title": "\u{e9}".repeat(1000)}});
        let title = format!("{}\u{2026}", "\u{e9}".repeat(TEXT_CHARS_MAX));
        assert_eq!(summary("issues", &payload)["title"], title);
    }

    #[test]
    fn fields_of_an_unexpected_kind_are_left_out() {
        let payload =
            json!({"issue": {"title": 7, "state": null, "number": "4", "comments": -1}, "sender": [], "ref": {}});
        assert_eq!(summary("issues", &payload), json!({"event": "issues"}));
    }
}
