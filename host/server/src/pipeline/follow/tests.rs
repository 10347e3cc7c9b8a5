//! A window that was left behind, and what the store does for it.

use super::catch_up;
use crate::hub::{Hub, Live};
use crate::store::contract::stand::{Stand, Writer, company, waiting};
use crate::store::{Keep, Store};
use std::sync::Arc;
use std::task::Waker;
use tidegate_core::commit::{Commit, CommitAnswer, Part};
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::limits::{HOLE_PAGES, PAGE_ENTRIES};
use tidegate_core::piece::Frames;
use tidegate_core::position::{Position, Token};
use tidegate_core::ring::{Read, RingCursor};
use tidegate_core::window::Step;

/// A connection in the live window.
struct Client {
    live: Arc<Live>,
    slot: usize,
    cursor: RingCursor,
    sent: Position,
}

impl Client {
    fn join(hub: &Hub, name: &str) -> Self {
        let joined = hub.join(&company(name)).unwrap();
        let (sent, cursor) = (joined.place.position(), joined.cursor.unwrap());
        Self { slot: joined.live.enter(), cursor, sent, live: joined.live }
    }

    /// The events it is sent; nothing when it has to read pages instead.
    fn take(&mut self) -> Option<Vec<u64>> {
        let mut taken = Vec::new();
        loop {
            match self.live.take(self.slot, &mut self.cursor, self.sent, 1, Waker::noop()) {
                Read::Frames(Frames { last, .. }) => {
                    self.sent = last;
                    taken.push(last.sequence);
                }
                Read::Empty => return Some(taken),
                Read::Behind => return None,
            }
        }
    }
}

/// A store that an owner writes to, and the window of a stand-by after its first commit.
struct World {
    hub: Hub,
    store: Arc<dyn Store>,
    writer: Writer,
    _stand: Stand,
}

impl World {
    async fn new() -> Self {
        let stand = Stand::embedded();
        let store = stand.store();
        let writer = Writer::new(store.as_ref()).await;
        let mut world = Self { hub: Hub::new(1 << 20), store, writer, _stand: stand };
        world.one("a", 1).await;
        world.catch_up().await;
        world
    }

    /// One output of a company is committed.
    async fn one(&mut self, name: &str, sequence: u64) -> Commit {
        let commit = self.writer.one(&company(name), sequence, sequence);
        self.commit(commit).await
    }

    async fn commit(&self, commit: Commit) -> Commit {
        assert!(matches!(self.store.commit(&commit).await.unwrap(), CommitAnswer::Stored(_)));
        commit
    }

    async fn announce(&self, commit: &Commit) -> Step {
        self.hub.announce(self.store.head().await.unwrap().store, commit, &[])
    }

    async fn catch_up(&self) {
        let head = self.store.head().await.unwrap();
        catch_up(self.store.as_ref(), &self.hub, &head).await.unwrap();
        assert_eq!(self.hub.compare(&head), Step::Ignore);
    }
}

#[tokio::test]
async fn a_hole_is_read_into_every_ring_and_nobody_notices() {
    let mut world = World::new().await;
    let (mut busy, mut quiet) = (Client::join(&world.hub, "a"), Client::join(&world.hub, "b"));
    let second = world.one("a", 2).await;
    assert_eq!(world.announce(&second).await, Step::Append);
    // Lost on its way: an event for each of them.
    world.one("a", 3).await;
    world.one("b", 4).await;
    let fifth = world.one("a", 5).await;
    assert_eq!(world.announce(&fifth).await, Step::Hole);
    assert_eq!(busy.take(), Some(vec![2]), "nothing above the hole");
    world.catch_up().await;
    assert_eq!(world.announce(&fifth).await, Step::Ignore, "read already");
    let sixth = world.one("b", 6).await;
    assert_eq!(world.announce(&sixth).await, Step::Append);
    assert_eq!((busy.take(), quiet.take()), (Some(vec![3, 5]), Some(vec![4, 6])));
    assert_eq!(world.hub.place(&company("a")), Some(world.writer.place(6)));
}

#[tokio::test]
async fn a_hole_longer_than_some_pages_is_left_to_each_connection() {
    let mut world = World::new().await;
    let (mut behind, mut quiet) = (Client::join(&world.hub, "a"), Client::join(&world.hub, "b"));
    let last = (PAGE_ENTRIES * HOLE_PAGES) as u64 + 10;
    for sequence in 2..=last {
        world.one("a", sequence).await;
    }
    world.catch_up().await;
    assert_eq!((behind.take(), quiet.take()), (None, Some(vec![])));
}

#[tokio::test]
async fn what_was_trimmed_in_the_hole_is_left_to_each_connection() {
    let mut world = World::new().await;
    let mut behind = Client::join(&world.hub, "a");
    world.one("a", 2).await;
    let keep = Keep { since_ms: 0, entries_max: 0, bytes_max: u64::MAX };
    world.store.trim(world.writer.token, &company("a"), keep).await.unwrap();
    world.catch_up().await;
    assert_eq!(behind.take(), None, "only a page tells a gap");
}

#[tokio::test]
async fn a_floor_of_the_partition_in_the_hole_reaches_everybody() {
    let mut world = World::new().await;
    let mut quiet = Client::join(&world.hub, "b");
    let mut commit = world.writer.next(9);
    let position = Position::whole(1, 9);
    commit.floor = Some(Floor { position, time_ms: 1, reason: GapReason::SourceLost, running: None });
    world.commit(commit).await;
    world.catch_up().await;
    assert_eq!(quiet.take(), None);
}

#[tokio::test]
async fn a_ring_that_is_made_while_a_hole_is_read_is_emptied() {
    let mut world = World::new().await;
    let filled = world.hub.rings();
    world.one("b", 2).await;
    let head = world.store.head().await.unwrap();
    let mut late = Client::join(&world.hub, "b");
    let filled: Vec<_> = filled.into_iter().map(|(live, _)| live).collect();
    world.hub.close_hole(&head, &filled);
    assert_eq!(late.take(), None, "it would miss event 2");
}

#[tokio::test]
async fn an_abandoned_hole_leaves_nothing_of_a_lost_history_in_the_rings() {
    let mut world = World::new().await;
    let mut client = Client::join(&world.hub, "a");
    world.one("a", 2).await;
    let head = world.store.head().await.unwrap();
    let (live, from) = world.hub.rings().remove(0);
    let page = world.store.page(live.company(), from, PAGE_ENTRIES).await.unwrap();
    live.fill(&page);
    world.hub.abandon_hole();
    assert_ne!(world.hub.compare(&head), Step::Ignore, "the window ends where it did");
    assert_eq!(client.take(), None, "event 2 may be lost by now, and come again as another");
}

#[tokio::test]
async fn who_comes_while_a_ring_is_ahead_of_the_window_or_below_a_floor_reads_pages_first() {
    let mut world = World::new().await;
    let a = company("a");
    world.hub.join(&a).unwrap();
    let mut small = Hub::new(1);
    std::mem::swap(&mut world.hub, &mut small);
    world.catch_up().await;
    world.hub.join(&a).unwrap();
    for sequence in 2..4 {
        world.one("a", sequence).await;
        let (live, from) = world.hub.rings().remove(0);
        live.fill(&world.store.page(&a, from, PAGE_ENTRIES).await.unwrap());
    }
    assert_eq!(world.hub.join(&a).unwrap().cursor, None, "the ring has dropped event 2, and the window ends at 1");
    world.catch_up().await;
    let mut commit = world.writer.next(9);
    let position = Position::whole(1, 8);
    commit.floor = Some(Floor { position, time_ms: 1, reason: GapReason::SourceLost, running: None });
    commit.parts.push(Part { backlog_add: vec![waiting(&a, world.writer.place(4), 9, 0)], ..Part::new(a.clone()) });
    world.commit(commit).await;
    world.catch_up().await;
    let joined = world.hub.join(&a).unwrap();
    assert_eq!((joined.place.sequence, joined.cursor), (4, None), "the floor at 8 lies above its place");
    assert!(world.hub.join(&company("b")).unwrap().cursor.is_some());
}

#[tokio::test]
async fn another_owner_that_follows_the_end_goes_on_and_one_that_does_not_makes_everybody_read() {
    let mut world = World::new().await;
    let mut client = Client::join(&world.hub, "a");
    world.writer.token = Token(2);
    world.store.acquire("host", Token(2), 5_000).await.unwrap();
    let second = world.one("a", 2).await;
    assert_eq!(world.announce(&second).await, Step::Append);
    assert_eq!(client.take(), Some(vec![2]));
    world.one("a", 3).await;
    world.writer.token = Token(3);
    world.store.acquire("host", Token(3), 5_000).await.unwrap();
    let fourth = world.one("a", 4).await;
    assert_eq!(world.announce(&fourth).await, Step::Reset);
    world.catch_up().await;
    assert_eq!(client.take(), None);
}

#[tokio::test]
async fn the_places_of_companies_that_wait_come_with_the_head() {
    let mut world = World::new().await;
    let a = company("a");
    let mut commit = world.writer.next(3);
    let add = waiting(&a, world.writer.place(2), 3, 0);
    commit.parts.push(Part { backlog_add: vec![add], ..Part::new(a.clone()) });
    world.commit(commit).await;
    world.one("b", 4).await;
    world.catch_up().await;
    assert_eq!(world.hub.place(&a), Some(world.writer.place(2)));
    assert_eq!(world.hub.place(&company("b")), Some(world.writer.place(4)));
    let mut commit = world.writer.next(5);
    let done = tidegate_core::commit::waiting_position(1, &waiting(&a, world.writer.place(2), 3, 0).input);
    commit.parts.push(Part { backlog_done: Some(done), ..Part::new(a.clone()) });
    world.commit(commit).await;
    world.catch_up().await;
    assert_eq!(world.hub.place(&a), Some(world.writer.place(5)));
}
