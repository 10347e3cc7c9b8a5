//! Trying dead letters again: the original is published once more, for the part that had failed.

use super::Letters;
use crate::source::headers::pairs;
use crate::source::letter::{Retried, StoredLetter};
use crate::source::subject::matches;
use crate::source::{Publish, SourceError};
use bytes::Bytes;
use tidegate_core::event::Company;
use tidegate_core::retry::{HEADER, Retry};

/// What became of one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its place.
    pub place: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// How a retry ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was published again, under this sequence where the source numbers.
    Published {
        /// The sequence of the new event.
        sequence: Option<u64>,
        /// It could not be noted that it was: the same letter can be retried again by mistake.
        unnoted: Option<String>,
    },
    /// It would be.
    Would,
    /// It can't be, and why.
    Refused(String),
    /// The source could not be asked; the same retry again does no harm within the source's window for repeats.
    Failed(String),
}

impl Letters {
    /// Publishes letters again, in the order of their places, each narrowed to the company and the emission that had
    /// failed. One that was retried before is refused unless it is to be tried `again`. With `dry_run` nothing is
    /// published. Once the source fails, the rest is not tried.
    pub async fn retry(&self, places: &[u64], again: bool, dry_run: bool) -> Vec<Tried> {
        let _one_at_a_time = self.retrying.lock().await;
        let mut places = places.to_vec();
        places.sort_unstable();
        places.dedup();
        let retried = match self.retried().await {
            Ok(retried) => retried,
            Err(error) => return failed(&places, &error),
        };
        let mut tried = Vec::with_capacity(places.len());
        for (at, place) in places.iter().copied().enumerate() {
            let letter = match self.read(place).await {
                Ok(Some(letter)) => letter,
                Ok(None) => {
                    tried.push(Tried { place, outcome: Outcome::Refused("there is no letter at this place".into()) });
                    continue;
                }
                Err(error) => {
                    tried.extend(failed(&places[at..], &error));
                    return tried;
                }
            };
            let before = retried.get(&place);
            let outcome = match self.objection(&letter, before.filter(|_| !again)) {
                Some(objection) => Outcome::Refused(objection),
                None if dry_run => Outcome::Would,
                None => {
                    match self.publish(&letter, before.map_or(1, |before| before.attempt.saturating_add(1))).await {
                        Ok(outcome) => outcome,
                        Err(SourceError::Refused(reason)) => Outcome::Refused(reason),
                        Err(error) => {
                            tried.extend(failed(&places[at..], &error));
                            return tried;
                        }
                    }
                }
            };
            tried.push(Tried { place, outcome });
        }
        tried
    }

    /// Why a letter can't be tried again.
    fn objection(&self, letter: &StoredLetter, before: Option<&Retried>) -> Option<String> {
        if let Some(cut) = letter.truncated_bytes {
            return Some(format!(
                "{cut} bytes of its payload were cut off: publish the original from where it came from"
            ));
        }
        if let Some(cut) = letter.headers_cut {
            return Some(format!("{cut} of its headers were left out: publish the original from where it came from"));
        }
        if !self.subjects.iter().any(|pattern| matches(pattern, &letter.subject)) {
            let subjects = self.subjects.join(", ");
            return Some(format!("its subject {:?} is none of source.subjects ({subjects})", letter.subject));
        }
        before.map(|before| {
            let sequence = before.sequence.map_or_else(String::new, |sequence| format!(" as sequence {sequence}"));
            format!("it was retried before{sequence}; --again retries it once more")
        })
    }

    async fn publish(&self, letter: &StoredLetter, attempt: u32) -> Result<Outcome, SourceError> {
        let message = Publish {
            subject: letter.subject.clone(),
            payload: letter.payload.clone(),
            headers: headers(letter),
            // Not the original's, which the source would take for a repeat; the same for the same attempt, so that one
            // whose answer was lost is none.
            id: Some(format!("tidegate-retry-{}-{}-{attempt}", letter.time_ms, letter.place)),
        };
        let published = self.source.publish(std::slice::from_ref(&message)).await.map_err(|(_, error)| error)?;
        let sequence = published.first;
        let noted = self.source.publish_dead(&Retried::note(letter, attempt, sequence)).await;
        self.metrics.dead_letter_retried();
        tracing::info!(
            place = letter.place,
            subject = letter.subject,
            sequence,
            companyId = letter.company.as_deref(),
            attempt,
            "a dead letter was retried"
        );
        Ok(Outcome::Published { sequence, unnoted: noted.err().map(|error| error.to_string()) })
    }
}

/// The original's own headers but for those that NATS would obey, and which part it is for.
fn headers(letter: &StoredLetter) -> Bytes {
    let mut lines = Vec::with_capacity(letter.headers.len() + 64);
    for (name, value) in pairs(&letter.headers) {
        let obeyed = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"Nats-"));
        if !obeyed && !name.eq_ignore_ascii_case(HEADER.as_bytes()) {
            lines.extend_from_slice(&[name, b": ", value, b"\n"].concat());
        }
    }
    if let Some(part) = part(letter) {
        lines.extend(format!("{HEADER}: {part}\n").into_bytes());
    }
    lines.into()
}

/// The part that had failed. A retry that failed before it came to a part stays the retry of what it was for: all others
/// were served by the event that it was made of.
fn part(letter: &StoredLetter) -> Option<Retry> {
    let company = letter.company.as_deref().and_then(|name| Company::new(name).ok());
    match company.filter(|_| letter.emission > 0) {
        Some(company) => Some(Retry { emission: letter.emission, company }),
        None => Retry::of(&letter.headers),
    }
}

fn failed(places: &[u64], error: &SourceError) -> Vec<Tried> {
    let outcome = |at| match at {
        0 => Outcome::Failed(error.to_string()),
        _ => Outcome::Failed("not tried: one before it failed".into()),
    };
    places.iter().enumerate().map(|(at, place)| Tried { place: *place, outcome: outcome(at) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(emission: u32, company: &str, headers: &'static str) -> StoredLetter {
        let mut letter = StoredLetter::parse(1, 2, b"", Bytes::new());
        letter.emission = emission;
        letter.company = Some(company.to_owned()).filter(|name| !name.is_empty());
        letter.headers = Bytes::from_static(headers.as_bytes());
        letter
    }

    fn sent(letter: &StoredLetter) -> String {
        String::from_utf8(headers(letter).to_vec()).expect("UTF-8")
    }

    #[test]
    fn what_the_server_would_obey_is_not_sent_again() {
        let original = "Trace: 1\nNats-Msg-Id: x\nnats-rollup: all\n";
        assert_eq!(sent(&letter(0, "", original)), "Trace: 1\n");
        assert_eq!(sent(&letter(2, "acme", original)), "Trace: 1\nTidegate-Retry: 2 acme\n");
    }

    #[test]
    fn a_retry_that_failed_before_its_part_is_still_for_that_part_alone() {
        let retried = "Tidegate-Retry: 2 acme\nTrace: 1\n";
        assert_eq!(sent(&letter(0, "", retried)), "Trace: 1\nTidegate-Retry: 2 acme\n");
        assert_eq!(sent(&letter(3, "beta", retried)), "Trace: 1\nTidegate-Retry: 3 beta\n", "its own part counts");
    }
}
