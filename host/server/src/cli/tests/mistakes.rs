//! What authors and deployers get wrong: each is told what, where, and how to mend it, in the same words by `check` and by
//! the host.

use super::verdicts::Place;
use super::{ran, status};
use crate::cli::Done;
use std::fs;
use std::path::Path;
use tidegate_hostile::cases;

/// A shipped filter.
fn shipped(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../filters/{name}/{name}.wasm"));
    fs::read(path).expect("a shipped filter")
}

fn hostile(name: &str) -> Vec<u8> {
    cases().iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}")).module()
}

const RIGHT: &str = "[config]\npointer = \"/value\"\nmin = 10\n";

/// The same refusal from both, which holds these words.
fn refused(folder: &str, module: &[u8], settings: &str, cases: &str, words: &[&str]) {
    let place = Place::new(folder);
    place.put("10-mine.wasm", module);
    place.put("10-mine.toml", settings);
    if !cases.is_empty() {
        place.put("10-mine.test.ndjson", cases);
    }
    let (check, host) = (place.check("10-mine.wasm"), place.host());
    assert_eq!(check, host);
    let reason = check.expect("refused");
    for word in words {
        assert!(reason.contains(word), "no {word:?} in {reason}");
    }
}

/// Of the shipped filter `threshold` with these settings.
fn misset(settings: &str, words: &[&str]) {
    refused("acme", &shipped("threshold"), settings, "", words);
}

#[test]
fn a_missing_export_is_named() {
    refused(
        "acme",
        &hostile("no_process"),
        "",
        "",
        &["exports no function `process`", "it is no filter of tidegate:filter"],
    );
}

#[test]
fn a_build_for_wasi_is_told_the_right_target() {
    refused(
        "acme",
        &hostile("wants_the_clock_of_wasi"),
        "",
        "",
        &["clock_time_get", "no WASI", "wasm32-unknown-unknown"],
    );
}

#[test]
fn a_native_library_is_told_the_right_target() {
    let native = fs::read(std::env::current_exe().expect("this test")).expect("a native program");
    refused("acme", &native[..4096], "", "", &["not WebAssembly", "wasm32-unknown-unknown", "tidegate build"]);
}

#[test]
fn the_text_of_a_module_is_told_to_be_converted() {
    refused("acme", b"(module)", "", "", &["WebAssembly text", "convert it"]);
}

#[test]
fn a_crate_without_a_filter_is_told_what_is_missing() {
    refused("acme", &hostile("a_module_without_a_world"), "", "", &["component-type", "#[filter]", "guest SDK"]);
}

#[test]
fn an_empty_and_a_half_written_file_are_told_as_such() {
    refused("acme", b"", "", "", &["empty", "renaming"]);
    let whole = shipped("threshold");
    refused("acme", &whole[..whole.len() / 2], "", "", &["damaged", "half written"]);
}

#[test]
fn a_later_world_is_told_what_is_served() {
    refused("acme", &hostile("a_later_version"), "", "", &["3.0.0", "serves 1.0.0 to every later 1.x"]);
}

#[test]
fn a_wrong_key_of_the_configuration_is_named_with_those_there_are() {
    misset("[config]\npointer = \"/value\"\nmn = 10\n", &["refuses its configuration", "`mn`", "`min`"]);
}

#[test]
fn a_wrong_type_in_the_configuration_is_named() {
    misset("[config]\npointer = \"/value\"\nmin = \"ten\"\n", &["refuses its configuration", "\"ten\"", "want number"]);
}

#[test]
fn a_missing_configuration_is_named_with_the_file_it_belongs_in() {
    misset("", &["refuses its configuration", "pointer", "[config] in the .toml beside it"]);
}

#[test]
fn settings_that_are_no_toml_are_told_with_their_line() {
    misset("[config\npointer = 1\n", &["10-mine.toml", "line 1"]);
}

#[test]
fn a_section_that_does_not_exist_is_named_with_those_there_are() {
    misset("[konfig]\npointer = \"/value\"\n", &["10-mine.toml", "konfig", "`config`", "`limits`", "`on-error`"]);
}

#[test]
fn an_unknown_limit_is_named_with_those_there_are() {
    misset(&format!("{RIGHT}[limits]\ncall_ms = 10\n"), &["10-mine.toml", "call_ms", "`call-ms`"]);
}

#[test]
fn a_limit_of_the_wrong_type_is_told_with_its_line() {
    misset(&format!("{RIGHT}[limits]\ncall-ms = \"10ms\"\n"), &["10-mine.toml", "line 5", "\"10ms\""]);
}

#[test]
fn a_limit_over_the_ceiling_is_told_with_its_range() {
    misset(
        &format!("{RIGHT}[limits]\nmemory-mib = 641\n"),
        &["limits.memory-mib = 641", "1 to 640", "filters.limits-max"],
    );
}

#[test]
fn an_unknown_on_error_is_told_with_those_there_are() {
    misset(&format!("on-error = \"retry\"\n{RIGHT}"), &["retry", "`dead-letter`", "`skip`", "`pause`"]);
}

#[test]
fn a_module_above_its_limit_is_told_which() {
    let large = [shipped("threshold"), vec![0; 1 << 20]].concat();
    misset_module(&large, &["bytes", "module-mib", "1 MiB"]);
}

fn misset_module(module: &[u8], words: &[&str]) {
    refused("acme", module, &format!("{RIGHT}[limits]\nmodule-mib = 1\n"), "", words);
}

#[test]
fn a_panic_in_init_is_told_with_its_place() {
    refused("acme", &hostile("gives_up_over_its_configuration"), "", "", &["can't be started", "gave up", "at offset"]);
}

#[test]
fn a_case_that_is_no_json_is_told_with_its_line() {
    let cases = "{\"event\":{\"subject\":\"a\",\"payload\":{\"value\":11}},\"expect\":{\"emit\":[{\"data\":{\"value\":11}}]}}\n{\"event\": oops}\n";
    refused("acme", &shipped("threshold"), RIGHT, cases, &["line 2 of 10-mine.test.ndjson", "no case: expected value"]);
}

#[test]
fn a_case_that_expects_something_else_is_told_with_both() {
    let cases =
        "{\"event\":{\"subject\":\"a\",\"payload\":{\"value\":9}},\"expect\":{\"emit\":[{\"data\":{\"value\":9}}]}}\n";
    refused(
        "acme",
        &shipped("threshold"),
        RIGHT,
        cases,
        &["line 1 of 10-mine.test.ndjson", "expected", "got {\"drop\":\"below min\"}"],
    );
}

/// A case whose event a guest of `tests/hostile` strikes at.
const STRUCK: &str =
    "{\"event\":{\"subject\":\"a\",\"type\":\"m\",\"payload\":{\"do\":\"!\"}},\"expect\":{\"drop\":null}}\n";

#[test]
fn a_wrong_count_of_verdicts_is_told() {
    refused("acme", &hostile("gives_no_verdict"), "", STRUCK, &["line 1", "0 verdicts for 1 events"]);
}

#[test]
fn an_endless_loop_is_told_with_the_limit() {
    refused("acme", &hostile("never_ends"), "[limits]\ncall-ms = 20\n", STRUCK, &["line 1", "20 ms (call-ms)"]);
}

#[test]
fn a_panic_is_shown_with_event_filter_words_and_backtrace() {
    let place = Place::new("acme");
    place.put("10-mine.wasm", hostile("gives_up_with_words"));
    place.put("10-mine.test.ndjson", STRUCK);
    let (result, text) = ran(&["test", &place.path("10-mine.wasm")]);
    assert_eq!(result.expect("a verdict"), Done::Badly);
    for part in [
        "line 1: - expected, + came",
        "{\"do\":\"!\"}",
        "  filter  10-mine@",
        "  trap    it gave up",
        "it said: hostile",
        "act at offset",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn an_event_that_is_no_json_is_told_as_the_filters_error() {
    let place = Place::new("acme");
    place.put("10-mine.wasm", shipped("threshold"));
    place.put("10-mine.toml", RIGHT);
    // The four bytes `oops`.
    place.put("events.ndjson", "{\"subject\":\"metrics.a\",\"payload\":{\"base64\":\"b29wcw==\"}}\n");
    let (result, text) = ran(&["test", &place.path("10-mine.wasm"), "--events", &place.path("events.ndjson")]);
    assert_eq!(result.expect("ran"), Done::Well, "{text}");
    assert!(text.contains("\"error\":") && text.contains("JSON"), "{text}");
}

#[test]
fn an_answer_that_the_filter_keeps_in_a_state_of_the_platform_is_refused() {
    refused(
        "_platform",
        &shipped("dedup"),
        "[config]\npointer = \"/id\"\nwindow = 600\n",
        "",
        &["tidegate:filter/state", "platform filter keeps nothing"],
    );
}

#[test]
fn pause_in_the_platform_chain_is_refused() {
    refused(
        "_platform",
        &shipped("platform"),
        "on-error = \"pause\"\n",
        "",
        &["10-mine", "pause", "not for platform filters"],
    );
}

#[test]
fn a_folder_that_is_not_named_like_a_company_is_told_how_companies_are_named() {
    for folder in ["_acme", "a b", "größe"] {
        let place = Place::new(folder);
        place.put("10-mine.wasm", shipped("threshold"));
        let reason = place.host().expect("refused");
        assert!(reason.contains("not named like a company") && reason.contains("a company"), "{reason}");
    }
}

#[test]
fn too_many_filters_in_a_folder_are_counted() {
    let place = Place::new("acme");
    let module = shipped("rename");
    for n in 0..65 {
        place.put(&format!("{n:02}-mine.wasm"), &module);
        place.put(&format!("{n:02}-mine.toml"), "[config.types]\na = \"b\"\n");
    }
    let reason = place.host().expect("refused");
    assert!(reason.contains("65 filters") && reason.contains("64 are allowed"), "{reason}");
}

#[test]
fn a_name_that_can_not_be_told_in_a_header_is_refused() {
    let place = Place::new("acme");
    place.put("10 mine.wasm", shipped("rename"));
    place.put("10 mine.toml", "[config.types]\na = \"b\"\n");
    let (check, host) = (place.check("10 mine.wasm"), place.host());
    assert_eq!(check, host);
    assert!(check.is_some_and(|reason| reason.contains("\"10 mine\"") && reason.contains("without space")));
}

#[test]
fn a_file_that_is_not_there_ends_with_1() {
    assert_eq!(status(&["check", "/nowhere/10-mine.wasm"]), 1);
    assert_eq!(status(&["test", "/nowhere/10-mine.wasm"]), 1);
}
