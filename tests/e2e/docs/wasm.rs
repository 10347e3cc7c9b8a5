//! The compiler for filters, as `cargo xtask wasm` sets it up: the documents' plain `cargo build --target …` is run with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const TARGET: &str = "wasm32-unknown-unknown";

/// What cargo has to be told: nothing where the active toolchain has the target.
pub(super) fn environment() -> Result<Vec<(String, String)>> {
    if has_target() {
        return Ok(Vec::new());
    }
    let rustc = distribution().context("no compiler for filters here: type `cargo xtask wasm`")?;
    let version = print(Command::new(&rustc).arg("--version"))?;
    let name: String = version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let sysroot = cache()?.join("wasm").join(name).join("sysroot");
    if !sysroot.is_dir() {
        bail!("{} isn't there: type `cargo xtask wasm`", sysroot.display());
    }
    let flags = [
        "--sysroot".to_owned(),
        sysroot.display().to_string(),
        format!("-Clinker={}", linker()?.display()),
        "-Clinker-flavor=wasm-ld".to_owned(),
    ];
    Ok(vec![
        ("RUSTC".to_owned(), rustc.display().to_string()),
        ("CARGO_ENCODED_RUSTFLAGS".to_owned(), flags.join("\u{1f}")),
    ])
}

/// Where `cargo xtask` keeps what it set up.
fn cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TIDEGATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("tidegate")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/tidegate")))
        .context("no folder for the cache: set TIDEGATE_CACHE")
}

fn has_target() -> bool {
    let folder = print(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    folder.is_ok_and(|folder| std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some()))
}

fn distribution() -> Result<PathBuf> {
    let files = print(Command::new("dpkg").args(["-L", "rustc-web"]))?;
    files.lines().find(|line| line.ends_with("/bin/rustc")).map(PathBuf::from).context("rustc-web holds no rustc")
}

fn linker() -> Result<PathBuf> {
    let sysroot = print(Command::new("rustc").args(["--print", "sysroot"]))?;
    let facts = print(Command::new("rustc").arg("-vV"))?;
    let host = facts.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let bundled = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    if bundled.is_file() {
        return Ok(bundled);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).flat_map(|folder| [folder.join("wasm-ld"), folder.join("wasm-ld-14")]);
    found.find(|path| path.is_file()).context("no wasm-ld here: type `cargo xtask wasm`")
}

fn print(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    if !done.status.success() {
        bail!("{}: {}", command.get_program().display(), String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
