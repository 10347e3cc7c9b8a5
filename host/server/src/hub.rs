//! The live end: what is committed becomes visible to connections here, and only here.
//!
//! Each company with a connection has a ring of the newest frames, encoded once. Appending wakes its connections; none
//! of them can hold the hub up.

mod live;

pub use live::{Found, Live, PageRead, Paged};

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use tidegate_core::commit::{Commit, Head, Page};
use tidegate_core::cursor::IdCursor;
use tidegate_core::event::Company;
use tidegate_core::generation::Generation;
use tidegate_core::limits::GENERATIONS;
use tidegate_core::position::{Place, Position, StoreId};
use tidegate_core::rebuild::Rebuild;
use tidegate_core::ring::{Ring, RingCursor};
use tidegate_core::seam::{self, Reader};
use tidegate_core::window::{Step, Window};

/// The live end of the partition.
#[derive(Debug)]
pub struct Hub {
    companies: DashMap<Company, Arc<Live>>,
    end: Mutex<Option<End>>,
    ring_bytes: usize,
    /// Bytes of pages that are kept, over all companies.
    pages_bytes: Arc<AtomicUsize>,
}

/// What is known at the end of the live window.
#[derive(Debug, Clone)]
pub struct End {
    /// Which commit it is.
    pub window: Window,
    /// Everything up to here is stored.
    pub checkpoint: Option<Place>,
    /// The lives of the stream, oldest first.
    pub generations: Vec<Generation>,
    /// How this life of the store began.
    pub rebuild: Option<Rebuild>,
    /// The partition's floor.
    floor: Option<Position>,
    /// How often the window began anew.
    history: u64,
    /// Companies with a backlog: the event before the oldest that waits.
    waiting: HashMap<Company, Place>,
}

impl End {
    /// Where a company stands: everything of it up to here is in the cache.
    #[must_use]
    pub fn place(&self, company: &Company) -> Option<Place> {
        self.waiting.get(company).copied().or(self.checkpoint)
    }

    /// Where live begins for a company that stands at `place`.
    fn live_from(&self, place: Place) -> Place {
        self.rebuild.map_or(place, |rebuild| rebuild.live_from(place))
    }

    fn of(head: &Head, history: u64) -> Self {
        let generation = head.generation().map_or(0, |generation| generation.number);
        Self {
            window: Window { store: head.store, generation, end: head.last },
            checkpoint: head.checkpoint,
            generations: head.generations.clone(),
            rebuild: head.rebuild,
            floor: head.floor.map(|floor| floor.position),
            history,
            waiting: head.waiting.iter().cloned().collect(),
        }
    }
}

/// Where a connection stands that joins the live end.
#[derive(Debug)]
pub struct Joined {
    /// Its company's window.
    pub live: Arc<Live>,
    /// Everything of the company up to here is stored.
    pub place: Place,
    /// The company's running number there, where it is known.
    pub running: Option<u64>,
    /// Where it reads on in the ring. `None` where that lacks something above the place: it reads pages first.
    pub cursor: Option<RingCursor>,
    /// How often the window began anew.
    pub history: u64,
}

/// Where a connection stands that comes back into the ring.
#[derive(Debug)]
pub struct Rejoined {
    /// After the event that it named.
    pub reader: Reader,
    /// Where it reads on in the ring.
    pub cursor: RingCursor,
    /// The newest position that the ring holds.
    pub newest: Position,
    /// Everything of the company up to here is stored, and what is live of it in the ring.
    pub place: Option<Place>,
    /// How often the window began anew.
    pub history: u64,
}

impl Hub {
    /// A hub that knows nothing yet; each company's ring keeps about so many bytes.
    #[must_use]
    pub fn new(ring_bytes: usize) -> Self {
        Self { companies: DashMap::new(), end: Mutex::new(None), ring_bytes, pages_bytes: Arc::default() }
    }

    fn end_lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the window began anew: each connection of before is then a client that has just come back.
    #[must_use]
    pub fn history(&self) -> u64 {
        self.end_lock().as_ref().map_or(0, |end| end.history)
    }

    /// The end of the live window; `None` until the store was reached.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end_lock().clone()
    }

    /// Where a company stands.
    #[must_use]
    pub fn place(&self, company: &Company) -> Option<Place> {
        self.end_lock().as_ref().and_then(|end| end.place(company))
    }

    /// The present generation and everything up to where it is stored.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Place> {
        self.end_lock().as_ref().and_then(|end| end.checkpoint)
    }

    /// Compares the end of the window with what the store says now: `Ignore` where they agree.
    #[must_use]
    pub fn compare(&self, head: &Head) -> Step {
        let generation = head.generation().map_or(0, |generation| generation.number);
        let end = self.end_lock();
        end.as_ref().map_or(Step::Reset, |end| end.window.stored(head.store, generation, head.last))
    }

    /// Has the window come to the commit that the store named a moment ago?
    #[must_use]
    pub fn reaches(&self, head: &Head) -> bool {
        self.end_lock().as_ref().is_some_and(|end| end.window.reaches(head.last))
    }

    /// Takes the store's word for where the window ends: at start, or where what is in the window may not be what is
    /// stored. Each connection reads again, as a client that has just come back.
    pub fn reset(&self, head: &Head) {
        let mut end = self.end_lock();
        let history = end.as_ref().map_or(1, |end| end.history + 1);
        *end = Some(End::of(head, history));
        for live in self.companies.iter() {
            live.reset(head.last.number);
        }
    }

    /// Each company with a ring, and the position above which a hole in it has to be read.
    #[must_use]
    pub fn rings(&self) -> Vec<(Arc<Live>, Position)> {
        let guard = self.end_lock();
        let Some(end) = guard.as_ref() else { return Vec::new() };
        let rings = self.companies.iter().map(|live| {
            // Everything up to its place is known here, whatever the ring still holds of it.
            let place = end.place(live.key()).map_or_else(Position::default, Place::position);
            let from = live.newest().unwrap_or_default().max(place);
            (Arc::clone(&live), from)
        });
        rings.collect()
    }

    /// Moves the end over a hole, once these rings were filled up to there. Every other ring is emptied: its connections
    /// read the hole themselves.
    pub fn close_hole(&self, head: &Head, filled: &[Arc<Live>]) {
        let mut guard = self.end_lock();
        let Some(end) = guard.as_mut() else { return };
        let new = End::of(head, end.history);
        // Only a page tells a floor: nobody goes past a new one without.
        let lost = new.floor > end.floor;
        let filled: HashMap<&Company, &Arc<Live>> = filled.iter().map(|live| (live.company(), live)).collect();
        for live in self.companies.iter() {
            // A ring that was made meanwhile misses what the hole holds.
            if lost || !filled.get(live.key()).is_some_and(|known| Arc::ptr_eq(known, &live)) {
                live.reset(head.last.number);
            }
        }
        *end = new;
    }

    /// What was read to fill a hole is not of the window's history, or can't be told from what is lost: nobody may find
    /// it above the end.
    pub fn abandon_hole(&self) {
        let guard = self.end_lock();
        let Some(end) = guard.as_ref() else { return };
        for live in self.companies.iter() {
            live.reset(end.window.end.number);
        }
    }

    /// Makes a stored commit live, if it follows the end. After `Hole` and `Reset` nothing has changed: the caller reads
    /// the store.
    pub fn announce(&self, store: StoreId, commit: &Commit, waiting: &[(Company, Option<Place>)]) -> Step {
        let mut guard = self.end_lock();
        let Some(end) = guard.as_mut() else { return Step::Reset };
        let step = end.window.announced(store, commit.generation.number, commit.name, commit.follows);
        if step != Step::Append {
            return step;
        }
        for part in commit.parts.iter().filter(|part| !part.outputs.is_empty()) {
            // Looked up and cloned, so that no guard of the map is held while wakers run.
            let live = self.companies.get(&part.company).map(|live| Arc::clone(&live));
            if let Some(live) = live {
                live.append(commit.name.number, &part.outputs);
            }
        }
        for (company, place) in waiting {
            match place {
                Some(place) => end.waiting.insert(company.clone(), *place),
                None => end.waiting.remove(company),
            };
        }
        // The place moves last: whoever reads it finds everything up to it in the ring.
        end.window.end = commit.name;
        end.window.generation = commit.generation.number;
        if commit.checkpoint.is_some() {
            end.checkpoint = commit.checkpoint;
        }
        note_generation(&mut end.generations, commit.generation);
        if let Some(floor) = &commit.floor {
            end.floor = end.floor.max(Some(floor.position));
            // Something is gone for everybody: each connection reads on from the store, where the floor tells it.
            for live in self.companies.iter() {
                live.reset(commit.name.number);
            }
        }
        step
    }

    /// The live window of a company, made when its first connection comes, with where a stream without a cursor begins at
    /// that very moment. `None` until that is known.
    #[must_use]
    pub fn join(&self, company: &Company) -> Option<Joined> {
        // Under the lock of the end, so that no commit is announced between the ring's first breath and its entry here.
        let guard = self.end_lock();
        let end = guard.as_ref()?;
        let stands = end.place(company)?;
        let number = end.window.end.number;
        let live = self.companies.entry(company.clone()).or_insert_with(|| {
            let ring = Ring::new(number, self.ring_bytes);
            Arc::new(Live::new(company.clone(), ring, Arc::clone(&self.pages_bytes)))
        });
        let place = end.live_from(stands);
        let (live, position) = (Arc::clone(&live), place.position());
        // A floor above the place (of what waits in its backlog, more was lost) is told by a page.
        let whole = end.floor.is_none_or(|floor| floor <= position);
        let cursor = live.join(number, position).filter(|_| whole);
        // Where the place is yet to be reached, nothing says how many there will be.
        let running = cursor.filter(|_| place == stands).and_then(|_| live.running_at(position));
        Some(Joined { live, place, running, cursor, history: end.history })
    }

    /// Takes a client that comes back with the id of an event that its company's ring holds: nothing needs to be read for it.
    #[must_use]
    pub fn rejoin(&self, company: &Company, id: &IdCursor) -> Option<Rejoined> {
        let guard = self.end_lock();
        let end = guard.as_ref()?;
        let live = Arc::clone(self.companies.get(company)?.value());
        let found = live.find(|ring| seam::rejoin(ring, id, end.window.generation, end.floor, end.rebuild));
        let ((reader, cursor), newest) = found?;
        Some(Rejoined { reader, cursor, newest, place: end.place(company), history: end.history })
    }

    /// Where a stream begins for a company that has nothing to go on from: live, from now.
    #[must_use]
    pub fn live_from(&self, company: &Company) -> Option<Place> {
        self.end_lock().as_ref().and_then(|end| Some(end.live_from(end.place(company)?)))
    }

    /// How often the window began anew, and whether a page was read from the history that it is of now. A page of
    /// another history says nothing to a connection: its positions may mean other events there.
    #[must_use]
    pub fn judge(&self, page: &Page) -> (u64, bool) {
        let guard = self.end_lock();
        guard
            .as_ref()
            .map_or((0, false), |end| (end.history, end.window.agrees(page.store, page.generation, page.last)))
    }

    /// How many connections a company has in its live window.
    #[must_use]
    pub fn recipients(&self, company: &Company) -> usize {
        let live = self.companies.get(company).map(|live| Arc::clone(&live));
        live.map_or(0, |live| live.connections())
    }

    /// Frees the rings of companies without a connection, and pages that nobody came for.
    pub fn sweep(&self) {
        let _end = self.end_lock();
        self.companies.retain(|_, live| {
            live.age_pages();
            Arc::strong_count(live) > 1
        });
    }

    /// Wakes every connection: something that concerns them all has changed.
    pub fn wake_all(&self) {
        let all: Vec<Arc<Live>> = self.companies.iter().map(|live| Arc::clone(&live)).collect();
        for live in all {
            live.wake();
        }
    }
}

fn note_generation(generations: &mut Vec<Generation>, generation: Generation) {
    match generations.last_mut() {
        Some(last) if last.number == generation.number => *last = generation,
        _ => generations.push(generation),
    }
    if generations.len() > GENERATIONS {
        generations.remove(0);
    }
}
