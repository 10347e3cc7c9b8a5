//! The replay part of a stream: its cursor is placed, then pages bring it to where the ring takes over.

use super::super::open::{self, Opening};
use super::super::pages;
use super::{AGAIN, EventStream, Joining, Phase, STORE_PATIENCE};
use crate::hub::{Paged, Rejoined};
use crate::store::StoreError;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tidegate_core::cursor::{Cursor, IdCursor};
use tidegate_core::frame::{ByeReason, Control};
use tidegate_core::gap::GapReason;
use tidegate_core::page::EncodedPage;
use tidegate_core::pages::Need;
use tidegate_core::position::Place;
use tidegate_core::seam::Next;
use tokio::time::{Instant, Sleep};

impl EventStream {
    /// Finds out where a cursor stands.
    pub(super) fn open(&mut self, cursor: Cursor) {
        let (streams, live, asked) = (Arc::clone(&self.streams), Arc::clone(&self.live), cursor.clone());
        self.cursor = Some(cursor);
        self.phase = Phase::Opening(Box::pin(async move { open::open(&streams, &live, &asked).await }));
    }

    /// Goes on in the ring, where that holds the event that its client had last; whether it does.
    pub(super) fn rejoin(&mut self, id: &IdCursor) -> bool {
        let Some(rejoined) = self.streams.hub.rejoin(self.live.company(), id) else { return false };
        let Rejoined { reader, cursor, newest, place, history } = rejoined;
        (self.reader, self.history, self.phase) = (reader, history, Phase::Live(cursor));
        (self.found, self.joining) = (Some("hit"), Some(Joining { newest, place }));
        true
    }

    /// The window began anew, in another history: this is a client that has just come back.
    fn place_anew(&mut self) {
        self.history = self.streams.hub.history();
        self.open(self.reader.cursor());
    }

    pub(super) fn opened(&mut self, opening: Opening) {
        self.cursor = None;
        self.reader = opening.reader;
        (self.placed, self.begins) = (opening.placed, true);
        if self.found.is_none() && !self.replayed_once {
            self.found = Some(if opening.gap.is_some() { "miss" } else { "hit" });
        }
        if let Some(gap) = &opening.gap {
            let place = self.reader.tell_place(gap.to);
            self.tell(gap, place);
        }
        if opening.ahead {
            self.ahead.get_or_insert((self.streams.hub.checkpoint(), Instant::now()));
            self.ask_again();
        } else {
            self.ahead = None;
            self.ask_for_page();
        }
    }

    pub(super) fn ask_for_page(&mut self) {
        let begins = std::mem::take(&mut self.begins);
        let need = Need { above: self.reader.sent(), placed: self.placed, told: self.told, begins };
        let (streams, live) = (Arc::clone(&self.streams), Arc::clone(&self.live));
        self.phase = Phase::Paging(Box::pin(async move { pages::page(&streams, &live, need).await }));
    }

    fn ask_again(&mut self) {
        self.phase = Phase::Waiting(Box::pin(tokio::time::sleep(AGAIN)));
    }

    /// The store did not answer: wait for it a while, then end. Never an empty answer instead of a page.
    pub(super) fn store_failed(&mut self, error: &StoreError) {
        let since = *self.store_away.get_or_insert_with(Instant::now);
        if since.elapsed() < STORE_PATIENCE {
            self.ask_again();
            return;
        }
        tracing::warn!(companyId = %self.live.company(), error = %error, "replay ended: the store does not answer");
        if !self.replayed_once {
            self.found = Some("miss");
        }
        self.streams.metrics.connection_error(ByeReason::StoreUnavailable.as_str());
        self.bye(ByeReason::StoreUnavailable);
    }

    pub(super) fn paged(&mut self, page: &EncodedPage) {
        self.store_away = None;
        let facts = &page.facts;
        let (history, agrees) = self.streams.hub.judge(facts);
        if history != self.history {
            self.place_anew();
            return;
        }
        let number = page.reading().number;
        if !agrees {
            // The window has not come to this history yet, or begins anew soon.
            self.placed = self.placed.max(number);
            self.ask_again();
            return;
        }
        if !facts.full {
            self.told = number;
        }
        // Read before the ring: everything up to it is in there.
        let known = self.streams.hub.place(self.live.company());
        let Paged { turn, cursor, newest } = self.live.with_page(&mut self.reader, page);
        if let Some(gap) = &turn.gap {
            if self.found == Some("hit") {
                self.found = Some(if gap.reason == GapReason::UnknownCursor { "miss" } else { "partial" });
            }
            // The reader has moved on past the frames, which are sent after this.
            self.tell(gap, gap.to);
        }
        if let Some(frames) = turn.frames {
            self.streams.metrics.replayed(frames.count, frames.bytes.len() as u64);
            self.count(frames.count, frames.first, frames.last);
            self.out.push_back(frames.bytes);
        }
        match turn.next {
            Next::Live => {
                let place = known.into_iter().chain(facts.place).max_by_key(|place| place.position());
                self.phase = Phase::Live(cursor);
                self.joining = Some(Joining { newest, place });
                self.caught_up();
            }
            Next::Read if turn.moved => self.ask_for_page(),
            Next::Read => self.ask_again(),
        }
    }

    /// Tells that the replay is over, once everything was sent that was there when the ring took over.
    pub(super) fn caught_up(&mut self) {
        let Some(Joining { place, .. }) = self.joining.take_if(|joining| joining.newest <= self.reader.sent()) else {
            return;
        };
        let replayed = self.reader.replayed();
        let place = self.reader.tell_place(place);
        self.control(&Control::CaughtUp { replayed }, place);
        self.count_found();
        self.replayed_once = true;
        self.reader.fall_back();
    }

    /// Asks again after a wait: for its place, for the store to reach it, or for a page.
    pub(super) fn poll_waiting(&mut self, mut timer: Pin<Box<Sleep>>, context: &mut Context<'_>) -> Poll<()> {
        if timer.as_mut().poll(context).is_pending() {
            self.phase = Phase::Waiting(timer);
            return Poll::Pending;
        }
        match (self.ahead, self.cursor.take()) {
            (_, Some(cursor)) => self.open(cursor),
            (Some((stood, since)), None) => self.wait_for_store(stood, since),
            (None, None) => self.ask_for_page(),
        }
        Poll::Ready(())
    }

    /// The store lags behind the cursor: heartbeats until it has caught up, `bye` when it stands still.
    fn wait_for_store(&mut self, stood: Option<Place>, since: Instant) {
        let now = self.streams.hub.checkpoint();
        let generation = |place: Option<Place>| place.map(|place| place.generation);
        let moved = now != stood;
        if now.is_some_and(|place| place.position() >= self.reader.sent()) || generation(now) != generation(stood) {
            // Which generation it would be of was a guess: the store knows by now.
            self.ahead = Some((now, if moved { Instant::now() } else { since }));
            self.place_anew();
        } else if !moved && since.elapsed() >= STORE_PATIENCE {
            self.streams.metrics.connection_error(ByeReason::StoreUnavailable.as_str());
            self.bye(ByeReason::StoreUnavailable);
        } else {
            self.ahead = Some((now, if moved { Instant::now() } else { since }));
            self.ask_again();
        }
    }

    /// The ring has moved past this connection, or was emptied.
    pub(super) fn fall_back(&mut self) {
        if self.joining.take().is_none() {
            self.reader.fall_back();
        }
        if self.streams.hub.history() == self.history {
            self.ask_for_page();
        } else {
            self.place_anew();
        }
    }
}
