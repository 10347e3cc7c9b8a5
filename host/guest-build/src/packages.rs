//! Programs of the machine that guests are built with: found, installed where that is allowed, or told how to install.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::output;

/// Whether packages of the distribution may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packages {
    /// Yes, where that is allowed.
    Install,
    /// No: what is to be typed is told.
    Tell,
}

/// Installs packages of the distribution. `otherwise` is another way, as one types it.
pub(crate) fn install(names: &[&str], packages: Packages, otherwise: &str) -> Result<()> {
    let list = names.join(" ");
    let by_hand =
        format!("type: sudo apt-get update && sudo apt-get install --no-install-recommends {list}\nor: {otherwise}");
    if output(Command::new("apt-get").arg("--version")).is_err() {
        bail!("no apt-get here to install {list}\ntype: {otherwise}");
    }
    if packages == Packages::Tell {
        bail!("{list} are not installed\n{by_hand}");
    }
    if output(Command::new("id").arg("-u")).ok().as_deref() != Some("0") {
        bail!("only root may install {list}\n{by_hand}");
    }
    let known = |package: &&str| output(Command::new("apt-cache").args(["show", package])).is_ok();
    if !names.iter().all(known) {
        eprintln!("apt-get update");
        output(Command::new("apt-get").arg("update")).with_context(|| by_hand.clone())?;
    }
    eprintln!("apt-get install {list}");
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "--yes", "--no-install-recommends"]).args(names);
    if output(&mut command).is_ok() {
        return Ok(());
    }
    // A package list that is days old names versions that the mirror no longer has.
    output(Command::new("apt-get").arg("update")).with_context(|| by_hand.clone())?;
    output(&mut command).with_context(|| by_hand)?;
    Ok(())
}

/// A program on the path.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
