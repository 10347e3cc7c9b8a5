//! A host as owner: the loop that reads, runs the filters, plans commits and sends them, in single steps.

mod commits;

use crate::env::{Env, News};
use crate::filters;
use crate::hub::Hub;
use crate::mutant::Mutant;
use crate::source::foreign;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use tidegate_core::backlog::{self, Caps};
use tidegate_core::commit::{Commit, CommitAnswer, Head, StateWrite};
use tidegate_core::event::{Company, Input, SourceEvent, Verdict};
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::limits::COMMITS_IN_FLIGHT;
use tidegate_core::owner::{Owner, OwnerSettings, Ran, Routed};
use tidegate_core::position::{CommitName, Position, StoreId, Token};

enum Item {
    Event(SourceEvent),
    /// The reader was made anew: compare before anything else.
    Attached,
}

enum Sent {
    /// Not yet.
    No,
    /// Request or answer is lost; the host will find out by a time limit.
    Lost,
    Answered(CommitAnswer),
}

struct Flight {
    commit: Rc<Commit>,
    sent: Sent,
    /// How often it was sent.
    tries: u32,
}

/// The time in office under one token.
struct Office {
    token: Token,
    store: StoreId,
    owner: Owner,
    counts: BTreeMap<Company, u64>,
    flights: VecDeque<Flight>,
    queue: VecDeque<Item>,
    /// Creation of the stream that is read, and the next sequence.
    reader: (u64, u64),
    /// The last commit that is known to be stored.
    stored: CommitName,
    /// State was lost, and no floor says so yet: nothing is read before one does.
    owes_floor: bool,
}

enum Stage {
    Stands,
    /// The lease was granted; nothing was read under it yet.
    Granted(Token),
    /// The head was read.
    Head(Token, Box<Head>),
    Office(Box<Office>),
}

/// One process.
pub(crate) struct Host {
    name: String,
    pub(crate) id: usize,
    pub(crate) up: bool,
    pub(crate) boots: u64,
    stage: Stage,
    pub(crate) hub: Hub,
    caps: Caps,
}

impl Host {
    pub(crate) fn new(id: usize, caps: Caps) -> Self {
        let name = format!("h{id}");
        Self { name, id, up: true, boots: 0, stage: Stage::Stands, hub: Hub::new(0), caps }
    }

    pub(crate) fn crash(&mut self, env: &mut Env) {
        if self.up {
            env.note(|| format!("{} is killed", self.name));
            self.up = false;
            self.stage = Stage::Stands;
            self.hub = Hub::new(self.hub.epoch + 1);
            env.net[self.id].clear();
        }
    }

    pub(crate) fn start(&mut self) {
        self.boots += u64::from(!self.up);
        self.up = true;
    }

    fn office(&mut self) -> Option<&mut Office> {
        match &mut self.stage {
            Stage::Office(office) => Some(office),
            _ => None,
        }
    }

    pub(crate) fn token(&self) -> Option<Token> {
        match &self.stage {
            Stage::Office(office) => Some(office.token),
            _ => None,
        }
    }

    /// Nothing planned is unstored, everything read is planned.
    pub(crate) fn idle(&self) -> bool {
        match &self.stage {
            Stage::Office(office) => office.flights.is_empty() && office.queue.is_empty() && !office.owner.has_news(),
            _ => true,
        }
    }

    /// The next step on the way into office. With `lost`, the answer to the lease request is.
    pub(crate) fn attach(&mut self, env: &mut Env, lost: bool) {
        if !self.up {
            return;
        }
        match std::mem::replace(&mut self.stage, Stage::Stands) {
            Stage::Stands => {
                let token = env.token();
                let granted = env.store.acquire(&self.name, token, env.now);
                env.note(|| format!("{} asks for the lease under {token:?}: {granted}, lost {lost}", self.name));
                if granted && !lost {
                    self.stage = Stage::Granted(token);
                }
            }
            Stage::Granted(token) => self.stage = Stage::Head(token, Box::new(env.store.head())),
            Stage::Head(token, head) => {
                if env.store.head().last != head.last {
                    // Read in several calls, it must be one moment: what came between may be of a history that is lost.
                    self.stage = Stage::Granted(token);
                    return;
                }
                let (heads, counts) = (env.store.companies(), env.store.states());
                let stored = head.checkpoint.map_or(0, |place| place.sequence);
                let facts = env.source.facts(stored);
                let begun = head.checkpoint.is_some_and(|place| place.sequence > 0 || place.generation > 1);
                let owes_floor = !begun && env.truth.flushes > 0;
                let (fresh, store, stored) = (head.checkpoint.is_none(), head.store, head.last);
                let settings = OwnerSettings { backlog: self.caps, frame_bytes_max: 1 << 20 };
                let (owner, continuity) = Owner::attach(token, *head, heads, &facts, settings);
                env.note(|| format!("{} takes office at {:?}: {continuity:?}", self.name, owner.checkpoint()));
                let reader = (facts.created_ms, owner.checkpoint().sequence + 1);
                let (flights, queue) = (VecDeque::new(), VecDeque::new());
                let office = Office { token, store, owner, counts, flights, queue, reader, stored, owes_floor };
                self.stage = Stage::Office(Box::new(office));
                if fresh {
                    self.plan(env, |owner| Some(owner.plan_idle(None)));
                }
            }
            office => self.stage = office,
        }
    }

    /// State was lost with the store: each company is told up to where, once the store knows which stream its first
    /// generation is (a floor from before that would speak of another one if the stream was made again).
    fn tell_lost_state(&mut self, env: &mut Env) -> bool {
        let Some(office) = self.office().filter(|office| office.owes_floor) else { return true };
        if !office.flights.is_empty() {
            return false;
        }
        office.owes_floor = false;
        let generation = *office.owner.generation();
        let last = env.source.now().last();
        if generation.number > 1 || generation.created_ms != env.source.now().created_ms || last == 0 {
            return true;
        }
        let time_ms = env.source.now().ever(last).map_or(0, |event| event.time_ms);
        let floor = Floor { position: Position::whole(1, last), time_ms, reason: GapReason::StoreLost, running: None };
        for company in env.companies.clone() {
            env.store.raise_floor(office.token, &company, floor);
        }
        let life = env.source.streams.len() as u32 - 1;
        env.truth.store_lost.insert((life, last));
        true
    }

    fn plan(&mut self, env: &mut Env, make: impl FnOnce(&mut Owner) -> Option<Commit>) {
        let name = self.name.clone();
        let mut early = None;
        if let Some(office) = self.office()
            && let Some(commit) = make(&mut office.owner)
        {
            for part in &commit.parts {
                for write in &part.state {
                    let value = write.value.as_deref().and_then(|v| std::str::from_utf8(v).ok());
                    if let Some(count) = value.and_then(|v| v.parse().ok()) {
                        office.counts.insert(part.company.clone(), count);
                    }
                }
            }
            env.note(|| {
                let brief = |(c, n): (&Company, usize)| format!("{c}:{n}");
                let outputs: Vec<_> = commit.parts.iter().map(|p| brief((&p.company, p.outputs.len()))).collect();
                let waits: Vec<_> = commit.parts.iter().map(|p| brief((&p.company, p.backlog_add.len()))).collect();
                let done: Vec<_> = commit.parts.iter().filter_map(|p| p.backlog_done.map(|d| d.to_string())).collect();
                format!(
                    "{name} plans {:?} up to {:?}: outputs {outputs:?} waits {waits:?} done {done:?} dead {} floor {:?}",
                    commit.name,
                    commit.checkpoint.map(|p| p.sequence),
                    commit.dead.len(),
                    commit.floor.map(|f| f.position)
                )
            });
            if env.mutant == Some(Mutant::DeadLetterFirst) {
                commit.dead.iter().for_each(|letter| env.bury(letter));
            }
            let commit = Rc::new(commit);
            office.flights.push_back(Flight { commit: commit.clone(), sent: Sent::No, tries: 0 });
            if env.mutant == Some(Mutant::PublishFirst) {
                early = Some(News { store: office.store, commit, places: Vec::new() });
            }
        }
        if let Some(news) = early {
            self.announce(env, &news);
        }
    }

    fn announce(&mut self, env: &mut Env, news: &News) {
        self.hub.hear(news, env.mutant);
        let others = env.net.iter_mut().enumerate().filter(|(host, _)| *host != self.id);
        others.for_each(|(_, queue)| queue.push_back(news.clone()));
    }

    /// The reader takes the next event of the stream, or finds that it has to be made anew.
    pub(crate) fn read(&mut self, env: &Env) {
        let Some(office) = self.office() else { return };
        if office.queue.len() >= 16 {
            return;
        }
        let stream = env.source.now();
        let (created, next) = office.reader;
        if stream.created_ms != created || (next < stream.first && next <= stream.last()) {
            // The client library goes on where it was, or at the first there is, and says that it did.
            office.reader = (stream.created_ms, next.max(stream.first));
            office.queue.push_back(Item::Attached);
            return;
        }
        let Some(event) = (next..=stream.last()).filter_map(|n| stream.held(n)).find(|event| !foreign(event)) else {
            return;
        };
        office.reader.1 = event.sequence + 1;
        office.queue.push_back(Item::Event(event.clone()));
    }

    /// Plans the next batch; `slow` says who is not through in time, one bit for each company.
    pub(crate) fn batch(&mut self, env: &mut Env, most: usize, slow: u32) {
        if !self.tell_lost_state(env) {
            return;
        }
        let Some(office) = self.office() else { return };
        if office.flights.len() >= COMMITS_IN_FLIGHT {
            return;
        }
        let mut events = Vec::new();
        while let Some(Item::Event(event)) = office.queue.front().filter(|_| events.len() < most) {
            events.push(event.clone());
            office.queue.pop_front();
        }
        if events.is_empty() {
            if let Some(Item::Attached) = office.queue.front() {
                office.queue.pop_front();
                if env.mutant != Some(Mutant::StreamNotCompared) {
                    let facts = env.source.facts(office.owner.checkpoint().sequence);
                    let continuity = office.owner.compare(&facts);
                    office.queue.clear();
                    office.reader = (facts.created_ms, office.owner.checkpoint().sequence + 1);
                    env.note(|| format!("reader made anew: {continuity:?}"));
                }
            }
            return;
        }
        let routed: Vec<Routed> = events.iter().map(|event| filters::route(event, &env.companies)).collect();
        let mut inputs: BTreeMap<Company, Vec<&Input>> = BTreeMap::new();
        for input in
            routed.iter().flat_map(|routed| if let Routed::Inputs(inputs) = routed { &inputs[..] } else { &[] })
        {
            inputs.entry(input.company.clone()).or_default().push(input);
        }
        let mut ran = HashMap::new();
        for (company, inputs) in inputs {
            let bit = env.companies.iter().position(|c| *c == company).unwrap_or(0);
            if office.owner.waits(&company) {
                continue;
            }
            let mut count = office.counts.get(&company).copied().unwrap_or(0);
            let before = count;
            let verdicts = inputs.iter().map(|input| run(input, &mut count)).collect();
            if slow & (1 << bit) == 0 {
                ran.insert(company, Ran::Done { verdicts, writes: writes(before, count), chain: 1 });
            } else {
                if env.mutant == Some(Mutant::StateKept) {
                    office.counts.insert(company.clone(), count);
                }
                ran.insert(company, Ran::Left);
            }
        }
        self.plan(env, |owner| Some(owner.plan_batch(&events, routed, ran)));
    }

    /// One step of one company's backlog.
    pub(crate) fn step(&mut self, env: &mut Env, pick: usize, inputs: usize) {
        let caps = self.caps;
        let Some(office) = self.office() else { return };
        let mut waiting: Vec<Company> = office.owner.waiting().map(|(company, _)| company.clone()).collect();
        waiting.sort();
        let Some(company) = waiting.get(pick % waiting.len().max(1)).cloned() else { return };
        // A step under way still stands in the store: what it takes must not be taken twice.
        let under_way = office
            .flights
            .iter()
            .any(|flight| flight.commit.parts.iter().any(|p| p.company == company && p.backlog_done.is_some()));
        if under_way || office.flights.len() >= COMMITS_IN_FLIGHT {
            return;
        }
        let known = office.owner.company(&company).waiting;
        let mut read = inputs + 1;
        let (page, mut length) = loop {
            let page = env.store.waiting(&company, read);
            if page.is_empty() {
                return;
            }
            let complete = page.len() as u64 == known;
            if env.mutant == Some(Mutant::StepCutsEvent) {
                break (page.clone(), page.len().min(inputs));
            }
            match backlog::whole_step(&page, inputs, complete) {
                Some(length) => break (page, length),
                // What is planned to wait is not stored yet.
                None if page.len() < read => return,
                None => read *= 2,
            }
        };
        let before = office.counts.get(&company).copied().unwrap_or(0);
        let newest = office.owner.checkpoint().time_ms;
        loop {
            let mut count = before;
            let verdict = |waiting: &tidegate_core::commit::Waiting| {
                if backlog::overdue(waiting, newest, caps) {
                    filters::overdue()
                } else {
                    run(&waiting.input, &mut count)
                }
            };
            let verdicts: Vec<Verdict> = page[..length].iter().map(verdict).collect();
            let planned = office.owner.plan_step(&company, &page[..length], &verdicts, writes(before, count), 1);
            match planned {
                Ok(commit) => return self.plan(env, |_| Some(commit)),
                Err(_) => length = backlog::step_length(&page[..length], (length / 2).max(1), true),
            }
        }
    }

    /// Moves the checkpoint over what is not for us, and tells news, while nothing waits to be planned.
    pub(crate) fn rest(&mut self, env: &mut Env) {
        if !self.tell_lost_state(env) {
            return;
        }
        let Some(office) = self.office() else { return };
        if !office.queue.is_empty() || office.flights.len() >= COMMITS_IN_FLIGHT {
            return;
        }
        let stream = env.source.now();
        let rest = (office.reader.1..=stream.last()).all(|n| stream.held(n).is_some_and(foreign));
        let same = office.reader.0 == stream.created_ms;
        let last = stream.ever(stream.last()).filter(|_| rest && same).map(|event| (event.sequence, event.time_ms));
        let checkpoint = office.owner.checkpoint();
        let moves = last.is_some_and(|(sequence, _)| sequence > checkpoint.sequence);
        if let Some((sequence, _)) = last {
            office.reader.1 = office.reader.1.max(sequence + 1);
        }
        if moves || office.owner.has_news() {
            self.plan(env, |owner| Some(owner.plan_idle(last)));
        }
    }
}

fn run(input: &Input, count: &mut u64) -> Verdict {
    let (verdict, next) = filters::run(input, *count);
    *count = next;
    verdict
}

fn writes(before: u64, count: u64) -> Vec<StateWrite> {
    let write = StateWrite { filter: "f".into(), key: "n".into(), value: Some(count.to_string().into()) };
    if before == count { Vec::new() } else { vec![write] }
}
