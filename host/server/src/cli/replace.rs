//! A file that is written whole or not at all.

use anyhow::Context as _;
use std::fs;
use std::path::Path;

/// Puts a file in place by rename, so that a host that watches the folder never sees half of it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    written.with_context(|| format!("{} can not be written", path.display()))
}
