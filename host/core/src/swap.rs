//! Which chain serves a folder of modules, where the last commit, this host's own folder and what it applied before
//! differ.

/// The chain that the last commit names for a folder, by digest; for an owner at work: what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// No commit has named any chain yet.
    Never,
    /// The commit names chains, and none for this folder: nothing of its own serves it.
    Nothing,
    /// Its events wait: it had a folder, and no chain that could load.
    Broken,
    /// This one.
    Chain(&'a str),
}

/// What the folder holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// There is no folder.
    Nothing,
    /// Files that can't be read or make no chain.
    Refused,
    /// This chain.
    Chain(&'a str),
    /// This chain, which was deployed to it: the files are not looked at.
    Released(&'a str),
}

/// What this host applied of the folder last, as it noted that for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied<'a> {
    /// It has no notes at all: it is new here.
    Unknown,
    /// There was no folder.
    Nothing,
    /// This chain.
    Chain(&'a str),
}

/// All that is known of one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight<'a> {
    /// What is named.
    pub named: Named<'a>,
    /// What is found.
    pub found: Found<'a>,
    /// What was applied.
    pub applied: Applied<'a>,
    /// An earlier commit named for this folder what is found in it now.
    pub ran_before: bool,
    /// What is named was deployed, and the folder was given back to its files since.
    pub given_back: bool,
}

/// What serves the folder from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// What it holds. Where something else is named, this is a swap.
    Found,
    /// What is named, from the stored copy where it is not in the folder.
    Named,
}

impl Sight<'_> {
    /// Is what the folder holds the same as what is named?
    #[must_use]
    pub fn agrees(&self) -> bool {
        match (self.found, self.named) {
            (Found::Nothing, Named::Nothing) => true,
            (Found::Chain(found) | Found::Released(found), Named::Chain(named)) => found == named,
            (Found::Nothing | Found::Refused | Found::Chain(_) | Found::Released(_), _) => false,
        }
    }

    /// Is what the folder holds noted as applied: does it hold what is named, or is it judged to be older than that?
    #[must_use]
    pub fn settles(&self) -> bool {
        self.found != Found::Refused && (self.agrees() || self.choose() == Choice::Named)
    }

    /// A folder that was changed since this host applied it is an operator's word, and a swap. One that was not changed
    /// is only older than what another host runs. A new host's folder counts as changed if what it holds never ran.
    /// What was deployed is every host's word.
    #[must_use]
    pub fn choose(&self) -> Choice {
        let changed = match (self.applied, self.found) {
            // Nothing changes for the sake of files that make no chain.
            (_, Found::Refused) => false,
            (_, Found::Released(_)) => true,
            (_, Found::Nothing | Found::Chain(_)) if self.given_back => true,
            (Applied::Unknown, Found::Nothing) => false,
            (Applied::Unknown, Found::Chain(_)) => !self.ran_before,
            (Applied::Nothing, Found::Nothing) => false,
            (Applied::Chain(applied), Found::Chain(found)) => applied != found,
            (Applied::Nothing, Found::Chain(_)) | (Applied::Chain(_), Found::Nothing) => true,
        };
        // Whatever loads is better than what waits.
        let waits = matches!(self.named, Named::Never | Named::Broken) && self.found != Found::Refused;
        if changed || waits || self.agrees() { Choice::Found } else { Choice::Named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight<'a>(named: Named<'a>, found: Found<'a>, applied: Applied<'a>) -> Sight<'a> {
        Sight { named, found, applied, ran_before: true, given_back: false }
    }

    #[test]
    fn a_host_with_an_older_folder_runs_what_the_last_commit_names() {
        let old = sight(Named::Chain("new"), Found::Chain("old"), Applied::Chain("old"));
        assert_eq!(old.choose(), Choice::Named);
        let removed_elsewhere = sight(Named::Nothing, Found::Chain("old"), Applied::Chain("old"));
        assert_eq!(removed_elsewhere.choose(), Choice::Named);
        let added_elsewhere = sight(Named::Chain("new"), Found::Nothing, Applied::Nothing);
        assert_eq!(added_elsewhere.choose(), Choice::Named);
    }

    #[test]
    fn a_folder_that_was_changed_since_it_was_applied_is_a_swap() {
        let changed = sight(Named::Chain("new"), Found::Chain("newer"), Applied::Chain("old"));
        assert_eq!(changed.choose(), Choice::Found);
        let rolled_back = sight(Named::Chain("new"), Found::Chain("old"), Applied::Chain("new"));
        assert_eq!(rolled_back.choose(), Choice::Found);
        assert_eq!(
            sight(Named::Chain("new"), Found::Nothing, Applied::Chain("new")).choose(),
            Choice::Found,
            "removed"
        );
        assert_eq!(sight(Named::Nothing, Found::Chain("new"), Applied::Nothing).choose(), Choice::Found, "added");
    }

    #[test]
    fn a_new_host_swaps_only_to_what_never_ran() {
        let known = sight(Named::Chain("new"), Found::Chain("old"), Applied::Unknown);
        assert_eq!(known.choose(), Choice::Named);
        assert_eq!(Sight { ran_before: false, ..known }.choose(), Choice::Found);
        let empty = sight(Named::Chain("new"), Found::Nothing, Applied::Unknown);
        assert_eq!(Sight { ran_before: false, ..empty }.choose(), Choice::Named, "no folder is no word");
    }

    #[test]
    fn what_was_deployed_runs_on_every_host_until_the_folder_is_given_back_to_its_files() {
        for applied in [Applied::Unknown, Applied::Nothing, Applied::Chain("old")] {
            let deployed = sight(Named::Chain("old"), Found::Released("new"), applied);
            assert_eq!(deployed.choose(), Choice::Found, "{applied:?}");
            let back = sight(Named::Chain("new"), Found::Chain("old"), applied);
            // Files that were put there meanwhile are an operator's word in any case.
            let put = applied == Applied::Nothing;
            assert_eq!(back.choose(), if put { Choice::Found } else { Choice::Named }, "{applied:?}");
            assert_eq!(Sight { given_back: true, ..back }.choose(), Choice::Found, "{applied:?}");
            assert_eq!(Sight { given_back: true, found: Found::Nothing, ..back }.choose(), Choice::Found);
            assert_eq!(Sight { given_back: true, found: Found::Refused, ..back }.choose(), Choice::Named);
        }
    }

    #[test]
    fn files_that_make_no_chain_change_nothing() {
        for applied in [Applied::Unknown, Applied::Nothing, Applied::Chain("old")] {
            for named in [Named::Never, Named::Nothing, Named::Broken, Named::Chain("old")] {
                assert_eq!(sight(named, Found::Refused, applied).choose(), Choice::Named);
            }
        }
    }

    #[test]
    fn where_nothing_is_named_or_can_run_the_folder_serves() {
        for applied in [Applied::Unknown, Applied::Nothing, Applied::Chain("old")] {
            for named in [Named::Never, Named::Broken] {
                assert_eq!(sight(named, Found::Chain("old"), applied).choose(), Choice::Found);
                assert_eq!(sight(named, Found::Nothing, applied).choose(), Choice::Found);
            }
        }
    }

    #[test]
    fn what_is_a_swap_is_noted_once_it_is_named() {
        let swap = sight(Named::Chain("old"), Found::Chain("new"), Applied::Chain("old"));
        assert!(!swap.settles() && Sight { named: Named::Chain("new"), ..swap }.settles());
        assert!(sight(Named::Chain("newer"), Found::Chain("old"), Applied::Chain("old")).settles(), "older");
        assert!(!sight(Named::Chain("old"), Found::Refused, Applied::Chain("old")).settles());
    }

    #[test]
    fn what_agrees_needs_no_copy() {
        for applied in [Applied::Unknown, Applied::Nothing, Applied::Chain("old"), Applied::Chain("new")] {
            assert_eq!(sight(Named::Chain("new"), Found::Chain("new"), applied).choose(), Choice::Found);
            assert_eq!(sight(Named::Nothing, Found::Nothing, applied).choose(), Choice::Found);
        }
    }
}
