//! One host's live window: rings that follow the commits, as the announcements and the store tell them.

use crate::env::{Env, News};
use crate::mutant::Mutant;
use std::collections::BTreeMap;
use tidegate_core::commit::{Head, Page};
use tidegate_core::event::Company;
use tidegate_core::position::{Place, Position};
use tidegate_core::ring::Ring;
use tidegate_core::window::{Step, Window};

/// Bytes of a ring: a handful of frames, so that connections fall behind.
const RING_BYTES: usize = 400;
/// Entries of a page.
pub(crate) const PAGE: usize = 4;

/// What the hub is reading from the store, one call at a time.
enum Task {
    None,
    /// Which companies have a backlog.
    Companies,
    /// A hole is filled, company by company, up to this head.
    Fill(Box<Head>, Vec<Company>),
}

/// The live side of one host.
pub(crate) struct Hub {
    window: Option<Window>,
    rings: BTreeMap<Company, Ring>,
    checkpoint: Option<Place>,
    waiting: BTreeMap<Company, Place>,
    /// Places may be told once the window has reached this commit: they may have been read later than it.
    settled_at: u64,
    floor: Option<Position>,
    /// Another number: each connection is a client that has just come back.
    pub(crate) epoch: u64,
    task: Task,
}

impl Hub {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            window: None,
            rings: BTreeMap::new(),
            checkpoint: None,
            waiting: BTreeMap::new(),
            settled_at: u64::MAX,
            floor: None,
            epoch,
            task: Task::None,
        }
    }

    /// May a connection go live after this page?
    pub(crate) fn agrees(&self, page: &Page) -> bool {
        self.window.is_some_and(|window| window.agrees(page.store, page.last))
    }

    pub(crate) fn ready(&self) -> bool {
        self.window.is_some()
    }

    /// The company's ring, made at first use.
    pub(crate) fn ring(&mut self, company: &Company) -> &mut Ring {
        let end = self.window.map_or(0, |window| window.end.number);
        self.rings.entry(company.clone()).or_insert_with(|| Ring::new(end, RING_BYTES))
    }

    /// What a heartbeat may tell to a connection that has read the ring to its end.
    pub(crate) fn place(&self, company: &Company, mutant: Option<Mutant>) -> Option<Place> {
        let end = self.window?.end.number;
        if mutant == Some(Mutant::PlaceAboveBacklog) {
            return self.checkpoint;
        }
        if end < self.settled_at {
            return None;
        }
        self.waiting.get(company).copied().or(self.checkpoint)
    }

    fn reset(&mut self, head: &Head) {
        let end = head.last;
        self.window = Some(Window { store: head.store, generation: head.generation().map_or(0, |g| g.number), end });
        self.rings.values_mut().for_each(|ring| ring.reset(end.number));
        self.checkpoint = head.checkpoint;
        self.floor = head.floor.map(|floor| floor.position);
        self.waiting.clear();
        self.settled_at = u64::MAX;
        self.epoch += 1;
        self.task = Task::Companies;
    }

    /// A commit was announced.
    pub(crate) fn hear(&mut self, news: &News, mutant: Option<Mutant>) {
        let Some(window) = &mut self.window else { return };
        let (name, generation) = (news.name(), news.commit.generation.number);
        let step = match window.announced(news.store, generation, name, news.commit.follows) {
            Step::Hole if mutant == Some(Mutant::AppendAboveHole) => Step::Append,
            Step::Reset if mutant == Some(Mutant::ResetIgnored) => Step::Ignore,
            step => step,
        };
        match step {
            Step::Append => {
                (window.end, window.generation) = (name, generation);
                for (company, outputs) in news.outputs() {
                    if let Some(ring) = self.rings.get_mut(company) {
                        ring.append(name.number, outputs);
                    }
                }
                if name.token != news.commit.follows.token && name.number <= self.settled_at {
                    // The places were read from a history that this commit did not come to.
                    (self.settled_at, self.task) = (u64::MAX, Task::Companies);
                }
                self.checkpoint = news.commit.checkpoint.or(self.checkpoint);
                for (company, place) in &news.places {
                    match place {
                        Some(place) => self.waiting.insert(company.clone(), *place),
                        None => self.waiting.remove(company),
                    };
                }
                if let Some(floor) = news.floor() {
                    // Only a page tells a floor: nobody goes live past it without one.
                    self.floor = Some(floor.position);
                    self.rings.values_mut().for_each(|ring| ring.reset(name.number));
                }
            }
            Step::Ignore | Step::Hole => {}
            // The next comparison starts it anew from what the store says.
            Step::Reset => self.window = None,
        }
    }

    /// One call to the store: the comparison, or the next piece of what it led to.
    pub(crate) fn tick(&mut self, env: &Env) {
        match std::mem::replace(&mut self.task, Task::None) {
            Task::None => self.compare(env),
            Task::Companies => {
                // Head and companies in one call: of two calls the second may find a store that went back in between.
                let (head, heads) = (env.store.head(), env.store.companies());
                let step =
                    self.window.map(|w| w.stored(head.store, head.generation().map_or(0, |g| g.number), head.last));
                match step {
                    Some(Step::Ignore | Step::Hole) => {
                        self.waiting =
                            heads.into_iter().filter_map(|(c, head)| Some((c, head.waiting_from?))).collect();
                        self.settled_at = head.last.number;
                    }
                    _ => self.compare(env),
                }
            }
            Task::Fill(head, todo) => self.fill(head, todo, env),
        }
    }

    fn compare(&mut self, env: &Env) {
        let head = env.store.head();
        let Some(window) = self.window else {
            self.reset(&head);
            return;
        };
        if env.mutant == Some(Mutant::NeverCompared) {
            return;
        }
        match window.stored(head.store, head.generation().map_or(0, |g| g.number), head.last) {
            Step::Hole => {
                let todo = self.rings.keys().cloned().collect();
                self.task = Task::Fill(Box::new(head), todo);
            }
            Step::Reset if env.mutant != Some(Mutant::ResetIgnored) => self.reset(&head),
            Step::Append | Step::Ignore | Step::Reset => {}
        }
    }

    fn fill(&mut self, head: Box<Head>, mut todo: Vec<Company>, env: &Env) {
        let Some(window) = &mut self.window else { return };
        if head.last.token != window.end.token || head.last.number <= window.end.number {
            // Announcements closed the hole meanwhile: what this head says of the rings is old.
            return;
        }
        if let Some(company) = todo.last() {
            let Some(ring) = self.rings.get_mut(company) else { return };
            let Some(newest) = ring.newest() else {
                ring.reset(head.last.number);
                todo.pop();
                self.task = Task::Fill(head, todo);
                return;
            };
            let page = env.store.page(company, newest, PAGE);
            if page.store != window.store || page.last.token != head.last.token || page.last.number < head.last.number {
                return;
            }
            if page.floor.is_some_and(|floor| floor.above(newest)) {
                ring.reset(head.last.number);
                todo.pop();
            } else {
                ring.append(page.last.number, &page.entries);
                if !page.full {
                    todo.pop();
                }
            }
            self.task = Task::Fill(head, todo);
            return;
        }
        window.end = head.last;
        window.generation = head.generation().map_or(0, |g| g.number);
        self.checkpoint = head.checkpoint;
        let floor = head.floor.map(|floor| floor.position);
        if floor > self.floor {
            self.floor = floor;
            self.rings.values_mut().for_each(|ring| ring.reset(head.last.number));
        }
        self.settled_at = u64::MAX;
        self.task = Task::Companies;
    }

    /// A ring that was made while a hole is being filled misses what the hole holds.
    pub(crate) fn ring_is_new(&mut self, company: &Company) {
        if !self.rings.contains_key(company)
            && let Task::Fill(..) = self.task
        {
            self.task = Task::None;
        }
    }
}
