//! The documents keep their word: every block in them is run, read or shown for a stated reason, every list in them is
//! what the host has.

mod blocks;
mod cookbook;
mod group;
mod lists;
mod pattern;
mod shell;
mod wasm;
mod workshop;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use blocks::{Block, Mark};
use tidegate_tests::host::Host;
use tidegate_tests::tools;

const README: &str = "README.md";
const PROTOCOL: &str = "PROTOCOL.md";
const CONTRIBUTING: &str = "CONTRIBUTING.md";
const FILTERS: &str = "guest-sdk/README.md";
const COOKBOOK: &str = "guest-sdk/COOKBOOK.md";

/// The groups of commands; each has a test below.
const GROUPS: [(&str, &str); 5] =
    [(README, "tour"), (README, "demo"), (README, "trouble"), (PROTOCOL, "wire"), (FILTERS, "authors")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_the_readme_goes_as_it_says() {
    group::run(README, "tour").await.unwrap_or_else(|error| panic!("{error:#}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_starts_as_the_readme_says() {
    group::run(README, "demo").await.unwrap_or_else(|error| panic!("{error:#}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_against_trouble_work() {
    group::run(README, "trouble").await.unwrap_or_else(|error| panic!("{error:#}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_is_as_the_protocol_says() {
    group::run(PROTOCOL, "wire").await.unwrap_or_else(|error| panic!("{error:#}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_filter_guide_make_a_filter() {
    group::run(FILTERS, "authors").await.unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn every_block_is_run_or_read_or_shown_for_a_reason() {
    for document in [README, PROTOCOL, CONTRIBUTING] {
        let blocks = blocks::of(document).expect("a document");
        for (number, block) in blocks.iter().enumerate() {
            checked(block, number.checked_sub(1).map(|before| &blocks[before]))
                .unwrap_or_else(|error| panic!("{}: {error:#}", block.place));
        }
    }
}

fn checked(block: &Block, before: Option<&Block>) -> Result<()> {
    match &block.mark {
        Mark::Run { group, .. } | Mark::Start { group, .. } | Mark::File { group, .. } => {
            let document = block.place.split(':').next().unwrap_or_default();
            ensure!(GROUPS.contains(&(document, group)), "no test runs the group {group}");
        }
        Mark::Output(None) => {
            ensure!(
                before.is_some_and(|before| matches!(before.mark, Mark::Run { .. } | Mark::Start { .. })),
                "the output of nothing"
            );
        }
        Mark::Output(Some(_)) | Mark::Shown(_) => {}
        Mark::Parse => parsed(block)?,
        Mark::PartOf(path) => part_of(block, path)?,
        Mark::Missing => bail!("a block without a mark: run=, start=, output, file=, parse, part-of= or shown=REASON"),
    }
    Ok(())
}

fn parsed(block: &Block) -> Result<()> {
    match block.language.as_str() {
        "json" => {
            for line in block.text.lines() {
                serde_json::from_str::<serde_json::Value>(line).with_context(|| line.to_owned())?;
            }
            Ok(())
        }
        "toml" => configuration(&block.text),
        "js" => script(&block.text),
        other => bail!("nothing here reads {other:?}"),
    }
}

/// The host's own reader takes it.
fn configuration(text: &str) -> Result<()> {
    let host = Host::new()?;
    let path = host.folder().join("shown.toml");
    fs::write(&path, text)?;
    let mut command = host.command(&["run", "--print-config", "--config"])?;
    let done = command.arg(&path).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn script(text: &str) -> Result<()> {
    let mut node = Command::new("node")
        .args(["--check", "--input-type=module", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run node")?;
    node.stdin.take().context("an input")?.write_all(text.as_bytes())?;
    let done = node.wait_with_output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// A file that other tests run holds these lines in this order.
fn part_of(block: &Block, path: &str) -> Result<()> {
    script(&block.text)?;
    let whole = fs::read_to_string(tools::root().join(path)).with_context(|| path.to_owned())?;
    let mut lines = whole.lines().map(str::trim);
    for line in block.text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        ensure!(lines.any(|other| other == line), "{path} has no line {line:?} there");
    }
    Ok(())
}

/// Its Rust is compiled and run as the SDK's documentation; the rest is looked at here.
#[test]
fn the_filter_guide_is_tested_too() {
    let sdk = fs::read_to_string(tools::root().join("guest-sdk/rust/src/lib.rs")).expect("the SDK");
    assert!(
        sdk.contains(r#"include_str!("../../README.md")"#),
        "the guide's Rust is no longer run with the SDK's tests"
    );
    let readme = fs::read_to_string(tools::root().join(README)).expect("the README");
    let mut before: Option<Block> = None;
    for block in blocks::of(FILTERS).expect("the guide") {
        match block.language.split(',').next().unwrap_or_default() {
            "rust" => {}
            _ if block.mark != Mark::Missing => {
                checked(&block, before.as_ref()).unwrap_or_else(|error| panic!("{}: {error:#}", block.place));
            }
            "json" => parsed(&block).unwrap_or_else(|error| panic!("{}: {error:#}", block.place)),
            // The README's own crate is built with these very lines, but for its place and its native tests.
            "toml" => {
                let own = |line: &&str| !line.starts_with("tidegate-guest") && !line.starts_with("crate-type");
                for line in block.text.lines().filter(own).filter_map(|line| line.split(" #").next()) {
                    assert!(readme.contains(line.trim()), "{}: not in the README's crate: {line}", block.place);
                }
            }
            "sh" => assert!(
                block.text.lines().filter(|line| line.starts_with("cargo ")).all(|line| readme.contains(line)),
                "{}: the README builds otherwise",
                block.place
            ),
            other => panic!("{}: nothing here reads {other:?}", block.place),
        }
        before = Some(block);
    }
}

#[test]
fn links_lead_to_files() {
    let mut missing = BTreeSet::new();
    for document in [README, PROTOCOL, CONTRIBUTING, FILTERS, COOKBOOK] {
        let document = tools::root().join(document);
        let text = fs::read_to_string(&document).expect("a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !document.with_file_name(file).exists() {
                missing.insert(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
