//! The host's tasks: each has a name and this owner, and ends at shutdown.

use futures_util::FutureExt as _;
use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owner of every task. Cheap to clone; all clones own the same tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    tasks: HashMap<u64, (&'static str, Option<AbortHandle>)>,
    failure: Option<String>,
    refusal: Option<String>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), stop: CancellationToken::new(), running: Arc::default() }
    }

    /// The token that is cancelled when the host begins to stop. Tasks wait on a clone of it beside their work.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Begins the shutdown: cancels the token, waits for nothing.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends when the host begins to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// How many tasks are running.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running().tasks.len()
    }

    /// Whether no task is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What brought the host down: the first critical task that ended by itself, in a sentence.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.running().failure.clone()
    }

    /// Ends the host because its configuration does not fit what it found: what, and the way out.
    pub fn refuse(&self, story: String) {
        tracing::error!(reason = %story, "the configuration does not fit");
        self.running().refusal.get_or_insert(story);
        self.stop();
    }

    /// Why the host can not run as it is configured, where a task found that out.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.running().refusal.clone()
    }

    /// Runs a task whose end or panic concerns nobody else, such as a connection's. A panic is logged.
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.start(name, work, |_, _| {}));
    }

    /// Runs work to its end, whether or not whoever waits for it leaves. `None`: this process ended it.
    pub async fn run<T, F>(&self, name: &'static str, work: F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (done, answer) = tokio::sync::oneshot::channel();
        // Nobody waits for the answer once who asked has left.
        self.spawn(name, async move { drop(done.send(work.await)) });
        answer.await.ok()
    }

    /// Runs a task the host can not go on without: when it ends or panics before the shutdown, that is logged, kept
    /// for [`Tasks::failure`], and the shutdown begins.
    pub fn spawn_critical<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.start(name, work, move |tasks, panicked| {
            if tasks.stop.is_cancelled() && panicked.is_none() {
                return;
            }
            let story = match panicked {
                Some(message) => format!("task `{name}` panicked: {message}"),
                None => format!("task `{name}` ended before the host was told to stop"),
            };
            tracing::error!(task = name, reason = %story, "critical task ended");
            tasks.running().failure.get_or_insert(story);
            tasks.stop();
        }));
    }

    /// Runs a task like [`Tasks::spawn`] and hands out its handle, for an owner that may end it before the shutdown.
    pub fn spawn_handle<F>(&self, name: &'static str, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(name, work, |_, _| {})
    }

    fn start<F, E>(&self, name: &'static str, work: F, ended: E) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
        E: FnOnce(&Self, Option<String>) + Send + 'static,
    {
        let id = {
            let mut running = self.running();
            running.next += 1;
            let id = running.next;
            running.tasks.insert(id, (name, None));
            id
        };
        let entry = Entry { id, running: Arc::clone(&self.running) };
        let tasks = self.clone();
        let handle = self.tracker.spawn(async move {
            let entry = entry;
            let panicked = AssertUnwindSafe(work).catch_unwind().await.err().map(|panic| panic_text(panic.as_ref()));
            if let Some(message) = &panicked {
                tracing::error!(task = name, message, "task panicked");
            }
            drop(entry);
            ended(&tasks, panicked);
        });
        // The task may have ended already; then its entry is gone and there is nothing to abort.
        if let Some((_, abort)) = self.running().tasks.get_mut(&id) {
            *abort = Some(handle.abort_handle());
        }
        handle
    }

    /// Ends the host's tasks: cancels the token and waits; what has not ended after `within` is aborted, logged and
    /// returned by name.
    pub async fn shutdown(&self, within: Duration) -> Vec<&'static str> {
        self.stop();
        self.tracker.close();
        if tokio::time::timeout(within, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let mut late: Vec<&'static str> = Vec::new();
        for (name, abort) in self.running().tasks.values() {
            late.push(name);
            if let Some(abort) = abort {
                abort.abort();
            }
        }
        late.sort_unstable();
        tracing::warn!(count = late.len(), first = late.first().copied(), "tasks did not end in time and are aborted");
        // An aborted task is gone at its next await; one that never awaits must not hold the process for ever.
        if tokio::time::timeout(Duration::from_secs(1), self.tracker.wait()).await.is_err() {
            tracing::error!("tasks did not end after they were aborted");
        }
        late
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a task off the list however it ends.
struct Entry {
    id: u64,
    running: Arc<Mutex<Running>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).tasks.remove(&self.id);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_watch_the_token_end_at_shutdown() {
        let tasks = Tasks::new();
        for _ in 0..3 {
            let stop = tasks.token();
            tasks.spawn("worker", async move { stop.cancelled().await });
        }
        assert_eq!(tasks.len(), 3);
        assert!(tasks.shutdown(Duration::from_secs(5)).await.is_empty());
        assert!(tasks.is_empty());
        assert_eq!(tasks.failure(), None);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_aborted_and_named() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(tasks.shutdown(Duration::from_millis(10)).await, ["stubborn"]);
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn a_panic_of_a_critical_task_begins_the_shutdown() {
        let tasks = Tasks::new();
        tasks.spawn_critical("pipeline", async { panic!("no events left") });
        tasks.stopped().await;
        assert_eq!(tasks.failure().as_deref(), Some("task `pipeline` panicked: no events left"));
    }

    #[tokio::test]
    async fn a_critical_task_that_ends_early_begins_the_shutdown() {
        let tasks = Tasks::new();
        tasks.spawn_critical("source", async {});
        tasks.stopped().await;
        assert!(tasks.failure().is_some_and(|story| story.contains("`source` ended before")));
    }

    #[tokio::test]
    async fn a_panic_of_another_task_leaves_the_host_alone() {
        let tasks = Tasks::new();
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("connection", async move {
            let _done = done;
            panic!("broken client");
        });
        assert!(ended.await.is_err(), "the task has ended");
        assert!(!tasks.token().is_cancelled());
        assert!(tasks.shutdown(Duration::from_secs(5)).await.is_empty());
    }
}
