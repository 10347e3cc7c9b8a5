//! Keeps the live window of a host that does not own the partition in step with what the owner commits.
//!
//! Announcements are only the quick way: at each turn the end of the window is compared with the name that the store
//! holds, and what is missing is read from there.

use super::Parts;
use crate::hub::{Hub, Live};
use crate::modules::keeper::Names;
use crate::source::SourceError;
use crate::store::{Announcement, News, Store, StoreError};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::commit::Head;
use tidegate_core::limits::{ANNOUNCEMENTS, HOLE_PAGES, HOLES_AT_ONCE, PAGE_ENTRIES};
use tidegate_core::position::{Place, Position};
use tidegate_core::window::Step;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// How long the announcement of a commit that the store names may take before it counts as lost.
const PATIENCE: Duration = Duration::from_millis(200);
/// The longest pause before a lost subscription is made again.
const SUBSCRIBE_AGAIN_MAX: Duration = Duration::from_secs(2);
/// A subscription that stood for so long was a good one: the next is made without a long pause.
const STOOD: Duration = Duration::from_secs(10);
/// Comparisons in a row that find a hole although nothing was announced: the subscription is made anew.
const DEAF: u32 = 3;
/// How long the first answer of the source may take.
const SOURCE_ANSWER: Duration = Duration::from_secs(1);

/// Why a stand-by asks for the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is time to.
    Time,
    /// It was given back.
    Released,
}

/// The window of a stand-by, and its ear for what is announced. Dropped when the host becomes the owner.
pub struct Follower {
    parts: Arc<Parts>,
    news: mpsc::Receiver<News>,
    listener: AbortOnDropHandle<()>,
    /// Comparisons that found a hole since something was announced.
    deaf: u32,
    released: bool,
    source_answered: bool,
    /// The chains of the last commit, as the modules' keeper was told.
    named: Option<Names>,
}

impl Follower {
    /// Begins to listen.
    #[must_use]
    pub fn new(parts: &Arc<Parts>) -> Self {
        let (news, listener) = subscribe(parts);
        Self { parts: Arc::clone(parts), news, listener, deaf: 0, released: false, source_answered: false, named: None }
    }

    /// Compares the window with the store, which is the guarantee; what was announced a moment ago may still arrive.
    pub async fn compare(&mut self) {
        match self.parts.store.head().await {
            Err(error) => self.parts.health.store_failed(&error),
            Ok(head) => {
                self.parts.health.store_answers();
                if self.named.as_ref() != Some(&head.chains) && self.parts.modules.stand_by(head.chains.clone()) {
                    self.named = Some(head.chains.clone());
                }
                self.saw(head.checkpoint);
                if self.parts.hub.compare(&head) != Step::Hole || !self.arrives(&head).await {
                    self.catch_up(&head).await;
                }
            }
        }
        self.parts.hub.sweep();
        if self.deaf >= DEAF {
            tracing::warn!("commits are stored that nobody announces here; subscribing anew");
            (self.news, self.listener) = subscribe(&self.parts);
            self.deaf = 0;
        }
        self.look_at_source().await;
    }

    /// Takes in what is announced until it is time to ask for the lease again.
    pub async fn follow(&mut self, until: Instant) -> Turn {
        while !std::mem::take(&mut self.released) {
            match timeout_at(until, self.news.recv()).await {
                Ok(Some(News::Commit(told))) => {
                    if !self.hear(&told) {
                        self.read_on().await;
                    }
                }
                // What was committed before it began to listen is not told.
                Ok(Some(News::Listening)) => self.read_on().await,
                Ok(Some(News::Released)) => self.released = true,
                Ok(None) => {
                    sleep_until(until).await;
                    return Turn::Time;
                }
                Err(_) => return Turn::Time,
            }
        }
        Turn::Released
    }

    /// Should this host become the owner after the store went back, it gives no number again that others gave.
    fn saw(&self, checkpoint: Option<Place>) {
        if let Some(place) = checkpoint {
            self.parts.source.saw(place.sequence);
        }
    }

    /// True unless the store has to be read.
    fn hear(&mut self, told: &Announcement) -> bool {
        self.deaf = 0;
        self.saw(told.commit.checkpoint);
        matches!(self.parts.hub.announce(told.store, &told.commit, &told.places), Step::Append | Step::Ignore)
    }

    /// Gives announcements up to this head a moment. True when they came.
    async fn arrives(&mut self, head: &Head) -> bool {
        let until = Instant::now() + PATIENCE;
        while !self.parts.hub.reaches(head) {
            match timeout_at(until, self.news.recv()).await {
                Ok(Some(News::Commit(told))) => {
                    if !self.hear(&told) {
                        return false;
                    }
                }
                Ok(Some(News::Listening)) => {}
                Ok(Some(News::Released)) => self.released = true,
                Ok(None) | Err(_) => {
                    self.deaf += 1;
                    return false;
                }
            }
        }
        true
    }

    async fn read_on(&mut self) {
        match self.parts.store.head().await {
            Ok(head) => self.catch_up(&head).await,
            Err(error) => self.parts.health.store_failed(&error),
        }
    }

    async fn catch_up(&self, head: &Head) {
        if let Err(error) = catch_up(self.parts.store.as_ref(), &self.parts.hub, head).await {
            self.parts.health.store_failed(&error);
        }
    }

    /// Cursors are placed and events taken in with the source's help here, too.
    async fn look_at_source(&mut self) {
        let source = &self.parts.source;
        if self.source_answered || !source.connected() {
            self.parts.health.source(source.connected());
            return;
        }
        match timeout(SOURCE_ANSWER, source.last()).await {
            Ok(Ok(_)) => {
                self.source_answered = true;
                self.parts.health.source(true);
            }
            // Found out now, and not when it is needed as owner.
            Ok(Err(SourceError::Refused(story))) => self.parts.tasks.refuse(story),
            Ok(Err(error)) => self.parts.health.source_failed(&error),
            Err(_) => self.parts.health.source(false),
        }
    }
}

/// Brings the window to where the store stood when it gave this head.
///
/// # Errors
/// The store could not be read; the window ends where it did.
pub(crate) async fn catch_up(store: &dyn Store, hub: &Hub, head: &Head) -> Result<(), StoreError> {
    match hub.compare(head) {
        Step::Append | Step::Ignore => Ok(()),
        Step::Reset => {
            if hub.end().is_some_and(|end| end.window.end.number > 0) {
                tracing::warn!("the stored history is not the one of the live window; every stream reads again");
            }
            hub.reset(head);
            Ok(())
        }
        Step::Hole => fill(store, hub, head).await,
    }
}

/// What became of one ring.
enum Filled {
    /// It holds everything up to the head.
    Whole(Arc<Live>),
    /// Too much is missing, or some of it is gone: its connections read on by themselves.
    Not,
    /// The store is no longer in the history that the head is of.
    Turned,
}

async fn fill(store: &dyn Store, hub: &Hub, head: &Head) -> Result<(), StoreError> {
    let rings = hub.rings().into_iter().map(|(live, from)| fill_ring(store, head, live, from));
    let filled: Result<Vec<Filled>, StoreError> =
        stream::iter(rings).buffer_unordered(HOLES_AT_ONCE).try_collect().await;
    let mut whole = Vec::new();
    for ring in filled.inspect_err(|_| hub.abandon_hole())? {
        match ring {
            Filled::Whole(live) => whole.push(live),
            Filled::Not => {}
            // The next comparison says what to do.
            Filled::Turned => {
                hub.abandon_hole();
                return Ok(());
            }
        }
    }
    tracing::debug!(
        commit = head.last.number,
        rings = whole.len(),
        "a hole in the live window was read from the store"
    );
    hub.close_hole(head, &whole);
    Ok(())
}

async fn fill_ring(store: &dyn Store, head: &Head, live: Arc<Live>, mut from: Position) -> Result<Filled, StoreError> {
    for _ in 0..HOLE_PAGES {
        let page = store.page(live.company(), from, PAGE_ENTRIES).await?;
        let same = page.store == head.store && page.last.token == head.last.token;
        if !same || page.last.number < head.last.number {
            return Ok(Filled::Turned);
        }
        if page.floor.is_some_and(|floor| floor.above(from)) {
            return Ok(Filled::Not);
        }
        live.fill(&page);
        match page.next() {
            Some(next) => from = next,
            None => return Ok(Filled::Whole(live)),
        }
    }
    Ok(Filled::Not)
}

fn subscribe(parts: &Arc<Parts>) -> (mpsc::Receiver<News>, AbortOnDropHandle<()>) {
    let (to, news) = mpsc::channel(ANNOUNCEMENTS);
    let listener = parts.tasks.spawn_handle("listener", listen(Arc::clone(parts), to));
    (news, AbortOnDropHandle::new(listener))
}

/// Listens, and again after each loss.
async fn listen(parts: Arc<Parts>, to: mpsc::Sender<News>) {
    let mut pause = Duration::from_millis(50);
    loop {
        let began = Instant::now();
        let Err(error) = parts.store.listen(to.clone()).await else { return };
        tracing::warn!(error = %error, "no announcements for now; the store is read instead");
        if began.elapsed() >= STOOD {
            pause = Duration::from_millis(50);
        }
        tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
        pause = (pause * 2).min(SUBSCRIBE_AGAIN_MAX);
    }
}

#[cfg(test)]
#[path = "follow/tests.rs"]
mod tests;
