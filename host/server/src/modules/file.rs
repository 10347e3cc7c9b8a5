//! One filter on disk: `NN-name.wasm`, with `NN-name.toml` and `NN-name.test.ndjson` beside it.

use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read as _, Take};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use tidegate_filter::{LimitsPatch, Module, OnError};

/// The longest configuration or list of cases, in bytes.
const TEXT_BYTES_MAX: u64 = 8 << 20;

/// What `NN-name.toml` may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Given to the filter's `init` as JSON.
    pub config: toml::Table,
    /// Limits below the host's ceilings.
    pub limits: LimitsPatch,
    /// What happens to an event at which it fails.
    pub on_error: OnError,
}

/// A filter's files, read.
#[derive(Debug, Clone)]
pub struct FilterFile {
    /// The stem of the file's name, such as `10-threshold`.
    pub name: String,
    /// The module.
    pub wasm: Module,
    /// The text of its settings; empty without any.
    pub settings: String,
    /// Its recorded cases, if there are any.
    pub cases: Option<String>,
}

impl FilterFile {
    /// Reads a filter's files. Only regular files are opened, and none above its bound is read.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(wasm: &Path, wasm_bytes_max: u64) -> Result<Self, String> {
        let name = wasm
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or_else(|| format!("{} has no readable name", wasm.display()))?;
        let beside = |ending: &str| -> PathBuf { wasm.with_file_name(format!("{name}.{ending}")) };
        let text = |path: PathBuf| -> Result<Option<String>, String> {
            // A link that leads nowhere is there, and is a fault: without its settings a filter would be another one.
            if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                return Ok(None);
            }
            let bytes = read_regular(&path, TEXT_BYTES_MAX, |mut file, size| {
                let mut bytes = Vec::with_capacity(size);
                file.read_to_end(&mut bytes).map(|_| bytes)
            })?;
            String::from_utf8(bytes).map(Some).map_err(|error| format!("{}: not UTF-8: {error}", path.display()))
        };
        let settings = text(beside("toml"))?.unwrap_or_default();
        let cases = text(beside("test.ndjson"))?;
        Ok(Self { name: name.to_owned(), wasm: read_regular(wasm, wasm_bytes_max, Module::read)?, settings, cases })
    }

    /// Its settings.
    ///
    /// # Errors
    /// A sentence with the place in the file.
    pub fn settings(&self) -> Result<Settings, String> {
        toml::from_str(&self.settings).map_err(|error| format!("{}.toml: {}", self.name, error.to_string().trim()))
    }

    /// Adds all that makes this version to a digest.
    pub fn digest_into(&self, hasher: &mut blake3::Hasher) {
        let module = self.wasm.digest().as_bytes();
        let cases = self.cases.as_deref().unwrap_or("");
        for part in [self.name.as_bytes(), module, self.settings.as_bytes(), cases.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
}

/// Reads a file whose size was checked first; anything but a regular file (a pipe would block the opener) is refused. `read`
/// is given it, and how large it is.
fn read_regular<T: Deref<Target = [u8]>>(
    path: &Path,
    bytes_max: u64,
    read: impl FnOnce(Take<File>, usize) -> io::Result<T>,
) -> Result<T, String> {
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    let facts = std::fs::metadata(path).map_err(wrong)?;
    if !facts.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    if facts.len() > bytes_max {
        return Err(format!("{} has {} bytes; at most {bytes_max} are read (module-mib)", path.display(), facts.len()));
    }
    let file = File::open(path).map_err(wrong)?.take(bytes_max + 1);
    let read = read(file, facts.len() as usize).map_err(wrong)?;
    if read.len() as u64 > bytes_max {
        return Err(format!("{} grew beyond {bytes_max} bytes while it was read", path.display()));
    }
    Ok(read)
}
