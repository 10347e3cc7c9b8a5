//! The owner of the partition: turns what the chains made of a batch into commits that follow one another.

use crate::backlog::{self, Caps};
use crate::commit::{Commit, CompanyHead, Counts, Head, Part, StateWrite, Waiting, waiting_position};
use crate::entry::{DeadLetter, Entry};
use crate::event::{Company, Fault, Input, SourceEvent, Verdict};
use crate::frame;
use crate::gap::{Floor, GapReason};
use crate::generation::{Continuity, Generation, StreamFacts};
use crate::position::{CommitName, Place, Position, Token};
use crate::rebuild::Rebuild;
use crate::record::{Became, Notes, Pass};
use crate::sheet::{Outcome, Settled, Sheet};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What the platform chain made of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routed {
    /// It goes to these companies.
    Inputs(Vec<Input>),
    /// A filter dropped it.
    Dropped {
        /// Which one, by file name.
        filter: Arc<str>,
        /// Why, in the filter's words; may be empty.
        reason: Arc<str>,
    },
    /// It could not be handled.
    Dead(Fault),
}

/// What a company's chain made of its part of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// It is through: one verdict for each input, in order.
    Done {
        /// The verdicts.
        verdicts: Vec<Verdict>,
        /// What its filters wrote to their state.
        writes: Vec<StateWrite>,
        /// The chain, and what its filters took.
        pass: Pass,
    },
    /// It is not through in time, paused, or has no chain: the whole part waits.
    Left,
}

/// Settings that shape a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerSettings {
    /// Caps of each company's backlog.
    pub backlog: Caps,
    /// The longest frame on the wire, in bytes.
    pub frame_bytes_max: usize,
}

/// A backlog step that can't become one commit as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooBig;

/// Plans commits, one after the other. It holds what the store will hold once all planned commits are stored; after a
/// refused one it is thrown away and made anew from what the store says.
#[derive(Debug)]
pub struct Owner {
    token: Token,
    last: CommitName,
    generation: Generation,
    /// When the streams of former generations were made: inputs of theirs may still wait.
    former: Vec<(u16, u64)>,
    checkpoint: Place,
    floor: Option<Floor>,
    time_ms_max: u64,
    companies: HashMap<Company, CompanyHead>,
    /// Those of them whose backlog holds something: asked for at every turn, and few.
    waiting: BTreeSet<Company>,
    chains: Vec<(Arc<str>, Arc<str>)>,
    chains_changed: bool,
    settings: OwnerSettings,
}

impl Owner {
    /// Takes over under a token that was just granted, with the store's heads and what the source says of its stream.
    #[must_use]
    pub fn attach(
        token: Token,
        head: Head,
        companies: Vec<(Company, CompanyHead)>,
        stream: &StreamFacts,
        settings: OwnerSettings,
    ) -> (Self, Continuity) {
        let current = head.generation().copied();
        let generation = current.unwrap_or_else(|| Generation::new(1, stream.created_ms));
        let checkpoint =
            head.checkpoint.filter(|place| place.generation == generation.number).unwrap_or(generation.start());
        let companies: HashMap<Company, CompanyHead> = companies.into_iter().collect();
        let waiting = companies.iter().filter(|(_, head)| backlog::joins(head)).map(|(company, _)| company.clone());
        let mut owner = Self {
            token,
            last: head.last,
            generation,
            former: head.generations.iter().map(|former| (former.number, former.created_ms)).collect(),
            checkpoint,
            floor: None,
            time_ms_max: checkpoint.time_ms,
            waiting: waiting.collect(),
            companies,
            chains: head.chains,
            chains_changed: false,
            settings,
        };
        let continuity = owner.compare(stream);
        (owner, continuity)
    }

    /// Compares the stream with the checkpoint, as must be done whenever a consumer was made. Another stream begins a
    /// new generation, and what the old one still held is a floor; the next commit says so.
    pub fn compare(&mut self, stream: &StreamFacts) -> Continuity {
        let continuity = self.continuity(stream);
        match continuity {
            Continuity::Same => {}
            Continuity::Passed => {
                let sequence = stream.first_sequence - 1;
                // What is gone may be as new as what follows it: with an older time the index of times would lead whoever
                // asks from a time on past the floor.
                let time_ms = self.checkpoint.time_ms.max(stream.first_ms.unwrap_or(0));
                self.time_ms_max = self.time_ms_max.max(time_ms);
                self.move_to(Place { sequence, time_ms, ..self.checkpoint });
                self.raise_floor(self.checkpoint.position(), GapReason::SourceLost);
            }
            Continuity::Recreated => {
                self.former.push((self.generation.number, self.generation.created_ms));
                self.generation = Generation::new(self.generation.number.saturating_add(1), stream.created_ms);
                self.checkpoint = self.generation.start();
                self.time_ms_max = self.time_ms_max.max(stream.created_ms);
                // Nobody knows what the old stream held when it went.
                self.raise_floor(self.checkpoint.position(), GapReason::SourceLost);
            }
        }
        continuity
    }

    /// How the stream compares with the checkpoint; nothing is done about it.
    #[must_use]
    pub fn continuity(&self, stream: &StreamFacts) -> Continuity {
        crate::generation::compare(&self.generation, Some(self.checkpoint), stream)
    }

    /// The source lost events after what was planned (core NATS), at this time at the latest: a floor for every company,
    /// told with the next commit. It takes a number that no event has, the next one or this higher one: whoever was sent
    /// the last event before it is told, too.
    pub fn source_lost(&mut self, number: u64, time_ms: u64) {
        let sequence = number.max(self.checkpoint.sequence + 1);
        // With the time of what went before, the index of times would lead whoever asks from a time on past the floor.
        let time_ms = time_ms.max(self.checkpoint.time_ms);
        let place = Place { generation: self.generation.number, sequence, time_ms };
        self.time_ms_max = self.time_ms_max.max(time_ms);
        self.move_to(place);
        self.raise_floor(place.position(), GapReason::SourceLost);
    }

    fn raise_floor(&mut self, position: Position, reason: GapReason) {
        let floor = Floor { position, time_ms: self.checkpoint.time_ms.max(1), reason, running: None };
        self.floor = Floor::higher(self.floor, Some(floor));
    }

    /// Everything up to here is planned.
    #[must_use]
    pub fn checkpoint(&self) -> Place {
        self.checkpoint
    }

    /// The present generation.
    #[must_use]
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Something must be committed even if no event comes: a floor or a change of chains.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.floor.is_some() || self.chains_changed
    }

    /// Does the next commit name other chains than the one before it?
    #[must_use]
    pub fn names_chains(&self) -> bool {
        self.chains_changed
    }

    /// Do a company's inputs have to wait behind others?
    #[must_use]
    pub fn waits(&self, company: &Company) -> bool {
        self.waiting.contains(company)
    }

    /// Companies whose backlog holds something.
    pub fn waiting(&self) -> impl Iterator<Item = (&Company, &CompanyHead)> {
        self.waiting.iter().filter_map(|company| self.companies.get_key_value(company))
    }

    /// What will be known of a company once all planned commits are stored.
    #[must_use]
    pub fn company(&self, company: &Company) -> CompanyHead {
        self.companies.get(company).copied().unwrap_or_default()
    }

    /// The chains that run from now on (folder and digest), named in the next commit if they changed.
    pub fn set_chains(&mut self, chains: Vec<(Arc<str>, Arc<str>)>) {
        if chains != self.chains {
            self.chains = chains;
            self.chains_changed = true;
        }
    }

    /// Plans the commit of a batch: `routed` holds one result for each event, `ran` the parts of the companies that ran.
    /// A company without a result waits. `platform` is the chain that made `routed`, and what its filters took.
    pub fn plan_batch(
        &mut self,
        events: &[SourceEvent],
        routed: Vec<Routed>,
        platform: &Pass,
        mut ran: HashMap<Company, Ran>,
    ) -> Commit {
        let mut sheet = Sheet::new(events.len());
        sheet.notes.pass(None, platform);
        let before = self.checkpoint;
        let mut parts: Vec<(Company, Vec<(usize, Input)>)> = Vec::new();
        let mut index: HashMap<Company, usize> = HashMap::new();
        let mut places = Vec::with_capacity(events.len());
        let mut previous = self.checkpoint;
        for (number, (event, routed)) in events.iter().zip(routed).enumerate() {
            places.push(previous);
            previous = Place { generation: self.generation.number, sequence: event.sequence, time_ms: event.time_ms };
            match routed {
                Routed::Dropped { filter, reason } => {
                    sheet.notes.note(number, None, Became::dropped(&filter, &reason));
                    sheet.outcome(number, &Outcome::Dropped(reason));
                }
                Routed::Dead(fault) => {
                    sheet.notes.note(number, None, Became::dead(&fault));
                    sheet.dead(
                        number,
                        DeadLetter::new(
                            self.generation.number,
                            self.generation.created_ms,
                            0,
                            None,
                            &fault,
                            event.clone(),
                        ),
                    );
                }
                Routed::Inputs(inputs) => {
                    for input in inputs {
                        let at = *index.entry(input.company.clone()).or_insert_with(|| {
                            parts.push((input.company.clone(), Vec::new()));
                            parts.len() - 1
                        });
                        parts[at].1.push((number, input));
                    }
                }
            }
        }
        for (company, inputs) in parts {
            let result = if self.waits(&company) { Ran::Left } else { ran.remove(&company).unwrap_or(Ran::Left) };
            self.plan_part(&mut sheet, company, inputs, result, &places);
        }
        if let Some(last) = events.last() {
            self.pass(
                Place { generation: self.generation.number, sequence: last.sequence, time_ms: last.time_ms },
                events,
            );
        }
        let counts = Counts { received: events.len() as u64, ..sheet.counts() };
        let drops = sheet.drops();
        let generation = self.generation.number;
        let record = sheet.notes.batch(before, self.checkpoint, |number| (generation, events[number].sequence));
        Commit { drops, record: Some(record), ..self.commit(sheet.parts, sheet.letters, true, counts) }
    }

    fn plan_part(
        &mut self,
        sheet: &mut Sheet,
        company: Company,
        inputs: Vec<(usize, Input)>,
        result: Ran,
        places: &[Place],
    ) {
        let mut part = Part::new(company.clone());
        if let Ran::Done { verdicts, writes, pass } = result {
            let plain = inputs.iter().map(|(_, input)| (self.generation.number, input));
            let settled = self.settle(&company, plain, &verdicts, pass.chain);
            if sheet.fits(&settled) {
                sheet.notes.pass(Some(&company), &pass);
                for ((number, _), became) in inputs.iter().zip(&settled.became) {
                    sheet.outcome(*number, &Outcome::of(became));
                    sheet.notes.note(*number, Some(&company), became.clone());
                }
                self.apply_outputs(&company, &settled.entries);
                sheet.take(&settled);
                sheet.letters.extend(settled.letters);
                (part.outputs, part.state) = (settled.entries, writes);
                sheet.parts.push(part);
                return;
            }
        }
        for (number, input) in inputs {
            let waiting = Waiting { previous: places[number], counts: false, input };
            let weight = waiting.encode().len() as u64;
            let head = self.companies.entry(company.clone()).or_default();
            match backlog::admit(head, weight, self.settings.backlog) {
                Ok(()) => {
                    sheet.notes.note(number, Some(&company), Became::Waits);
                    head.waiting += 1;
                    head.waiting_bytes += weight;
                    if !self.waiting.contains(&company) {
                        self.waiting.insert(company.clone());
                    }
                    sheet.waits.push((number, sheet.parts.len(), part.backlog_add.len()));
                    part.backlog_add.push(waiting);
                }
                Err(fault) => {
                    sheet.notes.note(number, Some(&company), Became::dead(&fault));
                    let letter = self.letter(self.generation.number, &company, &waiting.input, &fault);
                    sheet.dead(number, letter);
                }
            }
        }
        sheet.parts.push(part);
    }

    /// Plans a step of a company's backlog: the oldest waiting inputs (whole events) and what its chain made of them.
    ///
    /// # Errors
    /// [`TooBig`] when the outputs don't fit one commit and there is more than one event: run it again from its starting
    /// state with half the inputs.
    pub fn plan_step(
        &mut self,
        company: &Company,
        inputs: &[Waiting],
        verdicts: &[Verdict],
        writes: Vec<StateWrite>,
        pass: &Pass,
    ) -> Result<Commit, TooBig> {
        let plain = inputs.iter().map(|waiting| (waiting.previous.generation, &waiting.input));
        let settled = self.settle(company, plain, verdicts, pass.chain);
        let event = |waiting: Option<&Waiting>| waiting.map(|w| (w.previous.generation, w.input.source.sequence));
        let several = event(inputs.first()) != event(inputs.last());
        let mut sheet = Sheet::new(inputs.len());
        if several && !sheet.fits(&settled) {
            return Err(TooBig);
        }
        sheet.notes.pass(Some(company), pass);
        let mut part = Part::new(company.clone());
        let (mut number, mut counted, mut events) = (0, HashSet::new(), Vec::new());
        for (index, (waiting, became)) in inputs.iter().zip(&settled.became).enumerate() {
            // One number for each event, which counts if any part of it carries its count.
            number += usize::from(index > 0 && event(inputs.get(index)) != event(inputs.get(index - 1)));
            if events.len() == number {
                events.push((waiting.previous.generation, waiting.input.source.sequence));
            }
            sheet.outcome(number, &Outcome::of(became));
            sheet.notes.note(number, Some(company), became.clone());
            if waiting.counts {
                counted.insert(number);
            }
            let head = self.companies.entry(company.clone()).or_default();
            head.waiting = head.waiting.saturating_sub(1);
            head.waiting_bytes = head.waiting_bytes.saturating_sub(waiting.encode().len() as u64);
            part.backlog_done = Some(waiting_position(waiting.previous.generation, &waiting.input));
        }
        if !backlog::joins(&self.company(company)) {
            self.waiting.remove(company);
        }
        self.apply_outputs(company, &settled.entries);
        (part.outputs, part.state) = (settled.entries, writes);
        sheet.undecided = (0..inputs.len()).filter(|number| !counted.contains(number)).collect();
        let (counts, drops) = (sheet.counts(), sheet.drops());
        let record = sheet.notes.step(self.checkpoint, |number| events[number]);
        Ok(Commit { drops, record: Some(record), ..self.commit(vec![part], settled.letters, false, counts) })
    }

    /// Plans a commit that only moves the checkpoint on, or tells a floor or new chains.
    pub fn plan_idle(&mut self, place: Option<(u64, u64)>) -> Commit {
        if let Some((sequence, time_ms)) = place.filter(|(sequence, _)| *sequence > self.checkpoint.sequence) {
            let place = Place { generation: self.generation.number, sequence, time_ms };
            self.time_ms_max = self.time_ms_max.max(time_ms);
            self.move_to(place);
        }
        self.commit(Vec::new(), Vec::new(), true, Counts::default())
    }

    /// Plans the first commit of a store's life, so that the stream's beginning is known, and a client that comes before
    /// the first event has a place to keep. It says how far the store is filled again; a source that keeps nothing can't
    /// fill it, and whatever was before is a floor.
    pub fn plan_first(&mut self, rebuild: Rebuild, fillable: bool) -> Commit {
        if !fillable {
            self.time_ms_max = self.time_ms_max.max(rebuild.until.time_ms);
            self.move_to(rebuild.until);
            self.raise_floor(rebuild.until.position(), GapReason::SourceLost);
        }
        Commit { rebuild: Some(rebuild), ..self.plan_idle(None) }
    }

    /// Plans a commit that passes over everything up to here: what an emptied store is not filled with again. It is a
    /// floor, told where a client comes from below it.
    pub fn plan_skip(&mut self, sequence: u64, time_ms: u64) -> Commit {
        let place = Place { generation: self.generation.number, sequence, time_ms };
        let record = Notes::passed_over(self.checkpoint, place);
        self.time_ms_max = self.time_ms_max.max(time_ms);
        self.move_to(place);
        self.raise_floor(place.position(), GapReason::StoreLost);
        Commit { record: Some(record), ..self.commit(Vec::new(), Vec::new(), true, Counts::default()) }
    }

    fn pass(&mut self, place: Place, events: &[SourceEvent]) {
        let newest = events.iter().map(|event| event.time_ms).max().unwrap_or(0);
        self.time_ms_max = self.time_ms_max.max(newest);
        if self.generation.first_sequence == 0
            && let Some(first) = events.first()
        {
            (self.generation.first_sequence, self.generation.first_ms) = (first.sequence, first.time_ms);
        }
        self.move_to(place);
    }

    fn move_to(&mut self, place: Place) {
        self.checkpoint = place;
        (self.generation.last_sequence, self.generation.last_ms) = (place.sequence, place.time_ms);
    }

    fn commit(&mut self, parts: Vec<Part>, dead: Vec<DeadLetter>, checkpoint: bool, counts: Counts) -> Commit {
        let name = CommitName { token: self.token, number: self.last.number + 1 };
        let follows = std::mem::replace(&mut self.last, name);
        let floor = self.floor.take();
        Commit {
            name,
            follows,
            generation: self.generation,
            // A floor moves the place with it, whatever commit tells it.
            checkpoint: (checkpoint || floor.is_some()).then_some(self.checkpoint),
            time_ms_max: self.time_ms_max,
            parts,
            dead,
            floor,
            chains: std::mem::take(&mut self.chains_changed).then(|| self.chains.clone()),
            rebuild: None,
            dead_before: Vec::new(),
            counts,
            drops: Vec::new(),
            record: None,
        }
    }

    /// Turns verdicts into entries with positions and running numbers. An input is emitted whole or dead as a whole.
    fn settle<'a>(
        &self,
        company: &Company,
        inputs: impl Iterator<Item = (u16, &'a Input)>,
        verdicts: &[Verdict],
        chain: u64,
    ) -> Settled {
        let mut settled = Settled::default();
        let mut running = self.company(company).running;
        let mut event = (0, 0);
        let mut output = 0;
        for ((generation, input), verdict) in inputs.zip(verdicts) {
            if event != (generation, input.source.sequence) {
                (event, output) = ((generation, input.source.sequence), 0);
            }
            match verdict {
                Verdict::Dropped { filter, reason } => settled.became.push(Became::dropped(filter, reason)),
                Verdict::Dead(fault) => {
                    settled.letters.push(self.letter(generation, company, input, fault));
                    settled.became.push(Became::dead(fault));
                }
                Verdict::Emitted(outputs) => {
                    let longest =
                        outputs.iter().map(|o| frame::event_bytes_max(&o.data, &o.event_type)).max().unwrap_or(0);
                    if longest > self.settings.frame_bytes_max {
                        let fault = frame_fault(longest, self.settings.frame_bytes_max);
                        settled.letters.push(self.letter(generation, company, input, &fault));
                        settled.became.push(Became::dead(&fault));
                        continue;
                    }
                    for made in outputs {
                        (output, running) = (output + 1, running + 1);
                        let entry = Entry {
                            position: Position::new(generation, input.source.sequence, output),
                            time_ms: input.source.time_ms,
                            running,
                            subject: input.source.subject.clone(),
                            event_type: made.event_type.clone(),
                            chain,
                            data: made.data.clone(),
                        };
                        settled.bytes += entry.weight();
                        settled.entries.push(entry);
                    }
                    settled.became.push(Became::Emitted(u32::try_from(outputs.len()).unwrap_or(u32::MAX)));
                }
            }
        }
        settled
    }

    fn letter(&self, generation: u16, company: &Company, input: &Input, fault: &Fault) -> DeadLetter {
        let former = self.former.iter().rev().find(|(number, _)| *number == generation);
        let created_ms = match former {
            Some((_, created_ms)) if generation != self.generation.number => *created_ms,
            _ => self.generation.created_ms,
        };
        DeadLetter::new(generation, created_ms, input.emission + 1, Some(company.clone()), fault, input.source.clone())
    }

    fn apply_outputs(&mut self, company: &Company, entries: &[Entry]) {
        let head = self.companies.entry(company.clone()).or_default();
        if let Some(last) = entries.last() {
            (head.running, head.top) = (last.running, last.position);
        }
    }
}

fn frame_fault(bytes: usize, bytes_max: usize) -> Fault {
    let reason = format!("its frame would have {bytes} bytes; at most {bytes_max} are sent (limits.frame-bytes)");
    Fault { kind: "frame too large", reason: reason.into(), module: None, backtrace: None }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
