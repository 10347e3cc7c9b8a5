//! The demo: the host on embedded defaults, with the sample filters that it carries.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{binary, cargo, root};
use crate::step::{say, step};

/// Builds the host and runs `tidegate demo` until the user has seen enough.
///
/// # Errors
/// A host that doesn't compile.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    say("building the host (the first time takes some minutes)");
    step("build the host", || {
        // Not quiet: cargo's own progress is what somebody wants to see who waits for minutes.
        let built = cargo(&["build", "--package", "tidegate", "--bin", "tidegate"]).status().context("run cargo")?;
        if !built.success() {
            bail!("the host doesn't compile: see above");
        }
        Ok(())
    })?;
    let mut demo = Command::new(binary("debug", "tidegate"));
    demo.current_dir(root()).arg("demo").args(args);
    // In this one's place: a signal to its process ends the demo.
    Err(demo.exec()).context("run tidegate demo")
}
