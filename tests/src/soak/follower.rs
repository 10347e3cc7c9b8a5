//! A client that follows a company from its first event to the end of the soak, over cuts and hosts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::Street;
use super::flow;
use super::judge::Judge;
use crate::stream::{Connection, Request};
use crate::verdict::Verdict;

/// How long it waits before it comes back; browsers wait longer.
const AGAIN: Duration = Duration::from_millis(50);
/// How long it waits for an answer: a host may be asleep.
const PATIENCE: Duration = Duration::from_secs(5);
/// It leaves by itself after some time below this, in milliseconds.
const STAY_MS_MAX: u64 = 240_000;
/// It notes every so many-th place for visitors.
const NOTES: u64 = 40;

/// The client. Gone when dropped.
#[derive(Debug)]
pub(super) struct Follower {
    /// Its company's place in [`COMPANIES`].
    pub(super) company: usize,
    judge: Arc<Mutex<Judge>>,
    changed: watch::Receiver<()>,
    _task: JoinSet<()>,
}

impl Follower {
    /// Follows a company that has had no event yet.
    pub(super) fn begin(company: usize, seed: u64, street: &Arc<Street>) -> Self {
        let judge = Arc::new(Mutex::new(Judge::new(flow::name(company), Some(0))));
        let (tell, changed) = watch::channel(());
        let mut task = JoinSet::new();
        task.spawn(follow(company, StdRng::seed_from_u64(seed), Arc::clone(street), Arc::clone(&judge), tell));
        Self { company, judge, changed, _task: task }
    }

    /// What it saw.
    pub(super) fn verdict(&self) -> Verdict {
        self.judge().verdict().clone()
    }

    /// The number that it waits for.
    pub(super) fn next(&self) -> u64 {
        self.judge().next().unwrap_or(0)
    }

    /// Waits until it has so many events, at most until `end`; whether it has.
    pub(super) async fn reaches(&self, events: u64, end: Instant) -> bool {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            if self.next() >= events {
                return true;
            }
            if !matches!(timeout_at(end, changed.changed()).await, Ok(Ok(()))) {
                return self.next() >= events;
            }
        }
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow(
    company: usize,
    mut random: StdRng,
    street: Arc<Street>,
    judge: Arc<Mutex<Judge>>,
    tell: watch::Sender<()>,
) {
    let lock = || judge.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last_id: Option<String> = None;
    let mut seen = 0_u64;
    loop {
        let leave = Instant::now() + Duration::from_millis(random.random_range(1..STAY_MS_MAX));
        // Before its first id it would only be live, and miss what is published meanwhile.
        let mut request = Request::company(flow::name(company));
        request = match &last_id {
            Some(id) => request.after(id),
            None => request.query("lastEventId", "earliest"),
        };
        let door = street.doors.draw(&mut random);
        if let Some(door) = door
            && let Ok(Ok(mut connection)) = timeout(PATIENCE, Connection::open(door, &request)).await
        {
            lock().connected();
            while let Ok(Ok(Some(frame))) = timeout_at(leave, connection.next()).await {
                let next = {
                    let mut judge = lock();
                    judge.frame(&frame);
                    judge.next()
                };
                if let Some(id) = frame.id {
                    seen += 1;
                    if seen.is_multiple_of(NOTES) {
                        street.marks.add(company, &id, next.unwrap_or(0));
                    }
                    last_id = Some(id);
                }
                tell.send_replace(());
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
