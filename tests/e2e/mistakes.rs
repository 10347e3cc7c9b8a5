//! What authors get wrong in their sources: told by the build, by the host's verdict on it, or by the first event.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use tidegate_tests::folder::Folder;
use tidegate_tests::tools;

fn tidegate(words: &[&str], path: &Path) -> Result<Output> {
    let mut command = Command::new(tools::tidegate()?);
    command.args(words).arg(path).env("CARGO_NET_OFFLINE", "true").output().context("run tidegate")
}

/// It ends with this status and holds these words.
fn told(done: &Output, status: i32, words: &[&str]) -> Result<()> {
    let text =
        format!("{}\n{}{}", done.status, String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.code() == Some(status), "{text}");
    for word in words {
        ensure!(text.contains(word), "no {word:?} in\n{text}");
    }
    Ok(())
}

fn change(path: &Path, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(path)?;
    ensure!(text.contains(from), "no {from:?} in {text}");
    Ok(fs::write(path, text.replace(from, to))?)
}

#[test]
fn a_crate_of_another_type_a_clock_and_a_forgotten_attribute_are_told() -> Result<()> {
    let desk = Folder::new("mistakes")?;
    let project = desk.path().join("mine");
    told(&tidegate(&["new", "mine", "--dir"], &project)?, 0, &[])?;
    let (manifest, source) = (project.join("Cargo.toml"), project.join("src/lib.rs"));
    let manifest_text = fs::read_to_string(&manifest)?;

    // No cdylib: nothing that could be loaded is built.
    change(&manifest, "\"cdylib\", ", "")?;
    told(&tidegate(&["build"], &project)?, 1, &["Cargo.toml", "crate-type = [\"cdylib\", \"rlib\"]"])?;
    fs::write(&manifest, manifest_text)?;

    // The clock of an operating system: there is none, and the first event says so.
    change(
        &source,
        "    if value < config.threshold {",
        "    let now = std::time::SystemTime::now();\n    assert!(now > std::time::UNIX_EPOCH);\n    \
         if value < config.threshold {",
    )?;
    let built = tidegate(&["build"], &project)?;
    told(&built, 1, &["self-test", "time not implemented on this platform"])?;
    let tested = tidegate(&["test"], &project.join("mine.wasm"))?;
    told(&tested, 1, &["  event   ", "  filter  mine@", "  trap    ", "time not implemented on this platform"])?;

    // No `#[filter]`: what is built has nothing of a filter.
    fs::write(&source, "//! Nothing is marked.\npub fn mine() {}\n")?;
    told(&tidegate(&["build"], &project)?, 1, &["refused", "component-type", "#[filter]"])?;
    Ok(())
}
