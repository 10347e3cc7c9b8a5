//! What all parts of the world share: source, store, network, clock, and the record of the run.

use crate::filters;
use crate::host::FIRST_VERSION;
use crate::mutant::Mutant;
use crate::source::Source;
use crate::store::Store;
use crate::truth::{Coord, Truth};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use tidegate_core::commit::{Commit, CommitAnswer};
use tidegate_core::cursor::IdCursor;
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::gap::Floor;
use tidegate_core::named::Ran;
use tidegate_core::position::{CommitName, Place, StoreId, Token};

/// Companies of the model.
const COMPANIES: [&str; 3] = ["a", "b", "c"];

/// What a host tells the others of a stored commit.
#[derive(Clone)]
pub(crate) struct News {
    pub(crate) store: StoreId,
    pub(crate) commit: Rc<Commit>,
    pub(crate) places: Vec<(Company, Option<Place>)>,
}

impl News {
    pub(crate) fn name(&self) -> CommitName {
        self.commit.name
    }

    pub(crate) fn floor(&self) -> Option<Floor> {
        self.commit.floor
    }

    pub(crate) fn outputs(&self) -> impl Iterator<Item = (&Company, &[Entry])> {
        self.commit.parts.iter().map(|part| (&part.company, &part.outputs[..]))
    }
}

/// The surroundings of hosts and clients.
pub(crate) struct Env {
    pub(crate) now: u64,
    pub(crate) source: Source,
    pub(crate) store: Store,
    pub(crate) truth: Truth,
    pub(crate) companies: Vec<Company>,
    pub(crate) mutant: Option<Mutant>,
    /// Announcements on their way, by host.
    pub(crate) net: Vec<VecDeque<News>>,
    /// Copies of commits that may still reach the store.
    pub(crate) late: Vec<Rc<Commit>>,
    /// The newest version of the filters that an operator has.
    pub(crate) version: u64,
    /// What hosts told one another of chains that ran.
    pub(crate) ran: Ran,
    /// Companies that are paused or have no chain that loads.
    pub(crate) paused: BTreeSet<Company>,
    tokens: u128,
    /// What happened, one line each; only kept when asked for.
    pub(crate) log: Option<Vec<String>>,
    /// The first broken promise.
    pub(crate) broken: Option<String>,
}

impl Env {
    pub(crate) fn new(hosts: usize, core: bool, mutant: Option<Mutant>, log: bool) -> Self {
        let now = 1_000_000_000;
        Self {
            now,
            source: if core { Source::without_a_stream() } else { Source::new(now) },
            store: Store::new(),
            truth: Truth::default(),
            companies: COMPANIES.iter().filter_map(|name| Company::new(name).ok()).collect(),
            mutant,
            net: vec![VecDeque::new(); hosts],
            late: Vec::new(),
            version: FIRST_VERSION,
            ran: Ran::default(),
            paused: BTreeSet::new(),
            tokens: 0,
            log: log.then(Vec::new),
            broken: None,
        }
    }

    pub(crate) fn company(&self, pick: usize) -> Company {
        self.companies[pick % self.companies.len()].clone()
    }

    pub(crate) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens << 96)
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now - 1_000_000_000;
        if let Some(log) = &mut self.log {
            log.push(format!("{now:>8} {}", line()));
        }
    }

    pub(crate) fn broken(&mut self, what: String) {
        self.note(|| format!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }

    /// A commit reaches the store; `None` when it found no room, or broke a promise there.
    pub(crate) fn commit(&mut self, commit: &Commit) -> Option<CommitAnswer> {
        match self.store.commit(commit, &self.source, &self.companies, &mut self.truth, self.mutant) {
            Ok(answer) => {
                self.note(|| format!("store: {:?} -> {answer:?}", commit.name));
                answer
            }
            Err(what) => {
                self.broken(what);
                None
            }
        }
    }

    /// A dead letter reaches its stream.
    pub(crate) fn bury(&mut self, letter: &DeadLetter) {
        let life = filters::read(&letter.source).0;
        let what = (letter.company.clone(), life, letter.source.sequence);
        if let Some(other) = self.truth.letters.insert(letter.id(), what.clone())
            && other != what
        {
            self.broken(format!("the id {} stands for two dead letters: {other:?} and {what:?}", letter.id()));
        }
    }

    /// Where an id stands: its time says in which life of the stream.
    pub(crate) fn coord(&self, id: &IdCursor) -> Coord {
        Coord { life: self.source.life_at(id.time_ms), sequence: id.sequence, output: id.output }
    }

    pub(crate) fn coord_of_place(&self, place: Place) -> Coord {
        Coord { life: self.source.life_at(place.time_ms), sequence: place.sequence, output: u32::MAX }
    }
}
