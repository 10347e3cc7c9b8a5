//! The shipped filters as WebAssembly: built, gathered, and the built-in one kept in step with its source.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tidegate_guest_build::{Keep, Packages, TARGET, WasmTarget, cargo, ensure, registry_remaps, strip};

/// The filters that the host carries in its binary: the default platform chain, and what the demo shows.
const BUILTINS: [&str; 7] = ["dedup", "platform", "redact", "rename", "session", "threshold", "window"];

/// Builds every filter crate of the repository; returns the modules, `target/filters/NAME.wasm`.
///
/// They hold line tables and names, so that a trap is told in source lines, and no path of this machine.
///
/// # Errors
/// No compiler for WebAssembly, or a filter that doesn't compile.
pub(crate) fn build_all() -> Result<Vec<PathBuf>> {
    let target = ensure(Packages::Install)?;
    let crates = filter_crates()?;
    build(&target, &crates)?;
    let folder = target_folder().join("filters");
    fs::create_dir_all(&folder)?;
    let mut modules = Vec::new();
    for filter in &crates {
        let path = folder.join(format!("{}.wasm", filter.name()));
        write(&path, &fs::read(filter.artifact())?)?;
        modules.push(path);
    }
    Ok(modules)
}

/// Rebuilds the embedded filters and writes the modules that the host embeds, with digest and compiler beside each.
///
/// # Errors
/// As [`build_all`].
pub(crate) fn refresh_builtin() -> Result<Vec<PathBuf>> {
    let target = ensure(Packages::Install)?;
    let refresh = |name: &&str| {
        let module = build_builtin(&target, name)?;
        let path = builtin_path(name);
        write(&path, &module)?;
        write(&path.with_extension("wasm.b3"), format!("{}\n", blake3::hash(&module).to_hex()).as_bytes())?;
        write(&path.with_extension("wasm.rustc"), format!("{}\n", target.version).as_bytes())?;
        Ok(path)
    };
    BUILTINS.iter().map(refresh).collect()
}

/// What comparing the committed module with a rebuild says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BuiltinVerdict {
    /// Byte for byte the same.
    Same,
    /// Other bytes from another compiler, which says nothing: compare behaviour instead.
    OtherCompiler {
        /// What built the committed module.
        committed: String,
        /// What is here.
        here: String,
    },
}

impl fmt::Display for BuiltinVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => write!(f, "the embedded filters are what their sources build"),
            Self::OtherCompiler { committed, here } => {
                write!(f, "the embedded filters were built by {committed}, here is {here}: bytes not comparable")
            }
        }
    }
}

/// Compares each committed embedded filter with its digest and with a rebuild.
///
/// # Errors
/// As [`build_all`]; a committed module that isn't the one of its digest; the same compiler, but other bytes.
pub(crate) fn check_builtin() -> Result<BuiltinVerdict> {
    let target = ensure(Packages::Install)?;
    for name in BUILTINS {
        let verdict = check_one(&target, name)?;
        if verdict != BuiltinVerdict::Same {
            return Ok(verdict);
        }
    }
    Ok(BuiltinVerdict::Same)
}

fn check_one(target: &WasmTarget, name: &str) -> Result<BuiltinVerdict> {
    let path = builtin_path(name);
    let committed = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let read = |extension: &str| -> Result<String> {
        let path = path.with_extension(extension);
        Ok(fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?.trim().to_owned())
    };
    let (digest, compiler) = (read("wasm.b3")?, read("wasm.rustc")?);
    if blake3::hash(&committed).to_hex().as_str() != digest {
        bail!("{} isn't the module of its digest {digest}: type `cargo xtask refresh-builtin`", path.display());
    }
    if build_builtin(target, name)? == committed {
        return Ok(BuiltinVerdict::Same);
    }
    if compiler != target.version {
        return Ok(BuiltinVerdict::OtherCompiler { committed: compiler, here: target.version.clone() });
    }
    bail!("{} isn't what its source builds: type `cargo xtask refresh-builtin` and commit it", path.display())
}

/// One filter crate.
struct FilterCrate {
    package: String,
}

impl FilterCrate {
    /// `tidegate-filter-redact` is `redact`.
    fn name(&self) -> &str {
        self.package.strip_prefix("tidegate-filter-").unwrap_or(&self.package)
    }

    fn artifact(&self) -> PathBuf {
        wasm_folder().join(TARGET).join("guest").join(format!("{}.wasm", self.package.replace('-', "_")))
    }
}

/// The folders of `filters/` and the examples' filter, as far as they hold a filter.
fn filter_crates() -> Result<Vec<FilterCrate>> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root().join("filters"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    folders.push(root().join("examples/github-webhooks/filter"));
    folders.sort();
    let mut crates = Vec::new();
    for folder in folders {
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap_or_default();
        if !source.contains("#[filter") {
            continue;
        }
        let package = manifest
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .with_context(|| format!("{} names no package", folder.display()))?;
        crates.push(FilterCrate { package: package.to_owned() });
    }
    Ok(crates)
}

/// Built alone, so that another filter's features can't change its bytes.
fn build_builtin(target: &WasmTarget, name: &str) -> Result<Vec<u8>> {
    let filter = FilterCrate { package: format!("tidegate-filter-{name}") };
    build(target, std::slice::from_ref(&filter))?;
    strip(&fs::read(filter.artifact())?, Keep::Nothing)
}

fn build(target: &WasmTarget, crates: &[FilterCrate]) -> Result<()> {
    let mut cargo = Command::new(cargo());
    cargo.current_dir(root()).args(["build", "--quiet", "--target", TARGET, "--profile", "guest"]);
    // Apart from the host's, so that another compiler doesn't make the host's be built anew.
    cargo.arg("--target-dir").arg(wasm_folder());
    for filter in crates {
        cargo.args(["--package", &filter.package]);
    }
    target.apply(&mut cargo, &remaps());
    if !cargo.status().context("run cargo")?.success() {
        bail!("the filters don't compile");
    }
    Ok(())
}

/// Modules are the same whoever builds them, and tell nothing of the machine.
fn remaps() -> Vec<String> {
    let mut remaps = registry_remaps();
    // Last, since the last fitting one wins and a cargo home may lie around the repository.
    remaps.push(format!("--remap-path-prefix={}=/tidegate", root().display()));
    remaps
}

/// By rename, so that a host that watches the folder never sees half a module.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).with_context(|| format!("write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("write {}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

fn wasm_folder() -> PathBuf {
    target_folder().join("wasm")
}

fn builtin_path(name: &str) -> PathBuf {
    root().join("filters").join(name).join(format!("{name}.wasm"))
}
