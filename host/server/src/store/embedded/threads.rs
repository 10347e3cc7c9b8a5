//! The threads of the store: one that writes, a few that read, each with a bounded queue before it.

use super::super::{Answer, StoreError};
use super::database;
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use tokio::sync::{mpsc, oneshot};

/// Calls that wait for a thread; whoever comes then waits before the queue.
const QUEUE: usize = 64;
/// Writes that share one transaction at most: they spare each other writing the same pages again.
const GROUP: usize = 16;
/// Threads that read.
const READERS: usize = 2;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Something for the writer to do.
trait Job: Send {
    /// Does it, perhaps again after it was undone.
    fn run(&mut self, base: &Connection) -> Result<(), StoreError>;
    /// Answers, once it is known whether what was done stays.
    fn settle(self: Box<Self>, kept: Result<(), StoreError>);
}

struct Write<T, F> {
    work: F,
    done: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: Fn(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, base: &Connection) -> Result<(), StoreError> {
        self.done = Some((self.work)(base)?);
        Ok(())
    }

    fn settle(self: Box<Self>, kept: Result<(), StoreError>) {
        let Self { done, answer, .. } = *self;
        // Nobody waits any more when the caller was cancelled.
        let _ = answer.send(kept.and_then(|()| done.ok_or_else(ended)));
    }
}

/// Owner of the threads. They end when it is dropped.
pub(super) struct Threads {
    writes: Option<mpsc::Sender<Box<dyn Job>>>,
    reads: Option<mpsc::Sender<Read>>,
    /// The writer's first.
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let writer = database::open_writer(path)?;
        let (writes, to_write) = mpsc::channel(QUEUE);
        let (reads, to_read) = mpsc::channel(QUEUE);
        let mut threads = Self { writes: Some(writes), reads: Some(reads), handles: Vec::new() };
        threads.spawn("store-writer".to_owned(), move || write_all(&writer, to_write))?;
        let to_read = Arc::new(Mutex::new(to_read));
        for number in 0..READERS {
            let reader = database::open_reader(path)?;
            let to_read = Arc::clone(&to_read);
            threads.spawn(format!("store-reader-{number}"), move || read_all(&reader, &to_read))?;
        }
        Ok(threads)
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = Builder::new().name(name).spawn(work);
        self.handles.push(thread.map_err(|error| StoreError::Away(format!("no thread: {error}")))?);
        Ok(())
    }

    /// Has a reader do this, within one transaction: all it reads was true at one moment.
    pub(super) fn read<'a, T, F>(&self, work: F) -> Answer<'a, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let queue = self.reads.clone();
        let (answer, answered) = oneshot::channel();
        let job: Read = Box::new(move |base| {
            let found = (|| {
                let moment = base.unchecked_transaction()?;
                let found = work(base)?;
                moment.finish()?;
                Ok(found)
            })();
            // Nobody waits any more when the caller was cancelled.
            let _ = answer.send(found);
        });
        Box::pin(async move {
            let queue = queue.ok_or_else(ended)?;
            queue.send(job).await.map_err(|_closed| ended())?;
            answered.await.map_err(|_closed| ended())?
        })
    }

    /// Has the writer do this; the answer comes once it is committed. Nothing of it stays after an error.
    pub(super) fn write<'a, T, F>(&self, work: F) -> Answer<'a, T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let queue = self.writes.clone();
        let (answer, answered) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Write { work, done: None, answer });
        Box::pin(async move {
            let queue = queue.ok_or_else(ended)?;
            queue.send(job).await.map_err(|_closed| ended())?;
            answered.await.map_err(|_closed| ended())?
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.reads = None;
        while let Some(handle) = self.handles.pop() {
            // The writer goes last: whoever closes the file last folds the log into it, and a reader may not.
            if self.handles.is_empty() {
                self.writes = None;
            }
            if handle.join().is_err() {
                tracing::error!("a thread of the embedded store had panicked");
            }
        }
    }
}

fn ended() -> StoreError {
    StoreError::Away("the embedded store has ended".to_owned())
}

fn read_all(base: &Connection, jobs: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        job(base);
    }
}

fn write_all(base: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut group = Vec::with_capacity(GROUP);
    while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
        write_group(base, &mut group);
    }
}

/// One transaction for all of them; where one fails, each has its own.
fn write_group(base: &Connection, group: &mut Vec<Box<dyn Job>>) {
    let together = transaction(base, || group.iter_mut().try_for_each(|job| job.run(base)));
    for mut job in group.drain(..) {
        let kept = if together.is_ok() { Ok(()) } else { transaction(base, || job.run(base)) };
        job.settle(kept);
    }
}

/// Does it within a transaction: all of it stays, or nothing.
fn transaction(base: &Connection, work: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let sql = |text: &str| base.prepare_cached(text).and_then(|mut statement| statement.execute([])).map(drop);
    let done = sql("BEGIN IMMEDIATE").map_err(StoreError::from).and_then(|()| work());
    let kept = done.and_then(|()| sql("COMMIT").map_err(StoreError::from));
    // Some errors, as that of a full disk, end it by themselves.
    if kept.is_err()
        && !base.is_autocommit()
        && let Err(error) = sql("ROLLBACK")
    {
        tracing::error!(%error, "a transaction of the embedded store can't be rolled back");
    }
    kept
}
