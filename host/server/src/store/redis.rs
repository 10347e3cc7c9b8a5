//! The replay store on Redis: streams, hashes and one script for each step that must be atomic.

mod announcement;
mod calls;
mod commit;
mod eviction;
mod keys;
mod link;
mod reply;
mod scripts;

use super::{Answer, CompanyState, Keep, LeaseAnswer, News, Store, StoreError, TimeMark};
use crate::telemetry::Metrics;
use keys::Keys;
use link::Link;
use std::num::NonZeroUsize;
use std::time::Duration;
use tidegate_core::commit::{Commit, CommitAnswer, CompanyHead, Head, Page, Waiting};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::position::{Position, Token};
use tidegate_core::record::Recorded;
use tokio::sync::{Semaphore, mpsc};

/// How long a commit waits for its replicas: well below what an answer may take, so that a replica that is away makes
/// commits slow and never doubtful.
pub const REPLICA_WAIT: Duration = Duration::from_millis(500);

/// How a [`RedisStore`] reaches its server.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// The partition: part of every key, and their hash tag.
    pub partition: String,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take. A late one does not mean that nothing was written.
    pub response_timeout: Duration,
    /// At most so many calls are on their way at a time; the others wait. Commits have a connection of their own and
    /// wait for nobody.
    pub calls: NonZeroUsize,
    /// So many replicas should have a commit before it counts as stored; those that don't answer within
    /// [`REPLICA_WAIT`] are counted and not waited for.
    pub wait_replicas: u32,
    /// Where commits that too few replicas confirmed are counted.
    pub metrics: Metrics,
    /// Uses scripts that name their flags, so that one is refused before it starts when memory is full (Redis 7 and
    /// later; an older server is noticed by itself).
    pub flags: bool,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            partition: "p0".to_owned(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            calls: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            wait_replicas: 0,
            metrics: Metrics::new(),
            flags: true,
        }
    }
}

/// The replay store on a Redis server.
#[derive(Debug)]
pub struct RedisStore {
    link: Link,
    keys: Keys,
    metrics: Metrics,
    /// Who begins a life of the store.
    beginning: Semaphore,
}

impl RedisStore {
    /// Makes a store for the server at this address (`redis://`, `rediss://` or `redis+unix://`). Nothing is sent yet:
    /// a server that is away is an error of the calls, each of which tries again. Must be called within the runtime.
    ///
    /// # Errors
    /// [`StoreError::Away`] when the address can't be read.
    pub fn connect(url: &str, options: &RedisOptions) -> Result<Self, StoreError> {
        let (link, keys) = (Link::new(url, options)?, Keys::new(&options.partition));
        Ok(Self { link, keys, metrics: options.metrics.clone(), beginning: Semaphore::new(1) })
    }
}

impl Store for RedisStore {
    fn head(&self) -> Answer<'_, Head> {
        Box::pin(self.read_head())
    }

    fn acquire<'a>(&'a self, host: &'a str, token: Token, lease_ms: u64) -> Answer<'a, LeaseAnswer> {
        Box::pin(self.take_lease(host, token, lease_ms))
    }

    fn renew(&self, token: Token, lease_ms: u64) -> Answer<'_, bool> {
        Box::pin(self.keep_lease("renew", token, lease_ms))
    }

    fn release(&self, token: Token) -> Answer<'_, ()> {
        Box::pin(async move { self.keep_lease("release", token, 0).await.map(|_| ()) })
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, CommitAnswer> {
        Box::pin(self.write_commit(commit))
    }

    fn listen(&self, to: mpsc::Sender<News>) -> Answer<'_, ()> {
        Box::pin(self.hear(to))
    }

    fn companies(&self) -> Answer<'_, Vec<(Company, CompanyHead)>> {
        Box::pin(self.read_companies())
    }

    fn state<'a>(&'a self, company: &'a Company) -> Answer<'a, CompanyState> {
        Box::pin(self.read_state(company))
    }

    fn waiting<'a>(&'a self, company: &'a Company, inputs: usize, bytes: usize) -> Answer<'a, Vec<Waiting>> {
        Box::pin(self.read_waiting(company, inputs, bytes))
    }

    fn page<'a>(&'a self, company: &'a Company, above: Position, entries: usize) -> Answer<'a, Page> {
        Box::pin(self.read_page(company, above, entries))
    }

    fn entry<'a>(&'a self, company: &'a Company, at: Position) -> Answer<'a, Option<Entry>> {
        Box::pin(self.read_entry(company, at))
    }

    fn marks_around(&self, generation: u16, sequence: u64) -> Answer<'_, (Option<TimeMark>, Option<TimeMark>)> {
        Box::pin(self.read_marks(generation, sequence))
    }

    fn mark_before(&self, time_ms: u64) -> Answer<'_, Option<TimeMark>> {
        Box::pin(self.read_mark_before(time_ms))
    }

    fn trim<'a>(&'a self, token: Token, company: &'a Company, keep: Keep) -> Answer<'a, bool> {
        Box::pin(self.remove(token, company, keep))
    }

    fn outbox(&self, letters: usize) -> Answer<'_, Vec<(u64, DeadLetter)>> {
        Box::pin(self.read_outbox(letters))
    }

    fn outbox_done<'a>(&'a self, token: Token, keys: &'a [u64]) -> Answer<'a, ()> {
        Box::pin(self.remove_letters(token, keys))
    }

    fn record_at(&self, generation: u16, sequence: u64) -> Answer<'_, Option<Recorded>> {
        Box::pin(self.read_record(generation, sequence))
    }

    fn records_above(&self, number: u64, limit: usize) -> Answer<'_, Vec<Recorded>> {
        Box::pin(self.read_records(number, limit))
    }

    fn outbox_dropped(&self) -> Answer<'_, u64> {
        Box::pin(self.read_dropped())
    }

    fn clock_ms(&self) -> Answer<'_, u64> {
        Box::pin(self.read_clock())
    }

    fn concerns(&self) -> Answer<'_, Vec<String>> {
        Box::pin(self.read_concerns())
    }
}

#[cfg(test)]
#[path = "redis/tests.rs"]
mod tests;
