//! What must hold of a commit before a store begins to write it, and of names a store gives back.

use super::StoreError;
use std::collections::{BTreeMap, HashSet};
use tidegate_core::commit::{Commit, Part, StateWrite, Waiting, waiting_position};
use tidegate_core::event::Company;
use tidegate_core::position::Position;

/// Where an input waits: in the generation that was current when it joined.
pub(super) fn waits_at(waiting: &Waiting) -> Position {
    waiting_position(waiting.previous.generation, &waiting.input)
}

/// Positions ascend within each part, and each company has one part: a stream refuses what does not ascend, and then it
/// would be too late.
pub(super) fn ascending(commit: &Commit) -> Result<(), StoreError> {
    let mut seen = HashSet::new();
    for part in &commit.parts {
        let fine = seen.insert(&part.company)
            && part.outputs.iter().is_sorted_by(|a, b| a.position < b.position)
            && part.backlog_add.iter().is_sorted_by(|a, b| waits_at(a) < waits_at(b));
        if !fine {
            return Err(StoreError::Corrupt(format!("commit {:?} is out of order for {}", commit.name, part.company)));
        }
    }
    Ok(())
}

/// The last write to each key: what the state is after the part.
pub(super) fn last_writes(part: &Part) -> impl Iterator<Item = &StateWrite> {
    let last: BTreeMap<_, _> = part.state.iter().map(|write| ((&write.filter, &write.key), write)).collect();
    last.into_values()
}

/// A company's name that comes back from a store.
pub(super) fn company(name: &str) -> Result<Company, StoreError> {
    Company::new(name).map_err(|error| StoreError::Corrupt(format!("the company {name:?}: {error}")))
}

/// A stored value that can't be decoded.
pub(super) fn unreadable(company: &Company, error: &dyn std::error::Error) -> StoreError {
    StoreError::Corrupt(format!("of {company}: {error}"))
}
