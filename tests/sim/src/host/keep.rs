//! The keeper of a host's chains: its folder, what it noted, and what runs. One folder serves all companies.

use super::Host;
use crate::env::Env;
use crate::mutant::Mutant;
use std::sync::Arc;
use tidegate_core::named::{self, Names, Ran, named_in};
use tidegate_core::record::Pass;
use tidegate_core::swap::{Applied, Choice, Found, Named, Sight};

const FOLDER: &str = "_default";

fn digest(version: u64) -> String {
    format!("r{version}")
}

/// The version that these names speak of.
pub(crate) fn version(names: &[(Arc<str>, Arc<str>)]) -> Option<u64> {
    names.iter().find(|(folder, _)| &**folder == FOLDER)?.1.strip_prefix('r')?.parse().ok()
}

/// What lies on the host's disk, and what its process holds.
pub(crate) struct Keeper {
    /// The version that the folder holds.
    folder: u64,
    /// It was looked at since that was put there.
    looked: bool,
    /// The one it noted as applied.
    applied: Option<u64>,
    /// What ever ran, as far as it noted that.
    ran: Ran,
    /// It has noted nothing yet.
    unknown: bool,
    /// What runs, or ran last.
    running: u64,
    /// What the last commit names, once the process was told.
    named: Option<Names>,
}

impl Keeper {
    pub(super) fn new(version: u64) -> Self {
        let (applied, ran, named) = (None, Ran::default(), None);
        Self { folder: version, looked: false, applied, ran, unknown: true, running: version, named }
    }

    /// The process ends.
    pub(super) fn forget(&mut self) {
        self.named = None;
    }

    /// What a commit names now.
    pub(super) fn names(&self) -> Names {
        vec![(FOLDER.into(), digest(self.running).into())]
    }

    /// Has it this version, has it looked at it, and was it told that it runs?
    pub(crate) fn has_taken(&self, version: u64) -> bool {
        (self.folder, self.looked) == (version, true) && self.named.as_deref().and_then(self::version) == Some(version)
    }

    /// An operator puts a version into the folder.
    pub(crate) fn deploy(&mut self, version: u64) {
        (self.folder, self.looked) = (version, false);
    }

    /// The host is replaced by one with an empty disk and the same folder.
    pub(crate) fn replace(&mut self) {
        (self.applied, self.ran, self.unknown) = (None, Ran::default(), true);
    }

    /// A tenure begins after a commit that names these.
    pub(super) fn own(&mut self, stored: &Names, env: &mut Env) {
        let named = named::counts(self.named.as_ref(), stored).clone();
        let mut ran = self.learn(env);
        // The owner before may have died before it told.
        if ran.add_named(&named) && env.mutant != Some(Mutant::RanNotShared) {
            env.ran.join(&ran);
        }
        let choice = match env.mutant {
            Some(Mutant::OlderFolderWins) => Choice::Found,
            _ => self.sight(named_in(&named, FOLDER), &ran, |sight| sight.choose()),
        };
        self.running = version(&named).filter(|_| choice == Choice::Named).unwrap_or(self.folder);
        self.settle(&named, &ran, env);
        self.named = Some(named);
    }

    /// A commit of this tenure that names these is stored.
    pub(super) fn committed(&mut self, named: &Names, env: &mut Env) {
        let mut ran = self.ran.clone();
        ran.add_named(named);
        self.settle(named, &ran, env);
        self.named = Some(named.clone());
        if env.mutant != Some(Mutant::RanNotShared) {
            env.ran.join(&ran);
        }
    }

    /// Another host owns the partition, and its last commit names these.
    pub(crate) fn stand_by(&mut self, named: &Names, env: &Env) {
        if self.named.as_ref() == Some(named) {
            return;
        }
        let ran = if self.unknown { self.learn(env) } else { self.ran.clone() };
        self.settle(named, &ran, env);
        self.named = Some(named.clone());
    }

    /// Judges the folder. As owner it switches to what was changed there.
    fn look(&mut self, owner: bool, env: &Env) {
        if !owner {
            if let Some(named) = self.named.clone().filter(|_| !self.unknown) {
                let ran = self.ran.clone();
                self.settle(&named, &ran, env);
            }
            return;
        }
        let running = digest(self.running);
        if env.mutant != Some(Mutant::FolderIgnored)
            && self.sight(Named::Chain(&running), &self.ran, |sight| sight.choose()) == Choice::Found
        {
            self.running = self.folder;
        }
    }

    /// What ran before, as far as any host told.
    fn learn(&self, env: &Env) -> Ran {
        let mut ran = self.ran.clone();
        ran.join(&env.ran);
        ran
    }

    fn sight<T>(&self, named: Named<'_>, ran: &Ran, judge: impl FnOnce(Sight<'_>) -> T) -> T {
        let (found, applied) = (digest(self.folder), self.applied.map(digest));
        let applied = match &applied {
            _ if self.unknown => Applied::Unknown,
            Some(digest) => Applied::Chain(digest),
            None => Applied::Nothing,
        };
        judge(Sight {
            named,
            found: Found::Chain(&found),
            applied,
            ran_before: ran.holds(FOLDER, &found),
            given_back: false,
        })
    }

    fn settle(&mut self, named: &Names, ran: &Ran, env: &Env) {
        let settles = self.sight(named_in(named, FOLDER), ran, |sight| sight.settles());
        if settles && env.mutant != Some(Mutant::AppliedNotNoted) {
            self.applied = Some(self.folder);
        }
        self.ran.join(ran);
        (self.unknown, self.looked) = (false, true);
    }
}

impl Host {
    /// As the owner sees it at a batch's or a step's beginning: what runs now is named from the next commit on.
    pub(super) fn take_chains(&mut self, mutant: Option<Mutant>) -> Pass {
        let (names, running) = (self.keeper.names(), self.keeper.running);
        if mutant != Some(Mutant::SwapNotNamed)
            && let Some(office) = self.office()
        {
            office.owner.set_chains(names);
        }
        Pass::of(running)
    }

    /// Looks at its folder.
    pub(crate) fn look(&mut self, env: &mut Env) {
        let before = self.keeper.running;
        let owner = self.office().is_some();
        if self.up {
            self.keeper.look(owner, env);
        }
        let now = self.keeper.running;
        if now != before {
            env.note(|| format!("{} swaps version {before} for {now}", self.name));
        }
    }
}
