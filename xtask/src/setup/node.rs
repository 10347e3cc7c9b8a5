//! npm packages of a folder with a lock file; npm's own cache keeps the downloads.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tidegate_guest_build::output;

use crate::step::step;

/// Installs what a folder's lock file says, unless that is what is there.
///
/// # Errors
/// No npm, or packages that can't be had: the text holds the command to type.
pub(crate) fn packages(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let digest = blake3::hash(&fs::read(&lock).with_context(|| format!("read {}", lock.display()))?).to_hex();
    let stamp = folder.join("node_modules/.tidegate-lock");
    if fs::read_to_string(&stamp).is_ok_and(|present| present == digest.as_str()) {
        return Ok(());
    }
    if output(Command::new("npm").arg("--version")).is_err() {
        bail!("no npm here: install Node 20 or newer, with npm");
    }
    step(&format!("npm ci in {}", folder.file_name().unwrap_or_default().display()), || {
        output(Command::new("npm").current_dir(folder).args(["ci", "--no-audit", "--no-fund", "--prefer-offline"]))
            .with_context(|| format!("type: cd {} && npm ci", folder.display()))?;
        fs::write(&stamp, digest.as_str()).with_context(|| format!("write {}", stamp.display()))
    })
}
