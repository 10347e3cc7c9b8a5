//! A host as owner: the loop that reads, runs the filters, plans commits and sends them, in single steps.

mod attach;
mod batch;
mod commits;
mod hear;
mod idle;
mod keep;
mod step;

pub(crate) use idle::RETENTION_MS;
pub(crate) use keep::version;

use crate::env::{Env, News};
use crate::filters;
use crate::hub::Hub;
use crate::mutant::Mutant;
use crate::wire::{Ear, Wire};
use keep::Keeper;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use tidegate_core::backlog::Caps;
use tidegate_core::commit::{Commit, CommitAnswer, Head, StateWrite};
use tidegate_core::event::{Company, Input, SourceEvent, Verdict};
use tidegate_core::idle::IdleWatch;
use tidegate_core::numbering::Numbering;
use tidegate_core::owner::Owner;
use tidegate_core::position::{CommitName, StoreId, Token};
use tidegate_core::rebuild::Rebuild;
use tidegate_core::turns::Turns;
use tidegate_core::uncommitted::{Known, Uncommitted};

/// What every folder holds at the beginning.
pub(crate) const FIRST_VERSION: u64 = 1;

enum Item {
    Event(SourceEvent),
    /// The reader was made anew: compare before anything else. On core NATS it begins above this number.
    Attached(u64),
    /// Core NATS lost something here.
    Lost,
    /// There, nobody listened before this number.
    Unheard(u64),
    /// The reader of core NATS has ended.
    Ended,
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
    turns: Turns,
    watch: IdleWatch,
    /// The subscription, on core NATS.
    ear: Option<Ear>,
    /// There, its reader has ended, and that is not taken in yet.
    ended: bool,
    /// There, the store's life has just begun.
    begun: bool,
    /// The last sequence that is committed.
    committed: u64,
    /// There, how the store's life begins, until that is committed.
    first: Option<Rebuild>,
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
    /// Stopped (SIGSTOP): nothing of it moves.
    pub(crate) stopped: bool,
    /// The store can't be reached from here.
    pub(crate) cut_off: bool,
    /// How far its clock is off, in ms.
    pub(crate) clock: i64,
    caps: Caps,
    /// The numbers it gave on core NATS, or saw.
    pub(crate) numbering: Numbering,
    /// What it received on core NATS and nobody has committed.
    uncommitted: Uncommitted<usize>,
    known: Known,
    /// It has no connection to core NATS.
    unplugged: bool,
    /// Which chains run.
    pub(crate) keeper: Keeper,
    /// What its memory held when its last time in office ended.
    remembered: BTreeMap<Company, u64>,
}

impl Host {
    pub(crate) fn new(id: usize, caps: Caps) -> Self {
        let name = format!("h{id}");
        Self {
            name,
            id,
            up: true,
            boots: 0,
            stage: Stage::Stands,
            hub: Hub::new(),
            stopped: false,
            cut_off: false,
            clock: 0,
            caps,
            numbering: Numbering::default(),
            uncommitted: Uncommitted::default(),
            known: Known::default(),
            unplugged: false,
            keeper: Keeper::new(FIRST_VERSION),
            remembered: BTreeMap::new(),
        }
    }

    pub(crate) fn crash(&mut self, env: &mut Env) {
        if self.up {
            env.note(|| format!("{} is killed", self.name));
            self.up = false;
            self.stage = Stage::Stands;
            self.stopped = false;
            self.hub = Hub::new();
            self.numbering = Numbering::default();
            (self.uncommitted, self.known) = (Uncommitted::default(), Known::default());
            self.keeper.forget();
            env.net[self.id].clear();
        }
    }

    pub(crate) fn start(&mut self) {
        self.boots += u64::from(!self.up);
        self.up = true;
    }

    /// Ends a time in office; what it received may be another host's by now.
    fn leave(&mut self) {
        self.uncommitted.forget();
        self.end();
    }

    /// Ends a time in office in which nothing but what was answered had an effect: what was received since comes again.
    fn leave_for_now(&mut self, wire: Option<&Wire>) {
        if let (Stage::Office(office), Some(wire)) = (&mut self.stage, wire) {
            self.uncommitted.take_back(office.committed);
            if let Some(ear) = &mut office.ear {
                self.uncommitted.wait(ear.rest(wire));
            }
        }
        self.end();
    }

    fn end(&mut self) {
        if let Stage::Office(office) = std::mem::replace(&mut self.stage, Stage::Stands) {
            self.remembered = office.counts;
        }
    }

    /// The host's own clock.
    fn now_ms(&self, env: &Env) -> u64 {
        env.now.saturating_add_signed(self.clock)
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
            let mut commit = commit;
            if env.mutant == Some(Mutant::OutputsNumberedByEmission) {
                number_by_emission(&mut commit);
            }
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
}

/// Each filter's outputs numbered on their own, as if there were no others of the event.
fn number_by_emission(commit: &mut Commit) {
    for entry in commit.parts.iter_mut().flat_map(|part| &mut part.outputs) {
        let number = std::str::from_utf8(&entry.data).ok().and_then(|data| data.split('|').nth(4)?.parse::<u32>().ok());
        entry.position.output = number.map_or(entry.position.output, |number| number + 1);
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
