//! What `check` says of a filter's files, and what a host's folder says of the same files.

use super::ran;
use crate::cli::Done;
use crate::clock::Clock;
use crate::modules::folder::{Folder, FolderSettings};
use crate::telemetry::Metrics;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use tidegate_filter::{Code, Engine, EngineSettings, Limits, Role};

/// The host's engine: one in a process.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(EngineSettings::default()).expect("an engine"));
/// The built-in filter, kept in use: a folder that is opened doesn't compile it anew.
static BUILTIN: LazyLock<Arc<Code>> = LazyLock::new(|| {
    let module = include_bytes!("../../../../../filters/platform/platform.wasm");
    ENGINE.load(module, Role::Platform, &Limits::default()).expect("it loads")
});
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A folder of modules of its own, with one folder of filters in it.
pub(super) struct Place {
    root: PathBuf,
    folder: String,
}

/// Why files are refused; none: they are taken.
pub(super) type Refusal = Option<String>;

impl Place {
    pub(super) fn new(folder: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("tidegate-verdicts-{}-{number}", std::process::id()));
        fs::create_dir_all(root.join(folder)).expect("a folder");
        Self { root, folder: folder.to_owned() }
    }

    pub(super) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.root.join(&self.folder).join(name), bytes).expect("written");
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.root.join(&self.folder).join(name).to_str().expect("UTF-8").to_owned()
    }

    /// What `tidegate check` says of a filter.
    pub(super) fn check(&self, module: &str) -> Refusal {
        let (result, text) = ran(&["check", &self.path(module), "--json"]);
        let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let taken = told["accepted"] == true;
        assert_eq!(result.expect("a verdict"), if taken { Done::Well } else { Done::Badly }, "{told}");
        (!taken).then(|| told["reason"].as_str().expect("a reason").to_owned())
    }

    /// What a host says of the folder.
    pub(super) fn host(&self) -> Refusal {
        LazyLock::force(&BUILTIN);
        let limits = Limits::default();
        let settings = FolderSettings { dir: self.root.clone(), limits, limits_max: Limits::ceiling() };
        let folder = Folder::open(ENGINE.clone(), settings, None, Metrics::new(), Clock::system());
        let folder = folder.expect("the built-in filter loads");
        folder.chain(&self.folder).expect("there are files").err().map(|refusal| refusal.reason)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).expect("removed");
    }
}
