//! How much of the batches' time companies with slow filters may take: what is beyond their share waits in their backlog.
//!
//! A batch is stored when the last of its companies is through. One whose filters take nearly all of a batch's time each
//! time would hold everybody up by that much, and never be too slow for any single batch.

use crate::event::Company;
use crate::limits::{SHARE_MICROS, SHARE_SAVED_MICROS, SLOW_MICROS};
use std::collections::HashMap;

/// The shares of all companies that are slow just now. Quick ones, however many events they have, are in nobody's way: a
/// batch of theirs takes what its events take.
#[derive(Debug, Default)]
pub struct Shares {
    slow: HashMap<Company, Share>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    /// What an event of its took last, in microseconds.
    each: u64,
    /// What it may still take, in microseconds; below nothing where the last batch took more.
    left: i64,
    /// When that was so, in milliseconds.
    at_ms: u64,
}

impl Share {
    /// What it may take now.
    fn left(&self, now_ms: u64) -> i64 {
        let passed_ms = i64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(i64::MAX);
        self.left.saturating_add(passed_ms.saturating_mul(SHARE_MICROS) / 1_000).min(SHARE_SAVED_MICROS)
    }
}

impl Shares {
    /// Has this company some of its share left? `now_ms` is of a clock that only goes on.
    #[must_use]
    pub fn allows(&self, company: &Company, now_ms: u64) -> bool {
        self.slow.get(company).is_none_or(|share| share.left(now_ms) > 0)
    }

    /// What an event of this company took last, in microseconds, where that is slow; 0 where it is quick. Who is known to be
    /// slow must not stand in a quick one's way.
    #[must_use]
    pub fn slowness(&self, company: &Company) -> u64 {
        self.slow.get(company).map_or(0, |share| share.each)
    }

    /// So many of its events took so long within a batch, in microseconds of its thread. `None`: it was interrupted, and nobody
    /// knows how many of them it had been through.
    pub fn took(&mut self, company: &Company, events: Option<usize>, micros: u64, now_ms: u64) {
        let each = micros / events.map_or(1, |events| (events as u64).max(1));
        if events.is_some() && each <= SLOW_MICROS {
            self.slow.remove(company);
            return;
        }
        let left = self.slow.get(company).map_or(SHARE_SAVED_MICROS, |share| share.left(now_ms));
        // One run that took seconds is no reason to shut a company out for minutes.
        let left = left.saturating_sub(i64::try_from(micros).unwrap_or(i64::MAX)).max(-SHARE_SAVED_MICROS);
        self.slow.insert(company.clone(), Share { each, left, at_ms: now_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company() -> Company {
        Company::new("a").unwrap()
    }

    /// Milliseconds of batches that a company takes in ten seconds, whose every event takes so long, one each 10 ms.
    fn taken(each_micros: u64) -> u64 {
        let (mut shares, a, mut taken) = (Shares::default(), company(), 0);
        for now_ms in (0..10_000).step_by(10) {
            if shares.allows(&a, now_ms) {
                shares.took(&a, Some(1), each_micros, now_ms);
                taken += each_micros;
            }
        }
        taken / 1_000
    }

    #[test]
    fn a_slow_company_takes_its_share_of_each_second_and_what_it_saved() {
        let (share, saved) = (10 * SHARE_MICROS as u64 / 1_000, SHARE_SAVED_MICROS as u64 / 1_000);
        for each in [600, 3_000, 9_000, 19_000] {
            let taken = taken(each);
            assert!((share..=share + saved + each / 1_000 + 1).contains(&taken), "{taken} ms of {each} us an event");
        }
    }

    #[test]
    fn a_quick_company_takes_what_it_needs() {
        assert_eq!(taken(SLOW_MICROS), 1_000 * SLOW_MICROS / 1_000);
    }

    #[test]
    fn many_events_are_no_sign_of_a_slow_one() {
        let (mut shares, a) = (Shares::default(), company());
        shares.took(&a, Some(64), 19_000, 0);
        assert!(shares.allows(&a, 0) && shares.slowness(&a) == 0);
        shares.took(&a, Some(1), 19_000, 0);
        assert_eq!(shares.slowness(&a), 19_000);
    }

    #[test]
    fn one_that_was_interrupted_is_slow_however_many_events_waited_behind() {
        let (mut shares, a) = (Shares::default(), company());
        shares.took(&a, None, 20_000, 0);
        assert!(!shares.allows(&a, 0) && shares.slowness(&a) == 20_000);
        // A short rest of a batch's time is no sign that it became quick.
        shares.took(&a, None, 10, 2_500);
        assert!(shares.slowness(&a) > 0);
        shares.took(&a, None, 20_000, 2_500);
        assert!(!shares.allows(&a, 2_500));
    }

    #[test]
    fn one_that_became_quick_has_its_share_no_more() {
        let (mut shares, a) = (Shares::default(), company());
        shares.took(&a, Some(1), 3_000_000, 0);
        assert!(!shares.allows(&a, 4_000), "however long that run was");
        assert!(shares.allows(&a, 6_000));
        shares.took(&a, Some(1), 10, 6_000);
        assert!(shares.allows(&a, 6_000) && shares.slowness(&a) == 0);
    }

    #[test]
    fn a_clock_without_end_is_no_trouble() {
        let (mut shares, a) = (Shares::default(), company());
        shares.took(&a, Some(0), u64::MAX, 0);
        assert!(!shares.allows(&a, 0) && shares.allows(&a, u64::MAX));
    }
}
