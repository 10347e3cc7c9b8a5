//! The sources of a project, and a bell that rings when one has changed.

use anyhow::Context as _;
use notify::{EventKind, RecursiveMode, Watcher as _};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use tokio::sync::mpsc;

/// Rings while it lives.
pub(super) struct Watch {
    _watcher: notify::RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

impl Watch {
    /// Watches the project's folder and what lies in it, but not what a build writes.
    pub(super) fn start(folder: &Path, target_folder: &Path) -> anyhow::Result<Self> {
        // One waiting ring says it all.
        let (ring, changes) = mpsc::channel(1);
        let told = move |event: notify::Result<notify::Event>| {
            // A hint that could not be told is one that something may have changed.
            if event.is_ok_and(|event| !counts(&event)) {
                return;
            }
            ring.try_send(()).ok();
        };
        let mut watcher = notify::recommended_watcher(told).context("files can not be watched")?;
        let mut watch = |path: &Path, mode| {
            watcher.watch(path, mode).with_context(|| format!("{} can not be watched", path.display()))
        };
        watch(folder, RecursiveMode::NonRecursive)?;
        let target_folder = target_folder.canonicalize().unwrap_or_else(|_| target_folder.to_owned());
        for entry in fs::read_dir(folder).with_context(|| format!("{} can not be read", folder.display()))? {
            let path = entry?.path();
            let hidden = path.file_name().and_then(OsStr::to_str).is_none_or(|name| name.starts_with('.'));
            if path.is_dir() && !hidden && !target_folder.starts_with(&path) && !path.ends_with("target") {
                watch(&path, RecursiveMode::Recursive)?;
            }
        }
        Ok(Self { _watcher: watcher, changes })
    }

    /// Something has changed since the last time.
    pub(super) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // The watcher has ended: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    /// Takes what rang meanwhile as heard.
    pub(super) fn heard(&mut self) {
        self.changes.try_recv().ok();
    }
}

/// Whether the event speaks of a source, of whatever kind: code may include any file. Reading one is no change, a build writes
/// the module and the lock file, and editors keep files of their own.
fn counts(event: &notify::Event) -> bool {
    let source = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let is_written = matches!(ending, "wasm" | "partial" | "lock")
            || path.components().any(|part| part.as_os_str() == "__pycache__");
        let is_an_editors = name.starts_with(['.', '#']) || name.ends_with('~') || matches!(ending, "swp" | "tmp");
        !name.is_empty() && !is_written && !is_an_editors
    };
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, ModifyKind};

    #[test]
    fn what_a_build_reads_and_writes_is_no_change() {
        let event = |kind, path: &str| notify::Event::new(kind).add_path(path.into());
        let modified = EventKind::Modify(ModifyKind::Any);
        for (path, counted) in [
            ("/p/src/lib.rs", true),
            ("/p/p.toml", true),
            ("/p/p.test.ndjson", true),
            ("/p/src/names.csv", true),
            ("/p/src/help.txt", true),
            ("/p/Makefile", true),
            ("/p/src/lib.rs~", false),
            ("/p/p.wasm", false),
            ("/p/p.partial", false),
            ("/p/Cargo.lock", false),
            ("/p/__pycache__", false),
            ("/p/__pycache__/filter.cpython-314.pyc.1", false),
            ("/p/src/.lib.rs.swp", false),
        ] {
            assert_eq!(counts(&event(modified, path)), counted, "{path}");
        }
        assert!(!counts(&event(EventKind::Access(AccessKind::Any), "/p/src/lib.rs")));
    }
}
