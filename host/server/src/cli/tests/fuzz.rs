//! Random settings and recorded cases: read or refused in a sentence, never a panic.

use super::verdicts::Place;
use crate::modules::file::FilterFile;
use crate::modules::selftest;
use tidegate_hostile::fuzz::{mutated, rounds};
use tidegate_hostile::harmless;

const SETTINGS: &str = r#"on-error = "dead-letter"
[config]
pointer = "/value" # a comment
min = 10.5
types = ["a", 'b']
when = 2026-01-01T00:00:00Z
"quoted key" = { inner = [1, 2, { deep = """text""" }] }
[limits]
call-ms = 10
memory-mib = 64
state-bytes = 1_000
"#;

const CASES: &str = r#"{"event":{"subject":"metrics.a","sequence":7,"time":"2026-01-01T00:00:00Z","headers":{"a":["b"]},"company":"a","type":"m","payload":{"value":9}},"config":{"min":5},"state":{"k":"dg=="},"expect":{"emit":[{"type":"m","data":{"value":9}}]}}
{"event":{"subject":"metrics.a","payload":{"base64":"b29wcw=="}},"expect":{"drop":"below min"}}

{"event":{"subject":"metrics.a","payload":[1,null,"\u0000"]},"expect":{"error":"no"}}
"#;

fn file(settings: &str) -> FilterFile {
    FilterFile {
        name: "10-random".to_owned(),
        wasm: tidegate_filter::Module::new(Vec::new()),
        settings: settings.to_owned(),
        cases: None,
    }
}

#[test]
fn random_settings_are_read_or_refused_with_their_file() {
    file(SETTINGS).settings().expect("those that are right");
    rounds(3000, |random| {
        let text = mutated(random, SETTINGS.as_bytes(), CASES.as_bytes());
        match file(&String::from_utf8_lossy(&text)).settings() {
            Ok(settings) => drop(serde_json::to_string(&settings.config)),
            Err(problem) => assert!(problem.starts_with("10-random.toml: ") && problem.len() > 20, "{problem}"),
        }
    });
}

#[test]
fn random_cases_are_run_or_told_with_their_line() {
    rounds(3000, |random| {
        let text = mutated(random, CASES.as_bytes(), SETTINGS.as_bytes());
        let text = String::from_utf8_lossy(&text);
        for event in selftest::events(&text) {
            assert!(!event.text().is_empty());
        }
        for line in text.lines() {
            for problem in [selftest::Event::read(line).err(), selftest::Expect::read(line).err()].into_iter().flatten()
            {
                assert!(!problem.is_empty());
            }
        }
    });
}

#[test]
fn random_files_of_a_filter_get_one_verdict_from_check_and_host() {
    let place = Place::new("acme");
    place.put("10-random.wasm", harmless());
    rounds(15, |random| {
        let settings = mutated(random, b"[limits]\ncall-ms = 500\noutputs = 10\n", SETTINGS.as_bytes());
        place.put("10-random.toml", &settings);
        let cases = mutated(random, CASES.as_bytes(), CASES.as_bytes());
        place.put("10-random.test.ndjson", &cases);
        assert_eq!(place.check("10-random.wasm"), place.host(), "{:?}", String::from_utf8_lossy(&settings));
    });
}

#[test]
fn what_nests_without_end_is_refused() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    for settings in [format!("a = {}", deep("[", "]")), format!("a = {}", deep("{a = ", "}")), deep("[", "]")] {
        assert!(file(&settings).settings().is_err());
    }
    let tables = (0..2000).map(|_| "a").collect::<Vec<_>>().join(".");
    drop(file(&format!("[config]\n{tables} = 1\n")).settings().map(|settings| serde_json::to_string(&settings.config)));
    for payload in [deep("[", "]"), deep("{\"a\":", "}")] {
        let line = format!("{{\"event\":{{\"subject\":\"a\",\"payload\":{payload}}},\"expect\":{{\"drop\":null}}}}");
        assert!(selftest::events(&line).len() <= 1);
        assert!(selftest::Expect::read(&payload).is_err());
    }
}
