//! The body of one stream: what hyper polls whenever the socket has room.
//!
//! It holds a cursor into its company's ring and no queue. A client that does not read is simply not polled; once the
//! ring has moved past it, it reads on from the replay cache.

use super::open::{self, Opening};
use super::{Connection, Streams};
use crate::config::SlowClient;
use crate::hub::{Joined, Live};
use crate::store::StoreError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_core::commit::Page;
use tidegate_core::cursor::Cursor;
use tidegate_core::entry::Entry;
use tidegate_core::frame::{self, ByeReason, Control};
use tidegate_core::limits::{PAGE_ENTRIES, WRITE_BYTES};
use tidegate_core::position::{Place, Position};
use tidegate_core::ring::{Read, RingCursor};
use tidegate_core::seam::{Gap, Next, Reader};
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
    /// When its token runs out.
    pub expires: Option<Duration>,
}

enum Phase {
    /// The cursor is being placed.
    Opening(BoxFuture<'static, Result<Opening, StoreError>>),
    /// A page is on its way; it was asked for under this incarnation of the ring.
    Paging(BoxFuture<'static, Result<Page, StoreError>>, u64),
    /// Asks for a page again when the timer fires.
    Waiting(Pin<Box<Sleep>>),
    /// Reads from the ring.
    Live(RingCursor),
    /// `bye` was sent.
    Ended,
}

/// The stream of one connection.
pub struct EventStream {
    streams: Arc<Streams>,
    live: Arc<Live>,
    connection: Arc<Connection>,
    slot: usize,
    /// How often the live window had begun anew when it was placed.
    history: u64,
    /// The cursor it came with, while it is being placed.
    cursor: Option<Cursor>,
    reader: Reader,
    phase: Phase,
    /// Bytes to write before anything else.
    out: Vec<u8>,
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
        let Joined { live, place, cursor, history } = streams.hub.join(company)?;
        let now = Instant::now();
        let rotate = streams.settings.rotate.map(|after| (now + jitter(after), ByeReason::Rotate));
        let expires = request.expires.map(|after| (now + after, ByeReason::TokenExpired));
        let ends = [rotate, expires].into_iter().flatten().min_by_key(|(at, _)| *at);
        let reader = Reader::at(place);
        let resumed = request.cursor.is_some();
        let mut out = Vec::with_capacity(192);
        let ready = Control::Ready { resumed, head: Some(place), retention_ms: streams.settings.retention_ms };
        frame::control(&mut out, &ready, (!resumed).then_some(place));
        let phase = match &request.cursor {
            None => cursor.map_or_else(|| paging(&streams, &live, reader.sent()), Phase::Live),
            Some(cursor) => opening(&streams, &live, cursor),
        };
        let heartbeat_at = now + jitter(streams.settings.heartbeat);
        let slot = live.enter();
        streams.metrics.connection_opened(company);
        Some(Self {
            timer: Box::pin(tokio::time::sleep_until(heartbeat_at)),
            live,
            connection,
            slot,
            history,
            cursor: request.cursor,
            reader,
            phase,
            out,
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
        })
    }

    fn bye(&mut self, reason: ByeReason) {
        let retry_ms = self.streams.retry_ms();
        frame::control(&mut self.out, &Control::Bye { reason, retry_ms }, None);
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
        let Gap { from, to, missed, reason } = gap.clone();
        frame::control(&mut self.out, &Control::Gap { from, to, missed, reason }, place);
    }

    fn ask_for_page(&mut self) {
        self.phase = paging(&self.streams, &self.live, self.reader.sent());
    }

    fn ask_again(&mut self) {
        self.phase = Phase::Waiting(Box::pin(tokio::time::sleep(AGAIN)));
    }

    /// The store did not answer: wait for it a while, then end. Never an empty answer instead of a page.
    fn store_failed(&mut self, error: &StoreError) {
        let since = *self.store_away.get_or_insert_with(Instant::now);
        if since.elapsed() < STORE_PATIENCE {
            self.ask_again();
            return;
        }
        tracing::warn!(companyId = %self.live.company(), error = %error, "replay ended: the store does not answer");
        if self.cursor.is_some() || self.found.is_some() {
            self.found = Some("miss");
        }
        self.streams.metrics.connection_error(ByeReason::StoreUnavailable.as_str());
        self.bye(ByeReason::StoreUnavailable);
    }

    fn opened(&mut self, opening: Opening) {
        self.cursor = None;
        self.reader = opening.reader;
        if self.found.is_none() && !self.replayed_once {
            self.found = Some(if opening.gap.is_some() { "miss" } else { "hit" });
        }
        if let Some(gap) = &opening.gap {
            let place = self.reader.tell_place(gap.to);
            self.tell(gap, place);
        }
        if opening.ahead {
            self.ahead = Some((self.streams.hub.checkpoint(), Instant::now()));
            self.ask_again();
        } else {
            self.ask_for_page();
        }
    }

    fn paged(&mut self, page: Page, read_under: u64) {
        self.store_away = None;
        let (history, agrees) = self.streams.hub.judge(&page);
        if history != self.history {
            self.place_anew(history);
            return;
        }
        if !agrees {
            // The window has not come to this history yet, or begins anew soon.
            self.ask_again();
            return;
        }
        let page = self.streams.with_lost_state(self.live.company(), page);
        let place = page.place;
        let (turn, cursor) = self.live.with_page(&mut self.reader, page, read_under);
        if let Some(gap) = &turn.gap {
            if self.found == Some("hit") {
                self.found = Some("partial");
            }
            // The reader has moved on past the page's entries, which are sent after this.
            self.tell(gap, gap.to);
        }
        self.write_entries(&turn.entries);
        match turn.next {
            Next::Live => {
                let replayed = self.reader.replayed();
                let place = self.reader.tell_place(place);
                frame::control(&mut self.out, &Control::CaughtUp { replayed }, place);
                self.count_found();
                self.replayed_once = true;
                self.reader.fall_back();
                self.phase = Phase::Live(cursor);
            }
            Next::Read if turn.entries.is_empty() => self.ask_again(),
            Next::Read => self.ask_for_page(),
        }
    }

    /// The store lags behind the cursor: heartbeats until it has caught up, `bye` when it stands still.
    fn wait_for_store(&mut self, stood: Option<Place>, since: Instant) {
        let now = self.streams.hub.checkpoint();
        if now.is_some_and(|place| place.position() >= self.reader.sent()) {
            self.ahead = None;
            self.ask_for_page();
        } else if now == stood && since.elapsed() >= STORE_PATIENCE {
            self.streams.metrics.connection_error(ByeReason::StoreUnavailable.as_str());
            self.bye(ByeReason::StoreUnavailable);
        } else {
            let since = if now == stood { since } else { Instant::now() };
            self.ahead = Some((now, since));
            self.ask_again();
        }
    }

    fn write_entries(&mut self, entries: &[Entry]) {
        self.out.reserve(entries.iter().map(|entry| entry.data.len() + 128).sum());
        let before = self.out.len();
        for entry in entries {
            frame::event(&mut self.out, entry);
        }
        self.streams.metrics.replayed(entries.len() as u64, (self.out.len() - before) as u64);
        self.count(entries.len() as u64);
    }

    fn count(&mut self, events: u64) {
        self.events += events;
        self.connection.events.fetch_add(events, Ordering::Relaxed);
    }

    /// Takes what the ring has. `None`: nothing, and the waker is registered.
    fn poll_ring(&mut self, mut cursor: RingCursor, context: &Context<'_>) -> Option<Bytes> {
        let slow = self.streams.settings.slow_client;
        if slow != SlowClient::CatchUp && self.live.lag(self.reader.sent()) > self.streams.settings.buffer {
            if slow == SlowClient::Disconnect {
                self.streams.metrics.connection_error(ByeReason::Overloaded.as_str());
                self.bye(ByeReason::Overloaded);
                return Some(Bytes::new());
            }
            self.jump();
        }
        let taken = self.live.take(self.slot, &mut cursor, self.reader.sent(), WRITE_BYTES, context.waker());
        match taken {
            Read::Empty => {
                self.phase = Phase::Live(cursor);
                // The drain may have begun before the waker was there to be called.
                if self.streams.draining() && !matches!(self.ends, Some((_, ByeReason::Drain))) {
                    context.waker().wake_by_ref();
                }
                None
            }
            Read::Behind => {
                self.fall_back();
                Some(Bytes::new())
            }
            Read::Frames { bytes, count, last, running, time_ms } => {
                self.phase = Phase::Live(cursor);
                self.reader.live(last, time_ms, running);
                self.count(count);
                let latency = Duration::from_millis(self.streams.clock.now_ms().saturating_sub(time_ms));
                self.streams.metrics.delivered(latency, count, bytes.len() as u64);
                Some(bytes)
            }
        }
    }

    /// The ring has moved past this connection, or was emptied.
    fn fall_back(&mut self) {
        self.reader.fall_back();
        let history = self.streams.hub.history();
        if history == self.history {
            self.ask_for_page();
        } else {
            self.place_anew(history);
        }
    }

    /// The window began anew, in another history: this is a client that has just come back.
    fn place_anew(&mut self, history: u64) {
        self.history = history;
        let cursor = self.reader.cursor();
        self.phase = opening(&self.streams, &self.live, &cursor);
        self.cursor = Some(cursor);
    }

    fn jump(&mut self) {
        if let Some((to, running, time_ms)) = self.live.before_newest(self.streams.settings.buffer)
            && to > self.reader.sent()
            && let Some(gap) = self.reader.overflow(to, time_ms, running)
        {
            let place = self.reader.tell_place(gap.to);
            self.tell(&gap, place);
        }
    }

    /// The timer fired, or the host drains.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.streams.draining() && !matches!(self.ends, Some((_, ByeReason::Drain))) {
            let window = self.streams.settings.drain.mul_f64(0.8);
            self.ends = Some((Instant::now() + window.mul_f64(rand::random::<f64>()), ByeReason::Drain));
        }
        let ends_at = self.ends.map_or(self.heartbeat_at, |(at, _)| at.min(self.heartbeat_at));
        if self.timer.deadline() != ends_at {
            self.timer.as_mut().reset(ends_at);
        }
        ready!(self.timer.as_mut().poll(context));
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
            Phase::Opening(_) | Phase::Paging(..) | Phase::Waiting(_) | Phase::Ended => None,
        };
        frame::control(&mut self.out, &Control::Heartbeat { now_ms }, place);
    }

    fn quiet_from(&mut self, now: Instant) {
        self.heartbeat_at = now + jitter(self.streams.settings.heartbeat);
    }

    fn poll_phase(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Opening(mut future) => match future.as_mut().poll(context) {
                Poll::Pending => {
                    self.phase = Phase::Opening(future);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(opening)) => self.opened(opening),
                Poll::Ready(Err(error)) => self.store_failed(&error),
            },
            Phase::Paging(mut future, read_under) => match future.as_mut().poll(context) {
                Poll::Pending => {
                    self.phase = Phase::Paging(future, read_under);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(page)) => self.paged(page, read_under),
                Poll::Ready(Err(error)) => self.store_failed(&error),
            },
            Phase::Waiting(mut timer) => {
                if timer.as_mut().poll(context).is_pending() {
                    self.phase = Phase::Waiting(timer);
                    return Poll::Pending;
                }
                match (self.ahead, self.cursor.clone()) {
                    (Some((stood, since)), _) => self.wait_for_store(stood, since),
                    (None, Some(cursor)) => self.phase = opening(&self.streams, &self.live, &cursor),
                    (None, None) => self.ask_for_page(),
                }
            }
            Phase::Live(cursor) => match self.poll_ring(cursor, context) {
                Some(bytes) => return Poll::Ready(Some(bytes)),
                None => return Poll::Pending,
            },
            Phase::Ended => return Poll::Ready(None),
        }
        Poll::Ready(Some(Bytes::new()))
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
            if !this.out.is_empty() {
                this.quiet_from(Instant::now());
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.out).into()))));
            }
            if !matches!(this.phase, Phase::Ended) && this.poll_timer(context).is_ready() {
                continue;
            }
            match ready!(this.poll_phase(context)) {
                None => return Poll::Ready(None),
                // The phase changed, or something was put into `out`.
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    this.quiet_from(Instant::now());
                    if this.out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    // A gap that was told on the way stands before the frames.
                    this.out.extend_from_slice(&bytes);
                }
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
        self.live.leave(self.slot);
        self.streams.connections.leave(&self.connection);
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

fn paging(streams: &Arc<Streams>, live: &Arc<Live>, above: Position) -> Phase {
    let (store, company) = (Arc::clone(&streams.store), live.company().clone());
    let read_under = live.incarnation();
    let entries = PAGE_ENTRIES.min(streams.settings.buffer.max(1));
    Phase::Paging(Box::pin(async move { store.page(&company, above, entries).await }), read_under)
}

fn opening(streams: &Arc<Streams>, live: &Arc<Live>, cursor: &Cursor) -> Phase {
    let (streams, company, cursor) = (Arc::clone(streams), live.company().clone(), cursor.clone());
    Phase::Opening(Box::pin(async move { open::open(&streams, &company, &cursor).await }))
}

/// 80 to 100 % of a time, so that connections made together don't speak together for ever.
fn jitter(time: Duration) -> Duration {
    time.mul_f64(0.8 + 0.2 * rand::random::<f64>())
}
