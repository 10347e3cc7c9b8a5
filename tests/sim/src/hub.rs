//! One host's live window: rings that follow the commits, as the announcements and the store tell them.

use crate::env::{Env, News};
use crate::mutant::Mutant;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_core::commit::{Head, Page};
use tidegate_core::cursor::IdCursor;
use tidegate_core::event::Company;
use tidegate_core::generation::Generation;
use tidegate_core::page::EncodedPage;
use tidegate_core::pages::{Look, Need, Pages};
use tidegate_core::position::{Place, Position};
use tidegate_core::rebuild::Rebuild;
use tidegate_core::ring::{Ring, RingCursor};
use tidegate_core::seam::{self, Reader};
use tidegate_core::window::{Step, Window};

/// Bytes of a ring: a handful of frames, so that connections fall behind.
const RING_BYTES: usize = 400;
/// Entries of a page.
pub(crate) const PAGE: usize = 4;
/// Bytes of pages that are kept, for as long as they count.
const PAGES_BYTES: usize = 8 << 10;
/// Pages that are read for one ring to fill a hole.
const HOLE_PAGES: usize = 3;

/// A hole that is being read from the store, one call at a time. Nothing that is announced is taken meanwhile.
struct Hole {
    head: Head,
    /// Rings still to fill: read on above which position, and how many pages at most.
    todo: Vec<(Company, Position, usize)>,
    whole: Vec<Company>,
}

/// The live side of one host.
pub(crate) struct Hub {
    window: Option<Window>,
    rings: BTreeMap<Company, Ring>,
    pages: BTreeMap<Company, Pages>,
    pub(crate) checkpoint: Option<Place>,
    pub(crate) generations: Vec<Generation>,
    waiting: BTreeMap<Company, Place>,
    floor: Option<Position>,
    /// How the store's life began.
    pub(crate) rebuild: Option<Rebuild>,
    hole: Option<Hole>,
    /// How often the window began anew: each connection is then a client that has just come back.
    pub(crate) history: u64,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            window: None,
            rings: BTreeMap::new(),
            pages: BTreeMap::new(),
            checkpoint: None,
            generations: Vec::new(),
            waiting: BTreeMap::new(),
            floor: None,
            rebuild: None,
            hole: None,
            history: 0,
        }
    }

    /// May a connection go live after this page?
    pub(crate) fn agrees(&self, page: &Page) -> bool {
        self.window.is_some_and(|window| window.agrees(page.store, page.generation, page.last))
    }

    pub(crate) fn ready(&self) -> bool {
        self.window.is_some()
    }

    /// The company's ring, made at first use.
    pub(crate) fn ring(&mut self, company: &Company) -> &mut Ring {
        let end = self.window.map_or(0, |window| window.end.number);
        self.rings.entry(company.clone()).or_insert_with(|| Ring::new(end, RING_BYTES))
    }

    /// Takes a connection that stands where the window ends, unless the ring has lost something above that: it is ahead
    /// of the window while a hole is filled.
    pub(crate) fn join(&mut self, company: &Company, sent: Position) -> Option<RingCursor> {
        let end = self.window.map_or(0, |window| window.end.number);
        // A floor above the place (of what waits in its backlog, more was lost) is told by a page.
        let whole = self.floor.is_none_or(|floor| floor <= sent);
        let ring = self.ring(company);
        (whole && ring.joinable(end, ring.incarnation())).then(|| ring.join(sent))
    }

    /// Takes a client that comes back with the id of an event that its company's ring holds.
    pub(crate) fn rejoin(&self, company: &Company, id: &IdCursor) -> Option<(Reader, RingCursor)> {
        seam::rejoin(self.rings.get(company)?, id, self.window?.generation, self.floor, self.rebuild)
    }

    /// A page for a connection: one that another connection had read, however long ago, or one that is read now.
    pub(crate) fn page(&mut self, company: &Company, mut need: Need, env: &Env) -> Arc<EncodedPage> {
        let end = self.window.map_or(0, |window| window.end.number);
        let ring = self.rings.entry(company.clone()).or_insert_with(|| Ring::new(end, RING_BYTES));
        let pages = self.pages.entry(company.clone()).or_default();
        if env.mutant == Some(Mutant::PageOfBefore) {
            need.placed = 0;
        }
        loop {
            match pages.look(&need, ring, PAGE) {
                Look::Kept(page) => return page,
                // Readings end within a step here.
                Look::Wait(number) => pages.ended(number, None, 0, 0),
                Look::Read(above, reading) => {
                    let mut page = env.store.page(company, above, PAGE, env.mutant);
                    match env.mutant {
                        Some(Mutant::SeamOffByOne) => page.last.number += 1,
                        Some(Mutant::FloorOnFirstPageOnly) if !need.begins => page.floor = None,
                        _ => {}
                    }
                    let page = Arc::new(EncodedPage::new(above, reading, page));
                    pages.ended(reading.number, Some(&page), PAGES_BYTES.saturating_sub(pages.weight()), 0);
                    if page.reaches(need.above) {
                        return page;
                    }
                    need.begins = false;
                }
            }
        }
    }

    /// The generation that the window is in.
    pub(crate) fn generation(&self) -> Option<u16> {
        self.generations.last().map(|generation| generation.number)
    }

    /// The number of the reading of a company's pages that began last.
    pub(crate) fn begun(&self, company: &Company) -> u64 {
        self.pages.get(company).map_or(0, Pages::begun)
    }

    /// What a heartbeat may tell to a connection that has read the ring to its end.
    pub(crate) fn place(&self, company: &Company, mutant: Option<Mutant>) -> Option<Place> {
        let waiting = self.waiting.get(company).filter(|_| mutant != Some(Mutant::PlaceAboveBacklog));
        waiting.copied().or(self.checkpoint)
    }

    /// Where a client without a cursor begins.
    pub(crate) fn live_from(&self, company: &Company) -> Option<Place> {
        let place = self.place(company, None)?;
        Some(self.rebuild.map_or(place, |rebuild| rebuild.live_from(place)))
    }

    /// Takes the store's word for where the window ends.
    fn take_end(&mut self, head: &Head) {
        let generation = head.generation().map_or(0, |generation| generation.number);
        self.window = Some(Window { store: head.store, generation, end: head.last });
        self.checkpoint = head.checkpoint;
        self.generations.clone_from(&head.generations);
        self.floor = head.floor.map(|floor| floor.position);
        self.rebuild = head.rebuild;
        self.waiting = head.waiting.iter().cloned().collect();
    }

    /// A commit was announced.
    pub(crate) fn hear(&mut self, news: &News, mutant: Option<Mutant>) {
        if self.hole.is_some() {
            return;
        }
        let Some(window) = &mut self.window else { return };
        let (name, generation) = (news.name(), news.commit.generation.number);
        let step = match window.announced(news.store, generation, name, news.commit.follows) {
            Step::Hole if mutant == Some(Mutant::AppendAboveHole) => Step::Append,
            step => step,
        };
        if step != Step::Append {
            // The next comparison reads the store.
            return;
        }
        (window.end, window.generation) = (name, generation);
        for (company, outputs) in news.outputs() {
            if let Some(ring) = self.rings.get_mut(company) {
                ring.append(name.number, outputs);
            }
        }
        self.checkpoint = news.commit.checkpoint.or(self.checkpoint);
        match self.generations.last_mut() {
            Some(last) if last.number == generation => *last = news.commit.generation,
            _ => self.generations.push(news.commit.generation),
        }
        for (company, place) in &news.places {
            match place {
                Some(place) => self.waiting.insert(company.clone(), *place),
                None => self.waiting.remove(company),
            };
        }
        if let Some(floor) = news.floor() {
            // Only a page tells a floor: nobody goes live past it without one.
            self.floor = self.floor.max(Some(floor.position));
            self.rings.values_mut().for_each(|ring| ring.reset(name.number));
        }
    }

    /// One call to the store: the comparison, or the next piece of what it led to.
    pub(crate) fn tick(&mut self, env: &Env) {
        match self.hole.take() {
            None => self.compare(env),
            Some(hole) => self.fill(hole, env),
        }
    }

    fn compare(&mut self, env: &Env) {
        let head = env.store.head();
        let step = match self.window {
            Some(_) if env.mutant == Some(Mutant::NeverCompared) => Step::Ignore,
            Some(window) => window.stored(head.store, head.generation().map_or(0, |g| g.number), head.last),
            None => Step::Reset,
        };
        match step {
            Step::Append | Step::Ignore => {}
            Step::Reset if self.window.is_some() && env.mutant == Some(Mutant::ResetIgnored) => {}
            Step::Reset => {
                self.take_end(&head);
                self.history += 1;
                self.rings.values_mut().for_each(|ring| ring.reset(head.last.number));
            }
            Step::Hole => {
                // Everything up to its place is known here, whatever the ring still holds of it.
                let from = |company: &Company, ring: &Ring| {
                    let place = self.place(company, None).map_or_else(Position::default, Place::position);
                    ring.newest().unwrap_or_default().max(place)
                };
                let todo = self.rings.iter().map(|(company, ring)| (company.clone(), from(company, ring), HOLE_PAGES));
                self.hole = Some(Hole { head, todo: todo.collect(), whole: Vec::new() });
            }
        }
    }

    fn fill(&mut self, mut hole: Hole, env: &Env) {
        let Some((company, from, pages)) = hole.todo.pop() else { return self.close(&hole) };
        let page = env.store.page(&company, from, PAGE, env.mutant);
        let same = page.store == hole.head.store && page.last.token == hole.head.last.token;
        if !same || page.last.number < hole.head.last.number {
            // The next comparison says what to do. What was read may be lost: nobody may find it above the end.
            let end = self.window.map_or(0, |window| window.end.number);
            self.rings.values_mut().for_each(|ring| ring.reset(end));
            return;
        }
        let gone = page.floor.is_some_and(|floor| floor.above(from));
        if let Some(ring) = self.rings.get_mut(&company).filter(|_| !gone) {
            ring.append(page.last.number, &page.entries);
            match page.entries.last() {
                Some(last) if page.full && pages > 1 => hole.todo.push((company, last.position, pages - 1)),
                _ if page.full => {}
                _ => hole.whole.push(company),
            }
        }
        self.hole = Some(hole);
    }

    /// Moves the end over a hole. What was not filled, and a ring that was made meanwhile, is emptied.
    fn close(&mut self, hole: &Hole) {
        let lost = hole.head.floor.map(|floor| floor.position) > self.floor;
        self.take_end(&hole.head);
        for (company, ring) in &mut self.rings {
            if lost || !hole.whole.contains(company) {
                ring.reset(hole.head.last.number);
            }
        }
    }
}
