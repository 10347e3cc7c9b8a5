//! What was deployed to one folder of filters, release by release: which one serves it, and what was done when by whom.
//!
//! Free of IO: a record that hosts share, and what each action makes of it.

use serde::{Deserialize, Serialize};
use tidegate_filter::Chain;

/// Releases that are kept to be rolled back to; the oldest go first, and never the one that serves.
pub const KEPT: usize = 10;
/// Actions that are kept.
pub const LOG_MAX: usize = 200;
/// The longest message of an action, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1_000;
/// The longest name of who acted, in bytes.
pub const BY_BYTES_MAX: usize = 128;

/// What was deployed to a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Releases {
    /// What serves the folder; none: its own files do.
    pub serves: Option<Serves>,
    /// The releases that are kept, oldest first.
    pub kept: Vec<Release>,
    /// What was done, oldest first.
    pub log: Vec<Action>,
    /// The number that was given out last.
    pub last: u64,
    /// The chains that may serve it still and are not to, since it was given back to its files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given_back: Vec<String>,
}

/// Which release serves a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Serves {
    /// Its number.
    pub number: u64,
    /// It serves only as long as the folder's files make this chain, which was rolled back; none: whatever they make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// A chain that can serve a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Counted from 1 in each folder; no number is given out twice.
    pub number: u64,
    /// The chain's digest.
    pub chain: String,
    /// Its filters, in order: `name@digest`, and the name and version each gives itself.
    pub filters: Vec<(String, String)>,
    /// The release that served before it; none: the folder's files did.
    pub before: Option<u64>,
    /// Who made it.
    pub by: String,
    /// What it is for, in their words.
    pub message: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What is done to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// A filter was put into its chain, or in another's place.
    Push,
    /// A filter was taken out of its chain.
    Remove,
    /// What ran before runs again.
    Rollback,
    /// The same, by the host itself: the error budget was spent.
    RolledBackByItself,
    /// Its files serve it again.
    GiveBack,
}

/// What was done to a folder, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// What.
    pub verb: Verb,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who, as they named themselves.
    pub by: String,
    /// Why, in their words; what the host saw, where it acted by itself.
    pub message: String,
    /// The filter it was about, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The chain that ran before, where there was one.
    pub from: Option<String>,
    /// The chain that was to run from then on; none where that is up to the folder's files.
    pub to: Option<String>,
    /// The release that was to serve from then on.
    pub release: Option<u64>,
}

/// Who acts, why and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who, as they name themselves.
    pub by: String,
    /// Why, in their words.
    pub message: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The chain that runs now, where there is one.
    pub from: Option<String>,
}

/// What a chain is, in a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its digest.
    pub chain: String,
    /// Its filters.
    pub filters: Vec<(String, String)>,
}

impl From<&Chain> for Facts {
    fn from(chain: &Chain) -> Self {
        let filter = |filter: &std::sync::Arc<tidegate_filter::Filter>| {
            let description = filter.code().description();
            (filter.module().to_string(), format!("{} {}", description.name, description.version))
        };
        Self { chain: chain.digest().to_string(), filters: chain.filters().iter().map(filter).collect() }
    }
}

/// What runs before the chain that a rollback ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// This release.
    Release(u64),
    /// What the folder's files make.
    Files,
}

impl Releases {
    /// The release of this number.
    #[must_use]
    pub fn release(&self, number: u64) -> Option<&Release> {
        self.kept.iter().find(|release| release.number == number)
    }

    /// The release that serves a folder whose files make this chain (none: they make none).
    #[must_use]
    pub fn serving(&self, files: Option<&str>) -> Option<&Release> {
        let serves = self.serves.as_ref()?;
        let holds = serves.instead_of.as_deref().is_none_or(|chain| Some(chain) == files);
        self.release(serves.number).filter(|_| holds)
    }

    /// Was the folder given back to its files when this chain served it?
    #[must_use]
    pub fn was_given_back(&self, chain: &str) -> bool {
        self.given_back.iter().any(|given_back| given_back == chain)
    }

    /// Was this chain rolled back, by somebody or by the host?
    #[must_use]
    pub fn was_rolled_back(&self, chain: &str) -> bool {
        let back = |action: &Action| matches!(action.verb, Verb::Rollback | Verb::RolledBackByItself);
        self.log.iter().any(|action| back(action) && action.from.as_deref() == Some(chain))
    }

    /// Is this chain what a folder was set back to last?
    #[must_use]
    pub fn was_gone_back_to(&self, chain: &str) -> bool {
        let Some(last) = self.log.last() else { return false };
        !matches!(last.verb, Verb::Push | Verb::Remove) && last.to.as_deref() == Some(chain)
    }

    /// The chains whose copies are needed.
    pub fn chains(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(|release| release.chain.as_str())
    }

    /// A chain was pushed: it serves from now on, whatever the files are.
    pub fn push(&mut self, facts: Facts, verb: Verb, filter: &str, cause: Cause) -> u64 {
        let to = facts.chain.clone();
        let number = self.add(facts, &cause);
        self.serve(number, None);
        self.note(verb, cause, Some(filter.to_owned()), Some(to), Some(number));
        number
    }

    /// What ran before what serves now; `None`: nothing is known of it, or it was rolled back itself.
    #[must_use]
    pub fn before(&self) -> Option<Before> {
        let serves = self.serves.as_ref().filter(|serves| serves.instead_of.is_none())?;
        let serving = self.release(serves.number)?;
        let Some(before) = serving.before else { return Some(Before::Files) };
        // One that is no longer kept is made up for by the newest that is older.
        let kept = self.kept.iter().rev().find(|release| release.number <= before);
        Some(kept.map_or(Before::Files, |release| Before::Release(release.number)))
    }

    /// A release that is kept serves from now on, whatever the files are. False: there is none of this number.
    pub fn roll_back(&mut self, number: u64, verb: Verb, cause: Cause) -> bool {
        let Some(to) = self.release(number).map(|release| release.chain.clone()) else { return false };
        self.serve(number, None);
        self.note(verb, cause, None, Some(to), Some(number));
        true
    }

    /// The folder's files made this chain, and an earlier one runs in its place until they make another.
    pub fn roll_files_back(&mut self, files: &str, facts: Facts, verb: Verb, cause: Cause) -> u64 {
        let to = facts.chain.clone();
        let number = match self.kept.iter().find(|release| release.chain == facts.chain) {
            Some(release) => release.number,
            None => self.add(facts, &cause),
        };
        self.serve(number, Some(files.to_owned()));
        self.note(verb, cause, None, Some(to), Some(number));
        number
    }

    /// The folder's files serve it again. `to` is the chain they make, where that is known.
    pub fn give_back(&mut self, verb: Verb, to: Option<String>, cause: Cause) {
        self.serves = None;
        // Whichever of them a host runs that has not heard of all.
        let given_back = self.chains().filter(|chain| to.as_deref() != Some(*chain)).map(str::to_owned).collect();
        self.given_back = given_back;
        self.note(verb, cause, None, to, None);
    }

    fn serve(&mut self, number: u64, instead_of: Option<String>) {
        (self.serves, self.given_back) = (Some(Serves { number, instead_of }), Vec::new());
    }

    fn add(&mut self, facts: Facts, cause: &Cause) -> u64 {
        self.last += 1;
        let before = self.serves.as_ref().map(|serves| serves.number);
        let Facts { chain, filters } = facts;
        let (by, message) = (cause.by.clone(), cause.message.clone());
        let release = Release { number: self.last, chain, filters, before, by, message, at_ms: cause.at_ms };
        self.kept.push(release);
        let serving = before;
        while self.kept.len() > KEPT {
            // Of what serves until this one does, a rollback has need.
            let Some(oldest) = self.kept.iter().position(|release| Some(release.number) != serving) else { break };
            self.kept.remove(oldest);
        }
        self.last
    }

    fn note(&mut self, verb: Verb, cause: Cause, filter: Option<String>, to: Option<String>, release: Option<u64>) {
        let Cause { by, message, at_ms, from } = cause;
        self.log.push(Action { verb, at_ms, by, message, filter, from, to, release });
        self.log.drain(..self.log.len().saturating_sub(LOG_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(chain: &str) -> Facts {
        Facts { chain: chain.to_owned(), filters: vec![(format!("10-f@{chain}"), "f 1".to_owned())] }
    }

    fn cause(at_ms: u64) -> Cause {
        Cause { by: "ann".to_owned(), message: "why".to_owned(), at_ms, from: None }
    }

    fn pushed(count: u64) -> Releases {
        let mut releases = Releases::default();
        for number in 1..=count {
            assert_eq!(releases.push(facts(&format!("c{number}")), Verb::Push, "10-f", cause(number)), number);
        }
        releases
    }

    fn serving(releases: &Releases) -> Option<&str> {
        releases.serving(Some("files")).map(|release| release.chain.as_str())
    }

    #[test]
    fn a_push_serves_until_it_is_rolled_back_step_by_step_down_to_the_files() {
        let mut releases = pushed(2);
        assert_eq!(serving(&releases), Some("c2"));
        assert_eq!(releases.before(), Some(Before::Release(1)));
        assert!(releases.roll_back(1, Verb::Rollback, cause(3)));
        assert_eq!((serving(&releases), releases.before()), (Some("c1"), Some(Before::Files)));
        // What is pushed after a rollback goes back to what it was rolled back to.
        assert_eq!(releases.push(facts("c3"), Verb::Push, "10-f", cause(4)), 3);
        assert_eq!(releases.before(), Some(Before::Release(1)));
        releases.give_back(Verb::GiveBack, Some("files".to_owned()), cause(5));
        assert_eq!((serving(&releases), releases.before()), (None, None));
        assert!(releases.was_given_back("c3") && !releases.was_given_back("files"));
        assert!(!releases.roll_back(9, Verb::Rollback, cause(6)), "no such release");
        let verbs: Vec<Verb> = releases.log.iter().map(|action| action.verb).collect();
        assert_eq!(verbs, [Verb::Push, Verb::Push, Verb::Rollback, Verb::Push, Verb::GiveBack]);
    }

    #[test]
    fn files_that_were_rolled_back_stay_so_until_they_make_another_chain() {
        let mut releases = Releases::default();
        releases.roll_files_back("bad", facts("good"), Verb::Rollback, cause(1));
        assert_eq!(releases.serving(Some("bad")).map(|release| release.chain.as_str()), Some("good"));
        assert_eq!(releases.serving(Some("mended")), None);
        assert_eq!(releases.serving(None), None);
        // The same again is no other release.
        assert_eq!(releases.roll_files_back("worse", facts("good"), Verb::RolledBackByItself, cause(2)), 1);
        assert_eq!(releases.kept.len(), 1);
    }

    #[test]
    fn the_oldest_releases_and_actions_go_and_what_served_last_stays() {
        let mut releases = pushed(12);
        assert_eq!(releases.kept.len(), KEPT);
        assert!(releases.release(2).is_none() && releases.release(3).is_some());
        assert!(releases.roll_back(3, Verb::Rollback, cause(13)));
        releases.push(facts("c13"), Verb::Push, "10-f", cause(14));
        assert_eq!(releases.before(), Some(Before::Release(3)), "it served until now");
        assert_eq!(releases.kept.len(), KEPT);
        for at_ms in 0..2 * LOG_MAX as u64 {
            releases.push(facts("again"), Verb::Push, "10-f", cause(at_ms));
        }
        assert_eq!(releases.log.len(), LOG_MAX);
        // The one before the one that serves may be gone: then the newest that is older.
        let mut releases = pushed(1);
        releases.kept[0].before = Some(0);
        assert_eq!(releases.before(), Some(Before::Files));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut releases = pushed(3);
        releases.roll_files_back("bad", facts("good"), Verb::RolledBackByItself, cause(4));
        let text = serde_json::to_vec(&releases).unwrap();
        assert_eq!(serde_json::from_slice::<Releases>(&text).unwrap(), releases);
    }
}
