//! A project in Rust, as cargo sees it.

use super::Options;
use crate::cli::out::complain;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidegate_guest_build::{TARGET, WasmTarget, cargo, output, registry_remaps, strip};

/// A project as cargo sees it.
pub(in crate::cli) struct RustProject {
    pub(in crate::cli) name: String,
    /// With symbolic links followed, as the compiler names it.
    pub(in crate::cli) folder: PathBuf,
    pub(in crate::cli) target_folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// What cargo says of what it builds; of other messages nothing is needed.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl RustProject {
    /// The project whose Cargo.toml lies in `dir`.
    pub(in crate::cli) fn find(dir: &Path) -> anyhow::Result<Self> {
        let manifest = dir.join("Cargo.toml");
        let manifest = manifest.canonicalize().with_context(|| format!("{} can not be read", manifest.display()))?;
        let mut command = Command::new(cargo());
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let facts: Metadata = serde_json::from_str(&output(&mut command)?).context("what cargo says of the project")?;
        let package = facts.packages.into_iter().find(|package| package.manifest_path == manifest);
        let package = package.with_context(|| format!("{} holds no package", manifest.display()))?;
        if !package.targets.iter().any(|target| target.crate_types.iter().any(|kind| kind == "cdylib")) {
            bail!("{}: a filter is a library: [lib] crate-type = [\"cdylib\", \"rlib\"]", manifest.display());
        }
        Ok(Self { name: package.name, folder: facts.workspace_root, target_folder: facts.target_directory })
    }

    /// The module, stripped; none where it does not compile, which cargo has told.
    pub(super) fn build(&self, target: &WasmTarget, options: Options) -> anyhow::Result<Option<Vec<u8>>> {
        let lock = fs::read(self.folder.join("Cargo.lock")).ok();
        let Some(built) = self.compile(target, options.locked)? else { return Ok(None) };
        if lock.is_some() && lock != fs::read(self.folder.join("Cargo.lock")).ok() {
            complain("Cargo.lock has changed: the next build of these sources is the same only with it");
        }
        strip(&built, options.keep).map(Some).with_context(|| format!("{TARGET}: what was built is no module"))
    }

    fn compile(&self, target: &WasmTarget, locked: bool) -> anyhow::Result<Option<Vec<u8>>> {
        let mut command = Command::new(cargo());
        command
            .current_dir(&self.folder)
            .args(["build", "--release", "--lib", "--target", TARGET, "--package", &self.name])
            .args(["--message-format", "json-render-diagnostics"])
            // Apart from native builds, which may have another compiler.
            .arg("--target-dir")
            .arg(self.target_folder.join("tidegate"));
        if locked {
            command.arg("--locked");
        }
        target.apply(&mut command, &self.remaps(target)?);
        let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cargo can not be run")?;
        if !done.status.success() {
            return Ok(None);
        }
        let messages = String::from_utf8_lossy(&done.stdout);
        let ours = |message: &Message| {
            message.manifest_path.as_deref().and_then(Path::parent).is_some_and(|folder| self.owns(folder))
        };
        let module = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Message>(line).ok())
            .filter(ours)
            .flat_map(|message| message.filenames)
            .find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        let module = module.context("cargo built no module of this package")?;
        fs::read(&module).map(Some).with_context(|| format!("{} can not be read", module.display()))
    }

    fn owns(&self, folder: &Path) -> bool {
        folder.starts_with(&self.folder)
    }

    /// Modules are the same wherever they are built, and tell nothing of the machine.
    fn remaps(&self, target: &WasmTarget) -> anyhow::Result<Vec<String>> {
        let mut remaps = registry_remaps();
        let sysroot = output(Command::new(&target.rustc).args(["--print", "sysroot"]))?;
        let library = Path::new(&sysroot).join("lib/rustlib/src/rust");
        remaps.push(format!("--remap-path-prefix={}=/rustc", library.display()));
        // Last, since the last fitting one wins and a cargo home may lie around the project.
        remaps.push(format!("--remap-path-prefix={}=/{}", self.folder.display(), self.name));
        Ok(remaps)
    }
}
