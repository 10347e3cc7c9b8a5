//! The live part of a stream: frames from the ring, for as long as the connection keeps up with it.

use super::{EventStream, Phase};
use crate::config::SlowClient;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_core::frame::ByeReason;
use tidegate_core::lag::{self, Offer};
use tidegate_core::limits::WRITE_BYTES;
use tidegate_core::piece::Frames;
use tidegate_core::ring::{Read, RingCursor};

impl EventStream {
    /// Takes what the ring has. Pending: nothing, and the waker is registered.
    pub(super) fn poll_ring(&mut self, mut cursor: RingCursor, context: &Context<'_>) -> Poll<()> {
        let (slow, buffer) = (self.streams.settings.slow_client, self.streams.settings.buffer);
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Offer { refusals: self.refusals.count(), at_ms };
        if slow != SlowClient::CatchUp && lag::is_too_slow(self.offer, now, self.live.lag(self.reader.sent()), buffer) {
            if slow == SlowClient::Disconnect {
                self.streams.metrics.connection_error(ByeReason::Overloaded.as_str());
                self.bye(ByeReason::Overloaded);
                return Poll::Ready(());
            }
            if let Some(gap) = self.live.overflow(&mut self.reader, &mut cursor, buffer) {
                let place = self.reader.tell_place(gap.to);
                self.tell(&gap, place);
            }
        }
        match self.live.take(self.slot, &mut cursor, self.reader.sent(), WRITE_BYTES, context.waker()) {
            Read::Empty => {
                self.phase = Phase::Live(cursor);
                self.offer = None;
                self.caught_up();
                // The drain may have begun before the waker was there to be called.
                if self.streams.draining() && !matches!(self.ends, Some((_, ByeReason::Drain))) {
                    context.waker().wake_by_ref();
                }
                if self.out.is_empty() { Poll::Pending } else { Poll::Ready(()) }
            }
            Read::Behind => {
                self.offer = None;
                self.fall_back();
                Poll::Ready(())
            }
            Read::Frames(frames) => {
                self.phase = Phase::Live(cursor);
                // What was there before it came is no lag of its own.
                self.offer = self.joining.is_none().then_some(now);
                self.send(frames);
                self.caught_up();
                Poll::Ready(())
            }
        }
    }

    fn send(&mut self, frames: Frames) {
        let Frames { bytes, count, first, last, running, time_ms } = frames;
        self.reader.live(last, time_ms, running);
        self.count(count, first, last);
        if self.joining.is_some() {
            self.reader.count(count);
            self.streams.metrics.replayed(count, bytes.len() as u64);
            self.out.push_back(bytes);
            return;
        }
        let latency = Duration::from_millis(self.streams.clock.now_ms().saturating_sub(time_ms));
        self.streams.metrics.delivered(latency, count, bytes.len() as u64);
        self.out.push_back(bytes);
    }
}
