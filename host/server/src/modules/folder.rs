//! The folder of modules as the truth: scans it, builds chains, and switches to what is good.

use super::file::FilterFile;
use super::{BUILTIN, Chains, ChainsCell, Listed, Listing, Slot, role, selftest};
use crate::clock::Clock;
use crate::health::Health;
use crate::telemetry::Metrics;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_core::event::Company;
use tidegate_filter::{Chain, Engine, Filter, Limits, LoadError, OnError, Role};

/// The folder of the filters that every event passes first.
pub const PLATFORM: &str = "_platform";
/// The folder that serves companies without one of their own.
pub const DEFAULT: &str = "_default";

/// Where modules are and what they may use.
#[derive(Debug, Clone)]
pub struct FolderSettings {
    /// The folder.
    pub dir: PathBuf,
    /// Limits of a filter that sets none.
    pub limits: Limits,
    /// What a filter may set at most.
    pub limits_max: Limits,
}

/// The folder, and what runs of it.
pub struct Folder {
    engine: Engine,
    settings: FolderSettings,
    builtin: Arc<Chain>,
    empty: Arc<Chain>,
    folders: BTreeMap<String, Known>,
    cell: ChainsCell,
    listing: Listing,
    health: Health,
    metrics: Metrics,
    clock: Clock,
}

/// What is known of one folder.
struct Known {
    /// What the files looked like: an unchanged look is not read again, except now and then.
    look: Vec<Look>,
    /// Digest of what was read last, good or bad.
    digest: blake3::Hash,
    slot: Option<Slot>,
    files: Vec<Listed>,
}

/// What tells without reading that a file may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Folder {
    /// Loads the built-in platform filter and everything in the folder. A folder that can't load has no chain: its
    /// company's events wait.
    ///
    /// # Errors
    /// The built-in filter does not load: this build is broken.
    pub fn open(
        engine: Engine,
        settings: FolderSettings,
        health: Health,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let limits = Limits::default();
        let code = engine.load(BUILTIN, Role::Platform, &limits)?;
        let platform = Filter::new(&engine, "platform", code, "{}", limits, OnError::DeadLetter)?;
        let builtin = Arc::new(Chain::new(vec![Arc::new(platform)], Role::Platform)?);
        let empty = Arc::new(Chain::new(Vec::new(), Role::Company)?);
        let cell = ChainsCell::new(Chains::new(&builtin, &BTreeMap::new(), &empty));
        let folders = BTreeMap::new();
        let mut folder = Self {
            engine,
            settings,
            builtin,
            empty,
            folders,
            cell,
            listing: Listing::default(),
            health,
            metrics,
            clock,
        };
        folder.scan(true, true);
        Ok(folder)
    }

    /// The chains, as they are from now on.
    #[must_use]
    pub fn cell(&self) -> ChainsCell {
        self.cell.clone()
    }

    /// The listing, as it is from now on.
    #[must_use]
    pub fn listing(&self) -> Listing {
        self.listing.clone()
    }

    /// Looks at every folder and switches to what is new and good. `thorough` reads files that look unchanged, too;
    /// `start` is the first look, at which a bad folder has nothing to fall back on.
    pub fn scan(&mut self, thorough: bool, start: bool) {
        let present = match list(&self.settings.dir) {
            Ok(present) => present,
            // At the start nobody knows what ran before: nothing passes until the folder can be read.
            Err(problem) if start => [PLATFORM, DEFAULT].map(|name| (name.to_owned(), Err(problem.clone()))).into(),
            Err(problem) => {
                tracing::error!(dir = %self.settings.dir.display(), problem, "the folder of modules can't be read; what runs goes on");
                self.health.modules(vec![problem]);
                return;
            }
        };
        let mut changed = start;
        let gone: Vec<String> = self.folders.keys().filter(|name| !present.contains_key(*name)).cloned().collect();
        for name in gone {
            tracing::info!(folder = name, "module folder emptied; what served it before serves it again");
            changed |= self.folders.remove(&name).is_some_and(|known| known.slot.is_some());
            self.metrics.module_swap("removed");
        }
        for (name, wasm) in present {
            changed |= self.look_at(&name, &wasm, thorough, start);
        }
        if changed {
            let slots: BTreeMap<String, Slot> =
                self.folders.iter().filter_map(|(name, known)| Some((name.clone(), known.slot.clone()?))).collect();
            self.cell.store(Chains::new(&self.builtin, &slots, &self.empty));
        }
        self.list();
    }

    fn list(&self) {
        let mut listed: Vec<Listed> = self.folders.values().flat_map(|known| known.files.clone()).collect();
        if !self.folders.contains_key(PLATFORM) {
            listed.insert(0, self.builtin_listed());
        }
        let refused = listed.iter().filter(|file| file.state == "refused");
        let refused = refused
            .map(|file| format!("{}/{}: {}", file.folder, file.filter, file.reason.as_deref().unwrap_or("refused")));
        self.health.modules(refused.collect());
        self.listing.set(listed);
    }

    fn builtin_listed(&self) -> Listed {
        let filter = &self.builtin.filters()[0];
        let mut listed = active(PLATFORM, filter, 0);
        listed.state = "built-in";
        listed
    }

    /// True when the chain of this folder changed.
    fn look_at(&mut self, name: &str, wasm: &Found, thorough: bool, start: bool) -> bool {
        let look = wasm.as_ref().map(|wasm| look(wasm)).unwrap_or_default();
        if !thorough && self.folders.get(name).is_some_and(|known| known.look == look) {
            return false;
        }
        let (digest, read) = match wasm {
            Ok(wasm) => read(wasm, self.settings.limits_max.module_mib),
            Err(problem) => (blake3::hash(problem.as_bytes()), Err((name.to_owned(), problem.clone()))),
        };
        let now_ms = self.clock.now_ms();
        if let Some(known) = self.folders.get_mut(name)
            && known.digest == digest
        {
            known.look = look;
            return false;
        }
        let before = self.folders.remove(name).and_then(|known| known.slot);
        let built = read.and_then(|files| self.build(name, &files));
        let (slot, files) = match built {
            Ok(chain) => {
                tracing::info!(folder = name, chain = %chain.digest(), filters = chain.filters().len(), "chain switched");
                self.metrics.module_swap("applied");
                let files = chain.filters().iter().map(|filter| active(name, filter, now_ms)).collect();
                (Some(Slot::Ready(chain)), files)
            }
            Err((file, reason)) => {
                let last_good = matches!(before, Some(Slot::Ready(_)));
                tracing::error!(folder = name, filter = file, reason, last_good, "module refused; nothing changes");
                self.metrics.module_swap("refused");
                let mut files = match &before {
                    Some(Slot::Ready(chain)) => {
                        chain.filters().iter().map(|filter| active(name, filter, now_ms)).collect()
                    }
                    Some(Slot::Broken) | None => Vec::new(),
                };
                files.push(Listed {
                    folder: name.to_owned(),
                    filter: file,
                    module: None,
                    version: None,
                    state: "refused",
                    since_ms: now_ms,
                    reason: Some(reason),
                });
                // A folder that never had a chain keeps what served it; at the start nobody knows what that was.
                (before.or_else(|| start.then_some(Slot::Broken)), files)
            }
        };
        self.folders.insert(name.to_owned(), Known { look, digest, slot, files });
        true
    }

    /// Everything slow happens here, before the switch: check, compile, `init`, self-test.
    fn build(&self, folder: &str, files: &[FilterFile]) -> Result<Arc<Chain>, (String, String)> {
        if folder != PLATFORM
            && folder != DEFAULT
            && let Err(error) = Company::new(folder)
        {
            return Err((folder.to_owned(), format!("the folder is not named like a company: {error}")));
        }
        let role = role(folder);
        let mut filters = Vec::with_capacity(files.len());
        for file in files {
            let filter = self.filter(file, role).map_err(|reason| (file.name.clone(), reason))?;
            filters.push(Arc::new(filter));
        }
        let chain = Chain::new(filters, role).map_err(|error| (folder.to_owned(), error.to_string()))?;
        for (file, filter) in files.iter().zip(chain.filters()) {
            if let Some(cases) = &file.cases {
                selftest::run(&self.engine, filter, role, cases).map_err(|reason| (file.name.clone(), reason))?;
            }
        }
        Ok(Arc::new(chain))
    }

    fn filter(&self, file: &FilterFile, role: Role) -> Result<Filter, String> {
        let settings = file.settings()?;
        let limits = self.settings.limits.patched(&settings.limits);
        limits.within(&self.settings.limits_max).map_err(|error| error.to_string())?;
        let config = serde_json::to_string(&settings.config).map_err(|error| format!("[config]: {error}"))?;
        let code = self.engine.load(&file.wasm, role, &limits).map_err(|error| error.to_string())?;
        Filter::new(&self.engine, &file.name, code, &config, limits, settings.on_error)
            .map_err(|error| error.to_string())
    }
}

fn active(folder: &str, filter: &Filter, since_ms: u64) -> Listed {
    let description = filter.code().description();
    Listed {
        folder: folder.to_owned(),
        filter: filter.name().to_string(),
        module: Some(filter.module().to_string()),
        version: Some(format!("{} {}", description.name, description.version)),
        state: "active",
        since_ms,
        reason: None,
    }
}

/// The filter files of one folder in the order of their names, or why it can't be read.
type Found = Result<Vec<PathBuf>, String>;

/// The folders that hold filter files. One that can't be read is not one that is gone: what runs of it goes on, and the
/// others are read all the same.
fn list(dir: &Path) -> Result<BTreeMap<String, Found>, String> {
    let mut folders = BTreeMap::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        // No folder is an empty one: it may be made later.
        Err(error) if is_gone(dir, &error) => return Ok(folders),
        Err(error) => return Err(problem(dir, &error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| problem(dir, &error))?.path();
        // Names with a dot at the start are a tool's own (`..data` of a Kubernetes volume, an editor's backup).
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        let Some(name) = name else { continue };
        let found = match std::fs::metadata(&path) {
            Ok(facts) if !facts.is_dir() => continue,
            Ok(_) => filter_files(&path),
            Err(error) if is_gone(&path, &error) => continue,
            Err(error) => Err(problem(&path, &error)),
        };
        if !matches!(&found, Ok(wasm) if wasm.is_empty()) {
            folders.insert(name.to_owned(), found);
        }
    }
    Ok(folders)
}

fn filter_files(folder: &Path) -> Found {
    let mut wasm = Vec::new();
    for file in std::fs::read_dir(folder).map_err(|error| problem(folder, &error))? {
        let file = file.map_err(|error| problem(folder, &error))?.path();
        let hidden = file.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && file.extension().is_some_and(|ending| ending == "wasm") {
            wasm.push(file);
        }
    }
    wasm.sort();
    Ok(wasm)
}

/// Is the entry itself gone? A link that leads nowhere is still there, and is a fault.
fn is_gone(path: &Path, error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound && path.symlink_metadata().is_err()
}

fn problem(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn look(wasm: &[PathBuf]) -> Vec<Look> {
    let beside = |path: &PathBuf| [path.clone(), path.with_extension("toml"), path.with_extension("test.ndjson")];
    let look = |path: PathBuf| {
        let facts = std::fs::metadata(&path).ok()?;
        Some(Look { path, bytes: facts.len(), modified: facts.modified().ok() })
    };
    wasm.iter().flat_map(beside).filter_map(look).collect()
}

type ReadFiles = Result<Vec<FilterFile>, (String, String)>;

/// Reads a folder's files, and digests what was read, so that the same content is judged once.
fn read(wasm: &[PathBuf], module_mib: u32) -> (blake3::Hash, ReadFiles) {
    let mut hasher = blake3::Hasher::new();
    let mut files = Vec::with_capacity(wasm.len());
    for path in wasm {
        match FilterFile::read(path, u64::from(module_mib) << 20) {
            Ok(file) => {
                file.digest_into(&mut hasher);
                files.push(file);
            }
            Err(problem) => {
                hasher.update(problem.as_bytes());
                let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                return (hasher.finalize(), Err((name, problem)));
            }
        }
    }
    (hasher.finalize(), Ok(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_not_be_read_is_not_a_folder_that_is_gone() {
        let dir = std::env::temp_dir().join(format!("tidegate-folders-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("good")).unwrap();
        std::fs::create_dir_all(dir.join("empty")).unwrap();
        std::fs::write(dir.join("good/10-a.wasm"), b"x").unwrap();
        std::fs::write(dir.join("file"), b"x").unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", dir.join("dangling")).unwrap();
        let listed = list(&dir).unwrap();
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["dangling", "good"]);
        assert!(listed["dangling"].is_err() && listed["good"].is_ok());
        assert!(list(&dir.join("later")).unwrap().is_empty(), "no folder is an empty one");
        assert!(list(&dir.join("file/below")).is_err() && list(&dir.join("dangling")).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
