//! One commit: what is written together, and the compare and set that lets it in.

use crate::entry::{DeadLetter, Entry};
use crate::event::{Company, Input};
use crate::gap::Floor;
use crate::generation::Generation;
use crate::position::{CommitName, Place, Position, StoreId, Token};
use crate::rebuild::Rebuild;
use bytes::Bytes;
use std::sync::Arc;

/// What a store answers to the question whether a commit may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It follows the last stored one: apply it.
    Apply,
    /// It was applied before; its answer was lost.
    Repeat,
    /// Another lease is stored: this host is no longer the owner.
    NotOwner,
    /// The store stands elsewhere (it went back, or another commit took the place): write nothing.
    Refuse,
}

/// The compare and set. Every store asks this question before its first write (Redis in the script, in the same words).
#[must_use]
pub fn decide(lease: Token, last: CommitName, name: CommitName, follows: CommitName) -> Decision {
    if lease != name.token {
        Decision::NotOwner
    } else if last == follows {
        Decision::Apply
    } else if last.token == name.token && last.number >= name.number {
        Decision::Repeat
    } else {
        Decision::Refuse
    }
}

/// A write to the state of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// The filter, by file name.
    pub filter: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// The value; `None` deletes the key.
    pub value: Option<Bytes>,
}

/// An input that waits for its company's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What waits.
    pub input: Input,
    /// The event before it: the company's place while this is the oldest that waits.
    pub previous: Place,
    /// Its source event is counted (emitted, dropped, dead) when this part is done; one part of an event carries that.
    pub counts: bool,
}

/// What one commit does for one company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whose part.
    pub company: Company,
    /// New entries of its replay stream, in order.
    pub outputs: Vec<Entry>,
    /// Inputs that join its backlog.
    pub backlog_add: Vec<Waiting>,
    /// Waiting inputs that are done: all up to and including this position (event and emission, see
    /// [`waiting_position`]).
    pub backlog_done: Option<Position>,
    /// Writes to the state of its filters.
    pub state: Vec<StateWrite>,
}

impl Part {
    /// A part that does nothing yet.
    #[must_use]
    pub fn new(company: Company) -> Self {
        Self { company, outputs: Vec::new(), backlog_add: Vec::new(), backlog_done: None, state: Vec::new() }
    }
}

/// Where a waiting input stands in its company's backlog: its event, and its number among that event's emissions (from 1).
#[must_use]
pub fn waiting_position(generation: u16, input: &Input) -> Position {
    Position::new(generation, input.source.sequence, input.emission + 1)
}

/// How many source events a commit finishes, by what became of them. Counted when it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events taken from the source.
    pub received: u64,
    /// Events of which something was emitted.
    pub emitted: u64,
    /// Events of which nothing was.
    pub dropped: u64,
    /// Events of which something is a dead letter.
    pub dead: u64,
}

/// Everything that is written together.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Its name.
    pub name: CommitName,
    /// The commit it follows, whose number is one less.
    pub follows: CommitName,
    /// The generation it writes in. A number above the store's begins that generation.
    pub generation: Generation,
    /// The new checkpoint; `None` leaves it.
    pub checkpoint: Option<Place>,
    /// The highest source time up to the checkpoint, for the index of times.
    pub time_ms_max: u64,
    /// What it does for each company.
    pub parts: Vec<Part>,
    /// Dead letters for the outbox.
    pub dead: Vec<DeadLetter>,
    /// The partition's floor, where it rises.
    pub floor: Option<Floor>,
    /// The chains that made it, where they changed: folder and digest.
    pub chains: Option<Vec<(Arc<str>, Arc<str>)>>,
    /// How this life of the store begins; only its first commit says so.
    pub rebuild: Option<Rebuild>,
    /// Letters that are kept already, since they were published before the store was emptied: counted, and not written.
    pub dead_before: Vec<DeadLetter>,
    /// What it finishes.
    pub counts: Counts,
    /// Of the dropped ones: the reasons, and how many events for each.
    pub drops: Vec<(Arc<str>, u64)>,
    /// What it decided for each input ([`crate::record`]), where it decided something.
    pub record: Option<Bytes>,
}

/// A store's answer to a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum CommitAnswer {
    /// It is stored (now, or since an earlier try), and these are the places of the companies whose backlog it touched.
    Stored(Vec<(Company, Option<Place>)>),
    /// Another host owns the partition.
    NotOwner,
    /// The store stands elsewhere: take a new token and read everything again.
    Refused,
}

/// What a store knows of the partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Which life of the store this is.
    pub store: StoreId,
    /// Name of the last commit.
    pub last: CommitName,
    /// Everything up to here is stored; `None` before the first commit.
    pub checkpoint: Option<Place>,
    /// The lives of the stream, oldest first; empty before the first commit.
    pub generations: Vec<Generation>,
    /// The partition's floor.
    pub floor: Option<Floor>,
    /// The chains named by the last commit: folder and digest.
    pub chains: Vec<(Arc<str>, Arc<str>)>,
    /// Each company with a backlog, and the event before the oldest that waits: its place at that commit.
    pub waiting: Vec<(Company, Place)>,
    /// How this life of the store began.
    pub rebuild: Option<Rebuild>,
}

impl Head {
    /// The present generation.
    #[must_use]
    pub fn generation(&self) -> Option<&Generation> {
        self.generations.last()
    }
}

/// What a store knows of one company.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompanyHead {
    /// Running number of its newest entry; 0 before the first.
    pub running: u64,
    /// Position of its newest entry.
    pub top: Position,
    /// Entries it has in the replay cache.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Inputs that wait in its backlog.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// The event before the oldest that waits.
    pub waiting_from: Option<Place>,
    /// Its floor.
    pub floor: Option<Floor>,
}

/// One page of a company's replay stream, and all that was true at the moment it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Entries above the asked position, in order.
    pub entries: Vec<Entry>,
    /// There may be more.
    pub full: bool,
    /// The company's floor and the partition's, the higher one.
    pub floor: Option<Floor>,
    /// Everything of the company up to here is in the cache.
    pub place: Option<Place>,
    /// Name of the last commit.
    pub last: CommitName,
    /// Which life of the store.
    pub store: StoreId,
    /// The present generation's number; 0 before the first commit.
    pub generation: u16,
    /// Running number of the company's newest entry.
    pub running: u64,
    /// How this life of the store began.
    pub rebuild: Option<Rebuild>,
}

impl Page {
    /// Where the next page begins: above this position. `None` where this is the last one.
    #[must_use]
    pub fn next(&self) -> Option<Position> {
        self.entries.last().filter(|_| self.full).map(|entry| entry.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(token: u128, number: u64) -> CommitName {
        CommitName { token: Token(token), number }
    }

    #[test]
    fn a_commit_is_applied_once_and_only_after_the_one_it_follows() {
        let (lease, last) = (Token(1), name(1, 7));
        assert_eq!(decide(lease, last, name(1, 8), name(1, 7)), Decision::Apply);
        assert_eq!(decide(lease, name(1, 8), name(1, 8), name(1, 7)), Decision::Repeat);
        assert_eq!(decide(lease, name(1, 9), name(1, 8), name(1, 7)), Decision::Repeat);
        assert_eq!(decide(lease, name(1, 5), name(1, 8), name(1, 7)), Decision::Refuse, "the store went back");
        assert_eq!(decide(lease, name(9, 7), name(1, 8), name(1, 7)), Decision::Refuse, "another 7");
        assert_eq!(decide(Token(2), last, name(1, 8), name(1, 7)), Decision::NotOwner);
        assert_eq!(decide(lease, name(9, 7), name(1, 8), name(9, 7)), Decision::Apply, "the first under a new token");
    }
}
