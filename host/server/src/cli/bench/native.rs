//! The same filter built for this machine: a program around the project's own crate, which the SDK's recorder times.

use crate::bench::Times;
use crate::cli::build::RustProject;
use crate::modules::selftest::Event;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tidegate_filter::Filter;
use tidegate_guest_build::cargo;

/// A program that times a filter.
pub(super) struct Native {
    program: PathBuf,
    config: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
    source: Option<String>,
}

impl Native {
    /// Builds the program for the Rust project that the module lies in.
    ///
    /// # Errors
    /// Why it can't be: no such project, or what the compiler says.
    pub(super) fn of(module: &Path, filter: &Filter) -> Result<Self, String> {
        let here = module.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
        let folder = here.filter(|folder| folder.join("Cargo.toml").is_file());
        let folder = folder.ok_or("there is no Cargo.toml beside the module")?;
        let project = RustProject::find(&folder).map_err(|error| format!("{error:#}"))?;
        let source = folder.join("src/lib.rs");
        let text = fs::read_to_string(&source).map_err(|error| format!("{}: {error}", source.display()))?;
        let function = function(&text)
            .ok_or_else(|| format!("{} holds no `#[filter] pub fn` at its top", source.display()))?
            .to_owned();
        let place = project.target_folder.join("tidegate/native");
        let wrote = write(&place, &folder, &project, &function);
        wrote.map_err(|error| format!("{error:#}"))?;
        let target_folder = project.target_folder.join("tidegate/native-target");
        let mut command = Command::new(cargo());
        command.current_dir(&place).args(["build", "--release", "--quiet", "--target-dir"]).arg(&target_folder);
        // Flags for WebAssembly, or of whoever runs this, are not for it.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
        let done = command.stdin(Stdio::null()).output().map_err(|error| format!("cargo can not be run: {error}"))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            let first = said.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed").to_owned();
            return Err(format!("{first} (`cargo build --release` in {} says more)", place.display()));
        }
        let program = target_folder.join("release/tidegate-native");
        Ok(Self { program, config: filter.config_json().to_owned() })
    }

    /// Runs it: one time for each size of batches.
    ///
    /// # Errors
    /// What the program says.
    pub(super) fn run(&self, events: &[Event], sizes: &[usize], time: Duration) -> Result<Vec<Times>, String> {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).map_err(|error| error.to_string());
        let events = events.iter().map(|event| raw(event.text())).collect::<Result<Vec<_>, _>>()?;
        #[derive(serde::Serialize)]
        struct Order<'a> {
            config: Box<RawValue>,
            events: Vec<Box<RawValue>>,
            sizes: &'a [usize],
            millis: u128,
        }
        let order = Order { config: raw(&self.config)?, events, sizes, millis: time.as_millis() };
        let order = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        if let Some(mut input) = program.stdin.take() {
            // It reads everything before it writes; one that has died says why below.
            input.write_all(&order).ok();
        }
        let done = program.wait_with_output().map_err(|error| error.to_string())?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).trim().to_owned());
        }
        serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())
    }
}

/// The program's project, beside what else is built. Files that are as they were stay, so that nothing is built twice.
fn write(place: &Path, folder: &Path, project: &RustProject, function: &str) -> anyhow::Result<()> {
    let mut command = Command::new(cargo());
    command.current_dir(folder).args(["metadata", "--format-version", "1", "--manifest-path"]);
    let facts = tidegate_guest_build::output(command.arg(folder.join("Cargo.toml")))?;
    let facts: Metadata = serde_json::from_str(&facts)?;
    let sdk = facts.packages.iter().find(|package| package.name == "tidegate-guest");
    let sdk = sdk.ok_or_else(|| anyhow::anyhow!("the project does not use the SDK, tidegate-guest"))?;
    // Debug's quotes are TOML's for what paths hold.
    let sdk = match (&sdk.source, sdk.manifest_path.parent()) {
        (None, Some(folder)) => format!("{{ path = {:?} }}", folder.display().to_string()),
        _ => format!("\"={}\"", sdk.version),
    };
    let (name, path) = (&project.name, folder.display().to_string());
    let manifest = format!(
        "[package]\nname = \"tidegate-native\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         filter = {{ path = {path:?}, package = {name:?} }}\ntidegate-guest = {sdk}\n\n[profile.release]\nopt-level = 3\n\
         lto = true\ncodegen-units = 1\npanic = \"abort\"\n\n[workspace]\n"
    );
    let program =
        format!("fn main() -> Result<(), String> {{\n    tidegate_guest::testing::bench::<filter::{function}>()\n}}\n");
    fs::create_dir_all(place.join("src"))?;
    renew(&place.join("Cargo.toml"), &manifest)?;
    renew(&place.join("src/main.rs"), &program)?;
    let lock = project.folder.join("Cargo.lock");
    if !place.join("Cargo.lock").exists() && lock.exists() {
        fs::copy(lock, place.join("Cargo.lock"))?;
    }
    Ok(())
}

fn renew(path: &Path, text: &str) -> std::io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::write(path, text)
}

/// The name of the public function below `#[filter]`.
fn function(source: &str) -> Option<&str> {
    let mut lines = source.lines().skip_while(|line| !line.starts_with("#[filter"));
    let line = lines.find_map(|line| line.strip_prefix("pub fn "))?;
    line.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::function;

    #[test]
    fn the_filter_is_the_public_function_below_its_attribute() {
        let source = "pub fn other() {}\n\n#[filter(\n    emits = [\"a\"]\n)]\n#[inline]\npub fn only_high(event: &Event) -> Verdict {\n";
        assert_eq!(function(source), Some("only_high"));
        assert_eq!(function("#[filter]\nfn hidden(event: &Event) -> Verdict {\n"), None);
    }
}
