//! The chains that commits name, folder by folder: what the last one says, and what ever ran.

use crate::swap::Named;
use std::sync::Arc;

/// Folders and the digests of the chains that serve them, as a commit names them. An empty digest: a folder whose events
/// wait for a chain that can load.
pub type Names = Vec<(Arc<str>, Arc<str>)>;

/// What a commit names for a folder.
#[must_use]
pub fn named_in<'a>(names: &'a Names, folder: &str) -> Named<'a> {
    match names.iter().find(|(name, _)| &**name == folder) {
        _ if names.is_empty() => Named::Never,
        None => Named::Nothing,
        Some((_, digest)) if digest.is_empty() => Named::Broken,
        Some((_, digest)) => Named::Chain(digest),
    }
}

/// What counts as named when a tenure begins: what the last commit says. An emptied store names nothing: there what was
/// named last, as far as this process was told, runs on.
#[must_use]
pub fn counts<'a>(told: Option<&'a Names>, stored: &'a Names) -> &'a Names {
    if stored.is_empty() { told.unwrap_or(stored) } else { stored }
}

/// Chains that are remembered to have run; the oldest are forgotten first.
const RAN_MAX: usize = 4_096;

/// The chains that commits named, each with its folder, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran(Vec<(String, String)>);

impl Ran {
    /// Folders and digests, oldest first.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Did this chain ever serve this folder?
    #[must_use]
    pub fn holds(&self, folder: &str, digest: &str) -> bool {
        self.0.iter().any(|(f, d)| f == folder && d == digest)
    }

    /// The chain that served a folder before the one of this digest, as far as is known: the newest other one that is
    /// none of those that were rolled back.
    #[must_use]
    pub fn before(&self, folder: &str, digest: &str, rolled_back: impl Fn(&str) -> bool) -> Option<&str> {
        let other = |(f, d): &&(String, String)| f == folder && d != digest && !rolled_back(d);
        self.0.iter().rev().find(other).map(|(_, digest)| digest.as_str())
    }

    /// Adds what is not in it yet. True when something was.
    pub fn add(&mut self, pairs: impl IntoIterator<Item = (String, String)>) -> bool {
        let before = self.0.len();
        for (folder, digest) in pairs {
            if !digest.is_empty() && !self.holds(&folder, &digest) {
                self.0.push((folder, digest));
            }
        }
        let grown = self.0.len() > before;
        self.0.drain(..self.0.len().saturating_sub(RAN_MAX));
        grown
    }

    /// Adds what a commit names. True when something of it is new.
    pub fn add_named(&mut self, names: &Names) -> bool {
        self.add(names.iter().map(|(folder, digest)| (folder.to_string(), digest.to_string())))
    }

    /// Takes over what another list has.
    pub fn join(&mut self, other: &Self) -> bool {
        self.add(other.0.iter().cloned())
    }
}

impl From<Vec<(String, String)>> for Ran {
    fn from(pairs: Vec<(String, String)>) -> Self {
        let mut ran = Self::default();
        ran.add(pairs);
        ran
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Names {
        pairs.iter().map(|(folder, digest)| ((*folder).into(), (*digest).into())).collect()
    }

    #[test]
    fn a_commit_names_a_chain_nothing_or_one_that_waits_for_each_folder() {
        let named = names(&[("a", "1"), ("b", "")]);
        assert_eq!(
            ["a", "b", "c"].map(|folder| named_in(&named, folder)),
            [Named::Chain("1"), Named::Broken, Named::Nothing]
        );
        assert_eq!(named_in(&Names::new(), "a"), Named::Never);
    }

    #[test]
    fn what_was_named_last_runs_on_over_an_emptied_store_alone() {
        let (old, new) = (names(&[("a", "1")]), names(&[("a", "2")]));
        assert_eq!(counts(Some(&new), &Names::new()), &new);
        assert_eq!(counts(Some(&new), &old), &old);
        assert_eq!(counts(None, &Names::new()), &Names::new());
    }

    #[test]
    fn what_ran_is_kept_once_and_the_oldest_is_forgotten_first() {
        let mut ran = Ran::default();
        assert!(ran.add_named(&names(&[("a", "1"), ("b", "")])) && !ran.add_named(&names(&[("a", "1")])));
        assert!(ran.holds("a", "1") && !ran.holds("b", "1") && !ran.holds("b", ""));
        assert!(!ran.clone().join(&ran));
        let before = |folder, digest| ran.before(folder, digest, |_| false);
        assert_eq!((before("a", "1"), before("a", "2"), before("b", "1")), (None, Some("1"), None));
        assert_eq!(ran.before("a", "2", |digest| digest == "1"), None, "it was rolled back");
        ran.add((0..RAN_MAX + 10).map(|n| ("a".to_owned(), format!("x{n}"))));
        assert!(!ran.holds("a", "1") && !ran.holds("a", "x9") && ran.holds("a", "x10"));
        assert_eq!(Ran::from(ran.pairs().to_vec()), ran);
    }
}
