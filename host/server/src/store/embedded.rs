//! The replay store in `data.dir`: SQLite, one writer thread, a few readers.

mod commit;
mod database;
mod read;
mod records;
mod threads;
mod write;

use super::{Answer, CompanyState, Keep, LeaseAnswer, News, Store, StoreError, TimeMark};
use crate::clock::Clock;
use crate::data_dir::DataDir;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use threads::Threads;
use tidegate_core::commit::{Commit, CommitAnswer, CompanyHead, Head, Page, Waiting};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::position::{Position, Token};
use tidegate_core::record::Recorded;
use tokio::sync::mpsc;

const FILE: &str = "replay.sqlite";

/// The replay store in `data.dir`. Its threads end, and are waited for, when it is dropped.
pub struct EmbeddedStore {
    threads: Threads,
    clock: Clock,
    path: PathBuf,
    // The lock must outlive the threads.
    _dir: Arc<DataDir>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in a locked folder, or makes it. What a crash left half-written is gone afterwards.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the file is not ours or damaged, [`StoreError::Full`] when the disk is.
    pub fn open(dir: &Arc<DataDir>, clock: Clock) -> Result<Self, StoreError> {
        let path = dir.path().join(FILE);
        let threads = Threads::start(&path)?;
        Ok(Self { threads, clock, path, _dir: Arc::clone(dir) })
    }
}

impl Store for EmbeddedStore {
    fn head(&self) -> Answer<'_, Head> {
        self.threads.read(read::whole_head)
    }

    fn acquire<'a>(&'a self, host: &'a str, token: Token, lease_ms: u64) -> Answer<'a, LeaseAnswer> {
        let (host, now_ms) = (host.to_owned(), self.clock.now_ms());
        self.threads.write(move |base| write::acquire(base, &host, token, now_ms, lease_ms))
    }

    fn renew(&self, token: Token, lease_ms: u64) -> Answer<'_, bool> {
        let now_ms = self.clock.now_ms();
        self.threads.write(move |base| write::change_lease(base, |lease| lease.renew(token, now_ms, lease_ms)))
    }

    fn release(&self, token: Token) -> Answer<'_, ()> {
        self.threads.write(move |base| write::change_lease(base, |lease| lease.release(token)))
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, CommitAnswer> {
        // Its contents are shared, not copied.
        let commit = commit.clone();
        let now_ms = self.clock.now_ms();
        self.threads.write(move |base| commit::apply(base, &commit, now_ms))
    }

    fn listen(&self, to: mpsc::Sender<News>) -> Answer<'_, ()> {
        // Nobody else commits here.
        Box::pin(async move {
            to.closed().await;
            Ok(())
        })
    }

    fn companies(&self) -> Answer<'_, Vec<(Company, CompanyHead)>> {
        self.threads.read(read::companies)
    }

    fn state<'a>(&'a self, company: &'a Company) -> Answer<'a, CompanyState> {
        let company = company.clone();
        self.threads.read(move |base| read::state(base, &company))
    }

    fn waiting<'a>(&'a self, company: &'a Company, inputs: usize, bytes: usize) -> Answer<'a, Vec<Waiting>> {
        let company = company.clone();
        self.threads.read(move |base| read::waiting(base, &company, inputs, bytes))
    }

    fn page<'a>(&'a self, company: &'a Company, above: Position, entries: usize) -> Answer<'a, Page> {
        let company = company.clone();
        self.threads.read(move |base| read::page(base, &company, above, entries))
    }

    fn entry<'a>(&'a self, company: &'a Company, at: Position) -> Answer<'a, Option<Entry>> {
        let company = company.clone();
        self.threads.read(move |base| read::entry(base, &company, at))
    }

    fn marks_around(&self, generation: u16, sequence: u64) -> Answer<'_, (Option<TimeMark>, Option<TimeMark>)> {
        self.threads.read(move |base| read::marks_around(base, generation, sequence))
    }

    fn mark_before(&self, time_ms: u64) -> Answer<'_, Option<TimeMark>> {
        self.threads.read(move |base| read::mark_before(base, time_ms))
    }

    fn trim<'a>(&'a self, token: Token, company: &'a Company, keep: Keep) -> Answer<'a, bool> {
        let company = company.clone();
        self.threads.write(move |base| write::trim(base, token, &company, keep))
    }

    fn outbox(&self, letters: usize) -> Answer<'_, Vec<(u64, DeadLetter)>> {
        self.threads.read(move |base| read::outbox(base, letters))
    }

    fn outbox_done<'a>(&'a self, token: Token, keys: &'a [u64]) -> Answer<'a, ()> {
        let keys = keys.to_owned();
        self.threads.write(move |base| write::outbox_done(base, token, &keys))
    }

    fn record_at(&self, generation: u16, sequence: u64) -> Answer<'_, Option<Recorded>> {
        self.threads.read(move |base| records::at(base, generation, sequence))
    }

    fn records_above(&self, number: u64, limit: usize) -> Answer<'_, Vec<Recorded>> {
        self.threads.read(move |base| records::above(base, number, limit))
    }

    fn outbox_dropped(&self) -> Answer<'_, u64> {
        self.threads.read(read::outbox_dropped)
    }

    fn clock_ms(&self) -> Answer<'_, u64> {
        let now_ms = self.clock.now_ms();
        Box::pin(async move { Ok(now_ms) })
    }

    fn concerns(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[cfg(test)]
#[path = "embedded/tests.rs"]
mod tests;
