//! The thread that keeps chains and folder in step. File events are only hints: a slow look is the safety net.

use super::folder::Folder;
use notify::{RecursiveMode, Watcher as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Quiet time after the last event before files are looked at: a file that is being written is not read half-way.
const QUIET: Duration = Duration::from_millis(30);
/// Events that never end are not waited for longer than this.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// How often the folder is looked at without an event.
const LOOK: Duration = Duration::from_secs(2);
/// How often files that look unchanged are read all the same.
const READ: Duration = Duration::from_secs(60);

enum Hint {
    Changed,
    Stop,
}

/// The thread and what ends it.
#[derive(Debug)]
pub struct ModuleWatch {
    hints: SyncSender<Hint>,
    thread: Option<JoinHandle<()>>,
}

impl ModuleWatch {
    /// Starts watching.
    ///
    /// # Errors
    /// The machine gives no more threads.
    pub fn start(folder: Folder, dir: &Path) -> std::io::Result<Self> {
        // One hint says as much as many.
        let (hints, changes) = sync_channel(1);
        let (events, dir) = (hints.clone(), dir.to_owned());
        let thread = std::thread::Builder::new()
            .name("modules".to_owned())
            .spawn(move || watch(folder, &dir, events, &changes))?;
        Ok(Self { hints, thread: Some(thread) })
    }

    /// Looks at the folder now, without waiting for an event.
    pub fn look(&self) {
        hint(&self.hints);
    }
}

impl Drop for ModuleWatch {
    fn drop(&mut self) {
        if self.hints.send(Hint::Stop).is_err() {
            tracing::debug!("the module thread had ended before");
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the module thread panicked");
        }
    }
}

fn hint(hints: &SyncSender<Hint>) {
    match hints.try_send(Hint::Changed) {
        // A hint waits already.
        Ok(()) | Err(TrySendError::Full(_)) => {}
        Err(TrySendError::Disconnected(_)) => tracing::debug!("a file event after the end of the module thread"),
    }
}

fn watch(mut folder: Folder, dir: &Path, hints: SyncSender<Hint>, changes: &Receiver<Hint>) {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        // Our own reads are no change.
        Ok(event) if event.kind.is_access() && !is_close_write(&event.kind) => {}
        // An overflow or an error may hide a change: look.
        Ok(_) | Err(_) => hint(&hints),
    });
    let mut watcher = match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(error = %error, "no file events here; modules are looked at every two seconds");
            None
        }
    };
    let mut watching = false;
    let mut read_at = Instant::now();
    loop {
        if !watching && let Some(watcher) = &mut watcher {
            watching = watcher.watch(dir, RecursiveMode::Recursive).is_ok();
        }
        match changes.recv_timeout(LOOK) {
            Ok(Hint::Changed) => {
                if !quiet(changes) {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Hint::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let thorough = read_at.elapsed() >= READ;
        if thorough {
            read_at = Instant::now();
        }
        // A folder that was removed and made again needs a new watch.
        watching &= dir.is_dir();
        folder.scan(thorough, false);
    }
}

fn is_close_write(kind: &notify::EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    matches!(kind, notify::EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

/// Waits until events have stopped for a moment. False: the host stops.
fn quiet(changes: &Receiver<Hint>) -> bool {
    let began = Instant::now();
    while began.elapsed() < QUIET_MAX {
        match changes.recv_timeout(QUIET) {
            Ok(Hint::Changed) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Hint::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}
