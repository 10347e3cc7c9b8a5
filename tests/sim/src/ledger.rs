//! The ledger: holds every applied commit against what the source and the model filters say it must be.
//!
//! It goes back and starts anew with the store, and shares nothing with the code that planned the commit.

mod heard;

use crate::filters;
use crate::host::version;
use crate::source::{self, Source};
use crate::truth::{Coord, Truth};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use tidegate_core::commit::{Commit, Counts, Part};
use tidegate_core::event::{Company, Input, SourceEvent, Verdict};
use tidegate_core::gap::Floor;
use tidegate_core::owner::Routed;
use tidegate_core::position::{Place, Position, Token};

#[derive(Clone, Default)]
struct Book {
    count: u64,
    running: u64,
    waiting: VecDeque<(u16, Rc<Input>)>,
}

/// Where a letter comes from: generation, sequence, emission, company.
type LetterKey = (u16, u64, u32, Option<Company>);

/// What one life of the store must hold.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    generation: u16,
    created_ms: u64,
    sequence: u64,
    books: BTreeMap<Company, Book>,
    counted: Counts,
    /// Who was given the partition last.
    pub(crate) owner: Option<Token>,
    /// The version that the last commit with names named.
    version: u64,
    /// On core NATS: messages below this are decided, or told as lost.
    heard: usize,
    /// The last event's number there.
    numbered: u64,
    /// The highest floor of what may be lost there.
    lost: u64,
    /// How often its owner told so.
    told: (Option<Token>, u64),
    /// Dead letters by the id they are published under.
    pub(crate) dead: BTreeSet<String>,
}

/// What a commit must hold for one company.
#[derive(Default)]
struct Due {
    position: (u16, u64),
    output: u32,
    outputs: Vec<(Position, u64, bytes::Bytes)>,
}

impl Ledger {
    /// The partition was given to whoever holds this token: nobody else commits from now on.
    pub(crate) fn granted(&mut self, token: Token) {
        self.owner = Some(token);
    }

    /// Checks a commit that is being applied; `floor` is the partition's after it.
    pub(crate) fn apply(
        &mut self,
        commit: &Commit,
        floor: Option<Floor>,
        source: &Source,
        companies: &[Company],
        truth: &mut Truth,
    ) -> Result<(), String> {
        let name = commit.name.number;
        if truth.names.get(&commit.name).is_some_and(|before| before != commit) {
            return Err(format!("commit {name} stands for two contents under one token"));
        }
        truth.names.entry(commit.name).or_insert_with(|| commit.clone());
        if self.owner != Some(commit.name.token) {
            return Err(format!("commit {name}: of {:?}, which no longer owns the partition", commit.name.token));
        }
        self.turn_generation(commit, floor)?;
        if let Some(chains) = &commit.chains {
            let named = version(chains).unwrap_or(0);
            if named < self.version {
                return Err(format!("commit {name}: version {named} runs after {}", self.version));
            }
            self.version = named;
        }
        let (life, stream) =
            source.by_creation(self.created_ms).ok_or_else(|| format!("commit {name}: no such stream"))?;
        let mut letters: BTreeMap<LetterKey, &str> = BTreeMap::new();
        for letter in &commit.dead {
            let key = (letter.generation, letter.source.sequence, letter.emission, letter.company.clone());
            if letters.insert(key, &letter.kind).is_some() {
                return Err(format!("commit {name}: two letters for event {}", letter.source.sequence));
            }
            let of = filters::read(&letter.source).0;
            if let Some(company) = &letter.company {
                truth.dead.insert((company.clone(), of, letter.source.sequence));
            }
            self.dead.insert(letter.id());
        }
        let mut due: BTreeMap<Company, Due> = BTreeMap::new();
        // First what waits and is done, then what is new: that is the order within the company.
        for part in &commit.parts {
            self.finish_waiting(part, &mut letters, due.entry(part.company.clone()).or_default())?;
        }
        let parts: BTreeMap<&Company, &Part> = commit.parts.iter().map(|part| (&part.company, part)).collect();
        if parts.len() != commit.parts.len() {
            return Err(format!("commit {name}: two parts for one company"));
        }
        let mut added = 0;
        if let Some(checkpoint) = commit.checkpoint {
            if checkpoint.sequence < self.sequence {
                return Err(format!("commit {name}: the checkpoint goes from {} to {checkpoint:?}", self.sequence));
            }
            let numbers = self.sequence + 1..=checkpoint.sequence;
            if let Some(wire) = &source.wire {
                // Most of these numbers were given to nothing.
                self.tell_loss(commit, wire, truth)?;
                for (message, event) in wire.given(commit.name.token, numbers) {
                    self.hear(name, *message, event.sequence, wire, companies, truth)?;
                    added += self.decide(name, event, companies, &parts, &mut letters, &mut due)?;
                }
            } else {
                for sequence in numbers {
                    let event = stream.ever(sequence).ok_or_else(|| format!("commit {name}: no event {sequence}"))?;
                    if source::foreign(event) || stream.is_deleted(sequence) {
                        continue;
                    }
                    let lost = floor.is_some_and(|f| f.position >= Position::whole(self.generation, sequence));
                    if lost && sequence < stream.first {
                        continue;
                    }
                    added += self.decide(name, event, companies, &parts, &mut letters, &mut due)?;
                }
            }
            self.sequence = checkpoint.sequence;
        }
        if let Some((key, kind)) = letters.first_key_value() {
            return Err(format!("commit {name}: a dead letter for nothing: {key:?} {kind}"));
        }
        if added != commit.parts.iter().map(|part| part.backlog_add.len()).sum::<usize>() {
            return Err(format!("commit {name}: something joins a backlog that did not come from the source"));
        }
        for (company, due) in due {
            self.settle(name, &company, parts.get(&company).copied(), due, life, source, truth)?;
        }
        self.count(commit.counts);
        Ok(())
    }

    /// One event of the source that a commit passes; how many of its inputs joined a backlog.
    fn decide(
        &mut self,
        name: u64,
        event: &SourceEvent,
        companies: &[Company],
        parts: &BTreeMap<&Company, &Part>,
        letters: &mut BTreeMap<LetterKey, &str>,
        due: &mut BTreeMap<Company, Due>,
    ) -> Result<usize, String> {
        let (sequence, mut added) = (event.sequence, 0);
        match filters::route(event, companies) {
            Routed::Dropped { .. } => {}
            Routed::Dead(_) => {
                letters
                    .remove(&(self.generation, sequence, 0, None))
                    .ok_or_else(|| format!("commit {name}: event {sequence} has no dead letter"))?;
            }
            Routed::Inputs(inputs) => {
                for input in inputs {
                    let due = due.entry(input.company.clone()).or_default();
                    added += self.take(name, input, parts, letters, due)?;
                }
            }
        }
        Ok(added)
    }

    fn turn_generation(&mut self, commit: &Commit, floor: Option<Floor>) -> Result<(), String> {
        let (number, name) = (commit.generation.number, commit.name.number);
        if number == self.generation {
            return Ok(());
        }
        if number < self.generation || commit.checkpoint.is_none() {
            return Err(format!("commit {name}: generation {} became {number}", self.generation));
        }
        let told = floor.is_some_and(|floor| floor.position >= Position::whole(number, 0));
        if self.generation > 0 && !told {
            return Err(format!("commit {name}: generation {number} began without a floor"));
        }
        (self.generation, self.created_ms, self.sequence) = (number, commit.generation.created_ms, 0);
        Ok(())
    }

    fn finish_waiting(
        &mut self,
        part: &Part,
        letters: &mut BTreeMap<LetterKey, &str>,
        due: &mut Due,
    ) -> Result<(), String> {
        let book = self.books.entry(part.company.clone()).or_default();
        let Some(done) = part.backlog_done else { return Ok(()) };
        while let Some((generation, input)) = book.waiting.front().cloned() {
            if Position::new(generation, input.source.sequence, input.emission + 1) > done {
                break;
            }
            book.waiting.pop_front();
            process(book, generation, &input, letters, due)?;
        }
        Ok(())
    }

    /// One input of this commit's events; how many joined the backlog.
    fn take(
        &mut self,
        name: u64,
        input: Input,
        parts: &BTreeMap<&Company, &Part>,
        letters: &mut BTreeMap<LetterKey, &str>,
        due: &mut Due,
    ) -> Result<usize, String> {
        let book = self.books.entry(input.company.clone()).or_default();
        let (sequence, emission) = (input.source.sequence, input.emission);
        let added = parts
            .get(&input.company)
            .map_or(0, |part| part.backlog_add.iter().filter(|waiting| waiting.input == input).count());
        let key = (self.generation, sequence, emission + 1, Some(input.company.clone()));
        if added == 1 {
            if letters.contains_key(&key) {
                return Err(format!("commit {name}: input {sequence}/{emission} waits and is dead"));
            }
            book.waiting.push_back((self.generation, Rc::new(input)));
            return Ok(1);
        }
        if added > 1 {
            return Err(format!("commit {name}: input {sequence}/{emission} waits twice"));
        }
        if letters.get(&key) == Some(&"backlog full") {
            letters.remove(&key);
            return Ok(0);
        }
        if !book.waiting.is_empty() {
            return Err(format!("commit {name}: input {sequence} of {} overtook its backlog", input.company));
        }
        process(book, self.generation, &input, letters, due).map(|()| 0)
    }

    #[expect(clippy::too_many_arguments, reason = "everything that the outputs of one company are held against")]
    fn settle(
        &mut self,
        name: u64,
        company: &Company,
        part: Option<&Part>,
        due: Due,
        life: u32,
        source: &Source,
        truth: &mut Truth,
    ) -> Result<(), String> {
        let book = self.books.entry(company.clone()).or_default();
        let outputs = part.map_or(&[][..], |part| &part.outputs);
        let same = outputs.len() == due.outputs.len()
            && outputs.iter().zip(&due.outputs).all(|(made, (position, time_ms, data))| {
                book.running += 1;
                (made.position, made.running, made.time_ms) == (*position, book.running, *time_ms) && made.data == *data
            });
        if !same {
            let made: Vec<_> = outputs.iter().map(|e| (e.position.to_string(), e.running, &e.data)).collect();
            let wanted: Vec<_> = due.outputs.iter().map(|(p, _, data)| (p.to_string(), data)).collect();
            return Err(format!("commit {name}: outputs of {company} are {made:?}, not {wanted:?}"));
        }
        if let Some(entry) = outputs.iter().find(|entry| entry.chain != self.version) {
            let (made, named) = (entry.chain, self.version);
            return Err(format!("commit {name}: an entry of version {made} while {named} is named"));
        }
        if let Some(write) = part.and_then(|part| part.state.last()) {
            let written = write.value.as_deref().and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok());
            if written != Some(book.count) {
                return Err(format!("commit {name}: state of {company} is {written:?}, not {}", book.count));
            }
        }
        for entry in outputs {
            // A backlog may still hold events of an older stream: their payload says which.
            let of = entry_life(&entry.data).unwrap_or(life);
            let coord = Coord { life: of, sequence: entry.position.sequence, output: entry.position.output };
            if source.streams.get(of as usize).is_none() {
                return Err(format!("commit {name}: an entry of no stream"));
            }
            let stored = truth.ever.entry(company.clone()).or_default().entry(coord).or_default();
            stored.time_ms = entry.time_ms;
            if !stored.data.contains(&entry.data) {
                stored.data.push(entry.data.clone());
            }
        }
        Ok(())
    }

    fn count(&mut self, counts: Counts) {
        self.counted.received += counts.received;
        self.counted.emitted += counts.emitted;
        self.counted.dropped += counts.dropped;
        self.counted.dead += counts.dead;
    }

    /// Nothing of a company at or below its place may still wait.
    pub(crate) fn check_place(&self, company: &Company, place: Option<Place>) -> Result<(), String> {
        let oldest = self.books.get(company).and_then(|book| book.waiting.front());
        match (oldest, place) {
            (Some((generation, input)), Some(place))
                if place.position() >= Position::before(*generation, input.source.sequence) =>
            {
                Err(format!("the place of {company} is {place:?} while event {} waits", input.source.sequence))
            }
            _ => Ok(()),
        }
    }

    /// The version that runs.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What must hold once everything has drained.
    pub(crate) fn check_drained(&self) -> Result<(), String> {
        let Counts { received, emitted, dropped, dead } = self.counted;
        if received != emitted + dropped + dead {
            return Err(format!("the counts disagree: {:?}", self.counted));
        }
        match self.books.iter().find(|(_, book)| !book.waiting.is_empty()) {
            Some((company, _)) => Err(format!("the backlog of {company} is not empty")),
            None => Ok(()),
        }
    }
}

fn entry_life(data: &[u8]) -> Option<u32> {
    std::str::from_utf8(data).ok()?.split('|').nth(1)?.parse().ok()
}

fn process(
    book: &mut Book,
    generation: u16,
    input: &Input,
    letters: &mut BTreeMap<LetterKey, &str>,
    due: &mut Due,
) -> Result<(), String> {
    let sequence = input.source.sequence;
    if due.position != (generation, sequence) {
        (due.position, due.output) = ((generation, sequence), 0);
    }
    let key = (generation, sequence, input.emission + 1, Some(input.company.clone()));
    let letter = letters.remove(&key);
    if letter == Some("overdue") {
        return Ok(());
    }
    let (verdict, count) = filters::run(input, book.count);
    book.count = count;
    match (verdict, letter) {
        (Verdict::Dead(_), Some(_)) | (Verdict::Dropped { .. }, None) => {}
        (Verdict::Emitted(outputs), None) => {
            for made in outputs {
                due.output += 1;
                let position = Position::new(generation, sequence, due.output);
                due.outputs.push((position, input.source.time_ms, made.data));
            }
        }
        (Verdict::Dead(_), None) => return Err(format!("event {sequence} of {} has no letter", input.company)),
        (_, Some(kind)) => return Err(format!("event {sequence} of {} is dead ({kind})", input.company)),
    }
    Ok(())
}
