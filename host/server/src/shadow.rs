//! Runs a new version of a company's filter over the company's real events, beside the one that serves it.

use crate::capture::{Capture, CaptureError, GIVEN, Wanted};
use crate::modules::push::{Change, PushError, Pusher};
use crate::modules::shadow::{Comparison, Difference, Shadow};
use crate::pipeline::chains::LOST;
use crate::pipeline::guests::Guests;
use crate::stream::Streams;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::event::{Company, Input};
use tokio::sync::Semaphore;

/// How long one shadow may take; what was compared until then is told.
const TIME: Duration = Duration::from_secs(120);
/// Events that a thread runs at a time: in between, backlogs have their turn on it.
const PIECE: usize = 8;
/// Events that one looks at at most.
pub const EVENTS_MAX: usize = 1_000_000;

/// What is to be compared.
#[derive(Debug)]
pub struct ShadowWish {
    /// Whose events, and whose folder.
    pub company: Company,
    /// What is to be other in it.
    pub change: Change,
    /// From this source time on, in milliseconds since 1970.
    pub since_ms: u64,
    /// At most so many events, the oldest first.
    pub limit: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct ShadowReport {
    /// The chain that serves the company, by digest.
    pub live: String,
    /// The chain that would.
    pub new: String,
    /// Event by event.
    pub comparison: Value,
    /// All wanted events were compared.
    pub whole: bool,
    /// Why a push that asks for it is refused; `None`: it is not.
    pub refusal: Option<String>,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The new version is refused, or can't be put into the chain.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The events can't be had.
    #[error(transparent)]
    Events(#[from] CaptureError),
    /// Another one runs: each takes a thread that works backlogs off.
    #[error("another shadow runs; try again when it is through")]
    Busy,
    /// One of the chains can't be run.
    #[error("{0}")]
    NotRun(String),
}

/// Compares, on the threads that work backlogs off.
#[derive(Clone)]
pub struct Shadows {
    capture: Arc<Capture>,
    pusher: Pusher,
    streams: Arc<Streams>,
    guests: Arc<Guests>,
    turn: Arc<Semaphore>,
}

impl Shadows {
    /// Works with these.
    #[must_use]
    pub fn new(capture: Arc<Capture>, pusher: Pusher, streams: Arc<Streams>, guests: Arc<Guests>) -> Self {
        Self { capture, pusher, streams, guests, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Compares. A push with a condition is refused where an event fails that did not fail before, or where more than
    /// `different_max` percent come out otherwise.
    ///
    /// # Errors
    /// See [`ShadowError`].
    pub async fn compare(&self, wish: ShadowWish, different_max: f64) -> Result<ShadowReport, ShadowError> {
        let _turn = self.turn.try_acquire().map_err(|_taken| ShadowError::Busy)?;
        let until = Instant::now() + TIME;
        let new = self.pusher.judge(wish.company.as_str(), wish.change).await?;
        let live = self.streams.chains.load().ready(&wish.company);
        let live = live.ok_or_else(|| ShadowError::NotRun(format!("no chain of {} can be run now", wish.company)))?;
        let (live_digest, new_digest) = (live.digest().to_string(), new.digest().to_string());
        let mut shadow = Shadow::new(self.pusher.engine().clone(), live, new);
        let (mut after, mut left, mut whole) = (None, wish.limit.min(EVENTS_MAX), false);
        while left > 0 && Instant::now() < until {
            let wanted = Wanted {
                company: wish.company.clone(),
                since_ms: wish.since_ms,
                subject: None,
                after,
                limit: left.min(GIVEN),
            };
            let captured = self.capture.events(&wanted).await?;
            left = left.saturating_sub(captured.inputs.len());
            let mut through = 0;
            for inputs in captured.inputs.chunks(PIECE).take_while(|_| Instant::now() < until) {
                through += inputs.len();
                shadow = self.run(shadow, &wish.company, inputs.to_vec()).await?;
            }
            after = captured.after;
            if after.is_none() && through == captured.inputs.len() {
                whole = true;
                break;
            }
        }
        let comparison = shadow.comparison();
        Ok(ShadowReport {
            live: live_digest,
            new: new_digest,
            comparison: comparison.json(),
            whole,
            refusal: refusal(comparison, whole, different_max),
        })
    }
}

impl Shadows {
    /// Runs a piece through both chains.
    async fn run(&self, mut shadow: Shadow, company: &Company, inputs: Vec<Input>) -> Result<Shadow, ShadowError> {
        let company = company.clone();
        let ran = self.guests.run(move |_| {
            let ran = shadow.run(&company, &inputs);
            (ran, shadow)
        });
        let (ran, shadow) = ran.await.ok_or_else(|| ShadowError::NotRun(LOST.to_owned()))?;
        ran.map_err(|interrupted| ShadowError::NotRun(interrupted.to_string()))?;
        Ok(shadow)
    }
}

impl ShadowReport {
    /// For people and programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut told = self.comparison.clone();
        told["live"] = self.live.as_str().into();
        told["new"] = self.new.as_str().into();
        told["whole"] = json!(self.whole);
        told
    }
}

fn refusal(comparison: &Comparison, whole: bool, different_max: f64) -> Option<String> {
    let (events, failed) = (comparison.events(), comparison.count(Difference::Failed));
    if events == 0 {
        return Some("there is no event of the company since then for a shadow".to_owned());
    }
    if failed > 0 {
        return Some(format!("in the shadow it fails at {failed} of {events} events that did not fail before"));
    }
    if !whole {
        return Some(format!("the shadow came through {events} events and not all: ask for a shorter time"));
    }
    let different = comparison.different();
    (different as f64 > events as f64 * different_max / 100.0).then(|| {
        format!("in the shadow {different} of {events} events come out otherwise; {different_max} % are allowed")
    })
}
