//! The thread that keeps chains and folder in step. File events are only hints: a slow look is the safety net.

use super::keeper::{Base, DeployError, Deployed, Keeper, Names, Wish};
use crate::source::SourceError;
use notify::{RecursiveMode, Watcher as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Quiet time after the last event before files are looked at: a file that is being written is not read half-way.
const QUIET: Duration = Duration::from_millis(30);
/// Events that never end are not waited for longer than this.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// How often the folder is looked at without an event.
const LOOK: Duration = Duration::from_secs(2);
/// How often other hosts' deployments are looked for: all hosts switch within a second.
const LISTEN: Duration = Duration::from_millis(300);
/// How often files that look unchanged are read all the same.
const READ: Duration = Duration::from_secs(60);

/// Asks that may wait for the thread.
const ASKS: usize = 16;
/// How long an ask that finds no room waits before it is tried again.
const ROOM: Duration = Duration::from_millis(20);

enum Ask {
    /// Something may have changed in the folder.
    Look,
    Own(Names, oneshot::Sender<Result<(), SourceError>>),
    Committed(Names),
    StandBy(Names),
    Base(String, oneshot::Sender<Result<Option<Base>, DeployError>>),
    Deploy(Wish, oneshot::Sender<Result<Deployed, DeployError>>),
    Stop,
}

/// The way to the thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeeperLine(SyncSender<Ask>);

impl KeeperLine {
    /// A tenure begins after a commit that names these chains. When this has answered, the right ones run.
    ///
    /// # Errors
    /// Copies can't be asked for now: try again.
    pub async fn own(&self, named: Names) -> Result<(), SourceError> {
        self.asked(|answer| Ask::Own(named, answer)).await.unwrap_or_else(|| Err(ended()))
    }

    /// The chain that serves a folder, or is to: what a push changes.
    ///
    /// # Errors
    /// There is none that could be changed, or the thread has ended.
    pub async fn base(&self, folder: String) -> Result<Option<Base>, DeployError> {
        self.asked(|answer| Ask::Base(folder, answer))
            .await
            .unwrap_or_else(|| Err(DeployError::Away(ended().to_string())))
    }

    /// Does something to a folder: when this has answered, every host knows or will within a second.
    ///
    /// # Errors
    /// Nothing was done, and why.
    pub async fn deploy(&self, wish: Wish) -> Result<Deployed, DeployError> {
        self.asked(|answer| Ask::Deploy(wish, answer))
            .await
            .unwrap_or_else(|| Err(DeployError::Away(ended().to_string())))
    }

    /// Asks, and waits for room and for the answer; `None`: the thread has ended.
    async fn asked<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let mut ask = ask(answer);
        loop {
            ask = match self.0.try_send(ask) {
                Ok(()) => break,
                Err(TrySendError::Full(ask)) => ask,
                Err(TrySendError::Disconnected(_)) => return None,
            };
            tokio::time::sleep(ROOM).await;
        }
        answered.await.ok()
    }

    /// A commit that names these chains is stored. False while the thread is too busy to hear it: tell it again.
    #[must_use]
    pub fn committed(&self, named: Names) -> bool {
        self.0.try_send(Ask::Committed(named)).is_ok()
    }

    /// Another host owns the partition, and its last commit names these chains. False while the thread is too busy to
    /// hear it: tell it again.
    #[must_use]
    pub fn stand_by(&self, named: Names) -> bool {
        self.0.try_send(Ask::StandBy(named)).is_ok()
    }
}

fn ended() -> SourceError {
    SourceError::Away("the module thread has ended".to_owned())
}

/// The thread and what ends it.
#[derive(Debug)]
pub struct ModuleWatch {
    asks: SyncSender<Ask>,
    thread: Option<JoinHandle<()>>,
}

impl ModuleWatch {
    /// Starts watching.
    ///
    /// # Errors
    /// The machine gives no more threads.
    pub fn start(keeper: Keeper, dir: &Path) -> std::io::Result<Self> {
        let (asks, asked) = sync_channel(ASKS);
        let (events, dir) = (asks.clone(), dir.to_owned());
        let thread = std::thread::Builder::new()
            .name("modules".to_owned())
            .spawn(move || watch(keeper, &dir, events, &asked))?;
        Ok(Self { asks, thread: Some(thread) })
    }

    /// The way to the thread.
    #[must_use]
    pub fn line(&self) -> KeeperLine {
        KeeperLine(self.asks.clone())
    }
}

impl Drop for ModuleWatch {
    fn drop(&mut self) {
        if self.asks.send(Ask::Stop).is_err() {
            tracing::debug!("the module thread had ended before");
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the module thread panicked");
        }
    }
}

fn hint(asks: &SyncSender<Ask>) {
    match asks.try_send(Ask::Look) {
        // After each ask the folder is looked at, too.
        Ok(()) | Err(TrySendError::Full(_)) => {}
        Err(TrySendError::Disconnected(_)) => tracing::debug!("a file event after the end of the module thread"),
    }
}

fn watch(mut keeper: Keeper, dir: &Path, hints: SyncSender<Ask>, asked: &Receiver<Ask>) {
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
    let (mut read_at, mut looked_at) = (Instant::now(), Instant::now());
    loop {
        if !watching && let Some(watcher) = &mut watcher {
            watching = watcher.watch(dir, RecursiveMode::Recursive).is_ok();
        }
        let ask = match asked.recv_timeout(LISTEN) {
            Ok(Ask::Look) => quiet(asked),
            Ok(ask) => Some(ask),
            Err(RecvTimeoutError::Timeout) if looked_at.elapsed() < LOOK => {
                keeper.listen();
                continue;
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match ask {
            None | Some(Ask::Look) => {}
            // Nobody waits any more when the tenure has ended, or who asked has left.
            Some(Ask::Own(named, answer)) => drop(answer.send(keeper.own(&named))),
            Some(Ask::Base(folder, answer)) => drop(answer.send(keeper.base(&folder))),
            Some(Ask::Deploy(wish, answer)) => drop(answer.send(keeper.deploy(wish))),
            Some(Ask::Committed(named)) => keeper.committed(named),
            Some(Ask::StandBy(named)) => keeper.stand_by(named),
            Some(Ask::Stop) => return,
        }
        let thorough = read_at.elapsed() >= READ;
        looked_at = Instant::now();
        if thorough {
            read_at = looked_at;
        }
        // A folder that was removed and made again needs a new watch.
        watching &= dir.is_dir();
        keeper.look(thorough);
    }
}

fn is_close_write(kind: &notify::EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    matches!(kind, notify::EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

/// Waits until events have stopped for a moment, or something else is asked.
fn quiet(asked: &Receiver<Ask>) -> Option<Ask> {
    let began = Instant::now();
    while began.elapsed() < QUIET_MAX {
        match asked.recv_timeout(QUIET) {
            Ok(Ask::Look) => {}
            Ok(ask) => return Some(ask),
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => return Some(Ask::Stop),
        }
    }
    None
}
