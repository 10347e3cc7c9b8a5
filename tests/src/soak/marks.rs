//! Places in the companies' streams that somebody has seen: where visitors begin.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::flow::COMPANIES;

/// Places of each company.
const KEPT: usize = 400;

/// A place.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// Its id.
    pub(super) id: String,
    /// The number of the event after it.
    pub(super) next: u64,
    at: Instant,
}

/// The latest places of each company.
#[derive(Debug, Default)]
pub(super) struct Marks([Mutex<VecDeque<Mark>>; COMPANIES.len()]);

impl Marks {
    /// Keeps one.
    pub(super) fn add(&self, company: usize, id: &str, next: u64) {
        let Some(kept) = self.0.get(company) else { return };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Mark { id: id.to_owned(), next, at: Instant::now() });
    }

    /// Any that is younger than `age`.
    pub(super) fn draw(&self, company: usize, age: std::time::Duration, random: &mut StdRng) -> Option<Mark> {
        let mut kept = self.0.get(company)?.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.front().is_some_and(|mark| mark.at.elapsed() > age) {
            kept.pop_front();
        }
        if kept.is_empty() {
            return None;
        }
        kept.get(random.random_range(0..kept.len())).cloned()
    }
}
