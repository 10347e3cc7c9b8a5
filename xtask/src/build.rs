//! Where things lie, and the cargo commands that several jobs share.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Cargo's target folder.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The folder of the built filters, `NAME.wasm`.
pub(crate) fn filters_folder() -> PathBuf {
    target_folder().join("filters")
}

/// The `tidegate` binary of a profile's folder (`debug`, `release`).
pub(crate) fn binary(profile: &str, name: &str) -> PathBuf {
    target_folder().join(profile).join(name)
}

/// The cargo that runs us, in the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(tidegate_guest_build::cargo());
    command.current_dir(root()).args(args);
    // Set for us by the cargo that runs us; cargo itself would take them for the user's own.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}
