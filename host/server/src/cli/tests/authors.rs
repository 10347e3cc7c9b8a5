//! The verbs for filter authors, on the shipped filters.

use super::{ran, status};
use crate::cli::Done;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with the shipped filter `threshold` in it, removed with its owner.
struct Desk(PathBuf);

impl Desk {
    fn new(name: &str, cases: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-authors-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters/threshold/threshold.wasm");
        fs::copy(module, folder.join("10-t.wasm")).expect("the module");
        fs::write(folder.join("10-t.toml"), "[config]\npointer = \"/value\"\nmin = 10\n").expect("written");
        fs::write(folder.join("10-t.test.ndjson"), cases).expect("written");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("a file")
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

/// Right, right with a configuration of its own, wrong, wrong, and no case.
const CASES: &str = r#"{"event":{"subject":"metrics.a","payload":{"value":9}},"expect":{"drop":"below min"}}
{"event":{"subject":"metrics.a","payload":{"value":9}},"config":{"pointer":"/value","min":5},"expect":{"emit":[{"data":{"value":9}}]}}

{"expect":{"drop":"below min"},  "event":{"subject":"metrics.a","type":"m","payload":{"value":11, "note":"a"}}}
{"event":{"subject":"metrics.a","payload":{"value":"x"}},"expect":{"emit":[]}}
{"event":{"subject":"metrics.a"},"expect":{"emit":[]}}
"#;

#[test]
fn every_failing_case_is_shown_with_what_differs() {
    let desk = Desk::new("shown", CASES);
    let (result, text) = ran(&["test", &desk.path("10-t.wasm")]);
    assert_eq!(result.expect("a verdict"), Done::Badly);
    for part in [
        "line 4: - expected, + came\n",
        "  event   {\"subject\":\"metrics.a\",\"type\":\"m\",\"payload\":{\"value\":11, \"note\":\"a\"}}\n",
        "  filter  10-t@",
        "  -   \"drop\": \"below min\"\n",
        "  +         \"value\": 11\n",
        "line 5: ",
        "  +   \"error\": \"`/value` is no number\"\n",
        "line 6: no event: missing field `payload`",
        "\n5 cases, 3 failures\n",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(!text.contains("line 1:") && !text.contains("line 2:"), "{text}");
}

#[test]
fn check_refuses_for_its_cases_and_shows_them() {
    let desk = Desk::new("check", CASES);
    let (result, text) = ran(&["check", &desk.path("10-t.wasm")]);
    assert_eq!(result.expect("a verdict"), Done::Badly);
    assert!(text.contains("(and 2 more) (self-test)") && text.contains("line 5: - expected"), "{text}");
    let (result, text) = ran(&["check", &desk.path("10-t.wasm"), "--json"]);
    assert_eq!(result.expect("a verdict"), Done::Badly);
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(told["kind"], "self-test");
}

#[test]
fn update_writes_what_came_and_nothing_else() {
    let cases: String = CASES.lines().take(5).map(|line| format!("{line}\n")).collect();
    let desk = Desk::new("update", &cases);
    let (result, text) = ran(&["test", &desk.path("10-t.wasm"), "--update"]);
    assert_eq!(result.expect("updated"), Done::Well, "{text}");
    assert!(text.contains("4 cases, 2 expectations updated in "), "{text}");
    let (before, after) = (cases, desk.read("10-t.test.ndjson"));
    let same = |line: usize| before.lines().nth(line) == after.lines().nth(line);
    assert!(same(0) && same(1) && same(2) && !same(3) && !same(4), "{after}");
    assert!(after.lines().nth(3).is_some_and(|line| line.ends_with(
        r#","type":"m"}]},  "event":{"subject":"metrics.a","type":"m","payload":{"value":11, "note":"a"}}}"#
    )));
    let (result, text) = ran(&["test", &desk.path("10-t.wasm")]);
    assert_eq!(result.expect("as it came"), Done::Well, "{text}");
    assert_eq!(text, "4 cases as expected, alone and in batches\n");
}

#[test]
fn json_tells_all_of_it() {
    let desk = Desk::new("json", CASES);
    let (result, text) = ran(&["test", &desk.path("10-t.wasm"), "--json"]);
    assert_eq!(result.expect("a verdict"), Done::Badly);
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&told["cases"], &told["passed"]), (&5.into(), &false.into()));
    let kinds: Vec<_> = told["failures"].as_array().expect("a list").iter().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["different", "different", "unreadable"]);
    assert_eq!(told["failures"][0]["came"]["emit"][0]["data"]["value"], 11);
}

#[test]
fn events_are_run_in_order_and_compared_with_what_is_expected() {
    let desk = Desk::new("events", "");
    let events = r#"{"subject":"metrics.a","company":"a","type":"m","payload":{"value":11}}
{"subject":"metrics.a","company":"b","payload":{"value":1}}
"#;
    fs::write(desk.path("events.ndjson"), events).expect("written");
    let (filter, events, expect) = (desk.path("10-t.wasm"), desk.path("events.ndjson"), desk.path("expect.ndjson"));
    let (result, came) = ran(&["test", &filter, "--events", &events]);
    assert_eq!(result.expect("ran"), Done::Well);
    assert_eq!(came, "{\"emit\":[{\"data\":{\"value\":11},\"type\":\"m\"}]}\n{\"drop\":\"below min\"}\n");
    // What is printed is what may be expected.
    fs::write(&expect, &came).expect("written");
    let words = ["test", &filter, "--events", &events, "--expect", &expect];
    let (result, text) = ran(&words);
    assert_eq!((result.expect("ran"), text.as_str()), (Done::Well, "2 events as expected, alone and in batches\n"));
    fs::write(&expect, "{\"drop\":\"no\"}\n{\"drop\":null}\n{\"drop\":null}\n").expect("written");
    let (result, text) = ran(&words);
    assert_eq!(result.expect("ran"), Done::Badly);
    assert!(text.contains("line 1: - expected") && text.contains("an expectation without an event"), "{text}");
    let (result, text) = ran(&[&words[..], &["--update"]].concat());
    assert_eq!(result.expect("updated"), Done::Well, "{text}");
    assert_eq!(desk.read("expect.ndjson"), came.replace("{\"drop\":\"below min\"}", "{\"drop\":null}"));
}

#[test]
fn without_cases_or_with_flags_that_do_not_fit_it_is_wrong_usage() {
    let desk = Desk::new("usage", "");
    let filter = desk.path("10-t.wasm");
    assert_eq!(status(&["test", &filter]), 2, "no case in the file");
    fs::remove_file(desk.path("10-t.test.ndjson")).expect("removed");
    assert_eq!(status(&["test", &filter]), 2, "no file");
    assert_eq!(status(&["test", &filter, "--expect", "x"]), 2);
    assert_eq!(status(&["test", &filter, "--events", "x", "--cases", "y"]), 2);
    assert_eq!(status(&["test", &filter, "--events", "x", "--update"]), 2);
    assert_eq!(status(&["test", &filter, "--cases", "/nowhere/x"]), 1);
    assert_eq!(status(&["test", "/nowhere/x.wasm"]), 1);
}

#[test]
fn bench_tells_times_instructions_memory_and_start() {
    let desk = Desk::new("bench", CASES);
    let words = ["bench", &desk.path("10-t.wasm"), "--seconds", "0.01"];
    let (result, text) = ran(&words);
    assert_eq!(result.expect("measured"), Done::Well, "{text}");
    for part in ["threshold", "µs a call", "KiB after the events", "INSTRUCTIONS", "natively: there is no Cargo.toml"]
    {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    let (result, text) = ran(&[&words[..], &["--json"]].concat());
    assert_eq!(result.expect("measured"), Done::Well, "{text}");
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(told["events"], 4, "those of the cases that can be read");
    for (index, size) in [1, 64, 1, 64].into_iter().enumerate() {
        let batch = &told["batches"][index];
        assert_eq!(batch["size"], size);
        for key in ["meanNs", "p50Ns", "p99Ns"] {
            assert!(batch["event"][key].as_f64().is_some_and(|ns| ns > 0.0), "{key}: {told}");
        }
        assert!(batch["instructions"].as_f64().is_some_and(|count| count > 100.0), "{told}");
        assert!(batch["failed"].as_u64() > Some(0) && batch["dropped"].as_u64() > batch["failed"].as_u64(), "{told}");
    }
    assert!(told["startMs"].as_f64() > Some(0.0) && told["compileMs"].as_f64() > Some(0.0), "{told}");
}

#[test]
fn bench_without_an_event_or_with_flags_that_do_not_fit_is_wrong_usage() {
    let desk = Desk::new("bench-usage", "");
    let filter = desk.path("10-t.wasm");
    assert_eq!(status(&["bench", &filter, "--no-native"]), 2, "no event");
    assert_eq!(status(&["bench", &filter, "--seconds", "0"]), 2);
    assert_eq!(status(&["bench", &filter, "--events", "/nowhere/x"]), 1);
    fs::write(desk.path("10-t.wasm"), "no module").expect("written");
    assert_eq!(status(&["bench", &filter]), 1);
}

#[test]
fn shipped_filters_pass_their_cases_alone_and_in_batches() {
    let filters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters");
    let cases =
        |name: &str| filters.join(name).join(format!("cases/{name}.ndjson")).to_str().expect("UTF-8").to_owned();
    let platform = filters.join("platform/platform.wasm");
    let (result, text) =
        ran(&["test", platform.to_str().expect("UTF-8"), "--cases", &cases("platform"), "--role", "platform"]);
    assert_eq!(result.expect("a verdict"), Done::Well, "{text}");
    let desk = Desk::new("shipped", "");
    let (result, text) = ran(&["test", &desk.path("10-t.wasm"), "--cases", &cases("threshold")]);
    assert_eq!(result.expect("a verdict"), Done::Well, "{text}");
    // Those that keep state, in random batches too. Each case brings the configuration it is judged by.
    for (name, config) in [
        ("dedup", "pointer = \"/id\"\nwindow = 600"),
        ("window", "length = 60\npointer = \"/value\""),
        ("session", "user = \"/userId\"\nquiet = 60"),
    ] {
        let file = desk.path(&format!("10-{name}.wasm"));
        fs::copy(filters.join(format!("{name}/{name}.wasm")), &file).expect("a copy");
        fs::write(desk.path(&format!("10-{name}.toml")), format!("[config]\n{config}\n")).expect("settings");
        let (result, text) = ran(&["test", &file, "--cases", &cases(name)]);
        assert_eq!(result.expect("a verdict"), Done::Well, "{text}");
    }
}

#[test]
fn a_project_is_made_whole_and_never_over_another() {
    let folder = std::env::temp_dir().join(format!("tidegate-new-{}", std::process::id()));
    let place = folder.to_str().expect("UTF-8");
    let (result, text) = ran(&["new", "only-high", "--dir", place]);
    assert_eq!(result.expect("made"), Done::Well, "{text}");
    for file in ["Cargo.toml", "Cargo.lock", "src/lib.rs", "only-high.toml", "only-high.test.ndjson", "README.md"] {
        let text = fs::read_to_string(folder.join(file)).expect(file);
        assert!(!text.is_empty() && !text.contains("NAME") && !text.contains("FUNCTION"), "{file}: {text}");
    }
    assert!(folder.join("tidegate-guest/rust/src/lib.rs").is_file());
    assert_eq!(status(&["new", "only-high", "--dir", place]), 2, "it is there already");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_project_in_each_language_holds_its_sdk_and_names_itself() {
    for (language, source, sdk) in [
        ("c", "filter.c", "c/tidegate.h"),
        ("js", "filter.js", "js/tidegate.js"),
        ("python", "filter.py", "python/tidegate/__init__.py"),
    ] {
        let folder = std::env::temp_dir().join(format!("tidegate-new-{language}-{}", std::process::id()));
        let place = folder.to_str().expect("UTF-8");
        let (result, text) = ran(&["new", "only-high", "--lang", language, "--dir", place]);
        assert_eq!(result.expect("made"), Done::Well, "{text}");
        assert!(text.contains(source), "{text}");
        for file in [source, "only-high.toml", "only-high.test.ndjson", "README.md", ".gitignore"] {
            let text = fs::read_to_string(folder.join(file)).expect(file);
            assert!(!text.is_empty() && !text.contains("NAME"), "{file}: {text}");
        }
        assert!(folder.join("tidegate-guest").join(sdk).is_file());
        fs::remove_dir_all(&folder).expect("removed");
    }
}

#[test]
fn a_name_or_language_that_can_not_be_is_wrong_usage() {
    for name in ["", "1st", "Upper", "a b", "a/b", "..", "fn", "test", "serde", "tidegate_guest", &"a".repeat(65)] {
        assert_eq!(status(&["new", name, "--dir", "/nowhere/x"]), 2, "{name:?}");
    }
    assert_eq!(status(&["new", "a", "--lang", "cobol", "--dir", "/nowhere/x"]), 2);
    assert_eq!(status(&["build", "/nowhere/x"]), 2);
}
