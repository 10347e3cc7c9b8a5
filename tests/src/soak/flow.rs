//! What is published: numbered for each company, most for a few, now and then something for a quiet one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::history::payload;
use crate::publish::{Publisher, Steady};

/// The companies; the last one is quiet.
pub(super) const COMPANIES: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "quiet"];
/// The name of a company by its place in [`COMPANIES`].
pub(super) fn name(company: usize) -> &'static str {
    COMPANIES.get(company).copied().unwrap_or_default()
}

/// One event in so many is the quiet company's.
const QUIET: u32 = 400;
const SUBJECTS: [&str; 2] = ["metrics.calculated", "metrics.recounted"];

/// How many events each company was given, in the order of [`COMPANIES`].
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Arc<[AtomicU64; COMPANIES.len()]>);

impl Counters {
    /// So many events of a company so far.
    pub(super) fn of(&self, company: usize) -> u64 {
        self.0.get(company).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Over all companies.
    pub(super) fn sum(&self) -> u64 {
        (0..COMPANIES.len()).map(|company| self.of(company)).sum()
    }

    fn next(&self, company: usize) -> u64 {
        self.0.get(company).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed))
    }
}

/// Publishes at this rate until it is stopped, each event until it is taken.
pub(super) fn begin(publisher: &Publisher, rate: u32, seed: u64, counters: &Counters) -> Steady {
    let (mut random, counters) = (StdRng::seed_from_u64(seed), counters.clone());
    publisher.steady(rate, u64::MAX, move |_| {
        let quiet = COMPANIES.len() - 1;
        let company = if random.random_ratio(1, QUIET) { quiet } else { random.random_range(0..quiet) };
        let subject = SUBJECTS[random.random_range(0..SUBJECTS.len())];
        (subject.to_owned(), payload(COMPANIES[company], counters.next(company)))
    })
}
