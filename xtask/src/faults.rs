//! The fault table: every row against real servers.

use anyhow::Result;

use crate::harness;
use crate::setup::Need;

/// Runs every row, or those whose name holds `only`; `false` when a promise broke.
///
/// # Errors
/// Something that doesn't compile or can't be set up.
pub(crate) fn run(only: Option<&str>) -> Result<bool> {
    harness::run("faults", &Need::FAULTS, only)
}
