//! Which dead letters are kept, by a short hash of each id.

use std::collections::HashSet;

/// Ids of at most so many letters are known, the newest ones: twice what the log of dead letters keeps by itself.
pub const IDS_MAX: usize = 2_000_000;

/// The ids of kept dead letters.
///
/// Each is 64 bits of its hash: with a million letters kept, one new letter in twenty million million is taken for one of
/// them, and a million ids take about 16 MiB and not 100.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterIds(HashSet<u64>);

impl LetterIds {
    /// Adds the id of a kept letter.
    pub fn add(&mut self, id: &str) {
        self.0.insert(hash(id));
    }

    /// Is the letter with this id kept?
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.0.contains(&hash(id))
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn hash(id: &str) -> u64 {
    let whole = *blake3::hash(id.as_bytes()).as_bytes();
    u64::from_le_bytes(std::array::from_fn(|at| whole[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_once_it_was_added() {
        let mut ids = LetterIds::default();
        assert!(ids.is_empty() && !ids.contains("1-2-3-a-f@1"));
        ids.add("1-2-3-a-f@1");
        ids.add("1-2-3-a-f@1");
        assert!(ids.contains("1-2-3-a-f@1") && !ids.contains("1-2-3-a-f@2"));
        assert_eq!(ids.len(), 1);
    }
}
