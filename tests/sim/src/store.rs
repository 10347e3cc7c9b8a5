//! The model store: the promises of the store trait in memory. It can lose its last writes and be emptied.

use crate::ledger::Ledger;
use crate::mutant::Mutant;
use crate::source::Source;
use crate::truth::Truth;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use tidegate_core::commit::{
    Commit, CommitAnswer, CompanyHead, Decision, Head, Page, Waiting, decide, waiting_position,
};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::generation::Generation;
use tidegate_core::lease::Lease;
use tidegate_core::named::Names;
use tidegate_core::position::{CommitName, Place, Position, StoreId, Token};
use tidegate_core::rebuild::Rebuild;

/// How long a lease holds, in ms.
pub(crate) const LEASE_MS: u64 = 5_000;
/// How many writes the store can lose at most.
const BACK: usize = 8;

#[derive(Clone, Default)]
struct Kept {
    entries: VecDeque<Rc<Entry>>,
    waiting: VecDeque<Rc<Waiting>>,
    running: u64,
    top: Position,
    floor: Option<Floor>,
    count: u64,
}

impl Kept {
    fn floor_told(&self, mutant: Option<Mutant>) -> Option<Floor> {
        let first = self.entries.front().filter(|_| mutant == Some(Mutant::FirstEntryIsFloor));
        first.map_or(self.floor, |first| {
            let position = Position::before(first.position.generation, first.position.sequence);
            Some(Floor { position, time_ms: first.time_ms, reason: GapReason::Trimmed, running: None })
        })
    }
}

/// One line of the index of times.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) minute: u64,
    pub(crate) generation: u16,
    pub(crate) sequence: u64,
}

/// Everything the store holds at one moment, and the ledger that belongs to it.
#[derive(Clone)]
struct Life {
    id: StoreId,
    lease: Lease,
    last: CommitName,
    checkpoint: Option<Place>,
    generations: Vec<Generation>,
    floor: Option<Floor>,
    rebuild: Option<Rebuild>,
    companies: BTreeMap<Company, Kept>,
    outbox: VecDeque<(u64, Rc<DeadLetter>)>,
    letters: u64,
    marks: Vec<Mark>,
    chains: Names,
    ledger: Ledger,
}

impl Life {
    fn new(id: StoreId) -> Self {
        Self {
            id,
            lease: Lease::default(),
            last: CommitName::default(),
            checkpoint: None,
            generations: Vec::new(),
            floor: None,
            rebuild: None,
            companies: BTreeMap::new(),
            outbox: VecDeque::new(),
            letters: 0,
            marks: Vec::new(),
            chains: Names::new(),
            ledger: Ledger::default(),
        }
    }

    fn place(&self, company: &Company) -> Option<Place> {
        let oldest = self.companies.get(company).and_then(|kept| kept.waiting.front());
        oldest.map(|waiting| waiting.previous).or(self.checkpoint)
    }
}

/// The store, and what it would be had it lost its last writes.
pub(crate) struct Store {
    now: Life,
    back: VecDeque<Life>,
    /// It has no room: it writes nothing.
    pub(crate) full: bool,
    /// Which epoch each token was granted in, whatever the store has lost since.
    epochs: HashMap<Token, u64>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { now: Life::new(StoreId(1)), back: VecDeque::new(), full: false, epochs: HashMap::new() }
    }

    fn save(&mut self) {
        if self.back.len() == BACK {
            self.back.pop_front();
        }
        self.back.push_back(self.now.clone());
    }

    /// A failover: the last writes are gone. How many.
    pub(crate) fn lose(&mut self, writes: usize) -> usize {
        let lost = writes.min(self.back.len());
        for _ in 0..lost {
            if let Some(before) = self.back.pop_back() {
                self.now = before;
            }
        }
        lost
    }

    /// Everything is gone.
    pub(crate) fn flush(&mut self) {
        self.now = Life::new(StoreId(self.now.id.0 + 1));
        self.back.clear();
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.now.ledger
    }

    pub(crate) fn head(&self) -> Head {
        let now = &self.now;
        Head {
            store: now.id,
            last: now.last,
            checkpoint: now.checkpoint,
            generations: now.generations.clone(),
            floor: now.floor,
            chains: now.chains.clone(),
            waiting: now
                .companies
                .iter()
                .filter_map(|(company, kept)| Some((company.clone(), kept.waiting.front()?.previous)))
                .collect(),
            rebuild: now.rebuild,
        }
    }

    pub(crate) fn acquire(&mut self, host: &str, token: Token, now: u64) -> bool {
        let free = self.now.lease.grantable(host, now);
        if free {
            self.save();
            self.now.lease.grant(host, token, now, LEASE_MS);
            self.now.ledger.granted(token);
            self.epochs.insert(token, self.now.lease.epoch);
        }
        free
    }

    pub(crate) fn renew(&mut self, token: Token, now: u64) -> bool {
        self.now.lease.renew(token, now, LEASE_MS)
    }

    pub(crate) fn release(&mut self, token: Token) {
        self.now.lease.release(token);
    }

    /// Applies a commit, or says why not; `None` when there is no room. The error is a broken promise, not an answer.
    pub(crate) fn commit(
        &mut self,
        commit: &Commit,
        source: &Source,
        companies: &[Company],
        truth: &mut Truth,
        mutant: Option<Mutant>,
    ) -> Result<Option<CommitAnswer>, String> {
        let decision = self.decide(commit, mutant);
        if self.full && decision == Decision::Apply {
            if mutant == Some(Mutant::HalfCommit) && commit.parts.len() > 1 {
                let half = Commit { parts: commit.parts[..1].to_vec(), dead: Vec::new(), ..commit.clone() };
                self.apply(&Commit { checkpoint: None, ..half }, source, companies, truth)?;
                self.now.last = commit.follows;
            }
            return Ok(None);
        }
        match decision {
            Decision::NotOwner => return Ok(Some(CommitAnswer::NotOwner)),
            Decision::Refuse => return Ok(Some(CommitAnswer::Refused)),
            Decision::Repeat => {}
            Decision::Apply => {
                self.save();
                self.apply(commit, source, companies, truth)?;
            }
        }
        let touched = commit.parts.iter().filter(|part| !part.backlog_add.is_empty() || part.backlog_done.is_some());
        let places = touched.map(|part| {
            let waits = self.now.companies.get(&part.company).is_some_and(|kept| !kept.waiting.is_empty());
            (part.company.clone(), waits.then(|| self.now.place(&part.company)).flatten())
        });
        Ok(Some(CommitAnswer::Stored(places.collect())))
    }

    fn decide(&self, commit: &Commit, mutant: Option<Mutant>) -> Decision {
        let (now, name) = (&self.now, commit.name);
        match mutant {
            Some(Mutant::SkipOnly) => {
                let above = |at: Place| now.checkpoint.is_none_or(|c| at.position() > c.position());
                match (now.lease.token == name.token, commit.checkpoint.is_none_or(above)) {
                    (false, _) => Decision::NotOwner,
                    (true, true) => Decision::Apply,
                    (true, false) => Decision::Repeat,
                }
            }
            Some(Mutant::TokenNotCompared) => decide(name.token, now.last, name, commit.follows),
            Some(Mutant::EpochOnly) if self.epochs.get(&name.token) == Some(&now.lease.epoch) => {
                decide(name.token, now.last, name, commit.follows)
            }
            _ => decide(now.lease.token, now.last, name, commit.follows),
        }
    }

    fn apply(
        &mut self,
        commit: &Commit,
        source: &Source,
        companies: &[Company],
        truth: &mut Truth,
    ) -> Result<(), String> {
        crate::recorded::check(commit)?;
        let now = &mut self.now;
        now.floor = Floor::higher(now.floor, commit.floor);
        now.rebuild = commit.rebuild.or(now.rebuild);
        if let Some(chains) = &commit.chains {
            now.chains.clone_from(chains);
        }
        now.ledger.apply(commit, now.floor, source, companies, truth)?;
        match now.generations.last_mut() {
            Some(last) if last.number == commit.generation.number => *last = commit.generation,
            _ => now.generations.push(commit.generation),
        }
        for part in &commit.parts {
            let kept = now.companies.entry(part.company.clone()).or_default();
            for entry in &part.outputs {
                if entry.position <= kept.top {
                    return Err(format!("commit {}: an entry at or below the top", commit.name.number));
                }
                (kept.top, kept.running) = (entry.position, entry.running);
                kept.entries.push_back(Rc::new(entry.clone()));
            }
            kept.waiting.extend(part.backlog_add.iter().cloned().map(Rc::new));
            if let Some(done) = part.backlog_done {
                let waits = |w: &Waiting| waiting_position(w.previous.generation, &w.input) > done;
                kept.waiting.retain(|waiting| waits(waiting));
            }
            if let Some(value) = part.state.last().and_then(|write| write.value.as_deref()) {
                kept.count = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).unwrap_or(u64::MAX);
            }
        }
        for letter in &commit.dead {
            now.letters += 1;
            now.outbox.push_back((now.letters, Rc::new(letter.clone())));
        }
        if let Some(checkpoint) = commit.checkpoint {
            now.checkpoint = Some(checkpoint);
            // A new owner does not know how late it had become before the clock was set back; the index does.
            let newest = now.marks.last().map_or(0, |mark| mark.minute);
            let (minute, generation) = (newest.max(commit.time_ms_max / 60_000), checkpoint.generation);
            match now.marks.last_mut() {
                Some(mark) if (mark.minute, mark.generation) == (minute, generation) => {
                    mark.sequence = checkpoint.sequence;
                }
                _ => now.marks.push(Mark { minute, generation, sequence: checkpoint.sequence }),
            }
        }
        now.last = commit.name;
        now.companies.keys().try_for_each(|company| now.ledger.check_place(company, now.place(company)))
    }

    pub(crate) fn companies(&self) -> Vec<(Company, CompanyHead)> {
        let head = |kept: &Kept| CompanyHead {
            running: kept.running,
            top: kept.top,
            entries: kept.entries.len() as u64,
            bytes: 0,
            waiting: kept.waiting.len() as u64,
            waiting_bytes: kept.waiting.iter().map(|waiting| waiting.encode().len() as u64).sum(),
            waiting_from: kept.waiting.front().map(|waiting| waiting.previous),
            floor: kept.floor,
        };
        self.now.companies.iter().map(|(company, kept)| (company.clone(), head(kept))).collect()
    }

    /// The counts that the companies' states hold.
    pub(crate) fn states(&self) -> BTreeMap<Company, u64> {
        self.now.companies.iter().map(|(company, kept)| (company.clone(), kept.count)).collect()
    }

    pub(crate) fn waiting(&self, company: &Company, inputs: usize) -> Vec<Waiting> {
        let all = self.now.companies.get(company).into_iter().flat_map(|kept| &kept.waiting);
        all.take(inputs).map(|waiting| Waiting::clone(waiting)).collect()
    }

    pub(crate) fn page(&self, company: &Company, above: Position, entries: usize, mutant: Option<Mutant>) -> Page {
        let now = &self.now;
        let mut kept = now.companies.get(company);
        if mutant == Some(Mutant::PageOfTwoMoments) {
            // Of a replica that is two writes behind, with what the primary says of the commit.
            let behind = self.back.iter().nth_back(1).filter(|behind| behind.id == now.id);
            kept = behind.map_or(kept, |behind| behind.companies.get(company));
        }
        let all = kept.into_iter().flat_map(|kept| &kept.entries);
        let found: Vec<Entry> =
            all.filter(|entry| entry.position > above).take(entries).map(|entry| Entry::clone(entry)).collect();
        // All of these companies' filters keep state.
        let began = now.rebuild.and_then(|rebuild| rebuild.floor());
        let gone = Floor::higher(now.floor, kept.and_then(|kept| kept.floor_told(mutant)));
        Page {
            full: found.len() == entries,
            entries: found,
            floor: Floor::higher(gone, began),
            place: now.place(company),
            last: now.last,
            store: now.id,
            generation: now.generations.last().map_or(0, |generation| generation.number),
            running: kept.map_or(0, |kept| kept.running),
            rebuild: now.rebuild,
        }
    }

    pub(crate) fn entry(&self, company: &Company, at: Position) -> Option<&Entry> {
        let kept = self.now.companies.get(company)?;
        kept.entries.iter().find(|entry| entry.position == at).map(|entry| &**entry)
    }

    pub(crate) fn place(&self, company: &Company) -> Option<Place> {
        self.now.place(company)
    }

    pub(crate) fn marks_around(&self, generation: u16, sequence: u64) -> (Option<Mark>, Option<Mark>) {
        let of = || self.now.marks.iter().filter(|mark| mark.generation == generation);
        (of().rfind(|mark| mark.sequence < sequence).copied(), of().find(|mark| mark.sequence >= sequence).copied())
    }

    pub(crate) fn mark_before(&self, time_ms: u64) -> Option<Mark> {
        self.now.marks.iter().rfind(|mark| mark.minute < time_ms / 60_000).copied()
    }

    /// Removes the oldest whole events beyond so many entries, after it wrote the floor.
    pub(crate) fn trim(&mut self, token: Token, company: &Company, keep: usize, mutant: Option<Mutant>) -> usize {
        let excess = self.now.companies.get(company).map_or(0, |kept| kept.entries.len().saturating_sub(keep));
        self.remove(token, company, excess, mutant).len()
    }

    /// Removes the oldest whole events as long as they are older than a time; the newest time among what is gone.
    pub(crate) fn trim_age(
        &mut self,
        token: Token,
        company: &Company,
        since_ms: u64,
        mutant: Option<Mutant>,
    ) -> Option<u64> {
        let kept = self.now.companies.get(company)?;
        let old = kept.entries.iter().take_while(|entry| entry.time_ms < since_ms).count();
        self.remove(token, company, old, mutant).iter().map(|entry| entry.time_ms).max()
    }

    /// Removes so many of the oldest entries and what else there is of the last one's event.
    fn remove(&mut self, token: Token, company: &Company, oldest: usize, mutant: Option<Mutant>) -> Vec<Rc<Entry>> {
        if self.now.lease.token != token || oldest == 0 {
            return Vec::new();
        }
        self.save();
        let Some(kept) = self.now.companies.get_mut(company) else { return Vec::new() };
        let event = kept.entries[oldest - 1].position.event();
        let removed = kept.entries.iter().take_while(|entry| entry.position.event() <= event).count();
        let gone: Vec<_> = kept.entries.drain(..removed).collect();
        let last = match mutant {
            Some(Mutant::FloorForgotten) => None,
            Some(Mutant::FloorAfterTrim) => kept.entries.front(),
            _ => gone.last(),
        };
        if let Some(last) = last {
            let floor = Floor {
                position: last.position,
                time_ms: last.time_ms,
                reason: GapReason::Trimmed,
                running: Some(last.running),
            };
            kept.floor = Floor::higher(kept.floor, Some(floor));
        }
        gone
    }

    pub(crate) fn outbox(&self, letters: usize) -> Vec<(u64, Rc<DeadLetter>)> {
        self.now.outbox.iter().take(letters).cloned().collect()
    }

    pub(crate) fn outbox_done(&mut self, token: Token, keys: &[u64]) {
        if self.now.lease.token != token {
            return;
        }
        self.save();
        self.now.outbox.retain(|(key, _)| !keys.contains(key));
    }
}
