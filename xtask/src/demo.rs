//! The demo: the host on embedded defaults, with sample filters where they can be built.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{binary, cargo, filters_folder, root};
use crate::step::{say, step};
use crate::{filters, wasm};

/// Builds host and filters and runs `tidegate demo` until the user has seen enough.
///
/// # Errors
/// A host that doesn't compile. Filters that can't be built are told and missed, no more.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    say("building the host (the first time takes some minutes)");
    step("build the host", || {
        // Not quiet: cargo's own progress is what somebody wants to see who waits for minutes.
        let built = cargo(&["build", "--package", "tidegate", "--bin", "tidegate"]).status().context("run cargo")?;
        if !built.success() {
            bail!("the host doesn't compile");
        }
        Ok(())
    })?;
    let built = step("build the sample filters", || {
        wasm::ensure().context("no compiler for WebAssembly")?;
        filters::build_all()
    });
    if let Err(error) = built {
        say(&format!("the demo goes on without the filters that are built from source: {error:#}"));
    }
    let mut demo = Command::new(binary("debug", "tidegate"));
    demo.current_dir(root()).arg("demo").args(args).env("TIDEGATE_DEMO_FILTERS", filters_folder());
    Ok(demo.status().context("run tidegate demo")?.success())
}
