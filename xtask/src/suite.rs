//! The whole test run: quiet steps first, the workspace's tests last, one line with the sum at the end.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{binary, cargo, filters_folder, root};
use crate::setup::{self, Need, Tools};
use crate::step::{self, say, step};
use crate::tally::Tally;
use crate::{filters, sim};

/// Sets up, runs every step even after one failed, and says at the end what they counted.
///
/// # Errors
/// A set-up that failed: without it no step means anything.
pub(crate) fn run() -> Result<bool> {
    let tools = setup::ensure(&Need::ALL)?;
    setup::node_packages()?;
    setup::guests::ensure()?;
    let mut run = Run { tools, tally: Tally::default(), failed: Vec::new() };
    run.quiet("format", &mut cargo(&["fmt", "--all", "--check"]));
    let lint = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    run.quiet("lint", &mut cargo(&lint));
    run.work("filters to WebAssembly", filters::build_all);
    run.work("the host's own filter is its source's", filters::check_builtin);
    run.quiet("build", &mut cargo(&["build", "--workspace", "--all-targets", "--quiet"]));
    run.quiet(
        "documentation",
        cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "--deny warnings"),
    );
    run.licences();
    let react = root().join("examples/react");
    run.quiet("example: react builds", &mut npm(&react, &["run", "build"]));
    run.counted("example: react", &mut npm(&react, &["test"]), Tally::of_vitest);
    run.counted("browser", &mut npm(&root().join("tests/browser"), &["test"]), Tally::of_node);
    let (host, filter) = (binary("debug", "tidegate"), filters_folder().join("github.wasm"));
    let mut webhooks = Command::new("node");
    webhooks.current_dir(root()).args(["examples/github-webhooks/run.mjs", "--check", "--tidegate"]).arg(host);
    webhooks.arg("--module").arg(filter);
    run.quiet("example: github-webhooks, the sums agree", &mut webhooks);
    let mut report = Command::new("node");
    report.current_dir(root().join("examples/github-webhooks")).arg("--test");
    run.counted("example: github-webhooks, its report", &mut report, Tally::of_node);
    run.quiet("simulation, and planted faults are caught", &mut sim::command(sim::SEEDS, true));
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    // A test's message says what went wrong; what its servers printed is what a reader wants next.
    run.counted("workspace", tests.env("RUST_BACKTRACE", "0"), Tally::of_cargo);
    run.finish()
}

/// The steps so far.
struct Run {
    tools: Tools,
    tally: Tally,
    failed: Vec<String>,
}

impl Run {
    /// A step that passes or fails.
    fn quiet(&mut self, name: &str, command: &mut Command) {
        self.prepare(command);
        self.note(name, step::command(name, command).map(drop));
    }

    /// A step that is our own code.
    fn work<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) {
        let result = step(name, work);
        if let Err(error) = &result {
            say(&format!("{error:#}"));
        }
        self.note(name, result.map(drop));
    }

    /// A step whose runner counts tests.
    fn counted(&mut self, name: &str, command: &mut Command, count: fn(&str) -> Tally) {
        self.prepare(command);
        let result = step::command(name, command).map(drop);
        let log = step::log_path(name).and_then(|path| fs::read(path).context("read the log"));
        let tally = count(&String::from_utf8_lossy(&log.unwrap_or_default()));
        say(&format!("                  {tally}"));
        self.tally = self.tally + tally;
        if result.is_ok() && tally.passed == 0 {
            self.note(name, Err(anyhow::anyhow!("no test ran")));
        } else {
            self.note(name, result);
        }
    }

    /// cargo-deny takes minutes to build, so nobody has to have it; what did not run is no success either.
    fn licences(&mut self) {
        let name = "licences, bans and sources";
        if cargo(&["deny", "--version"]).output().is_ok_and(|done| done.status.success()) {
            return self.quiet(name, &mut cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"]));
        }
        say(&format!("skipped           {name}: no cargo-deny here (cargo install cargo-deny --locked)"));
        self.tally.skipped += 1;
    }

    fn prepare(&self, command: &mut Command) {
        self.tools.apply(command);
        command.env("TIDEGATE_TEST_BIN", binary("debug", "tidegate"));
    }

    fn note(&mut self, name: &str, result: Result<()>) {
        if let Err(error) = result {
            self.failed.push(format!("{name}: {error:#}"));
        }
    }

    /// The sums, and what failed; the last line is the one that other programs read.
    fn finish(self) -> Result<bool> {
        let mut tally = self.tally;
        for failure in &self.failed {
            say(&format!("FAILED {failure}"));
        }
        if !self.failed.is_empty() && tally.failed == 0 {
            // A step that isn't a test runner failed: the closing line must not look like success.
            tally.failed = u64::try_from(self.failed.len()).unwrap_or(u64::MAX);
        }
        say(&tally.to_string());
        Ok(self.failed.is_empty())
    }
}

fn npm(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder).args(args).env("NO_COLOR", "1");
    command
}
