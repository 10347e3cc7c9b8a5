//! The threads on which guests run: a bounded number of plain ones, so that no guest ever holds an async worker up.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tidegate_filter::{Engine, InstancePool, Worker};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A pool of guest threads. Whoever sends jobs bounds their number: one for each company of a batch, at most.
#[derive(Debug)]
pub struct Guests {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.lock().jobs.len()).finish_non_exhaustive()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Guests {
    /// Starts `threads` threads named `name`, with their instances in `pool`. Threads of `background` get the processor when
    /// nobody else wants it, where the system can do so for one thread.
    ///
    /// # Errors
    /// The machine gives no more threads.
    pub fn start(
        engine: &Engine,
        pool: &InstancePool,
        name: &str,
        threads: usize,
        background: bool,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut guests = Self { queue: Arc::clone(&queue), threads: Vec::with_capacity(threads) };
        for number in 0..threads {
            let (queue, engine, pool) = (Arc::clone(&queue), engine.clone(), pool.clone());
            let thread = std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                if background {
                    give_way();
                }
                work(&queue, &engine, &pool);
            })?;
            guests.threads.push(thread);
        }
        Ok(guests)
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Runs a job on some thread. `None`: it panicked, or the pool is closed.
    pub async fn run<T, J>(&self, job: J) -> Option<T>
    where
        T: Send + 'static,
        J: FnOnce(&mut Worker) -> T + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        {
            let mut waiting = self.queue.lock();
            if waiting.closed {
                return None;
            }
            // Nobody waits for an answer any more when the future was dropped: that is no error.
            waiting.jobs.push_back(Box::new(move |worker| drop(answer.send(job(worker)))));
        }
        self.queue.ready.notify_one();
        result.await.ok()
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        {
            let mut waiting = self.queue.lock();
            waiting.closed = true;
            waiting.jobs.clear();
        }
        self.queue.ready.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a guest thread panicked");
            }
        }
    }
}

/// Lowers the thread's priority: to about a ninth of the others' weight, since none at all would starve a company whose
/// events wait (sched(7): a factor of 1.25 for each step of nice).
#[cfg(target_os = "linux")]
fn give_way() {
    const NICE: i32 = 10;
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(error = %error, "a thread keeps its priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}

fn work(queue: &Queue, engine: &Engine, pool: &InstancePool) {
    let mut worker = Worker::new(engine.clone(), pool.clone());
    while let Some(job) = queue.next() {
        if std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut worker))).is_err() {
            tracing::error!("a guest's host code panicked; its instance is dropped");
            worker = Worker::new(engine.clone(), pool.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_filter::{EngineSettings, PoolSettings};

    #[tokio::test]
    async fn a_panic_costs_one_answer_and_no_thread() {
        let engine = Engine::new(EngineSettings::default()).unwrap();
        let pool = InstancePool::new(PoolSettings::default());
        let guests = Guests::start(&engine, &pool, "guest", 1, false).unwrap();
        assert_eq!(guests.run(|_| 1).await, Some(1));
        assert_eq!(guests.run(|_| -> u8 { panic!("broken") }).await, None);
        assert_eq!(guests.run(|_| 2).await, Some(2));
    }
}
