//! Commits in flight: sent in their order, answered in their order, and after an error sent again one by one.

use crate::store::StoreError;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::poll;
use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tidegate_core::commit::{Commit, CommitAnswer};

/// One call of the store.
pub(super) type Sending = BoxFuture<'static, Result<CommitAnswer, StoreError>>;

struct Flight {
    commit: Arc<Commit>,
    /// None: it is sent once it is the oldest.
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
    highest: u64,
}

impl<S: Fn(Arc<Commit>) -> Sending> Flights<S> {
    pub(super) fn new(send: S) -> Self {
        Self { send, flights: VecDeque::new(), highest: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// The highest number that was ever sent.
    pub(super) fn highest_sent(&self) -> u64 {
        self.highest
    }

    /// Sends a commit behind those that are in flight; while one of them has to be sent again, it waits for its turn.
    pub(super) async fn push(&mut self, commit: Commit) {
        let waits = self.flights.back().is_some_and(|last| last.sending.is_none());
        let mut flight = Flight { commit: Arc::new(commit), sending: None, sent_at: Instant::now(), tries: 0 };
        if !waits {
            self.highest = self.highest.max(flight.commit.name.number);
            flight.start(&self.send);
            // Commits reach the store in the order in which they are first polled.
            if let Some(sending) = &mut flight.sending {
                let _ = poll!(sending);
            }
        }
        self.flights.push_back(flight);
    }

    /// Waits for the answer to the oldest commit, which is over with it; for ever where none is in flight. After an error it
    /// is still the oldest: the next call sends it again, and each of those behind it goes once it is the oldest. May be
    /// dropped and called again.
    ///
    /// # Errors
    /// What the store said to the oldest commit, with its number.
    pub(super) async fn land(&mut self) -> Result<Landed, (u64, StoreError)> {
        let Some(oldest) = self.flights.front_mut() else { return pending().await };
        let number = oldest.commit.name.number;
        if oldest.sending.is_none() {
            self.highest = self.highest.max(number);
            oldest.start(&self.send);
        }
        match oldest.answer().await {
            Ok(answer) => {
                let Some(Flight { commit, sent_at, tries, .. }) = self.flights.pop_front() else {
                    return pending().await;
                };
                Ok(Landed { commit, answer, sent_at, first: tries == 1 })
            }
            Err(error) => {
                self.flights.iter_mut().for_each(|flight| flight.sending = None);
                Err((number, error))
            }
        }
    }
}

impl Flight {
    fn start(&mut self, send: impl Fn(Arc<Commit>) -> Sending) {
        self.sending = Some(maybe_done(send(Arc::clone(&self.commit))));
        (self.sent_at, self.tries) = (Instant::now(), self.tries + 1);
    }

    /// The answer to what was started.
    async fn answer(&mut self) -> Result<CommitAnswer, StoreError> {
        let Some(sending) = &mut self.sending else { return pending().await };
        (&mut *sending).await;
        match Pin::new(sending).take_output() {
            Some(answer) => answer,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::stand::{Stand, Writer, company};
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
        assert_eq!((scene.order(), flights.len(), flights.highest_sent()), (vec![1, 2, 3], 3, 3));
        // An answer that comes early waits for those before it.
        scene.answer(2, stored());
        assert!(poll!(Box::pin(flights.land())).is_pending());
        scene.answer(1, stored());
        assert_eq!(lands(&mut flights).await, (1, true));
        assert_eq!(lands(&mut flights).await, (2, true));
        scene.answer(3, Ok(CommitAnswer::Refused));
        let refused = flights.land().await.expect("an answer");
        assert_eq!((refused.answer, refused.first), (CommitAnswer::Refused, true));
        assert!(poll!(Box::pin(flights.land())).is_pending(), "nothing is in flight");
    }

    #[tokio::test]
    async fn after_an_error_they_are_sent_again_one_by_one() {
        let (mut scene, mut flights) = Scene::new().await;
        for sequence in 1..=2 {
            let commit = scene.commit(sequence);
            flights.push(commit).await;
        }
        scene.answer(2, stored());
        scene.answer(1, Err(StoreError::Away("cut".to_owned())));
        assert_eq!(flights.land().await.map(drop), Err((1, StoreError::Away("cut".to_owned()))));
        let third = scene.commit(3);
        flights.push(third).await;
        assert_eq!((scene.order(), flights.highest_sent()), (vec![1, 2], 2), "the oldest goes first");
        for (number, first) in [(1, false), (2, false), (3, true)] {
            assert!(poll!(Box::pin(flights.land())).is_pending());
            scene.answer(number, stored());
            assert_eq!(lands(&mut flights).await, (number, first));
        }
        assert_eq!(scene.order(), [1, 2, 1, 2, 3]);
        let fourth = scene.commit(4);
        flights.push(fourth).await;
        assert_eq!(scene.order(), [1, 2, 1, 2, 3, 4], "and then they go at once again");
    }
}
