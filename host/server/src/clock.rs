//! The wall clock: the one place where the host learns what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time. Cheap to clone; every part that needs the time is given one.
#[derive(Debug, Clone)]
pub struct Clock(Face);

#[derive(Debug, Clone)]
enum Face {
    System,
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Face::System)
    }

    /// A clock that stands still until its [`ClockHand`] moves it.
    #[must_use]
    pub fn set_by_hand(now_ms: u64) -> (Self, ClockHand) {
        let time = Arc::new(AtomicU64::new(now_ms));
        (Self(Face::Set(Arc::clone(&time))), ClockHand(time))
    }

    /// Milliseconds since 1970; 0 where the machine's clock stands before that.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Face::System => {
                #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            Face::Set(time) => time.load(Ordering::SeqCst),
        }
    }
}

/// Moves a clock made by [`Clock::set_by_hand`].
#[derive(Debug, Clone)]
pub struct ClockHand(Arc<AtomicU64>);

impl ClockHand {
    /// Sets the time, in milliseconds since 1970; backwards, too.
    pub fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    /// Moves the time on.
    pub fn advance(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_by_hand_moves_only_by_hand() {
        let (clock, hand) = Clock::set_by_hand(1_000);
        let copy = clock.clone();
        hand.advance(5);
        assert_eq!((clock.now_ms(), copy.now_ms()), (1_005, 1_005));
        hand.set(7);
        assert_eq!(copy.now_ms(), 7);
    }

    #[test]
    fn the_system_clock_stands_in_this_century() {
        let now_ms = Clock::system().now_ms();
        assert!((1_600_000_000_000..4_100_000_000_000).contains(&now_ms), "{now_ms}");
    }
}
