//! What the checks know of a run, beside the code under test: everything that was ever stored, and what was lost.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidegate_core::commit::Commit;
use tidegate_core::event::Company;
use tidegate_core::position::CommitName;

/// Where something stands, in the terms of the model source: life of the stream, sequence, output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Coord {
    pub(crate) life: u32,
    pub(crate) sequence: u64,
    pub(crate) output: u32,
}

impl std::fmt::Display for Coord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/", self.life, self.sequence)?;
        if self.output == u32::MAX { f.write_str("*") } else { write!(f, "{}", self.output) }
    }
}

/// One output that was stored at some time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) time_ms: u64,
    /// What it held; several where a store's later life counted otherwise.
    pub(crate) data: Vec<Bytes>,
}

/// Kept over all lives of the store.
#[derive(Default)]
pub(crate) struct Truth {
    /// Every output that was ever stored.
    pub(crate) ever: BTreeMap<Company, BTreeMap<Coord, Stored>>,
    /// Every input that ever was stored as dead: company, life, sequence.
    pub(crate) dead: BTreeSet<(Company, u32, u64)>,
    /// Contents of every commit name that was applied.
    pub(crate) names: HashMap<CommitName, Commit>,
    /// The store lost writes.
    pub(crate) went_back: bool,
    /// How often the store was emptied.
    pub(crate) flushes: u32,
    /// Floors that were raised because state was lost, as places: life and sequence.
    pub(crate) store_lost: BTreeSet<(u32, u64)>,
    /// Published dead letters: id, company, life, sequence, emission.
    pub(crate) letters: BTreeMap<String, (Option<Company>, u32, u64)>,
    /// On core NATS, which message each number that was ever stored stands for.
    pub(crate) numbers: BTreeMap<u64, usize>,
    /// There, the floors of what may be lost, with their times.
    pub(crate) source_lost: BTreeMap<u64, u64>,
    /// There, what is missing.
    pub(crate) losses: Vec<Loss>,
}

/// Messages that nobody committed.
pub(crate) struct Loss {
    /// The last event before them, and the first after them.
    pub(crate) between: (Coord, Coord),
    /// Those whom it concerns, and when the newest of each was published.
    pub(crate) times: BTreeMap<Company, u64>,
}

impl Truth {
    /// Outputs of a company above one place and up to another.
    pub(crate) fn between<'a>(
        &'a self,
        company: &Company,
        above: Coord,
        to: Coord,
    ) -> impl Iterator<Item = (&'a Coord, &'a Stored)> + use<'a> {
        use std::ops::Bound::{Excluded, Included};
        let range = (above < to).then_some((Excluded(above), Included(to)));
        self.ever.get(company).into_iter().flat_map(move |all| range.into_iter().flat_map(|range| all.range(range)))
    }
}
