//! The compiler for `wasm32-unknown-unknown`: rustup's where it has one, the distribution's otherwise.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages::{Packages, install, which};

/// The target that filters are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's packages: its compiler, and the library source that belongs to it.
const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// The way without packages.
const RUSTUP: &str = "rustup target add wasm32-unknown-unknown";

/// A compiler that can build for [`TARGET`], and what it must be told.
#[derive(Clone, Debug)]
pub struct WasmTarget {
    /// The compiler.
    pub rustc: PathBuf,
    /// Flags for the target's crates alone: host crates (macros, build scripts) don't get them.
    pub rustflags: Vec<String>,
    /// Where it comes from, in a few words for the reader.
    pub origin: String,
    /// What `rustc --version` prints: builds are the same byte for byte only where it is the same.
    pub version: String,
}

impl WasmTarget {
    /// Sets compiler and flags on a `cargo` command; `more` are further flags for the target's crates.
    pub fn apply(&self, cargo: &mut Command, more: &[String]) {
        // Flags may hold spaces (paths): only the encoded form keeps them apart.
        let flags: Vec<&str> = self.rustflags.iter().chain(more).map(String::as_str).collect();
        cargo
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS");
    }
}

/// Finds or sets up a compiler for [`TARGET`], and says in one line which it is.
///
/// In this order: the active toolchain's own; `rustup target add`; the distribution's packages with a library built
/// from their source, kept in [`cache_folder`]. `TIDEGATE_WASM=distribution` goes to the last at once.
///
/// # Errors
/// When none can be had: the text holds the command to type.
pub fn ensure(packages: Packages) -> Result<WasmTarget> {
    let target = find(packages)?;
    eprintln!("{TARGET}: {} ({})", target.origin, target.version);
    Ok(target)
}

/// Outside every build folder, so that it outlives `cargo clean` and serves every checkout.
///
/// # Errors
/// When neither `TIDEGATE_CACHE` nor `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache_folder() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("TIDEGATE_CACHE") {
        return Ok(folder);
    }
    if let Some(folder) = set("XDG_CACHE_HOME") {
        return Ok(folder.join("tidegate"));
    }
    let home = set("HOME").context("no folder for the cache: set TIDEGATE_CACHE")?;
    Ok(home.join(".cache/tidegate"))
}

fn find(packages: Packages) -> Result<WasmTarget> {
    let rustc = PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let forced = std::env::var_os("TIDEGATE_WASM").is_some_and(|way| way == "distribution");
    if forced {
        return from_distribution(&rustc, packages);
    }
    if has_target(&rustc) {
        return plain(rustc, "the active toolchain's");
    }
    match rustup(&rustc) {
        Ok(()) => plain(rustc, "added with rustup"),
        Err(refused) => from_distribution(&rustc, packages).with_context(|| {
            format!("rustup can't add the target ({refused:#}), and the distribution's compiler can't be had")
        }),
    }
}

fn plain(rustc: PathBuf, origin: &str) -> Result<WasmTarget> {
    let version = output(Command::new(&rustc).arg("--version"))?;
    Ok(WasmTarget { rustc, rustflags: Vec::new(), origin: origin.to_owned(), version })
}

/// A folder for the target isn't enough: an interrupted installation leaves one without a library.
fn has_target(rustc: &Path) -> bool {
    output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))
        .is_ok_and(|folder| has_library(Path::new(&folder)))
}

fn has_library(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // rustup's bears a hash, cargo's own build of it none.
            name == "libstd.rlib" || (name.starts_with("libstd-") && name.ends_with(".rlib"))
        })
    })
}

fn rustup(rustc: &Path) -> Result<()> {
    output(Command::new("rustup").args(["target", "add", TARGET]))?;
    // rustup adds to its active toolchain, which need not be the one that `rustc` names.
    if !has_target(rustc) {
        bail!("`rustup target add {TARGET}` did not reach {}", rustc.display());
    }
    Ok(())
}

fn from_distribution(active: &Path, packages: Packages) -> Result<WasmTarget> {
    let (rustc, library) = match installed() {
        Some(found) => found,
        None => {
            install(&PACKAGES, packages, RUSTUP)?;
            installed().with_context(|| {
                format!("{} are installed, but hold no compiler or library source", PACKAGES.join(" and "))
            })?
        }
    };
    let version = output(Command::new(&rustc).arg("--version"))?;
    let sysroot = sysroot(&rustc, &library, &version)?;
    let linker = linker(active, packages)?;
    Ok(WasmTarget {
        rustc,
        rustflags: vec![
            "--sysroot".to_owned(),
            sysroot.display().to_string(),
            format!("-Clinker={}", linker.display()),
            "-Clinker-flavor=wasm-ld".to_owned(),
        ],
        origin: "the distribution's, with a library of its own".to_owned(),
        version,
    })
}

/// The compiler and its library source, if both packages are there.
fn installed() -> Option<(PathBuf, PathBuf)> {
    let files = |package: &str| output(Command::new("dpkg").args(["-L", package])).ok();
    let rustc = files(PACKAGES[0])?.lines().find(|line| line.ends_with("/bin/rustc")).map(PathBuf::from)?;
    let manifest = files(PACKAGES[1])?
        .lines()
        .filter(|line| line.ends_with("/library/sysroot/Cargo.toml"))
        // The source holds test projects with a folder of the same name, deeper down.
        .min_by_key(|line| line.len())
        .map(PathBuf::from)?;
    let library = manifest.parent()?.parent()?.to_owned();
    (rustc.is_file() && library.join("Cargo.toml").is_file()).then_some((rustc, library))
}

/// The library for [`TARGET`], built once for each compiler and kept in the cache.
fn sysroot(rustc: &Path, library: &Path, version: &str) -> Result<PathBuf> {
    let name: String = version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let folder = cache_folder()?.join("wasm").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let done = folder.join("sysroot");
    // Two checkouts may come at once; the second waits and finds the work done.
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("lock the cache")?;
    if has_library(&done.join("lib/rustlib").join(TARGET).join("lib")) {
        return Ok(done);
    }
    eprintln!("building the {TARGET} library of {version}, once (about a minute)");
    let work = folder.join("work");
    remove(&work)?;
    remove(&done)?;
    let source = work.join("library");
    copy_tree(library, &source)?;
    build_library(rustc, &source, &work.join("target"))?;

    let laid_out = work.join("sysroot");
    let libraries = laid_out.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries)?;
    for entry in fs::read_dir(work.join("target").join(TARGET).join("release/deps"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension() == Some(OsStr::new("rlib"))) {
            fs::copy(&path, libraries.join(name))?;
        }
    }
    if !has_library(&libraries) {
        bail!("{} built no standard library", source.display());
    }
    link_host(rustc, &laid_out)?;
    fs::rename(&laid_out, &done)?;
    remove(&work)?;
    Ok(done)
}

fn build_library(rustc: &Path, source: &Path, target: &Path) -> Result<()> {
    let commit = output(Command::new(rustc).arg("-vV"))?
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: ").map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    let mut flags = registry_remaps();
    flags.extend([
        "-Zforce-unstable-if-unmarked".to_owned(),
        // Filters are built with LTO, which reads bitcode.
        "-Cembed-bitcode=yes".to_owned(),
        // The name that rustup's library bears: no path of this machine ends in a filter.
        format!("--remap-path-prefix={}=/rustc/{commit}/library", source.display()),
    ]);
    let cargo = cargo();
    output(
        Command::new(&cargo)
            .current_dir(source)
            .args([
                "build",
                "--release",
                "--manifest-path",
                "sysroot/Cargo.toml",
                "--target",
                TARGET,
                "--no-default-features",
            ])
            .arg("--target-dir")
            .arg(target)
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            // Set by the cargo that runs us, for the project's own package: they mean nothing to this one.
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_MANIFEST_DIR"),
    )
    .context("build the library from the distribution's source (its dependencies come from crates.io)")?;
    Ok(())
}

/// Macros and build scripts run on the host: they need its library beside the target's.
fn link_host(rustc: &Path, sysroot: &Path) -> Result<()> {
    let own = PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?);
    let host = host_triple(rustc)?;
    let link = sysroot.join("lib/rustlib").join(&host);
    std::os::unix::fs::symlink(own.join("lib/rustlib").join(&host), &link)
        .with_context(|| format!("link {}", link.display()))
}

fn host_triple(rustc: &Path) -> Result<String> {
    output(Command::new(rustc).arg("-vV"))?
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .context("rustc names no host")
}

/// The active toolchain brings a linker for WebAssembly; LLVM's packages have one, too.
fn linker(active: &Path, packages: Packages) -> Result<PathBuf> {
    if let (Ok(sysroot), Ok(host)) = (output(Command::new(active).args(["--print", "sysroot"])), host_triple(active)) {
        let bundled = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
        if bundled.is_file() {
            return Ok(bundled);
        }
    }
    let on_path = || which("wasm-ld").or_else(|| which("wasm-ld-14"));
    if let Some(found) = on_path() {
        return Ok(found);
    }
    install(&["lld"], packages, RUSTUP)?;
    on_path().context("the package lld brought no wasm-ld")
}

/// Flags that keep the place of the cargo home out of what is compiled.
pub fn registry_remaps() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let sources = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    // Each registry's folder bears a hash of its address, which a mirror changes: so folder by folder.
    let folders = sources.into_iter().flatten().flatten().map(|entry| entry.path());
    folders.map(|folder| format!("--remap-path-prefix={}=/crates", folder.display())).collect()
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What a command prints, without space around it.
///
/// # Errors
/// It can't be run, or it fails: with its last lines of complaint.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("run {name}"))?;
    if !done.status.success() {
        let complaint = String::from_utf8_lossy(&done.stderr);
        let lines: Vec<&str> = complaint.lines().collect();
        bail!("{name}: {}\n{}", done.status, lines[lines.len().saturating_sub(30)..].join("\n"));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        // Follows links: the package links some files to other places of its own.
        let kind = fs::metadata(entry.path());
        let target = to.join(entry.file_name());
        match kind {
            Ok(kind) if kind.is_dir() => copy_tree(&entry.path(), &target)?,
            Ok(_) => {
                fs::copy(entry.path(), &target).with_context(|| format!("copy {}", entry.path().display()))?;
            }
            // A link to a package that isn't installed: the library builds without it, or cargo says what it misses.
            Err(_) => {}
        }
    }
    Ok(())
}
