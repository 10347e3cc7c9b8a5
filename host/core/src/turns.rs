//! Whose backlog is worked on next, how much of it in one step, and whose is only looked at for what waited too long.

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
    /// The chain under which the company is paused, and by what.
    paused: HashMap<Company, (Arc<str>, PausedBy)>,
    /// At most so many inputs in the company's next step, where a bigger one did not fit a commit or its time.
    smaller: HashMap<Company, usize>,
    /// The turn at which a company was served last.
    served: HashMap<Company, u64>,
    turn: u64,
    /// Whose oldest inputs are being looked at, though nothing can run them.
    looking: Option<Company>,
    /// The source time from which on the oldest input of such a company has waited too long, once it was looked at.
    due_ms: HashMap<Company, u64>,
}

/// Why a company's events wait until it has another chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausedBy {
    /// A filter failed whose deployer chose `on-error = "pause"`.
    Filter,
    /// Its filters failed at nearly all of its events.
    Budget,
}

impl Turns {
    /// Companies that are paused and whose chain is still the one that was; `chain` is as in [`Self::next`].
    #[must_use]
    pub fn paused(&self, chain: impl Fn(&Company) -> Option<Arc<str>>) -> Vec<(Company, PausedBy)> {
        let still = self.paused.iter().filter(|(company, (digest, _))| chain(company).as_ref() == Some(digest));
        still.map(|(company, (_, by))| (company.clone(), *by)).collect()
    }

    /// Pauses under chains that companies no longer have are over; `chain` is as in [`Self::next`].
    pub fn forget_paused(&mut self, chain: impl Fn(&Company) -> Option<Arc<str>>) {
        self.paused.retain(|company, (digest, _)| chain(company).is_none_or(|present| present == *digest));
    }

    /// Its filters fail at nearly all of the company's events under this chain: they wait until it has another one.
    pub fn pause(&mut self, company: &Company, digest: &Arc<str>) {
        self.paused.insert(company.clone(), (Arc::clone(digest), PausedBy::Budget));
    }

    /// Is the company paused under this chain? Its inputs wait until it has another one, even if all that waited
    /// before waited too long.
    #[must_use]
    pub fn is_paused(&self, company: &Company, digest: &Arc<str>) -> bool {
        self.paused.get(company).is_some_and(|(paused, _)| paused == digest)
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
            let ready = self.is_free(&company, stored);
            let Some(digest) = chain(&company) else { continue };
            if ready && !self.is_paused(&company, &digest) {
                let inputs = self.smaller.get(&company).copied().unwrap_or(STEP_INPUTS);
                self.running.insert(company.clone());
                self.turn += 1;
                self.served.insert(company.clone(), self.turn);
                next.push((company, inputs));
            }
        }
        next
    }

    /// The company whose oldest inputs are to be looked at next, since nothing works its backlog off (it is paused, or no
    /// chain of its can run) and they may have waited too long by the source time `newest_ms`; one at a time. The other
    /// arguments are as in [`Self::next`]. It ends with [`Self::looked`] or [`Self::expired`].
    pub fn expire<'a>(
        &mut self,
        waiting: impl Iterator<Item = &'a Company>,
        chain: impl Fn(&Company) -> Option<Arc<str>>,
        stored: u64,
        newest_ms: u64,
    ) -> Option<Company> {
        if self.looking.is_some() {
            return None;
        }
        let stands = |company: &Company| chain(company).is_none_or(|digest| self.is_paused(company, &digest));
        let due = |company: &Company| self.due_ms.get(company).is_none_or(|due_ms| newest_ms > *due_ms);
        let company = waiting
            .filter(|company| due(company) && self.is_free(company, stored) && stands(company))
            .min_by_key(|company| self.served.get(*company).copied().unwrap_or(0))?
            .clone();
        self.turn += 1;
        self.served.insert(company.clone(), self.turn);
        self.looking = Some(company.clone());
        Some(company)
    }

    /// None of what waits has waited too long, and none will before the source time `due_ms`; without one it could not be
    /// read.
    pub fn looked(&mut self, company: &Company, due_ms: Option<u64>) {
        self.looking = None;
        if let Some(due_ms) = due_ms {
            self.due_ms.insert(company.clone(), due_ms);
        }
    }

    /// What had waited too long went with the commit of this number.
    pub fn expired(&mut self, company: &Company, commit: u64) {
        self.looking = None;
        self.due_ms.remove(company);
        self.after.insert(company.clone(), commit);
    }

    /// Does nothing of a company's backlog wait for a commit, and is nobody at it?
    fn is_free(&self, company: &Company, stored: u64) -> bool {
        // What waits is read from the store: the step before must be stored, or the next one takes the same again.
        let awaits = self.after.get(company).is_some_and(|number| *number > stored);
        !awaits && !self.running.contains(company) && self.looking.as_ref() != Some(company)
    }

    /// Nothing came of a step; its turn comes again, with at most `again` inputs where that is said. `paused`: a filter
    /// paused the company under this chain.
    pub fn ended_empty(&mut self, company: &Company, again: Option<usize>, paused: Option<&Arc<str>>) {
        self.running.remove(company);
        if let Some(inputs) = again {
            self.smaller.insert(company.clone(), inputs);
        }
        if let Some(digest) = paused {
            self.paused.insert(company.clone(), (digest.clone(), PausedBy::Filter));
        }
    }

    /// A step became the commit with this number.
    pub fn ended(&mut self, company: &Company, commit: u64, paused: Option<&Arc<str>>) {
        self.running.remove(company);
        self.due_ms.remove(company);
        if let Some(inputs) = self.smaller.get_mut(company) {
            *inputs *= 2;
        }
        self.smaller.retain(|_, inputs| *inputs < STEP_INPUTS);
        self.after.insert(company.clone(), commit);
        match paused {
            Some(digest) => self.paused.insert(company.clone(), (digest.clone(), PausedBy::Filter)),
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
        assert_eq!(
            (turns.paused(ready), turns.is_paused(&all[0], &"1".into())),
            (vec![(all[0].clone(), PausedBy::Filter)], true)
        );
        assert!(turns.paused(|_| Some("2".into())).is_empty(), "not under another chain");
        assert!(turns.next(all.clone(), ready, 0, 1).is_empty());
        assert!(turns.next(all.clone(), |_| None, 0, 1).is_empty(), "nor without a chain");
        assert_eq!(turns.next(all, |_| Some("2".into()), 0, 1).len(), 1);
    }

    #[test]
    fn what_nobody_works_off_is_looked_at_when_it_may_have_waited_too_long() {
        let (mut turns, all) = (Turns::default(), companies(&["a", "b", "c"]));
        let chain = |company: &Company| (company.as_str() == "b").then(|| "1".into());
        let first = turns.expire(all.iter(), chain, 0, 100);
        assert_eq!(first.as_ref(), Some(&all[0]));
        assert_eq!(turns.expire(all.iter(), chain, 0, 100), None, "one at a time");
        turns.looked(&all[0], Some(150));
        assert_eq!(turns.expire(all.iter(), chain, 0, 100).as_ref(), Some(&all[2]), "b has its turns");
        turns.expired(&all[2], 9);
        assert_eq!(turns.expire(all.iter(), chain, 8, 150), None, "not due, and not stored");
        assert_eq!(turns.expire(all.iter(), chain, 9, 150).as_ref(), Some(&all[2]), "there may be more");
        turns.looked(&all[2], None);
        assert_eq!(turns.expire(all.iter(), chain, 9, 151).as_ref(), Some(&all[0]), "longest ago, and due");
        assert!(turns.next(all[..1].to_vec(), ready, 9, 1).is_empty(), "nor is it worked off meanwhile");
        turns.looked(&all[0], Some(150));
        assert_eq!(turns.next(all[..1].to_vec(), ready, 9, 1).len(), 1);
    }

    #[test]
    fn a_company_whose_backlog_went_stays_paused() {
        let (mut turns, all) = (Turns::default(), companies(&["a"]));
        turns.next(all.clone(), ready, 0, 1);
        turns.ended_empty(&all[0], None, Some(&"1".into()));
        assert_eq!(turns.expire(all.iter(), ready, 0, 100).as_ref(), Some(&all[0]));
        turns.expired(&all[0], 1);
        assert!(turns.is_paused(&all[0], &"1".into()) && turns.next(all, ready, 1, 1).is_empty());
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
