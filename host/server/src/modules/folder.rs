//! The folder of modules: scans it, and builds the chains that its files make.

use super::copy::{Copies, Packer};
use super::file::FilterFile;
use super::judging::{self, Built, Judged, Judging, PATIENCE};
use super::{BUILTIN, role, selftest};
use crate::clock::Clock;
use crate::telemetry::Metrics;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
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

/// The folder of modules, and the chains that its files make. What runs of it is decided elsewhere.
pub struct Folder {
    engine: Engine,
    dir: PathBuf,
    module_mib_max: u32,
    builtin: Arc<Chain>,
    folders: BTreeMap<String, Known>,
    /// Modules that lie beside the folders.
    strays: BTreeSet<PathBuf>,
    judging: Judging<Vec<Look>>,
    /// Why the whole folder could not be read the last time.
    unreadable: Option<String>,
    metrics: Metrics,
    clock: Clock,
}

/// What is known of one folder.
struct Known {
    /// What the files looked like: an unchanged look is not read again, except now and then.
    look: Vec<Look>,
    /// Digest of what was read last, good or bad.
    digest: blake3::Hash,
    chain: Result<Arc<Chain>, Refusal>,
    since_ms: u64,
    /// When a refused one is judged again, and how long after that.
    again: (Instant, Duration),
}

/// How soon what was refused is judged again: it may have been for want of time on a busy machine.
const AGAIN: Duration = Duration::from_secs(60);
/// And how late, after it was refused again and again.
const AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// Why files make no chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file's name without its ending, or the folder's.
    pub file: String,
    /// The reason, in a sentence.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// What tells without reading that a file may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Folder {
    /// Loads the built-in platform filter and everything in the folder. Of each chain a copy is kept in `copies`.
    ///
    /// # Errors
    /// The built-in filter does not load: this build is broken.
    pub fn open(
        engine: Engine,
        settings: FolderSettings,
        copies: Option<Arc<Copies>>,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let limits = Limits::default();
        let code = engine.load(BUILTIN, Role::Platform, &limits)?;
        let platform = Filter::new(&engine, "platform", code, "{}", limits, OnError::DeadLetter)?;
        let builtin = Arc::new(Chain::new(vec![Arc::new(platform)], Role::Platform)?);
        let (dir, module_mib_max) = (settings.dir.clone(), settings.limits_max.module_mib);
        let workshop = Workshop { engine: engine.clone(), settings, copies, packer: Packer::default() };
        workshop.keep_copy(&builtin, &[BUILTIN]);
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let judging = Judging::new(Arc::new(move |folder, wasm| workshop.judge(folder, wasm)), cores.max(2));
        let (folders, strays, unreadable) = (BTreeMap::new(), BTreeSet::new(), None);
        let mut folder =
            Self { engine, dir, module_mib_max, builtin, folders, strays, judging, unreadable, metrics, clock };
        folder.scan(true);
        // At the start all of them are waited for: whose chain is not there yet would wait, too.
        folder.take(None);
        Ok(folder)
    }

    /// The engine its chains are made for.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The platform chain that is there without a folder.
    #[must_use]
    pub fn builtin(&self) -> &Arc<Chain> {
        &self.builtin
    }

    /// The folders that hold filter files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.folders.keys().map(String::as_str)
    }

    /// Are there files in this folder, or may there be?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.unreadable.is_some() || self.folders.contains_key(name)
    }

    /// The chain that a folder's files make, or why they make none; `None` where there are none. Without platform files
    /// the built-in chain is found.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<Result<&Arc<Chain>, Refusal>> {
        match (self.folders.get(name), &self.unreadable) {
            (Some(known), _) => Some(known.chain.as_ref().map_err(Clone::clone)),
            // What can't be looked into is not empty.
            (None, Some(reason)) => {
                Some(Err(Refusal { file: name.to_owned(), reason: reason.clone(), since_ms: self.clock.now_ms() }))
            }
            (None, None) if name == PLATFORM => Some(Ok(&self.builtin)),
            (None, None) => None,
        }
    }

    /// Why the whole folder can't be read.
    #[must_use]
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Since when a folder's files are what they are, in milliseconds since 1970; 0 for the built-in chain.
    #[must_use]
    pub fn since_ms(&self, name: &str) -> u64 {
        self.folders.get(name).map_or(0, |known| known.since_ms)
    }

    /// What became meanwhile of folders that took long; true when something changed.
    pub fn finish(&mut self) -> bool {
        self.take(Some(Instant::now()))
    }

    /// Waits for one folder that is being judged, until then; true when something changed.
    pub fn finish_one(&mut self, name: &str, until: Instant) -> bool {
        let mut changed = false;
        while self.judging.is_pending(name)
            && let Some((name, judged)) = self.judging.next(Some(until))
        {
            changed |= self.judged(&name, judged);
        }
        changed
    }

    /// Is this folder being judged? What it held before is what is known of it.
    #[must_use]
    pub fn is_pending(&self, name: &str) -> bool {
        self.judging.is_pending(name)
    }

    /// Looks at every folder; true when something changed. `thorough` reads files that look unchanged, too. What takes long to
    /// judge is not waited for: a later look finds it.
    pub fn scan(&mut self, thorough: bool) -> bool {
        let present = match list(&self.dir) {
            Ok((present, strays)) => {
                self.tell_strays(strays);
                present
            }
            Err(problem) => {
                if self.unreadable.as_ref() != Some(&problem) {
                    tracing::error!(dir = %self.dir.display(), problem, "the folder of modules can't be read; what runs goes on");
                }
                return self.unreadable.replace(problem).is_none();
            }
        };
        let mut changed = self.unreadable.take().is_some();
        let before = self.folders.len();
        self.folders.retain(|name, _| present.contains_key(name));
        changed |= self.folders.len() < before;
        self.judging.keep_only(|name| present.contains_key(name));
        let asked = self.judging.asked();
        for (name, wasm) in present {
            changed |= self.look_at(&name, wasm, thorough);
        }
        let patience = if self.judging.asked() > asked { PATIENCE } else { Duration::ZERO };
        changed | self.take(Some(Instant::now() + patience))
    }

    /// Says once of each module that it lies where nothing is looked for.
    fn tell_strays(&mut self, strays: BTreeSet<PathBuf>) {
        for stray in strays.difference(&self.strays) {
            tracing::warn!(
                file = %stray.display(),
                "a module beside the folders runs for nobody: put it into its company's folder, `_default` or `_platform`"
            );
        }
        self.strays = strays;
    }

    /// Asks for a folder that looks as if it held something else. True where that is known already.
    fn look_at(&mut self, name: &str, wasm: Found, thorough: bool) -> bool {
        let look = wasm.as_ref().map(|wasm| look(wasm)).unwrap_or_default();
        if self.judging.is_judged_as(name, &look) {
            return false;
        }
        // What it held a moment ago must not run any more.
        self.judging.forget(name);
        let known = self.folders.get_mut(name);
        if !thorough && known.as_ref().is_some_and(|known| known.look == look) {
            return false;
        }
        let wasm = match wasm {
            Ok(wasm) => wasm,
            Err(problem) => {
                let digest = blake3::hash(problem.as_bytes());
                return self.judged(name, Judged { look, digest, built: Err((name.to_owned(), problem)) });
            }
        };
        if let Some(known) = known
            && known.digest == judging::read(&wasm, self.module_mib_max).0
            && (known.chain.is_ok() || Instant::now() < known.again.0)
        {
            known.look = look;
            return false;
        }
        self.judging.ask(name, wasm, look);
        false
    }

    /// Takes what became of folders until then, or of all that were asked for; true when something changed.
    fn take(&mut self, until: Option<Instant>) -> bool {
        let mut changed = false;
        while let Some((name, judged)) = self.judging.next(until) {
            changed |= self.judged(&name, judged);
        }
        changed
    }

    /// True when the folder holds something else.
    fn judged(&mut self, name: &str, judged: Judged<Vec<Look>>) -> bool {
        let Judged { look, digest, built } = judged;
        let mut wait = AGAIN;
        if let Some(known) = self.folders.get_mut(name)
            && known.digest == digest
        {
            known.look = look.clone();
            match (&known.chain, &built) {
                (Ok(_), _) => return false,
                (Err(before), Err((_, reason))) if before.reason == *reason => {
                    wait = (known.again.1 * 2).min(AGAIN_MAX);
                    known.again = (Instant::now() + wait, wait);
                    return false;
                }
                (Err(_), _) => wait = known.again.1,
            }
        }
        let since_ms = self.clock.now_ms();
        let chain = built.map_err(|(file, reason)| {
            tracing::error!(folder = name, filter = file, reason, "module refused; nothing changes");
            self.metrics.module_swap("refused");
            Refusal { file, reason, since_ms }
        });
        self.folders
            .insert(name.to_owned(), Known { look, digest, chain, since_ms, again: (Instant::now() + wait, wait) });
        true
    }
}

/// What judges folders: everything slow, before a switch.
struct Workshop {
    engine: Engine,
    settings: FolderSettings,
    copies: Option<Arc<Copies>>,
    packer: Packer,
}

impl Workshop {
    fn judge(&self, folder: &str, wasm: &[PathBuf]) -> (blake3::Hash, Built) {
        let (digest, read) = judging::read(wasm, self.settings.limits_max.module_mib);
        let built = read.and_then(|files| {
            let chain = self.build(folder, &files)?;
            let modules: Vec<&[u8]> = files.iter().map(|file| &*file.wasm).collect();
            self.keep_copy(&chain, &modules);
            chain.rest();
            Ok(chain)
        });
        (digest, built)
    }

    fn keep_copy(&self, chain: &Chain, modules: &[&[u8]]) {
        let Some(copies) = self.copies.as_ref().filter(|copies| !copies.has(chain.digest())) else { return };
        let kept = self
            .packer
            .pack(chain, modules)
            .and_then(|packed| copies.keep(chain.digest(), &packed).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            tracing::warn!(chain = %chain.digest(), error, "no copy of a chain can be kept; other hosts may not be able to run it");
        }
    }

    /// Check, compile, `init`, self-test.
    fn build(&self, folder: &str, files: &[FilterFile]) -> Built {
        if folder != PLATFORM
            && folder != DEFAULT
            && let Err(error) = Company::new(folder)
        {
            return Err((folder.to_owned(), format!("the folder is not named like a company: {error}")));
        }
        let role = role(folder);
        let mut filters = Vec::with_capacity(files.len());
        for file in files {
            let filter =
                make(&self.engine, &self.settings, file, role).map_err(|reason| (file.name.clone(), reason))?;
            filters.push(Arc::new(filter));
        }
        let chain = Chain::new(filters, role).map_err(|error| (folder.to_owned(), error.to_string()))?;
        for (file, filter) in files.iter().zip(chain.filters()) {
            tested(&self.engine, filter, file, role).map_err(|reason| (file.name.clone(), reason))?;
        }
        Ok(Arc::new(chain))
    }
}

/// Checks and compiles a filter's files, and lets it judge its configuration: what host, push and folder have in common.
///
/// # Errors
/// Why it is refused, in a sentence.
pub fn make(engine: &Engine, settings: &FolderSettings, file: &FilterFile, role: Role) -> Result<Filter, String> {
    let own = file.settings()?;
    let limits = settings.limits.patched(&own.limits);
    limits.within(&settings.limits_max).map_err(|error| error.to_string())?;
    let config = serde_json::to_string(&own.config).map_err(|error| format!("[config]: {error}"))?;
    let code = engine.load_module(&file.wasm, role, &limits).map_err(|error| error.to_string())?;
    Filter::new(engine, &file.name, code, &config, limits, own.on_error).map_err(|error| error.to_string())
}

/// Runs a filter's recorded cases; how many there are.
///
/// # Errors
/// Which failed, and how.
pub fn tested(engine: &Engine, filter: &Arc<Filter>, file: &FilterFile, role: Role) -> Result<usize, String> {
    let Some(cases) = &file.cases else { return Ok(0) };
    let report = selftest::run(engine, filter, role, cases);
    report.verdict(&file.name)?;
    Ok(report.cases)
}

/// The filter files of one folder in the order of their names, or why it can't be read.
type Found = Result<Vec<PathBuf>, String>;

/// The folders that hold filter files, and such files that lie beside them. A folder that can't be read is not one that is
/// gone: what runs of it goes on, and the others are read all the same.
fn list(dir: &Path) -> Result<(BTreeMap<String, Found>, BTreeSet<PathBuf>), String> {
    let (mut folders, mut strays) = (BTreeMap::new(), BTreeSet::new());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        // No folder is an empty one: it may be made later.
        Err(error) if is_gone(dir, &error) => return Ok((folders, strays)),
        Err(error) => return Err(problem(dir, &error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| problem(dir, &error))?.path();
        // Names with a dot at the start are a tool's own (`..data` of a Kubernetes volume, an editor's backup).
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        let Some(name) = name else { continue };
        let found = match std::fs::metadata(&path) {
            Ok(facts) if !facts.is_dir() => {
                if is_module(&path) {
                    strays.insert(path);
                }
                continue;
            }
            Ok(_) => filter_files(&path),
            Err(error) if is_gone(&path, &error) => continue,
            Err(error) => Err(problem(&path, &error)),
        };
        if !matches!(&found, Ok(wasm) if wasm.is_empty()) {
            folders.insert(name.to_owned(), found);
        }
    }
    Ok((folders, strays))
}

fn filter_files(folder: &Path) -> Found {
    let mut wasm = Vec::new();
    for file in std::fs::read_dir(folder).map_err(|error| problem(folder, &error))? {
        let file = file.map_err(|error| problem(folder, &error))?.path();
        let hidden = file.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && is_module(&file) {
            wasm.push(file);
        }
    }
    wasm.sort();
    Ok(wasm)
}

fn is_module(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "wasm")
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
        std::fs::write(dir.join("10-stray.wasm"), b"x").unwrap();
        let (listed, strays) = list(&dir).unwrap();
        assert_eq!(strays.into_iter().collect::<Vec<_>>(), [dir.join("10-stray.wasm")]);
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["dangling", "good"]);
        assert!(listed["dangling"].is_err() && listed["good"].is_ok());
        assert!(list(&dir.join("later")).unwrap().0.is_empty(), "no folder is an empty one");
        assert!(list(&dir.join("file/below")).is_err() && list(&dir.join("dangling")).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
