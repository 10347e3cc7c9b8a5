//! Programs of `tests/` that run the host against real servers.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::{binary, cargo, root};
use crate::filters;
use crate::setup::{self, Need};
use crate::step::step;

/// Sets up, builds, and runs one of them with the host of this build; whether it says that all is well.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn run(program: &str, needs: &[Need], args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<bool> {
    let tools = setup::ensure(needs)?;
    step("filters to WebAssembly", filters::build_all)?;
    step("build", || {
        let built = cargo(&["build", "--quiet", "--workspace", "--bins"]).status().context("run cargo")?;
        ensure!(built.success(), "the build failed");
        Ok(())
    })?;
    let mut command = Command::new(binary("debug", program));
    command.current_dir(root()).env("TIDEGATE_TEST_BIN", binary("debug", "tidegate")).args(args);
    tools.apply(&mut command);
    Ok(command.status().with_context(|| format!("run {program}"))?.success())
}
