//! The body of one stream: what hyper polls whenever the socket has room.
//!
//! It holds a cursor into its company's ring and no queue. A client that does not read is simply not polled; once the
//! ring has moved past it, it reads on from the replay cache.

mod live;
mod replay;

use super::open::Opening;
use super::refusals::Refusals;
use super::{Connection, Streams};
use crate::hub::{Joined, Live};
use crate::store::StoreError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_core::cursor::Cursor;
use tidegate_core::frame::{self, ByeReason, Control};
use tidegate_core::lag::Offer;
use tidegate_core::page::EncodedPage;
use tidegate_core::position::{Place, Position};
use tidegate_core::ring::RingCursor;
use tidegate_core::seam::{Gap, Reader};
use tokio::time::{Instant, Sleep};

/// How long the store may be away before a replay that waits for it ends with `bye`.
const STORE_PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a page is asked for again, when the store did not answer or the ring can't be joined yet.
const AGAIN: Duration = Duration::from_millis(100);

/// What a client asked for, checked.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where it stands; `None`: live from now.
    pub cursor: Option<Cursor>,
    /// The store can't be read: what the ring holds has to do.
    pub from_memory: bool,
    /// When its token runs out.
    pub expires: Option<Duration>,
    /// How often its socket refused bytes.
    pub refusals: Refusals,
}

/// Why a stream ended whose client took no byte for `live.stall-timeout`.
const STALLED: &str = "stalled";

enum Phase {
    /// The cursor is being placed.
    Opening(BoxFuture<'static, Result<Opening, StoreError>>),
    /// A page is on its way.
    Paging(BoxFuture<'static, Result<Arc<EncodedPage>, StoreError>>),
    /// Asks for a page again when the timer fires.
    Waiting(Pin<Box<Sleep>>),
    /// Reads from the ring.
    Live(RingCursor),
    /// `bye` was sent.
    Ended,
}

/// What stands between a replay and `caught-up`.
#[derive(Debug, Clone, Copy)]
struct Joining {
    /// The newest the ring had when it took over.
    newest: Position,
    /// The company's place by then.
    place: Option<Place>,
}

/// The stream of one connection.
pub struct EventStream {
    streams: Arc<Streams>,
    live: Arc<Live>,
    connection: Arc<Connection>,
    slot: usize,
    /// How often the live window had begun anew when it was placed.
    history: u64,
    /// A cursor that has to be placed.
    cursor: Option<Cursor>,
    /// Readings of pages up to this number began before the store said where it stands.
    placed: u64,
    /// The reading that told it last where the stream ended.
    told: u64,
    /// It was just placed: its page begins where others begin.
    begins: bool,
    reader: Reader,
    phase: Phase,
    /// What to write before anything else.
    out: VecDeque<Bytes>,
    /// The ring has taken over, but what was in it at that moment is still of the replay.
    joining: Option<Joining>,
    /// When it took frames from the ring, until it has taken all of them.
    offer: Option<Offer>,
    refusals: Refusals,
    /// Fires at the next heartbeat, at the end of the stream, or at its moment in the drain window.
    timer: Pin<Box<Sleep>>,
    heartbeat_at: Instant,
    ends: Option<(Instant, ByeReason)>,
    began: Instant,
    /// The store has not reached its cursor: where the checkpoint stood, and since when.
    ahead: Option<(Option<Place>, Instant)>,
    /// Since when the store does not answer.
    store_away: Option<Instant>,
    /// What its cursor found, until that is counted: once for each request, when the replay has ended.
    found: Option<&'static str>,
    /// It was live: what it replays from now on is no request of the client's.
    replayed_once: bool,
    reason: &'static str,
    events: u64,
}

impl EventStream {
    /// Begins a stream; `ready` is already in it. `None` while it is not known where the partition stands.
    #[must_use]
    pub fn begin(
        streams: Arc<Streams>,
        connection: Arc<Connection>,
        company: &tidegate_core::event::Company,
        request: Request,
    ) -> Option<Self> {
        // Everything above this place is in the ring.
        let Joined { live, place, running, cursor, history } = streams.hub.join(company)?;
        let now = Instant::now();
        let rotate = streams.settings.rotate.map(|after| (now + jitter(after), ByeReason::Rotate));
        let expires = request.expires.map(|after| (now + after, ByeReason::TokenExpired));
        let ends = [rotate, expires].into_iter().flatten().min_by_key(|(at, _)| *at);
        let resumed = request.cursor.is_some();
        let reader = Reader::at(place).counted(running);
        let heartbeat_at = now + jitter(streams.settings.heartbeat);
        let slot = live.enter();
        streams.metrics.connection_opened(company);
        let mut stream = Self {
            timer: Box::pin(tokio::time::sleep_until(heartbeat_at)),
            live,
            connection,
            slot,
            history,
            cursor: None,
            placed: 0,
            told: 0,
            begins: false,
            reader,
            phase: Phase::Ended,
            out: VecDeque::with_capacity(2),
            joining: None,
            offer: None,
            refusals: request.refusals,
            heartbeat_at,
            ends,
            began: now,
            ahead: None,
            store_away: None,
            found: None,
            replayed_once: !resumed,
            reason: "client",
            events: 0,
            streams,
        };
        let retention_ms = stream.streams.settings.retention_ms;
        stream.control(&Control::Ready { resumed, head: Some(place), retention_ms }, (!resumed).then_some(place));
        match (request.cursor, cursor) {
            (Some(Cursor::Id(id)), _) if request.from_memory && stream.rejoin(&id) => {}
            (Some(asked), _) => stream.open(asked),
            (None, Some(cursor)) => stream.phase = Phase::Live(cursor),
            (None, None) => stream.ask_for_page(),
        }
        Some(stream)
    }

    /// The host's time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.streams.clock.now_ms()
    }

    /// Has its replay ended?
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.joining.is_none() && matches!(self.phase, Phase::Live(_) | Phase::Ended)
    }

    /// Writes a control event; `id` is where the client stands once it was told.
    fn control(&mut self, event: &Control, id: Option<Place>) {
        let mut bytes = Vec::with_capacity(192);
        frame::control(&mut bytes, event, id);
        self.out.push_back(bytes.into());
    }

    fn bye(&mut self, reason: ByeReason) {
        let retry_ms = super::retry_ms();
        self.control(&Control::Bye { reason, retry_ms }, None);
        self.reason = reason.as_str();
        self.phase = Phase::Ended;
    }

    /// The replay has ended: what the cursor found is counted.
    fn count_found(&mut self) {
        if let Some(found) = self.found.take() {
            self.streams.metrics.replay_request(found);
        }
    }

    /// `place` is where the client stands once it was told.
    fn tell(&mut self, gap: &Gap, place: Option<Place>) {
        self.streams.metrics.gap(gap.reason.as_str());
        self.connection.sent(|sent, _| sent.gap(), &self.streams.clock);
        let Gap { from, to, missed, reason } = gap.clone();
        self.control(&Control::Gap { from, to, missed, reason }, place);
    }

    fn count(&mut self, events: u64, first: Position, last: Position) {
        self.events += events;
        self.connection.events.fetch_add(events, Ordering::Relaxed);
        self.connection.sent(|sent, now_ms| sent.add(first, last, now_ms), &self.streams.clock);
    }

    /// The timer fired, or the host drains.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.streams.draining() && !matches!(self.ends, Some((_, ByeReason::Drain))) {
            let window = self.streams.settings.drain.mul_f64(0.8);
            self.ends = Some((Instant::now() + window.mul_f64(rand::random::<f64>()), ByeReason::Drain));
        }
        let due = self.ends.map_or(self.heartbeat_at, |(at, _)| at.min(self.heartbeat_at));
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        ready!(self.timer.as_mut().poll(context));
        // Each write moves the next heartbeat away: the timer is moved once it fires, not at each write.
        if due > self.timer.deadline() {
            self.timer.as_mut().reset(due);
            ready!(self.timer.as_mut().poll(context));
        }
        let now = Instant::now();
        if let Some((at, reason)) = self.ends
            && at <= now
        {
            self.bye(reason);
        } else {
            self.heartbeat();
            self.quiet_from(now);
        }
        Poll::Ready(())
    }

    fn heartbeat(&mut self) {
        let now_ms = self.streams.clock.now_ms();
        let place = match &self.phase {
            // Read before the ring is found empty: everything up to it was sent.
            Phase::Live(cursor) => {
                let place = self.streams.hub.place(self.live.company());
                let empty = self.live.is_drained(*cursor, self.reader.sent());
                if empty { self.reader.tell_place(place) } else { None }
            }
            Phase::Opening(_) | Phase::Paging(_) | Phase::Waiting(_) | Phase::Ended => None,
        };
        self.control(&Control::Heartbeat { now_ms }, place);
    }

    fn quiet_from(&mut self, now: Instant) {
        self.heartbeat_at = now + jitter(self.streams.settings.heartbeat);
    }

    /// Ready: the phase changed, or there is something to write, or it has ended.
    fn poll_phase(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Opening(mut future) => match future.as_mut().poll(context) {
                Poll::Pending => {
                    self.phase = Phase::Opening(future);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(opening)) => self.opened(opening),
                Poll::Ready(Err(error)) => self.store_failed(&error),
            },
            Phase::Paging(mut future) => match future.as_mut().poll(context) {
                Poll::Pending => {
                    self.phase = Phase::Paging(future);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(page)) => self.paged(&page),
                Poll::Ready(Err(error)) => self.store_failed(&error),
            },
            Phase::Waiting(timer) => return self.poll_waiting(timer, context),
            Phase::Live(cursor) => return self.poll_ring(cursor, context),
            Phase::Ended => {}
        }
        Poll::Ready(())
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.out.pop_front() {
                this.quiet_from(Instant::now());
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if matches!(this.phase, Phase::Ended) {
                return Poll::Ready(None);
            }
            if this.poll_timer(context).is_pending() {
                ready!(this.poll_phase(context));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Ended) && self.out.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.count_found();
        if self.refusals.stalled() {
            self.reason = STALLED;
            self.streams.metrics.connection_error(STALLED);
        }
        self.live.leave(self.slot);
        self.streams.connections.leave(&self.connection, self.reason, &self.streams.clock);
        self.streams.metrics.connection_closed(self.live.company(), self.reason);
        tracing::info!(
            connectionId = self.connection.connection_id,
            companyId = %self.live.company(),
            reason = self.reason,
            durationMs = self.began.elapsed().as_millis() as u64,
            events = self.events,
            "SSE connection closed"
        );
    }
}

/// 80 to 100 % of a time, so that connections made together don't speak together for ever.
fn jitter(time: Duration) -> Duration {
    time.mul_f64(0.8 + 0.2 * rand::random::<f64>())
}
