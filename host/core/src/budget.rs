//! How many of a chain's events may fail: a chain that fails at more of them is rolled back, and a company whose filters
//! fail at nearly all of its events is paused.

use crate::event::{Company, Fault};
use std::collections::HashMap;
use std::sync::Arc;

/// What counts as too many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetSettings {
    /// The share of its events at which a chain may fail, from 0 to 1; at 1 none is ever rolled back.
    pub errors: f64,
    /// Fewer failures than this say nothing yet.
    pub failures_min: u64,
    /// Events are counted over so long, in milliseconds.
    pub window_ms: u64,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { errors: 0.5, failures_min: 20, window_ms: 60_000 }
    }
}

/// From this share on nothing of a company's events gets through its filters, and there is no sense in trying on.
const PAUSED: f64 = 0.9;

/// What one run of a chain came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that were run.
    pub events: u64,
    /// Of these, those that a filter failed at, in whatever way.
    pub failed: u64,
    /// Of these, those that ended in a trap or at a limit: a filter that says itself what is wrong with an event works.
    pub broken: u64,
}

impl Tally {
    /// What these faults of filters, one for each event that became a letter, make of so many events.
    pub fn of<'a>(events: usize, faults: impl Iterator<Item = &'a Fault>) -> Self {
        let mut tally = Self { events: events as u64, ..Self::default() };
        for fault in faults.filter(|fault| fault.module.is_some() && !INPUT.contains(&fault.kind)) {
            tally.failed += 1;
            tally.broken += u64::from(BROKEN.contains(&fault.kind));
        }
        tally
    }
}

/// What is said of an event that nobody's chain could take: no fault of a filter's.
const INPUT: [&str; 3] = ["no company", "no event type", "not JSON"];
/// How a filter fails that does not say itself what is wrong.
const BROKEN: [&str; 5] = ["trap", "timeout", "memory", "output", "garbage"];

/// What a run spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// The chain fails at more of its events than it may, over all whom it serves.
    pub chain: Option<Tally>,
    /// Nothing of this company's events gets through.
    pub company: Option<Tally>,
}

/// The failures of this host's chains, lately.
#[derive(Debug, Default)]
pub struct Budgets {
    settings: BudgetSettings,
    /// By folder and chain.
    chains: HashMap<(Arc<str>, Arc<str>), Window>,
    companies: HashMap<Company, (Arc<str>, Window)>,
}

/// Counts of the last one to two windows.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    begun_ms: u64,
    now: Tally,
    before: Tally,
    /// When it was told that too much of it was spent.
    told_ms: Option<u64>,
}

impl Budgets {
    /// With these bounds.
    #[must_use]
    pub fn new(settings: BudgetSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// A folder's chain was run on events of a company (none: of all, by the platform's chain). What it spent is told once in a
    /// window: its count begins anew then.
    pub fn ran(
        &mut self,
        folder: &str,
        company: Option<&Company>,
        chain: &Arc<str>,
        tally: Tally,
        now_ms: u64,
    ) -> Spent {
        let mut spent = Spent::default();
        // What never failed is not counted at all: nearly every chain, nearly always.
        let key = || (Arc::from(folder), Arc::clone(chain));
        if tally.failed > 0 || (!self.chains.is_empty() && self.chains.contains_key(&key())) {
            let window = self.chains.entry(key()).or_default();
            let counted = window.add(tally, now_ms, self.settings.window_ms);
            let told = window.told_ms.is_some_and(|told_ms| now_ms.saturating_sub(told_ms) < self.settings.window_ms);
            let too_many =
                counted.failed >= self.settings.failures_min && share(counted.failed, counted) > self.settings.errors;
            if counted.failed == 0 {
                self.chains.remove(&key());
            } else if too_many && !told {
                *window = Window { begun_ms: now_ms, told_ms: Some(now_ms), ..Window::default() };
                spent.chain = Some(counted);
            }
        }
        let Some(company) = company else { return spent };
        if tally.broken > 0 || self.companies.contains_key(company) {
            let (of, window) = self.companies.entry(company.clone()).or_default();
            if of != chain {
                (*of, *window) = (Arc::clone(chain), Window::default());
            }
            let counted = window.add(tally, now_ms, self.settings.window_ms);
            if counted.broken == 0 {
                self.companies.remove(company);
            } else if counted.broken >= self.settings.failures_min && share(counted.broken, counted) >= PAUSED {
                self.companies.remove(company);
                spent.company = Some(counted);
            }
        }
        spent
    }
}

impl Window {
    /// Counts, and gives what is counted over the window that runs and the one before it.
    fn add(&mut self, tally: Tally, now_ms: u64, window_ms: u64) -> Tally {
        let age = now_ms.saturating_sub(self.begun_ms);
        if age >= window_ms {
            self.before = if age < 2 * window_ms { self.now } else { Tally::default() };
            (self.begun_ms, self.now) = (now_ms, Tally::default());
        }
        self.now = sum(self.now, tally);
        sum(self.before, self.now)
    }
}

fn sum(a: Tally, b: Tally) -> Tally {
    Tally { events: a.events + b.events, failed: a.failed + b.failed, broken: a.broken + b.broken }
}

fn share(count: u64, of: Tally) -> f64 {
    count as f64 / of.events.max(count) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets() -> Budgets {
        Budgets::new(BudgetSettings { errors: 0.5, failures_min: 20, window_ms: 60_000 })
    }

    fn tally(events: u64, failed: u64, broken: u64) -> Tally {
        Tally { events, failed, broken }
    }

    #[test]
    fn a_chain_that_fails_at_more_than_its_share_is_told_once() {
        let (mut budgets, chain) = (budgets(), Arc::from("c"));
        let acme = Company::new("acme").unwrap();
        for now_ms in 0..19 {
            assert_eq!(budgets.ran("f", Some(&acme), &chain, tally(1, 1, 0), now_ms), Spent::default(), "too few");
        }
        let spent = budgets.ran("f", Some(&acme), &chain, tally(1, 1, 0), 20);
        assert_eq!(spent, Spent { chain: Some(tally(20, 20, 0)), company: None });
        assert_eq!(budgets.ran("f", Some(&acme), &chain, tally(19, 19, 0), 21), Spent::default(), "counted anew");
        assert_eq!(budgets.ran("f", Some(&acme), &chain, tally(19, 19, 0), 22), Spent::default(), "told a moment ago");
        assert_eq!(budgets.ran("f", Some(&acme), &chain, tally(1, 1, 0), 60_020).chain, Some(tally(39, 39, 0)));
    }

    #[test]
    fn failures_within_the_share_or_long_ago_spend_nothing() {
        let (mut budgets, chain) = (budgets(), Arc::from("c"));
        for now_ms in 0..1_000 {
            assert_eq!(budgets.ran("f", None, &chain, tally(2, 1, 1), now_ms), Spent::default());
        }
        let mut budgets = self::budgets();
        for minute in 0..1_000 {
            assert_eq!(budgets.ran("f", None, &chain, tally(9, 9, 9), minute * 60_000), Spent::default());
        }
        // Over the end of a window.
        assert_eq!(budgets.ran("f", None, &chain, tally(11, 11, 0), 1_000 * 60_000 - 1).chain, Some(tally(29, 29, 18)));
    }

    #[test]
    fn a_company_is_paused_where_nothing_gets_through_and_not_for_errors_that_a_filter_tells() {
        let (mut budgets, chain, other) = (budgets(), Arc::from("c"), Arc::from("d"));
        let (acme, globex) = (Company::new("acme").unwrap(), Company::new("globex").unwrap());
        assert_eq!(budgets.ran("f", Some(&acme), &chain, tally(100, 0, 0), 0), Spent::default());
        assert_eq!(budgets.ran("f", Some(&globex), &chain, tally(100, 100, 0), 0).company, None, "told by the filter");
        assert_eq!(budgets.ran("f", Some(&acme), &chain, tally(10, 10, 10), 1).company, None);
        assert_eq!(budgets.ran("f", Some(&acme), &other, tally(10, 10, 10), 2).company, None, "another chain");
        assert_eq!(budgets.ran("f", Some(&acme), &other, tally(12, 10, 10), 3).company, Some(tally(22, 20, 20)));
    }

    #[test]
    fn a_filters_own_error_is_a_failure_and_an_event_without_a_type_is_none() {
        let fault = |kind, module: Option<&str>| Fault {
            kind,
            reason: "x".into(),
            module: module.map(Into::into),
            backtrace: None,
        };
        let faults = [
            fault("trap", Some("f@1")),
            fault("error", Some("f@1")),
            fault("no event type", Some("f@1")),
            fault("frame too large", None),
        ];
        assert_eq!(Tally::of(9, faults.iter()), tally(9, 2, 1));
    }

    #[test]
    fn what_works_is_not_counted() {
        let (mut budgets, chain) = (budgets(), Arc::from("c"));
        let acme = Company::new("acme").unwrap();
        budgets.ran("f", Some(&acme), &chain, tally(100, 0, 0), 0);
        assert!(budgets.chains.is_empty() && budgets.companies.is_empty());
        budgets.ran("f", Some(&acme), &chain, tally(1, 1, 1), 0);
        for minutes in [1, 2, 3] {
            budgets.ran("f", Some(&acme), &chain, tally(1, 0, 0), minutes * 60_000);
        }
        assert!(budgets.chains.is_empty() && budgets.companies.is_empty(), "forgotten once it works again");
    }
}
