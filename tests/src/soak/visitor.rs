//! Clients that come at any time with any cursor, read for a while, some of them slowly, and leave without a word.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Street;
use super::flow::{self, COMPANIES};
use super::judge::Judge;
use crate::stream::{Connection, Request};
use crate::verdict::Verdict;

/// So many at a time.
const AT_ONCE: usize = 20;
/// Between two of them, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 100..1_500;
/// How long one stays at most, in milliseconds.
const STAY_MS: std::ops::Range<u64> = 50..15_000;
/// How many events one reads at most.
const READS: std::ops::Range<u64> = 1..5_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// Visitors who come and go until this is dropped.
#[derive(Debug)]
pub(super) struct Visitors {
    verdict: Arc<Mutex<Verdict>>,
    _task: JoinSet<()>,
}

impl Visitors {
    /// The first one comes at once.
    pub(super) fn begin(seed: u64, street: &Arc<Street>) -> Self {
        let verdict = Arc::new(Mutex::new(Verdict::default()));
        let mut task = JoinSet::new();
        task.spawn(receive(StdRng::seed_from_u64(seed), Arc::clone(street), Arc::clone(&verdict)));
        Self { verdict, _task: task }
    }

    /// What those who have left saw.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(mut random: StdRng, street: Arc<Street>, verdict: Arc<Mutex<Verdict>>) {
    let mut visits: JoinSet<Verdict> = JoinSet::new();
    loop {
        if visits.len() < AT_ONCE {
            visits.spawn(visit(StdRng::seed_from_u64(random.random()), Arc::clone(&street)));
        }
        while let Some(ended) = visits.try_join_next() {
            let mut verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner);
            match ended {
                Ok(seen) => *verdict += seen,
                Err(error) => verdict.blame(&format!("a visitor failed: {error}")),
            }
        }
        sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
    }
}

async fn visit(mut random: StdRng, street: Arc<Street>) -> Verdict {
    let company = random.random_range(0..COMPANIES.len());
    let name = flow::name(company);
    let (mut request, mut next, mut oldest) = (Request::company(name), None, false);
    match random.random_range(0..20) {
        0 => (request, oldest) = (request.query("lastEventId", "earliest"), true),
        1..3 => request = request.query("since", &(now_ms() - random.random_range(0..60_000)).to_string()),
        3..6 => {}
        by => {
            if let Some(mark) = street.marks.draw(company, street.oldest_mark, &mut random) {
                request = if by % 2 == 0 { request.after(&mark.id) } else { request.query("lastEventId", &mark.id) };
                next = Some(mark.next);
            }
        }
    }
    let slow = random.random_ratio(1, 4);
    if slow {
        request.receive_buffer = Some(4 << 10);
    }
    let leave = Instant::now() + Duration::from_millis(random.random_range(STAY_MS));
    let mut reads = random.random_range(READS);
    let judge = Judge::new(name, next);
    let mut judge = if oldest { judge.of_the_oldest() } else { judge };
    if let Some(door) = street.doors.draw(&mut random)
        && let Ok(Ok(mut connection)) = timeout(PATIENCE, Connection::open(door, &request)).await
    {
        judge.connected();
        while reads > 0
            && let Ok(Ok(Some(frame))) = timeout_at(leave, connection.next()).await
        {
            judge.frame(&frame);
            reads -= 1;
            if slow && random.random_ratio(1, 50) {
                sleep(Duration::from_millis(random.random_range(0..800))).await;
            }
        }
    }
    judge.verdict().clone()
}

fn now_ms() -> i128 {
    time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000
}
