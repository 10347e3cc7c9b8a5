//! The dead letters of a running host for its operators: found, shown, tried again.

mod retry;

pub use retry::{Outcome, Tried};

use crate::source::letter::{Retried, StoredLetter};
use crate::source::{Source, SourceError};
use crate::telemetry::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Letters read from their log at a time: each holds a whole event.
const AT_ONCE: usize = 64;
/// Letters looked at for one answer: the rest is asked for with the next.
const LOOKED_AT_MAX: usize = 5_000;
/// Letters in one answer.
pub const LISTED_MAX: usize = 500;

/// The dead letters, wherever the source keeps them.
pub struct Letters {
    source: Arc<dyn Source>,
    metrics: Metrics,
    /// What may be published to.
    subjects: Vec<String>,
    /// Two operators at once would both find that a letter was not retried yet.
    retrying: tokio::sync::Mutex<()>,
    noted: Mutex<Noted>,
}

/// Which letters are looked for. What is not given, fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this company.
    pub company: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// With this in its reason.
    pub reason: Option<String>,
    /// Of events on this subject.
    pub subject: Option<String>,
    /// Put there at this time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Not retried yet.
    pub open: bool,
}

impl Wanted {
    fn fits(&self, letter: &StoredLetter, retried: Option<&Retried>) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        is(&self.company, letter.company.as_deref().unwrap_or_default())
            && is(&self.kind, &letter.kind)
            && is(&self.subject, &letter.subject)
            && self.reason.as_deref().is_none_or(|part| letter.reason.contains(part))
            && self.since_ms.is_none_or(|since_ms| letter.time_ms >= since_ms)
            && !(self.open && retried.is_some())
    }
}

/// One letter of a list, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The letter; its payload is empty.
    pub letter: StoredLetter,
    /// The bytes of its payload.
    pub payload_bytes: usize,
    /// The last time it was retried.
    pub retried: Option<Retried>,
}

/// Some letters, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The letters.
    pub letters: Vec<Listed>,
    /// Ask again with this as `before` for older ones; none: there are no more.
    pub before: Option<u64>,
}

impl Letters {
    /// The letters that this source keeps; they may be published again on these subjects.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, metrics: Metrics, subjects: Vec<String>) -> Self {
        Self { source, metrics, subjects, retrying: tokio::sync::Mutex::new(()), noted: Mutex::default() }
    }

    /// Looks through the letters below the place `before` (all of them where it is `None`), the newest first, until so
    /// many were found, or so many looked at that the rest had better be asked for anew.
    ///
    /// # Errors
    /// The source can't be asked.
    pub async fn find(&self, wanted: &Wanted, before: Option<u64>, limit: usize) -> Result<Found, SourceError> {
        let places = self.source.dead_places().await?;
        let retried = self.retried_in(places).await?;
        let (first, last) = places;
        let mut below = before.unwrap_or(u64::MAX).min(last.saturating_add(1));
        let (mut found, mut looked_at) = (Found::default(), 0);
        while below > first {
            if looked_at >= LOOKED_AT_MAX {
                found.before = Some(below);
                return Ok(found);
            }
            let from = below.saturating_sub(AT_ONCE as u64).max(first);
            let mut letters = self.source.dead_letters(from - 1, AT_ONCE).await?;
            // Where some were deleted, what follows was read, too.
            letters.retain(|letter| letter.place < below);
            looked_at += AT_ONCE;
            for letter in letters.into_iter().rev() {
                if Retried::of(&letter).is_some() || !wanted.fits(&letter, retried.get(&letter.place)) {
                    continue;
                }
                if found.letters.len() == limit.min(LISTED_MAX) {
                    found.before = found.letters.last().map(|listed| listed.letter.place);
                    return Ok(found);
                }
                found.letters.push(listed(letter, &retried));
            }
            below = from;
        }
        Ok(found)
    }

    /// The letter at a place, whole; `None` where there is none.
    ///
    /// # Errors
    /// The source can't be asked.
    pub async fn at(&self, place: u64) -> Result<Option<(StoredLetter, Option<Retried>)>, SourceError> {
        let Some(letter) = self.read(place).await? else { return Ok(None) };
        let retried = self.retried().await?.get(&place).cloned();
        Ok(Some((letter, retried)))
    }

    async fn read(&self, place: u64) -> Result<Option<StoredLetter>, SourceError> {
        let Some(above) = place.checked_sub(1) else { return Ok(None) };
        let letter = self.source.dead_letters(above, 1).await?.pop();
        Ok(letter.filter(|letter| letter.place == place && Retried::of(letter).is_none()))
    }

    /// The last retry of each letter that was retried. Only what was noted since the last look is read.
    async fn retried(&self) -> Result<Arc<Latest>, SourceError> {
        self.retried_in(self.source.dead_places().await?).await
    }

    /// The same where first and last place of the log were asked for.
    async fn retried_in(&self, (first, last): (u64, u64)) -> Result<Arc<Latest>, SourceError> {
        let after = self.noted().begin(last);
        let more = self.source.retried(after).await?;
        Ok(self.noted().add(more, first, last))
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last retry of each letter, by its place.
type Latest = HashMap<u64, Retried>;

/// The notes of retries that were read so far.
#[derive(Debug, Default)]
struct Noted {
    /// All up to this place of the letters' log.
    upto: u64,
    latest: Arc<Latest>,
}

impl Noted {
    /// Above which place to read on, in a log that ends at `last`.
    fn begin(&mut self, last: u64) -> u64 {
        // A log that was made anew begins again.
        if last < self.upto {
            *self = Self::default();
        }
        self.upto
    }

    /// Takes in what was noted up to `last`; letters below `first` are gone, and their retries with them.
    fn add(&mut self, more: Vec<Retried>, first: u64, last: u64) -> Arc<Latest> {
        self.upto = self.upto.max(last);
        let gone = self.latest.keys().any(|letter| *letter < first);
        if gone || !more.is_empty() {
            let latest = Arc::make_mut(&mut self.latest);
            for retried in more {
                // Two who look at once may bring what they read in either order.
                if latest.get(&retried.letter).is_none_or(|known| known.attempt <= retried.attempt) {
                    latest.insert(retried.letter, retried);
                }
            }
            latest.retain(|letter, _| *letter >= first);
        }
        Arc::clone(&self.latest)
    }
}

fn listed(letter: StoredLetter, retried: &Latest) -> Listed {
    let (payload_bytes, retried) = (letter.payload.len(), retried.get(&letter.place).cloned());
    Listed { letter: StoredLetter { payload: bytes::Bytes::new(), ..letter }, payload_bytes, retried }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retried(letter: u64, attempt: u32) -> Retried {
        Retried { letter, attempt, time_ms: 1, sequence: None }
    }

    fn attempts(latest: &Latest) -> Vec<(u64, u32)> {
        let mut attempts: Vec<_> = latest.iter().map(|(letter, retried)| (*letter, retried.attempt)).collect();
        attempts.sort_unstable();
        attempts
    }

    #[test]
    fn the_last_retry_counts_in_whatever_order_it_is_read() {
        let mut noted = Noted::default();
        assert_eq!(noted.begin(9), 0);
        assert_eq!(attempts(&noted.add(vec![retried(1, 1), retried(2, 1)], 1, 9)), [(1, 1), (2, 1)]);
        assert_eq!(noted.begin(12), 9, "only what is new is read");
        assert_eq!(attempts(&noted.add(vec![retried(1, 2)], 1, 12)), [(1, 2), (2, 1)]);
        assert_eq!(attempts(&noted.add(vec![retried(1, 1)], 1, 9)), [(1, 2), (2, 1)], "another look, read before");
        assert_eq!(noted.begin(12), 12);
    }

    #[test]
    fn what_is_gone_takes_its_retries_with_it() {
        let mut noted = Noted::default();
        noted.add(vec![retried(1, 1), retried(5, 1)], 1, 9);
        assert_eq!(attempts(&noted.add(Vec::new(), 3, 9)), [(5, 1)]);
        assert_eq!(noted.begin(2), 0, "a log that was made anew");
        assert_eq!(attempts(&noted.add(Vec::new(), 1, 2)), []);
    }
}
