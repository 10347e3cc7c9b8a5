//! What became of an event for a company, from what is kept of it: records, backlog, cache, floors, source.

use crate::commit::CompanyHead;
use crate::event::Company;
use crate::gap::{Floor, GapReason};
use crate::position::{Place, Position};
use crate::record::{Became, Line, Pass, Recorded};
use std::sync::Arc;

/// Which event is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// For whom.
    pub company: Company,
    /// Generation of the stream.
    pub generation: u16,
    /// Sequence in the stream.
    pub sequence: u64,
}

/// What the source says of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InSource {
    /// It has it.
    Held {
        /// Its subject.
        subject: Arc<str>,
        /// Its time, in milliseconds since 1970.
        time_ms: u64,
    },
    /// It has none of that number: never had, or no longer.
    NotHeld,
    /// It was not asked, or did not answer, or numbers otherwise today.
    Unknown,
}

/// An output of the event that the replay cache still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Where it stands.
    pub position: Position,
    /// The subject of its event.
    pub subject: Arc<str>,
    /// Its event type.
    pub event_type: Arc<str>,
    /// The source's time of its event, in milliseconds since 1970.
    pub time_ms: u64,
    /// First half of the digest of the chain that made it.
    pub chain: u64,
    /// Bytes of its data.
    pub bytes: u64,
}

/// Everything that is known, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Everything up to here is committed.
    pub checkpoint: Option<Place>,
    /// The partition's floor.
    pub floor: Option<Floor>,
    /// What is known of the company; `None` where nothing is.
    pub company: Option<CompanyHead>,
    /// The first record whose checkpoint is at or above the event.
    pub record: Option<Recorded>,
    /// The oldest record there is.
    pub oldest: Option<Recorded>,
    /// The record of the step that took the event out of its company's backlog, where it waited.
    pub step: Option<Recorded>,
    /// The event's outputs in the replay cache.
    pub cached: Vec<Cached>,
    /// What the source says.
    pub source: InSource,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its outputs were committed: one for each input it became for the company, in order.
    Decided(Vec<Became>),
    /// The platform chain ended it before it had a company.
    Platform(Became),
    /// An emptied store was not filled with it.
    PassedOver,
    /// It waits in the company's backlog since that commit.
    Waiting,
    /// It left the backlog, and the record of that is gone.
    LeftBacklog,
    /// It went to others only: to so many companies.
    Others(usize),
    /// It is in the source and not committed yet.
    NotYet,
    /// The source lost it before it was read.
    SourceLost,
    /// A commit went past it, and there was no event of that number.
    NeverSeen,
    /// There is nothing above the checkpoint that the source would have under that number.
    NotInSource,
    /// It is older than the records that are kept; the cache has so many of its outputs.
    RecordsGone {
        /// So many outputs of it are in the cache.
        cached: usize,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What became of it.
    pub fate: Fate,
    /// The commit that took it in: number, and when by the store's clock in milliseconds since 1970.
    pub taken_in: Option<(u64, u64)>,
    /// The commit that decided it, where it waited before.
    pub decided: Option<(u64, u64)>,
    /// The platform chain's run.
    pub platform: Option<Pass>,
    /// The company chain's run.
    pub chain: Option<Pass>,
    /// How many outputs the commit wrote.
    pub outputs: u32,
    /// What is gone of them from the replay cache, and why: the floor above them.
    pub gone: Option<Floor>,
}

/// Says what became of the event.
#[must_use]
pub fn explain(question: &Question, evidence: &Evidence) -> Explanation {
    let event = (question.generation, question.sequence);
    let taken = evidence.record.as_ref().filter(|found| found.record.batch);
    let lines = taken.and_then(|found| found.record.find(event.0, event.1));
    let Some((taken, lines)) = taken.zip(lines) else {
        return Explanation { fate: unrecorded(question, evidence), ..nothing(question, evidence) };
    };
    let base = Explanation {
        taken_in: Some((taken.number, taken.at_ms)),
        platform: taken.record.pass(None).cloned(),
        chain: taken.record.pass(Some(&question.company)).cloned(),
        ..nothing(question, evidence)
    };
    match lines {
        [Line { company: None, became: Became::PassedOver }] => {
            Explanation { fate: Fate::PassedOver, chain: None, ..base }
        }
        // The company's chain ran over others of the same commit.
        [Line { company: None, became }] => Explanation { fate: Fate::Platform(became.clone()), chain: None, ..base },
        lines => of_company(question, evidence, lines, base),
    }
}

fn of_company(question: &Question, evidence: &Evidence, lines: &[Line], base: Explanation) -> Explanation {
    let own = |lines: &[Line]| -> Vec<Became> {
        let own = lines.iter().filter(|line| line.company.as_ref() == Some(&question.company));
        own.map(|line| line.became.clone()).collect()
    };
    let mut became = own(lines);
    if became.is_empty() {
        let mut others: Vec<&Company> = lines.iter().filter_map(|line| line.company.as_ref()).collect();
        others.sort();
        others.dedup();
        return Explanation { fate: Fate::Others(others.len()), chain: None, ..base };
    }
    if !became.contains(&Became::Waits) {
        return decided(became, base);
    }
    let stands = evidence.company.and_then(|head| head.waiting_from);
    let waits = stands.is_some_and(|from| from.position() < Position::before(question.generation, question.sequence));
    if waits {
        return Explanation { fate: Fate::Waiting, chain: None, ..base };
    }
    let step = evidence.step.as_ref();
    let lines = step.and_then(|step| step.record.find(question.generation, question.sequence));
    let Some((step, lines)) = step.zip(lines) else {
        return Explanation { fate: Fate::LeftBacklog, chain: None, ..base };
    };
    // Others of its inputs may have been decided at once: they found the backlog full.
    became.retain(|became| *became != Became::Waits);
    became.extend(own(lines));
    let chain = step.record.pass(Some(&question.company)).cloned();
    decided(became, Explanation { decided: Some((step.number, step.at_ms)), chain, ..base })
}

fn decided(became: Vec<Became>, base: Explanation) -> Explanation {
    let outputs = became.iter().map(|one| if let Became::Emitted(outputs) = one { *outputs } else { 0 }).sum();
    Explanation { fate: Fate::Decided(became), outputs, ..base }
}

/// No commit's record speaks of it: why?
fn unrecorded(question: &Question, evidence: &Evidence) -> Fate {
    let event = Position::before(question.generation, question.sequence);
    let Some(checkpoint) = evidence.checkpoint else { return above(evidence) };
    if event > checkpoint.position() {
        return above(evidence);
    }
    if !evidence.cached.is_empty() {
        return Fate::RecordsGone { cached: evidence.cached.len() };
    }
    // A commit that spoke of all between two checkpoints had no such event; nor had any, where older records are kept.
    let spoken_of = evidence.record.as_ref().is_some_and(|found| found.record.batch && found.record.after < event);
    let older_kept = evidence.oldest.as_ref().is_some_and(|oldest| oldest.record.upto < event);
    let floor = evidence.floor.filter(|floor| floor.position > event);
    match floor.map(|floor| floor.reason) {
        Some(GapReason::SourceLost) if spoken_of || older_kept => Fate::SourceLost,
        _ if spoken_of || older_kept => Fate::NeverSeen,
        _ => Fate::RecordsGone { cached: 0 },
    }
}

/// Above all that is committed.
fn above(evidence: &Evidence) -> Fate {
    match evidence.source {
        InSource::Held { .. } => Fate::NotYet,
        InSource::NotHeld | InSource::Unknown => Fate::NotInSource,
    }
}

fn nothing(question: &Question, evidence: &Evidence) -> Explanation {
    let event = Position::before(question.generation, question.sequence);
    let own = evidence.company.and_then(|head| head.floor);
    let gone = Floor::higher(own, evidence.floor).filter(|floor| floor.position > event);
    Explanation { fate: Fate::NeverSeen, taken_in: None, decided: None, platform: None, chain: None, outputs: 0, gone }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
