//! Commits in flight: sent in their order, answered in their order, and after an error sent again from the oldest on.

use crate::store::StoreError;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tidegate_core::commit::{Commit, CommitAnswer};

/// One call of the store.
pub(super) type Sending = BoxFuture<'static, Result<CommitAnswer, StoreError>>;

struct Flight {
    commit: Arc<Commit>,
    /// None: it waits for the oldest to land.
    sending: Option<MaybeDone<Sending>>,
    sent_at: Instant,
    tries: u32,
}

/// What the store said to the oldest commit.
pub(super) struct Landed {
    pub(super) commit: Arc<Commit>,
    pub(super) answer: CommitAnswer,
    /// When it was last sent.
    pub(super) sent_at: Instant,
    /// It was sent once, and this is the answer to that.
    pub(super) first: bool,
}

/// The commits that were sent and not answered yet, oldest first.
pub(super) struct Flights<S> {
    send: S,
    flights: VecDeque<Flight>,
    /// One has landed since the last error: the way to the store is there.
    landed: bool,
    highest: u64,
}

impl<S: Fn(Arc<Commit>) -> Sending> Flights<S> {
    pub(super) fn new(send: S) -> Self {
        Self { send, flights: VecDeque::new(), landed: false, highest: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// The highest number that was ever sent.
    pub(super) fn highest_sent(&self) -> u64 {
        self.highest
    }

    /// Sends a commit behind those that are in flight; where none has landed since the last error, it waits for the oldest.
    pub(super) async fn push(&mut self, commit: Commit) {
        let waits = !self.landed && !self.flights.is_empty();
        let commit = Arc::new(commit);
        self.flights.push_back(Flight { commit, sending: None, sent_at: Instant::now(), tries: 0 });
        if !waits {
            self.start(self.flights.len());
            // They reach the store in the order in which they are first polled.
            poll_fn(|context| {
                self.poll(context);
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Waits for the answer to the oldest commit, which is over with it; for ever where none is in flight. After an error it
    /// is still the oldest: the next call sends it again, alone, and those behind it go once it has landed. May be dropped and
    /// called again.
    ///
    /// # Errors
    /// What the store said to the oldest commit, with its number.
    pub(super) async fn land(&mut self) -> Result<Landed, (u64, StoreError)> {
        self.start(if self.landed { self.flights.len() } else { 1 });
        poll_fn(|context| {
            self.poll(context);
            let Some(answer) = self.flights.front_mut().and_then(Flight::answer) else { return Poll::Pending };
            match (answer, self.flights.pop_front()) {
                (Ok(answer), Some(Flight { commit, sent_at, tries, .. })) => {
                    self.landed = true;
                    Poll::Ready(Ok(Landed { commit, answer, sent_at, first: tries == 1 }))
                }
                (_, None) => Poll::Pending,
                (Err(error), Some(oldest)) => {
                    let number = oldest.commit.name.number;
                    self.flights.push_front(oldest);
                    self.flights.iter_mut().for_each(|flight| flight.sending = None);
                    self.landed = false;
                    Poll::Ready(Err((number, error)))
                }
            }
        })
        .await
    }

    /// Sends what waits of the oldest so many.
    fn start(&mut self, count: usize) {
        for flight in self.flights.iter_mut().take(count).filter(|flight| flight.sending.is_none()) {
            self.highest = self.highest.max(flight.start(&self.send));
        }
    }

    /// All of them, and the oldest first: one whose first poll was not enough goes before those behind it.
    fn poll(&mut self, context: &mut Context<'_>) {
        for sending in self.flights.iter_mut().filter_map(|flight| flight.sending.as_mut()) {
            let _ = sending.poll_unpin(context);
        }
    }
}

impl Flight {
    /// Sends it; gives its number.
    fn start(&mut self, send: impl Fn(Arc<Commit>) -> Sending) -> u64 {
        self.sending = Some(maybe_done(send(Arc::clone(&self.commit))));
        (self.sent_at, self.tries) = (Instant::now(), self.tries + 1);
        self.commit.name.number
    }

    /// The answer, if it came.
    fn answer(&mut self) -> Option<Result<CommitAnswer, StoreError>> {
        Pin::new(self.sending.as_mut()?).take_output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::stand::{Stand, Writer, company};
    use futures_util::poll;
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};
    use tokio::sync::oneshot;

    type Told = Result<CommitAnswer, StoreError>;

    /// A store that answers when it is told to.
    #[derive(Default)]
    struct Asked {
        order: Vec<u64>,
        unanswered: BTreeMap<u64, oneshot::Sender<Told>>,
    }

    struct Scene {
        asked: Arc<Mutex<Asked>>,
        writer: Writer,
        _stand: Stand,
    }

    impl Scene {
        async fn new() -> (Self, Flights<impl Fn(Arc<Commit>) -> Sending>) {
            let stand = Stand::embedded();
            let writer = Writer::new(&*stand.store()).await;
            let asked = Arc::new(Mutex::new(Asked::default()));
            let store = Arc::clone(&asked);
            let send = move |commit: Arc<Commit>| -> Sending {
                let store = Arc::clone(&store);
                Box::pin(async move {
                    let answer = {
                        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                        let (answer, answered) = oneshot::channel();
                        store.order.push(commit.name.number);
                        store.unanswered.insert(commit.name.number, answer);
                        answered
                    };
                    answer.await.expect("it answers")
                })
            };
            (Self { asked, writer, _stand: stand }, Flights::new(send))
        }

        fn commit(&mut self, sequence: u64) -> Commit {
            self.writer.one(&company("a"), sequence, sequence)
        }

        fn order(&self) -> Vec<u64> {
            self.asked.lock().expect("not poisoned").order.clone()
        }

        fn answer(&self, number: u64, answer: Told) {
            let asked = self.asked.lock().expect("not poisoned").unanswered.remove(&number);
            // Of two tries the first one's answer is awaited no more.
            asked.expect("it was asked").send(answer).ok();
        }
    }

    fn stored() -> Told {
        Ok(CommitAnswer::Stored(Vec::new()))
    }

    async fn lands(flights: &mut Flights<impl Fn(Arc<Commit>) -> Sending>) -> (u64, bool) {
        let landed = flights.land().await.expect("it is stored");
        (landed.commit.name.number, landed.first)
    }

    #[tokio::test]
    async fn commits_are_sent_in_their_order_without_waiting_for_one_another() {
        let (mut scene, mut flights) = Scene::new().await;
        for sequence in 1..=3 {
            let commit = scene.commit(sequence);
            flights.push(commit).await;
        }
        assert_eq!(scene.order(), [1], "nobody knows yet whether there is a way to the store");
        scene.answer(1, stored());
        assert_eq!(lands(&mut flights).await, (1, true));
        // It is full all the time from now on.
        assert!(poll!(Box::pin(flights.land())).is_pending());
        let fourth = scene.commit(4);
        flights.push(fourth).await;
        assert_eq!((scene.order(), flights.len(), flights.highest_sent()), (vec![1, 2, 3, 4], 3, 4));
        // An answer that comes early waits for those before it.
        scene.answer(3, stored());
        assert!(poll!(Box::pin(flights.land())).is_pending());
        scene.answer(2, stored());
        assert_eq!(lands(&mut flights).await, (2, true));
        assert_eq!(lands(&mut flights).await, (3, true));
        scene.answer(4, Ok(CommitAnswer::Refused));
        let refused = flights.land().await.expect("an answer");
        assert_eq!((refused.answer, refused.first), (CommitAnswer::Refused, true));
        assert!(poll!(Box::pin(flights.land())).is_pending(), "nothing is in flight");
    }

    #[tokio::test]
    async fn after_an_error_the_oldest_goes_alone_and_then_the_others() {
        let (mut scene, mut flights) = Scene::new().await;
        for sequence in 1..=3 {
            let commit = scene.commit(sequence);
            flights.push(commit).await;
            if sequence == 1 {
                scene.answer(1, stored());
                assert_eq!(lands(&mut flights).await, (1, true));
            }
        }
        assert_eq!(scene.order(), [1, 2, 3]);
        scene.answer(3, stored());
        scene.answer(2, Err(StoreError::Away("cut".to_owned())));
        assert_eq!(flights.land().await.map(drop), Err((2, StoreError::Away("cut".to_owned()))));
        assert!(poll!(Box::pin(flights.land())).is_pending());
        let fourth = scene.commit(4);
        flights.push(fourth).await;
        assert_eq!((scene.order(), flights.highest_sent()), (vec![1, 2, 3, 2], 3));
        scene.answer(2, stored());
        assert_eq!(lands(&mut flights).await, (2, false));
        assert!(poll!(Box::pin(flights.land())).is_pending());
        assert_eq!((scene.order(), flights.highest_sent()), (vec![1, 2, 3, 2, 3, 4], 4));
        for (number, first) in [(3, false), (4, true)] {
            scene.answer(number, stored());
            assert_eq!(lands(&mut flights).await, (number, first));
        }
    }
}
