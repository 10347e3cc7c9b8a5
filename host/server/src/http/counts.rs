//! How many events each company has in the replay cache: read once a second at most, however many ask.

use crate::store::{Store, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_core::event::Company;
use tokio::time::Instant;

/// How old an answer may be: a dashboard that polls must not load the store.
const FRESH: Duration = Duration::from_secs(1);

/// Companies that have events, and how many.
pub type Events = Arc<Vec<(Company, u64)>>;
type Reading = BoxFuture<'static, Result<Events, StoreError>>;

/// The counts of a moment ago.
pub struct Counts {
    ask: Box<dyn Fn() -> Reading + Send + Sync>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// When they were asked for, and what came.
    last: Option<(Instant, Events)>,
    /// Being read, for as long as anybody waits for it.
    reading: Option<WeakShared<Reading>>,
}

impl Counts {
    /// Those of a store; nothing is known yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::asking(move || events(Arc::clone(&store)).boxed())
    }

    fn asking(ask: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self { ask: Box::new(ask), known: Arc::default() }
    }

    /// The counts, no older than a second when they were asked for.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn get(&self) -> Result<Events, StoreError> {
        let reading = {
            let mut known = lock(&self.known);
            if let Some((_, events)) = known.last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
                return Ok(Arc::clone(events));
            }
            known.reading.as_ref().and_then(WeakShared::upgrade).unwrap_or_else(|| {
                let reading = self.read();
                known.reading = reading.downgrade();
                reading
            })
        };
        reading.await
    }

    fn read(&self) -> Shared<Reading> {
        let (asked, answer, known) = (Instant::now(), (self.ask)(), Arc::clone(&self.known));
        let reading = async move {
            let events = answer.await?;
            lock(&known).last = Some((asked, Arc::clone(&events)));
            Ok(events)
        };
        reading.boxed().shared()
    }
}

async fn events(store: Arc<dyn Store>) -> Result<Events, StoreError> {
    let heads = store.companies().await?.into_iter();
    Ok(Arc::new(heads.filter(|(_, head)| head.entries > 0).map(|(company, head)| (company, head.entries)).collect()))
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts that say how often they were asked for, once `open` lets them.
    fn counting(open: Arc<tokio::sync::Semaphore>) -> (Counts, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let counts = Counts::asking(move || {
            let (counter, open) = (Arc::clone(&counter), Arc::clone(&open));
            async move {
                let n = counter.fetch_add(1, Ordering::SeqCst) as u64 + 1;
                let _turn = open.acquire().await.map_err(|error| StoreError::Away(error.to_string()))?;
                Ok(Arc::new(vec![(Company::new("a").unwrap(), n)]))
            }
            .boxed()
        });
        (counts, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_the_store_is_read_once_a_second() {
        let open = Arc::new(tokio::sync::Semaphore::new(0));
        let (counts, asked) = counting(Arc::clone(&open));
        let all = futures_util::future::join_all((0..100).map(|_| counts.get()));
        let (answers, ()) = tokio::join!(all, async { open.add_permits(1) });
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|events| events[0].1 == 1)));
        assert_eq!(counts.get().await.unwrap()[0].1, 1);
        tokio::time::advance(FRESH).await;
        assert_eq!(counts.get().await.unwrap()[0].1, 2);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nobody_waiting() {
        let open = Arc::new(tokio::sync::Semaphore::new(0));
        let (counts, asked) = counting(Arc::clone(&open));
        assert!(counts.get().now_or_never().is_none());
        open.add_permits(1);
        assert_eq!(counts.get().await.unwrap()[0].1, 2, "asked anew");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
