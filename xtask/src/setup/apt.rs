//! Debian's packages, installed without starting the services that they bring.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tidegate_guest_build::output;

use crate::step::step;

/// Asked by each package before it starts a service; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs packages.
///
/// # Errors
/// No apt-get, not root, or no such package: the text holds the command to type.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("type: sudo apt-get update && sudo apt-get install --no-install-recommends {list}");
    if output(Command::new("apt-get").arg("--version")).is_err() {
        bail!("{list}: not found, and there is no apt-get to install it with: install it by your system's own means");
    }
    if output(Command::new("id").arg("-u")).ok().as_deref() != Some("0") {
        bail!("{list}: not found, and only root may install packages\n{by_hand}");
    }
    step(&format!("install {list}"), || {
        let _quiet = NoServices::new()?;
        let mut install = apt();
        install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        // A machine that was just made has no list of packages, an old one a list of versions that are gone.
        output(apt().arg("update")).and_then(|_| output(&mut install)).with_context(|| by_hand)?;
        Ok(())
    })
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").arg("--quiet");
    command
}

/// While it lives, no package starts a service. A policy that is there already stays as it is.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Result<Self> {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
        match made {
            Ok(mut file) => {
                file.write_all(b"#!/bin/sh\nexit 101\n").with_context(|| format!("write {POLICY}"))?;
                // The mode above is cut by the umask.
                fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
                Ok(Self { ours: true })
            }
            Err(_) if Path::new(POLICY).exists() => Ok(Self { ours: false }),
            Err(error) => Err(error).with_context(|| format!("write {POLICY}")),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
