//! The replay cache and everything committed with it: one small trait, and the stores that keep it.

mod check;
#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
mod pack;
pub mod redis;
mod text;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_core::commit::{Commit, CommitAnswer, CompanyHead, Head, Page, Waiting};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::position::{Place, Position, StoreId, Token};
use tidegate_core::record::Recorded;
use tokio::sync::mpsc;

/// Bytes of entries in one page or one piece of a trim: bounds what one call holds and how long it keeps others waiting.
pub const PAGE_BYTES: usize = 1 << 20;
/// Entries one call of [`Store::trim`] removes, give or take the rest of an event.
pub const TRIM_ENTRIES: usize = 1_000;

/// What every store call returns.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Why a store could not answer. None of them says that nothing was written: a commit whose answer was lost is sent
/// again under its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, or did not answer in time: try again.
    #[error("the store can't be reached: {0}")]
    Away(String),
    /// It has no room: try again later; nothing was written.
    #[error("the store is full: {0}")]
    Full(String),
    /// It answered with something that is not ours.
    #[error("the store holds what can't be read: {0}")]
    Corrupt(String),
}

/// A lease that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It is ours now, under this epoch.
    Granted {
        /// The new epoch.
        epoch: u64,
    },
    /// Another host holds it for so many milliseconds more.
    Held {
        /// Which one.
        holder: String,
        /// For how long, in ms.
        for_ms: u64,
    },
}

/// What hosts tell one another.
#[derive(Debug)]
pub enum News {
    /// From now on everything is told; what was told before is not told again.
    Listening,
    /// A commit was stored.
    Commit(Box<Announcement>),
    /// The lease was given back: ask for it now.
    Released,
}

/// A stored commit as other hosts are told of it: what the live window needs, and nothing of waiting inputs, state, dead
/// letters and counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// Which life of the store.
    pub store: StoreId,
    /// The commit; of its parts the outputs.
    pub commit: Commit,
    /// The place of each company whose backlog began, moved or ended; `None` where nothing waits any more.
    pub places: Vec<(Company, Option<Place>)>,
}

/// What of a company may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Entries whose source time is older than this go, in milliseconds since 1970.
    pub since_ms: u64,
    /// At most so many entries stay.
    pub entries_max: u64,
    /// At most so many bytes stay.
    pub bytes_max: u64,
}

/// State of one company's filters: by filter, by key.
pub type CompanyState = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Bytes>>;

/// One line of the index of times: up to this sequence, no event is later than the end of this minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeMark {
    /// The minute (milliseconds since 1970 / 60,000) of the running maximum of source times.
    pub minute: u64,
    /// Generation of the stream.
    pub generation: u16,
    /// The highest sequence of that minute.
    pub sequence: u64,
}

/// Keeps what is committed for one partition. Every method that writes compares the lease's token first.
pub trait Store: Send + Sync + 'static {
    /// What stands at the head of the partition. Makes the store's id at first use.
    fn head(&self) -> Answer<'_, Head>;
    /// Asks for the lease, for a host by its identity, under a token it just drew.
    fn acquire<'a>(&'a self, host: &'a str, token: Token, lease_ms: u64) -> Answer<'a, LeaseAnswer>;
    /// Renews it; false when another token is stored.
    fn renew(&self, token: Token, lease_ms: u64) -> Answer<'_, bool>;
    /// Gives it back.
    fn release(&self, token: Token) -> Answer<'_, ()>;
    /// Writes it all or nothing of it ([`tidegate_core::commit::decide`]). Safe to send twice. Several may be
    /// on their way: they arrive in the order in which they are first polled, but where a server has just forgotten the
    /// script, which refuses the later ones. After an error repeat them one by one, oldest first. The answer holds the place
    /// of each company whose backlog it touched, nothing where nothing waits any more (it then stands at the checkpoint).
    fn commit<'a>(&'a self, commit: &'a Commit) -> Answer<'a, CommitAnswer>;
    /// Hands on what other hosts tell (and this one), [`News::Listening`] first, in order, until the receiver is gone (then
    /// `Ok`) or the connection is. Never waits for room: an announcement that finds none is left out, and whoever listens
    /// notices the hole by the names of commits.
    fn listen(&self, to: mpsc::Sender<News>) -> Answer<'_, ()>;
    /// Heads of all companies it knows.
    fn companies(&self) -> Answer<'_, Vec<(Company, CompanyHead)>>;
    /// State of all filters of a company.
    fn state<'a>(&'a self, company: &'a Company) -> Answer<'a, CompanyState>;
    /// The oldest waiting inputs of a company, in order, at most `inputs` of them and about `bytes` (at least one).
    fn waiting<'a>(&'a self, company: &'a Company, inputs: usize, bytes: usize) -> Answer<'a, Vec<Waiting>>;
    /// Entries of a company above a position, with everything that is true at that moment, in one step on the primary. Read
    /// in whole rows, each what one commit wrote of the company, until there are `entries` of them or [`PAGE_BYTES`]: so
    /// the next page begins with a row. `full` is set when one of the bounds ended it; nothing may follow even then.
    fn page<'a>(&'a self, company: &'a Company, above: Position, entries: usize) -> Answer<'a, Page>;
    /// The entry at exactly this position, if the company has it.
    fn entry<'a>(&'a self, company: &'a Company, at: Position) -> Answer<'a, Option<Entry>>;
    /// Of the index of times: the last mark of a generation with `sequence` below the given one, and the first at or above it.
    fn marks_around(&self, generation: u16, sequence: u64) -> Answer<'_, (Option<TimeMark>, Option<TimeMark>)>;
    /// Of the index of times: the last mark whose minute lies before the minute of this time.
    fn mark_before(&self, time_ms: u64) -> Answer<'_, Option<TimeMark>>;
    /// Removes what may not stay, at most a bounded piece of it ([`TRIM_ENTRIES`] or [`PAGE_BYTES`], then to the end of
    /// the event), in the same step in which it writes the company's floor; true when there may be more to remove. Also drops old time marks.
    fn trim<'a>(&'a self, token: Token, company: &'a Company, keep: Keep) -> Answer<'a, bool>;
    /// The oldest dead letters of the outbox with their keys.
    fn outbox(&self, letters: usize) -> Answer<'_, Vec<(u64, DeadLetter)>>;
    /// Removes published letters (keys that are gone already are no error); nothing under another lease than the stored one,
    /// since a store that went back gives the same keys to other letters.
    fn outbox_done<'a>(&'a self, token: Token, keys: &'a [u64]) -> Answer<'a, ()>;
    /// Of the records that came with commits: the first whose checkpoint is at or above this event, which is the one
    /// that speaks of it if there is one. Records are kept within the bounds of [`tidegate_core::limits`] and by age.
    fn record_at(&self, generation: u16, sequence: u64) -> Answer<'_, Option<Recorded>>;
    /// The records of commits above this number, oldest first, at most `limit`.
    fn records_above(&self, number: u64, limit: usize) -> Answer<'_, Vec<Recorded>>;
    /// How many letters were ever dropped because the outbox was full.
    fn outbox_dropped(&self) -> Answer<'_, u64>;
    /// The store's clock, in milliseconds since 1970: compared with the host's before trimming.
    fn clock_ms(&self) -> Answer<'_, u64>;
    /// What its settings may cost while it runs, each in a sentence: for health. Empty when nothing does.
    fn concerns(&self) -> Answer<'_, Vec<String>>;
}
