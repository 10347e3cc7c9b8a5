//! The live window of one company: its ring, the connections that wait for it, and the pages they share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::future::{BoxFuture, Shared, WeakShared};
use tidegate_core::commit::Page;
use tidegate_core::entry::Entry;
use tidegate_core::event::Company;
use tidegate_core::limits::PAGES_BYTES_ALL;
use tidegate_core::page::{self, EncodedPage};
use tidegate_core::pages::{Look, Need, Pages};
use tidegate_core::position::Position;
use tidegate_core::ring::{Read, Ring, RingCursor};
use tidegate_core::seam::{Gap, Reader, Turn};
use tokio::time::Instant;

use crate::store::{PAGE_BYTES, StoreError};

/// A page that is being read for all that wait for it.
pub type PageRead = Shared<Reading>;
type Reading = BoxFuture<'static, Result<Arc<EncodedPage>, StoreError>>;

/// What a connection that needs a page finds.
#[derive(Debug)]
pub enum Found {
    /// A page.
    Page(Arc<EncodedPage>),
    /// One that is being read for another.
    Read(PageRead),
    /// One whose reading was begun for it.
    Begun(PageRead),
}

/// What became of a page that a connection took, all of one moment.
#[derive(Debug)]
pub struct Paged {
    /// What to do with it.
    pub turn: Turn,
    /// Where the connection would read on in the ring.
    pub cursor: RingCursor,
    /// The newest position that the ring holds.
    pub newest: Position,
}

/// The live window of one company.
#[derive(Debug)]
pub struct Live {
    company: Company,
    state: Mutex<LiveState>,
    /// Ages of pages count from here.
    made: Instant,
    /// Bytes of pages that are kept, over all companies.
    pages_bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct LiveState {
    ring: Ring,
    pages: Pages,
    /// Those under way, for as long as anybody waits for them.
    reads: HashMap<u64, WeakShared<Reading>>,
    /// One slot for each connection.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Live {
    pub(super) fn new(company: Company, ring: Ring, pages_bytes: Arc<AtomicUsize>) -> Self {
        let (pages, reads) = (Pages::default(), HashMap::new());
        let state = Mutex::new(LiveState { ring, pages, reads, wakers: Vec::new(), free: Vec::new() });
        Self { company, state, made: Instant::now(), pages_bytes }
    }

    fn state(&self) -> MutexGuard<'_, LiveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose window it is.
    #[must_use]
    pub fn company(&self) -> &Company {
        &self.company
    }

    pub(super) fn append(&self, commit: u64, outputs: &[Entry]) {
        let mut state = self.state();
        state.ring.append(commit, outputs);
        let wakers = take_wakers(&mut state);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Appends a page that was read to fill a hole.
    pub fn fill(&self, page: &Page) {
        self.append(page.last.number, &page.entries);
    }

    pub(super) fn reset(&self, end: u64) {
        self.state().ring.reset(end);
        self.wake();
    }

    pub(super) fn wake(&self) {
        let wakers = take_wakers(&mut self.state());
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn newest(&self) -> Option<Position> {
        self.state().ring.newest()
    }

    /// A cursor for a connection that stands where the window ends, at commit `end`; `None` where the ring lacks
    /// something above that.
    pub(super) fn join(&self, end: u64, sent: Position) -> Option<RingCursor> {
        let ring = &self.state().ring;
        ring.joinable(end, ring.incarnation()).then(|| ring.join(sent))
    }

    /// Lets `find` look into the ring; gives what it finds, with the newest position there.
    pub(super) fn find<T>(&self, find: impl FnOnce(&Ring) -> Option<T>) -> Option<(T, Position)> {
        let ring = &self.state().ring;
        Some((find(ring)?, ring.newest().unwrap_or_default()))
    }

    /// The company's running number at a position that lies at or above all that the ring holds.
    pub(super) fn running_at(&self, position: Position) -> Option<u64> {
        let ring = &self.state().ring;
        ring.newest().filter(|newest| *newest <= position).and_then(|_| ring.running())
    }

    pub(super) fn connections(&self) -> usize {
        let state = self.state();
        state.wakers.len() - state.free.len()
    }

    /// A slot for a connection's waker.
    #[must_use]
    pub fn enter(&self) -> usize {
        let mut state = self.state();
        state.free.pop().unwrap_or_else(|| {
            state.wakers.push(None);
            state.wakers.len() - 1
        })
    }

    /// Gives the slot back.
    pub fn leave(&self, slot: usize) {
        let mut state = self.state();
        state.wakers[slot] = None;
        state.free.push(slot);
    }

    /// Takes what stands at the cursor, or leaves the waker to be called when something does.
    #[must_use]
    pub fn take(&self, slot: usize, cursor: &mut RingCursor, sent: Position, bytes_max: usize, waker: &Waker) -> Read {
        let mut state = self.state();
        let read = state.ring.read(cursor, sent, bytes_max);
        if read == Read::Empty && !state.wakers[slot].as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.wakers[slot] = Some(waker.clone());
        }
        read
    }

    /// Finds a page for a connection, or a reading to wait for; `begin` makes one of a page above a position. It is not
    /// polled here.
    pub fn look(&self, need: &Need, entries: usize, begin: impl Fn(Position, page::Reading) -> PageRead) -> Found {
        let now_ms = self.age_ms();
        let mut state = self.state();
        let LiveState { ring, pages, reads, .. } = &mut *state;
        self.weigh(pages, |pages| pages.age(now_ms));
        loop {
            match pages.look(need, ring, entries) {
                Look::Kept(page) => return Found::Page(page),
                Look::Wait(number) => match reads.get(&number).and_then(WeakShared::upgrade) {
                    Some(read) => return Found::Read(read),
                    // Nobody waits for it any more, so it will not end by itself.
                    None => {
                        reads.remove(&number);
                        pages.ended(number, None, 0, now_ms);
                    }
                },
                Look::Read(above, reading) => {
                    let read = begin(above, reading);
                    reads.extend(read.downgrade().map(|read| (reading.number, read)));
                    return Found::Begun(read);
                }
            }
        }
    }

    /// A reading that [`Live::look`] began has ended.
    pub fn read_ended(&self, number: u64, page: Option<&Arc<EncodedPage>>) {
        let now_ms = self.age_ms();
        let mut state = self.state();
        let LiveState { pages, reads, .. } = &mut *state;
        reads.remove(&number);
        let room = PAGES_BYTES_ALL.saturating_sub(self.pages_bytes.load(Ordering::Relaxed));
        self.weigh(pages, |pages| pages.ended(number, page, room, now_ms));
    }

    /// Is there room for another page of usual size?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.pages_bytes.load(Ordering::Relaxed) + PAGE_BYTES <= PAGES_BYTES_ALL
    }

    /// The number of the reading of a page that began last.
    #[must_use]
    pub fn readings_begun(&self) -> u64 {
        self.state().pages.begun()
    }

    pub(super) fn age_pages(&self) {
        let now_ms = self.age_ms();
        self.weigh(&mut self.state().pages, |pages| pages.age(now_ms));
    }

    /// Changes the pages, and the weight of all companies' with them.
    fn weigh(&self, pages: &mut Pages, change: impl FnOnce(&mut Pages)) {
        let before = pages.weight();
        change(pages);
        let after = pages.weight();
        self.pages_bytes.fetch_add(after.saturating_sub(before), Ordering::Relaxed);
        self.pages_bytes.fetch_sub(before.saturating_sub(after), Ordering::Relaxed);
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Lets a connection's reader take a page with the ring as it is now.
    pub fn with_page(&self, reader: &mut Reader, page: &EncodedPage) -> Paged {
        let state = self.state();
        let turn = reader.page(page, &state.ring);
        let cursor = state.ring.join(reader.sent());
        Paged { turn, cursor, newest: state.ring.newest().unwrap_or_default() }
    }

    /// A cursor for a connection that stands at `sent`.
    #[must_use]
    pub fn cursor(&self, sent: Position) -> RingCursor {
        self.state().ring.join(sent)
    }

    /// Has a connection that stands at `sent` everything the ring has?
    #[must_use]
    pub fn is_drained(&self, mut cursor: RingCursor, sent: Position) -> bool {
        self.state().ring.read(&mut cursor, sent, 1) == Read::Empty
    }

    /// Frames above what a connection was sent.
    #[must_use]
    pub fn lag(&self, sent: Position) -> usize {
        self.state().ring.lag(sent)
    }

    /// Lets a connection's reader jump so far that it lags by at most so many frames. Nothing where it need not.
    pub fn overflow(&self, reader: &mut Reader, cursor: &mut RingCursor, frames: usize) -> Option<Gap> {
        let state = self.state();
        let (to, running, time_ms) = state.ring.before_newest(frames).filter(|(to, ..)| *to > reader.sent())?;
        let began = state.ring.running_at(cursor, reader.sent());
        let gap = reader.overflow(to, time_ms, running, began);
        *cursor = state.ring.join(reader.sent());
        gap
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let kept = self.state().pages.weight();
        self.pages_bytes.fetch_sub(kept, Ordering::Relaxed);
    }
}

fn take_wakers(state: &mut LiveState) -> Vec<Waker> {
    state.wakers.iter_mut().filter_map(Option::take).collect()
}
