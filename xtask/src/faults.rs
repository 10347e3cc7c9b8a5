//! The fault table: every row against real servers.

use anyhow::{Context, Result};

use crate::build::{binary, cargo, root};
use crate::filters;
use crate::setup::{self, Need};
use crate::step::step;

/// Builds, sets up, and runs every row, or those whose name holds `only`; `false` when a promise broke.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn run(only: Option<&str>) -> Result<bool> {
    let tools = setup::ensure(&Need::FAULTS)?;
    step("filters to WebAssembly", filters::build_all)?;
    step("build", || {
        let built = cargo(&["build", "--quiet", "--workspace", "--bins"]).status().context("run cargo")?;
        anyhow::ensure!(built.success(), "the build failed");
        Ok(())
    })?;
    let mut faults = std::process::Command::new(binary("debug", "faults"));
    faults.current_dir(root()).env("TIDEGATE_TEST_BIN", binary("debug", "tidegate")).args(only);
    tools.apply(&mut faults);
    Ok(faults.status().context("run the faults")?.success())
}
