//! Whose backlog is worked on next, and how much of it in one step.

use crate::event::Company;
use crate::limits::STEP_INPUTS;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Which backlogs are being worked off, and which may not be.
#[derive(Debug, Default)]
pub struct Turns {
    running: HashSet<Company>,
    /// The number of the commit that has to be stored before a company's next step may read.
    after: HashMap<Company, u64>,
    /// The chain under which a filter paused the company.
    paused: HashMap<Company, Arc<str>>,
    /// At most so many inputs in the company's next step, where a bigger one did not fit a commit or its time.
    smaller: HashMap<Company, usize>,
    /// The turn at which a company was served last.
    served: HashMap<Company, u64>,
    turn: u64,
}

impl Turns {
    /// Companies whose filter chose to pause, with the chain that did.
    #[must_use]
    pub fn paused(&self) -> Vec<Company> {
        self.paused.keys().cloned().collect()
    }

    /// The companies whose next step can begin, and how many inputs it may take; at most `at_once` steps run. `waiting`
    /// are all that wait, `chain` is the digest of a company's chain where it can run, and everything up to commit
    /// number `stored` is stored.
    pub fn next(
        &mut self,
        mut waiting: Vec<Company>,
        chain: impl Fn(&Company) -> Option<Arc<str>>,
        stored: u64,
        at_once: usize,
    ) -> Vec<(Company, usize)> {
        let mut next = Vec::new();
        let all: HashSet<&Company> = waiting.iter().collect();
        self.served.retain(|company, _| all.contains(company));
        // Who was served longest ago comes first: slow companies don't keep a quick one from its turn.
        waiting.sort_by_key(|company| self.served.get(company).copied().unwrap_or(0));
        for company in waiting {
            if self.running.len() >= at_once {
                break;
            }
            // A step reads what waits from the store: the one before must be stored, or it takes the same again.
            let ready = !self.running.contains(&company) && self.after.get(&company).is_none_or(|n| *n <= stored);
            let Some(digest) = chain(&company) else { continue };
            if ready && self.paused.get(&company) != Some(&digest) {
                let inputs = self.smaller.get(&company).copied().unwrap_or(STEP_INPUTS);
                self.running.insert(company.clone());
                self.turn += 1;
                self.served.insert(company.clone(), self.turn);
                next.push((company, inputs));
            }
        }
        next
    }

    /// Nothing came of a step; its turn comes again, with at most `again` inputs where that is said. `paused`: a filter
    /// paused the company under this chain.
    pub fn ended_empty(&mut self, company: &Company, again: Option<usize>, paused: Option<&Arc<str>>) {
        self.running.remove(company);
        if let Some(inputs) = again {
            self.smaller.insert(company.clone(), inputs);
        }
        if let Some(digest) = paused {
            self.paused.insert(company.clone(), digest.clone());
        }
    }

    /// A step became the commit with this number.
    pub fn ended(&mut self, company: &Company, commit: u64, paused: Option<&Arc<str>>) {
        self.running.remove(company);
        if let Some(inputs) = self.smaller.get_mut(company) {
            *inputs *= 2;
        }
        self.smaller.retain(|_, inputs| *inputs < STEP_INPUTS);
        self.after.insert(company.clone(), commit);
        match paused {
            Some(digest) => self.paused.insert(company.clone(), digest.clone()),
            None => self.paused.remove(company),
        };
    }

    /// A step of so many inputs did not fit a commit: the next one takes half as many.
    pub fn too_big(&mut self, company: &Company, inputs: usize) {
        self.running.remove(company);
        self.smaller.insert(company.clone(), (inputs / 2).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn companies(names: &[&str]) -> Vec<Company> {
        names.iter().map(|name| Company::new(name).unwrap()).collect()
    }

    fn names(next: &[(Company, usize)]) -> Vec<&str> {
        next.iter().map(|(company, _)| company.as_str()).collect()
    }

    fn ready(_: &Company) -> Option<Arc<str>> {
        Some("1".into())
    }

    #[test]
    fn who_was_served_longest_ago_comes_first() {
        let (mut turns, all) = (Turns::default(), companies(&["a", "b", "c"]));
        assert_eq!(names(&turns.next(all.clone(), ready, 0, 1)), ["a"]);
        assert_eq!(names(&turns.next(all.clone(), ready, 0, 1)), [] as [&str; 0], "one at a time");
        turns.ended_empty(&all[0], None, None);
        assert_eq!(names(&turns.next(all.clone(), ready, 0, 2)), ["b", "c"]);
    }

    #[test]
    fn the_next_step_waits_for_the_one_before_to_be_stored() {
        let (mut turns, all) = (Turns::default(), companies(&["a"]));
        turns.next(all.clone(), ready, 4, 1);
        turns.ended(&all[0], 7, None);
        assert!(turns.next(all.clone(), ready, 6, 1).is_empty());
        assert_eq!(turns.next(all, ready, 7, 1).len(), 1);
    }

    #[test]
    fn a_paused_company_waits_for_another_chain() {
        let (mut turns, all) = (Turns::default(), companies(&["a"]));
        turns.next(all.clone(), ready, 0, 1);
        turns.ended_empty(&all[0], None, Some(&"1".into()));
        assert_eq!(turns.paused(), all);
        assert!(turns.next(all.clone(), ready, 0, 1).is_empty());
        assert!(turns.next(all.clone(), |_| None, 0, 1).is_empty(), "nor without a chain");
        assert_eq!(turns.next(all, |_| Some("2".into()), 0, 1).len(), 1);
    }

    #[test]
    fn a_step_that_does_not_fit_is_halved_and_grows_again() {
        let (mut turns, all) = (Turns::default(), companies(&["a"]));
        assert_eq!(turns.next(all.clone(), ready, 0, 1)[0].1, STEP_INPUTS);
        turns.too_big(&all[0], 8);
        assert_eq!(turns.next(all.clone(), ready, 0, 1)[0].1, 4);
        turns.ended(&all[0], 1, None);
        assert_eq!(turns.next(all, ready, 1, 1)[0].1, 8);
    }
}
