//! What a filter's author types, on a real toolchain and without a host: made, built, tested, and the same bytes anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::folder::Folder;
use tidegate_tests::tools;

/// A project that `tidegate new` made, with a target folder that lasts: what is built once is not built again.
struct Project {
    folder: PathBuf,
    name: &'static str,
}

impl Project {
    fn make(desk: &Path, name: &'static str) -> Result<Self> {
        let made = tidegate(&["new", name, "--dir"], &desk.join(name))?;
        ensure!(made.status.success(), "{}", told(&made));
        Ok(Self { folder: desk.join(name), name })
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name))
    }

    fn change(&self, from: &str, to: &str) -> Result<()> {
        let path = self.folder.join("src/lib.rs");
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "no {from:?} in {text}");
        Ok(fs::write(path, text.replace(from, to))?)
    }

    /// Builds it, and returns the module's digest and the host's verdict.
    fn build(&self, flags: &[&str]) -> Result<(String, Value)> {
        let words = [&["build", "--json", "--locked"], flags].concat();
        let built = tidegate(&words, &self.folder)?;
        let text = String::from_utf8_lossy(&built.stdout);
        let mut lines = text.lines().map(serde_json::from_str::<Value>);
        let facts = lines.next().with_context(|| told(&built))??;
        let verdict = lines.next().with_context(|| told(&built))??;
        let module = fs::read(self.file("wasm"))?;
        ensure!(facts["bytes"] == module.len(), "{facts}");
        Ok((facts["digest"].as_str().context("a digest")?.to_owned(), verdict))
    }
}

fn tidegate(words: &[&str], path: &Path) -> Result<Output> {
    let mut command = Command::new(tools::tidegate()?);
    // What a project needs was fetched when the shipped filters were built.
    command.args(words).arg(path).env("CARGO_NET_OFFLINE", "true");
    command.output().context("run tidegate")
}

fn told(done: &Output) -> String {
    format!("{}\n{}\n{}", done.status, String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[test]
fn a_new_project_builds_and_passes_its_tests_and_is_the_same_bytes_in_another_folder() -> Result<()> {
    let desk = Folder::new("authors")?;
    let here = Project::make(desk.path(), "only-high")?;
    let (digest, verdict) = here.build(&[])?;
    ensure!(verdict["accepted"] == true && verdict["cases"] == 3, "{verdict}");
    let small = fs::read(here.file("wasm"))?;
    ensure!(small.len() < 300_000, "{} bytes", small.len());
    let tested = tidegate(&["test"], &here.file("wasm"))?;
    ensure!(tested.status.success(), "{}", told(&tested));

    let there = Project::make(&desk.path().join("further/away"), "only-high")?;
    let (other, _) = there.build(&[])?;
    ensure!(digest == other, "another folder gives another module");
    let place = desk.path().to_str().context("UTF-8")?;
    let holds = |bytes: &[u8]| bytes.windows(place.len()).any(|window| window == place.as_bytes());
    ensure!(!holds(&small), "the module names the folder that it was built in");

    let measured = tidegate(&["bench", "--json", "--seconds", "0.05"], &here.file("wasm"))?;
    let measured: Value = serde_json::from_slice(&measured.stdout).with_context(|| told(&measured))?;
    ensure!(measured["noNative"].is_null(), "{measured}");
    for batch in measured["batches"].as_array().context("batches")? {
        let took = |times: &Value| times["meanNs"].as_f64().is_some_and(|ns| ns > 0.0);
        ensure!(took(&batch["event"]) && (batch["apart"] == true || took(&batch["native"])), "{measured}");
    }

    let native = Command::new("cargo")
        .args(["test", "--quiet", "--locked"])
        .current_dir(&here.folder)
        .env("CARGO_NET_OFFLINE", "true")
        .output()?;
    ensure!(native.status.success(), "{}", told(&native));
    Ok(())
}

#[test]
fn a_trap_is_told_with_its_event_and_in_source_lines() -> Result<()> {
    let desk = Folder::new("authors-trap")?;
    let project = Project::make(desk.path(), "trapping")?;
    project
        .change("    Verdict::pass(event)\n", "    assert!(value < 11.0, \"too high\");\n    Verdict::pass(event)\n")?;
    let (_, verdict) = project.build(&["--lines"])?;
    ensure!(verdict["accepted"] == false && verdict["kind"] == "self-test", "{verdict}");
    let tested = tidegate(&["test"], &project.file("wasm"))?;
    let text = told(&tested);
    ensure!(tested.status.code() == Some(1), "{text}");
    let line = fs::read_to_string(project.folder.join("src/lib.rs"))?
        .lines()
        .position(|line| line.contains("too high"))
        .context("the line")?
        + 1;
    for part in [
        "line 1: - expected, + came".to_owned(),
        "\"payload\":{\"value\":12.5}".to_owned(),
        "  trap    it gave up".to_owned(),
        "too high".to_owned(),
        format!("src/lib.rs:{line}:"),
        "3 cases, 1 failures".to_owned(),
    ] {
        ensure!(text.contains(&part), "{part:?} in\n{text}");
    }
    let frames = text.lines().skip_while(|line| !line.starts_with("  trap ")).skip(1);
    ensure!(frames.into_iter().any(|frame| frame.contains(&format!("src/lib.rs:{line}"))), "no such frame: {text}");
    Ok(())
}

#[test]
fn an_answer_that_depends_on_memory_is_a_failure_of_its_own_kind() -> Result<()> {
    let desk = Folder::new("authors-memory")?;
    let project = Project::make(desk.path(), "forgetful")?;
    project.change(
        "    if value < config.threshold {",
        "    use std::sync::atomic::{AtomicU32, Ordering};\n    static SEEN: AtomicU32 = AtomicU32::new(0);\n    \
         if SEEN.fetch_add(1, Ordering::Relaxed) > 0 {\n        return Verdict::drop(\"seen enough\");\n    }\n    \
         if value < config.threshold {",
    )?;
    let (_, verdict) = project.build(&[])?;
    let reason = verdict["reason"].as_str().unwrap_or_default();
    ensure!(verdict["accepted"] == false && reason.contains("depends on memory between calls"), "{verdict}");
    let tested = tidegate(&["test", "--json"], &project.file("wasm"))?;
    let told: Value = serde_json::from_slice(&tested.stdout)?;
    let failures = told["failures"].as_array().context("failures")?;
    ensure!(!failures.is_empty() && failures.iter().all(|failure| failure["kind"] == "undetermined"), "{told}");
    ensure!(failures.iter().any(|failure| failure["came"]["drop"] == "seen enough"), "{told}");
    Ok(())
}

#[test]
fn what_does_not_compile_ends_with_1_and_leaves_the_module_alone() -> Result<()> {
    let desk = Folder::new("authors-wrong")?;
    let project = Project::make(desk.path(), "broken")?;
    fs::write(project.file("wasm"), "before")?;
    project.change("value < config.threshold", "value < config.treshold")?;
    let built = tidegate(&["build"], &project.folder)?;
    let text = told(&built);
    ensure!(built.status.code() == Some(1) && text.contains("treshold") && text.contains("src/lib.rs"), "{text}");
    ensure!(fs::read(project.file("wasm"))? == b"before");
    let nowhere = tidegate(&["build"], &desk.path().join("nowhere"))?;
    ensure!(nowhere.status.code() == Some(2) && told(&nowhere).contains("tidegate new"), "{}", told(&nowhere));
    Ok(())
}
