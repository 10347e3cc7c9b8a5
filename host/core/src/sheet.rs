//! One commit in the making: what fits into it, and what became of each source event.

use crate::commit::{Counts, Part};
use crate::entry::{DeadLetter, Entry};
use crate::limits::{COMMIT_BYTES, COMMIT_OUTPUTS};
use crate::record::{Became, Notes};
use std::collections::HashSet;
use std::sync::Arc;

/// What became of an input; of an event, the strongest of its inputs' (in this order).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// For this reason, which may be empty.
    Dropped(Arc<str>),
    Emitted,
    Dead,
}

impl Outcome {
    pub(crate) fn of(became: &Became) -> Self {
        match became {
            Became::Emitted(0) | Became::Waits | Became::PassedOver => Self::Dropped("".into()),
            Became::Emitted(_) => Self::Emitted,
            Became::Dropped { reason, .. } => Self::Dropped(reason.clone()),
            Became::Dead { .. } => Self::Dead,
        }
    }
}

/// The word for a drop whose filter gave no reason.
const NO_REASON: &str = "no reason given";

#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) entries: Vec<Entry>,
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) became: Vec<Became>,
    pub(crate) bytes: usize,
}

/// The commit in the making: what was taken in, and what became of each source event.
pub(crate) struct Sheet {
    pub(crate) parts: Vec<Part>,
    pub(crate) letters: Vec<DeadLetter>,
    /// What it decided for each input, for its record.
    pub(crate) notes: Notes,
    pub(crate) outcomes: Vec<Outcome>,
    /// Event number, part, index in that part's `backlog_add`.
    pub(crate) waits: Vec<(usize, usize, usize)>,
    outputs: usize,
    pub(crate) bytes: usize,
    pub(crate) undecided: HashSet<usize>,
}

impl Sheet {
    pub(crate) fn new(events: usize) -> Self {
        Self {
            parts: Vec::new(),
            letters: Vec::new(),
            notes: Notes::default(),
            outcomes: vec![Outcome::Dropped("".into()); events],
            waits: Vec::new(),
            outputs: 0,
            bytes: 0,
            undecided: HashSet::new(),
        }
    }

    /// Is there room for a part? A part is never cut.
    pub(crate) fn fits(&self, settled: &Settled) -> bool {
        self.outputs + settled.entries.len() <= COMMIT_OUTPUTS && self.bytes + settled.bytes <= COMMIT_BYTES
    }

    pub(crate) fn take(&mut self, settled: &Settled) {
        self.outputs += settled.entries.len();
        self.bytes += settled.bytes;
    }

    pub(crate) fn outcome(&mut self, number: usize, outcome: &Outcome) {
        if *outcome > self.outcomes[number] {
            self.outcomes[number] = outcome.clone();
        }
    }

    pub(crate) fn dead(&mut self, number: usize, letter: DeadLetter) {
        self.outcome(number, &Outcome::Dead);
        self.letters.push(letter);
    }

    /// Each event counts once: now, unless nothing was emitted and a part of it waits; then with that part.
    pub(crate) fn counts(&mut self) -> Counts {
        for (number, part, index) in &self.waits {
            if matches!(self.outcomes[*number], Outcome::Dropped(_)) && self.undecided.insert(*number) {
                self.parts[*part].backlog_add[*index].counts = true;
            }
        }
        let mut counts = Counts::default();
        for (_, outcome) in self.decided() {
            match outcome {
                Outcome::Dropped(_) => counts.dropped += 1,
                Outcome::Emitted => counts.emitted += 1,
                Outcome::Dead => counts.dead += 1,
            }
        }
        counts
    }

    /// Why events were dropped, and how many for each reason.
    pub(crate) fn drops(&self) -> Vec<(Arc<str>, u64)> {
        let mut drops: Vec<(Arc<str>, u64)> = Vec::new();
        for (_, outcome) in self.decided() {
            let Outcome::Dropped(reason) = outcome else { continue };
            let reason: Arc<str> = if reason.is_empty() { NO_REASON.into() } else { reason.clone() };
            match drops.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, events)) => *events += 1,
                None => drops.push((reason, 1)),
            }
        }
        drops
    }

    pub(crate) fn decided(&self) -> impl Iterator<Item = (usize, &Outcome)> {
        self.outcomes.iter().enumerate().filter(|(number, _)| !self.undecided.contains(number))
    }
}
