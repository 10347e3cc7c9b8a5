//! Whether a connection is too slow for a policy that does not wait.

use crate::limits::OFFER_MS;

/// The moment at which frames were taken for a client's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// How often its socket had refused bytes by then.
    pub refusals: u64,
    /// When, in milliseconds of a clock that only goes on.
    pub at_ms: u64,
}

impl Offer {
    /// Did the client have to be waited for? Its socket refused a part of what was offered, or took its time about it
    /// (streams that share a connection are held back before the socket is).
    #[must_use]
    pub fn stood(&self, now: Self) -> bool {
        now.refusals != self.refusals || now.at_ms.saturating_sub(self.at_ms) >= OFFER_MS
    }
}

/// Is a connection too slow that wants more frames `now`, has `lag` frames before it, and may have `buffer`?
///
/// Not for the lag alone: one commit may hold more than that, and a client that was woken by it has had no chance yet.
/// `offer` is when it last took frames, if it has not taken all there were since.
#[must_use]
pub fn is_too_slow(offer: Option<Offer>, now: Offer, lag: usize, buffer: usize) -> bool {
    lag > buffer && offer.is_some_and(|offer| offer.stood(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(refusals: u64, at_ms: u64) -> Offer {
        Offer { refusals, at_ms }
    }

    #[test]
    fn a_quick_client_is_not_judged_by_one_large_commit() {
        assert!(!is_too_slow(None, at(7, 0), 1_000, 100), "it was just woken");
        let first = at(7, 0);
        assert!(!is_too_slow(Some(first), at(7, 1), 936, 100), "it took the first piece at once");
    }

    #[test]
    fn a_client_whose_socket_refused_what_was_offered_lags_by_what_lies_before_it() {
        assert!(is_too_slow(Some(at(7, 0)), at(8, 1), 101, 100));
        assert!(!is_too_slow(Some(at(7, 0)), at(8, 1), 100, 100), "no more than it may");
    }

    #[test]
    fn an_offer_that_stands_is_as_good_as_a_refusal() {
        assert!(!is_too_slow(Some(at(7, 50)), at(7, 50 + OFFER_MS - 1), 101, 100));
        assert!(is_too_slow(Some(at(7, 50)), at(7, 50 + OFFER_MS), 101, 100));
    }
}
