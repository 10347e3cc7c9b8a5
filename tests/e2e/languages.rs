//! Filters in C, JavaScript and Python, on the real tool chains: made, built and tested as their authors do it, and the same
//! filter in every language answering the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::folder::Folder;
use tidegate_tests::tools;

const CASES: &str = "tests/conformance/cases.ndjson";

fn tidegate(words: &[&str], path: &Path) -> Result<Output> {
    let mut command = Command::new(tools::tidegate()?);
    // What a project needs was fetched by `cargo xtask setup`.
    command.args(words).arg(path).env("CARGO_NET_OFFLINE", "true");
    command.output().context("run tidegate")
}

fn told(done: &Output) -> String {
    format!("{}\n{}\n{}", done.status, String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

fn make(desk: &Path, name: &str, language: &str) -> Result<PathBuf> {
    let folder = desk.join(language);
    let made = tidegate(&["new", name, "--lang", language, "--dir"], &folder)?;
    ensure!(made.status.success(), "{}", told(&made));
    Ok(folder)
}

/// Builds a project; the first value is of the module, the second the host's verdict.
fn build(folder: &Path, flags: &[&str]) -> Result<(Value, Value)> {
    let built = tidegate(&[&["build", "--json"], flags].concat(), folder)?;
    let text = String::from_utf8_lossy(&built.stdout);
    let mut lines = text.lines().map(serde_json::from_str::<Value>);
    let facts = lines.next().with_context(|| told(&built))??;
    let verdict = lines.next().with_context(|| told(&built))??;
    ensure!(verdict["accepted"] == true, "{}", told(&built));
    Ok((facts, verdict))
}

/// Runs a program in a project's folder.
fn native(folder: &Path, program: &str, words: &[&str], variable: (&str, &str)) -> Result<()> {
    let done = Command::new(program)
        .args(words)
        .current_dir(folder)
        .env(variable.0, variable.1)
        .output()
        .with_context(|| format!("run {program}"))?;
    ensure!(done.status.success(), "{}", told(&done));
    Ok(())
}

fn new_build_test(language: &str) -> Result<(Folder, PathBuf)> {
    let desk = Folder::new(&format!("languages-{language}"))?;
    let folder = make(desk.path(), "only-high", language)?;
    let (facts, verdict) = build(&folder, &[])?;
    ensure!(verdict["cases"] == 4 && verdict["name"] == "only-high" && verdict["usesState"] == false, "{verdict}");
    let module = fs::read(folder.join("only-high.wasm"))?;
    ensure!(facts["bytes"] == module.len(), "{facts}");
    let left: Vec<_> = fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    ensure!(!left.iter().any(|name| name.ends_with(".partial")), "{left:?}");
    let tested = tidegate(&["test"], &folder.join("only-high.wasm"))?;
    ensure!(tested.status.success(), "{}", told(&tested));
    Ok((desk, folder))
}

#[test]
fn a_new_project_in_c_builds_and_passes_its_tests_and_is_the_same_bytes_in_another_folder() -> Result<()> {
    let (desk, folder) = new_build_test("c")?;
    let other = make(&desk.path().join("further/away"), "only-high", "c")?;
    build(&other, &[])?;
    let (here, there) = (fs::read(folder.join("only-high.wasm"))?, fs::read(other.join("only-high.wasm"))?);
    ensure!(here == there, "another folder gives another module");
    ensure!(here.len() < 200_000, "{} bytes", here.len());
    Ok(())
}

#[test]
fn a_new_project_in_javascript_builds_and_passes_its_tests() -> Result<()> {
    let (_desk, folder) = new_build_test("js")?;
    native(&folder, "npm", &["test"], ("NO_COLOR", "1"))
}

#[test]
fn a_new_project_in_python_builds_and_passes_its_tests() -> Result<()> {
    let (_desk, folder) = new_build_test("python")?;
    native(&folder, "python3", &["-m", "unittest"], ("PYTHONPATH", "tidegate-guest/python"))
}

/// The conformance filter in a language, beside its cases.
fn conforming(desk: &Path, language: &str) -> Result<PathBuf> {
    let folder = make(desk, "conformance", language)?;
    let own = tools::root().join("tests/conformance").join(language);
    let (source, place) = match language {
        "rust" => ("lib.rs", "src/lib.rs"),
        "c" => ("filter.c", "filter.c"),
        "js" => ("filter.js", "filter.js"),
        _ => ("filter.py", "filter.py"),
    };
    fs::copy(own.join(source), folder.join(place))?;
    if language == "rust" {
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        fs::write(
            folder.join("Cargo.toml"),
            manifest.replace("[dependencies]\n", "[dependencies]\nserde_json = \"1\"\n"),
        )?;
    }
    fs::copy(tools::root().join(CASES), folder.join("conformance.test.ndjson"))?;
    // What every one of them may use.
    fs::write(folder.join("conformance.toml"), "[limits]\ncall-ms = 500\nmemory-mib = 256\n")?;
    Ok(folder)
}

/// What one language made of it all.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    /// What `test --events` prints: a line for each event, with state handed on.
    printed: String,
    /// Why each configuration is refused.
    refused: Vec<Value>,
}

fn answers(desk: &Path, language: &str) -> Result<Answers> {
    let folder = conforming(desk, language)?;
    let module = folder.join("conformance.wasm");
    let cases = fs::read_to_string(tools::root().join(CASES))?;
    let (_, verdict) = build(&folder, &[])?;
    ensure!(verdict["cases"] == cases.lines().count(), "{verdict}");
    let tested = tidegate(&["test"], &module)?;
    ensure!(tested.status.success(), "{}", told(&tested));
    let events = folder.join("events.ndjson");
    let event = |line: &str| serde_json::from_str::<Value>(line).map(|case| format!("{}\n", case["event"]));
    fs::write(&events, cases.lines().map(event).collect::<Result<String, _>>()?)?;
    let ran = tidegate(&["test", "--events", events.to_str().context("UTF-8")?], &module)?;
    ensure!(ran.status.success(), "{}", told(&ran));
    let wrong =
        ["{\"tag\":7}", "{\"most\":101}", "{\"most\":-1}", "{\"most\":1.5}", "{\"most\":\"3\"}", "{\"tags\":\"a\"}"];
    let case = |config: &&str| {
        format!("{{\"event\":{{\"subject\":\"a\",\"payload\":1}},\"config\":{config},\"expect\":{{\"drop\":null}}}}\n")
    };
    let bad = folder.join("bad.ndjson");
    fs::write(&bad, wrong.iter().map(case).collect::<String>())?;
    let tested = tidegate(&["test", "--json", "--cases", bad.to_str().context("UTF-8")?], &module)?;
    let report: Value = serde_json::from_slice(&tested.stdout).with_context(|| told(&tested))?;
    let failures = report["failures"].as_array().context("failures")?;
    ensure!(failures.len() == wrong.len() && failures.iter().all(|one| one["kind"] == "refused"), "{report}");
    let refused = failures.iter().map(|one| one["reason"].clone()).collect();
    Ok(Answers { printed: String::from_utf8(ran.stdout)?, refused })
}

#[test]
fn the_same_filter_answers_the_same_in_every_language() -> Result<()> {
    let desk = Folder::new("languages-conformance")?;
    let first = answers(desk.path(), "rust")?;
    ensure!(first.printed.lines().count() >= 25, "{}", first.printed);
    for language in ["c", "js", "python"] {
        let other = answers(desk.path(), language).context(language)?;
        ensure!(first == other, "rust: {first:#?}\n{language}: {other:#?}");
    }
    Ok(())
}

#[test]
fn what_does_not_compile_is_told_and_leaves_the_module_alone() -> Result<()> {
    let desk = Folder::new("languages-wrong")?;
    for (language, source, wrong, said) in [
        ("c", "filter.c", "tg_verdict filter_process(const tg_event *event) { return tg_pas(event); }", "tg_pas"),
        ("js", "filter.js", "export function process(event) { return", "filter.js"),
        ("python", "filter.py", "def process(event:\n", "filter.py"),
    ] {
        let folder = make(desk.path(), "broken", language)?;
        fs::write(folder.join(source), wrong)?;
        fs::write(folder.join("broken.wasm"), "before")?;
        let built = tidegate(&["build"], &folder)?;
        let text = told(&built);
        ensure!(built.status.code() == Some(1) && text.contains(said), "{language}: {text}");
        ensure!(fs::read(folder.join("broken.wasm"))? == b"before", "{language}");
    }
    Ok(())
}

#[test]
fn a_tool_chain_that_is_missing_is_told_with_the_command_to_type() -> Result<()> {
    let desk = Folder::new("languages-missing")?;
    let nothing = desk.path().join("nothing");
    fs::create_dir_all(&nothing)?;
    for (language, command) in [("c", "clang"), ("js", "Node"), ("python", "bin/pip install componentize-py==")] {
        let folder = make(desk.path(), "alone", language)?;
        fs::write(folder.join("alone.wasm"), "before")?;
        let mut build = Command::new(tools::tidegate()?);
        build
            .arg("build")
            .arg(&folder)
            .env("PATH", &nothing)
            .env("TIDEGATE_CACHE", &nothing)
            .env_remove("WASI_SDK_PATH");
        let built = build.output()?;
        let text = told(&built);
        ensure!(built.status.code() == Some(1) && text.contains(command), "{language}: {text}");
        ensure!(fs::read(folder.join("alone.wasm"))? == b"before", "{language}");
    }
    Ok(())
}

#[test]
fn a_fault_in_c_is_told_with_its_event_and_in_source_lines() -> Result<()> {
    let desk = Folder::new("languages-trap")?;
    let folder = make(desk.path(), "trapping", "c")?;
    let path = folder.join("filter.c");
    let text = fs::read_to_string(&path)?;
    let wrong = text.replace("    return tg_pass(event);\n", "    assert(value < 11);\n    return tg_pass(event);\n");
    fs::write(&path, wrong.replace("#include \"tidegate.h\"", "#include <assert.h>\n\n#include \"tidegate.h\""))?;
    let built = tidegate(&["build", "--lines"], &folder)?;
    let text = told(&built);
    let line = fs::read_to_string(&path)?.lines().position(|line| line.contains("assert(")).context("the line")? + 1;
    for part in
        ["self-test", "\"payload\":{\"value\":12.5}", "Assertion failed: value < 11", &format!("filter.c:{line}")]
    {
        ensure!(text.contains(part), "{part:?} in\n{text}");
    }
    Ok(())
}

#[test]
fn a_filter_that_was_built_for_the_world_before_passes_what_it_always_passed() -> Result<()> {
    let desk = Folder::new("world-before")?;
    let module = desk.path().join("conformance.wasm");
    fs::copy(tools::root().join("tests/worlds/v1/conformance.wasm"), &module)?;
    fs::copy(tools::root().join(CASES), desk.path().join("conformance.test.ndjson"))?;
    let checked = tidegate(&["check", "--json"], &module)?;
    let verdict: Value = serde_json::from_slice(&checked.stdout).with_context(|| told(&checked))?;
    let cases = fs::read_to_string(tools::root().join(CASES))?.lines().count();
    ensure!(verdict["accepted"] == true && verdict["world"] == 1 && verdict["cases"] == cases, "{verdict}");
    ensure!(verdict["usesState"] == true && verdict["configSchema"].is_null(), "{verdict}");
    let told = String::from_utf8(tidegate(&["check"], &module)?.stdout)?;
    ensure!(told.contains("world   1 (the one before the present 2"), "{told}");
    Ok(())
}
