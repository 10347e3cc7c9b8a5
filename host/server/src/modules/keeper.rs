//! Which chain runs for each folder: what the last commit names, or what this host's own folder holds now.

mod deploy;
mod list;
mod released;
mod sharing;

pub use deploy::{Base, DeployError, Deployed, What, Wish};

use super::copy::Copies;
use super::folder::{Folder, PLATFORM};
use super::notes::Notes;
use super::registry::Registry;
use super::warm::Warmer;
use super::{Chains, ChainsCell, Listing, Slot};
use crate::clock::Clock;
use crate::health::Health;
use crate::source::{Source, SourceError};
use crate::telemetry::Metrics;
use released::Released;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use tidegate_core::named::Names;
use tidegate_core::named::{self, Ran, named_in};
use tidegate_core::swap::{Applied, Choice, Found, Named, Sight};
use tidegate_filter::{Chain, LoadError, Role};
use tokio::runtime::Handle;

/// Under which name chains that come with a host are noted to have run, beside the folder that they served.
const BUILT_IN: &str = "built-in";
/// Under which name hosts share what ever ran.
const RAN: &str = "ran";

/// What the keeper works with beside the folder.
pub struct Means {
    /// What this host noted.
    pub notes: Notes,
    /// The copies in `data.dir`.
    pub copies: Arc<Copies>,
    /// What was deployed.
    pub registry: Registry,
    /// Where hosts share copies.
    pub source: Arc<dyn Source>,
    /// What is up.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Starts instances before a switch, and drops those of other chains after it.
    pub warmer: Warmer,
    /// Runs what is asked of the source: the keeper itself lives on a thread that may block.
    pub runtime: Handle,
}

/// What serves a folder, and since when, in milliseconds since 1970.
struct Running {
    slot: Slot,
    since_ms: u64,
    /// It was switched to in this tenure, and not found running.
    switched: bool,
}

/// Decides and remembers what runs.
pub struct Keeper {
    folder: Folder,
    means: Means,
    empty: Arc<Chain>,
    /// By folder, what was deployed to it and serves it now.
    released: BTreeMap<String, Released>,
    /// What runs, by folder, while this host owns the partition; what ran last otherwise.
    running: BTreeMap<String, Running>,
    owner: bool,
    /// The chains of the last commit, once somebody said which.
    named: Option<Names>,
    /// Standing by, the chains in the cell are those: what streams ask about chains is asked here, too.
    stands: bool,
    /// Exchanges in a row that failed.
    failures: u32,
    /// Tries in a row to begin a tenure at which nobody could say what was deployed.
    unheard: u32,
    /// Differences that were logged.
    told: BTreeSet<String>,
    cell: ChainsCell,
    listing: Listing,
}

impl Keeper {
    /// Runs nothing yet: a tenure begins with [`Keeper::own`].
    ///
    /// # Errors
    /// The empty chain can't be made: this build is broken.
    pub fn new(folder: Folder, means: Means) -> Result<Self, LoadError> {
        let empty = Arc::new(Chain::new(Vec::new(), Role::Company)?);
        let cell = ChainsCell::new(Chains::new([], &empty));
        let mut keeper = Self {
            folder,
            means,
            empty,
            released: BTreeMap::new(),
            running: BTreeMap::new(),
            owner: false,
            named: None,
            stands: false,
            failures: 0,
            unheard: 0,
            told: BTreeSet::new(),
            cell,
            listing: Listing::default(),
        };
        keeper.list();
        Ok(keeper)
    }

    /// The chains, as they are from now on.
    #[must_use]
    pub fn cell(&self) -> ChainsCell {
        self.cell.clone()
    }

    /// The listing, as it is from now on.
    #[must_use]
    pub fn listing(&self) -> Listing {
        self.listing.clone()
    }

    /// A tenure begins after a commit that names these chains: what runs is decided anew, folder by folder.
    ///
    /// # Errors
    /// A copy can't be asked for now; what runs is as it was.
    pub fn own(&mut self, named: &Names) -> Result<(), SourceError> {
        let (mut ran, untold) = self.learn()?;
        self.know_releases()?;
        let named = &named::counts(self.named.as_ref(), named).clone();
        // The owner before may have died before it told.
        let untold = self.add_named(&mut ran, named) | untold;
        let mut running = BTreeMap::new();
        for name in self.folders(named) {
            let named = named_in(named, &name);
            let slot = match (self.sight(&name, named, &ran).choose(), named) {
                (Choice::Found, _) => self.found_slot(&name),
                (Choice::Named, Named::Chain(digest)) => self.named_slot(&name, digest)?,
                (Choice::Named, Named::Nothing) => None,
                (Choice::Named, Named::Never | Named::Broken) => Some(Slot::Broken),
            };
            running.extend(slot.map(|slot| (name.clone(), slot)));
        }
        self.settle(named, &ran);
        if untold {
            self.tell(&ran);
        }
        (self.owner, self.named, self.stands) = (true, Some(named.clone()), false);
        let folders: BTreeSet<String> = self.running.keys().chain(running.keys()).cloned().collect();
        for name in folders {
            self.run(&name, running.remove(&name), false);
        }
        self.share();
        self.switch();
        self.list();
        Ok(())
    }

    /// A commit of this tenure that names these chains is stored.
    pub fn committed(&mut self, named: Names) {
        let mut ran = self.means.notes.ran().clone();
        let grown = self.add_named(&mut ran, &named);
        self.settle(&named, &ran);
        self.named = Some(named);
        if grown {
            self.tell(&ran);
        }
        self.drop_copies();
        self.list();
    }

    /// Adds what a commit names to what ran. True when something of it is new.
    fn add_named(&self, ran: &mut Ran, named: &Names) -> bool {
        let own = named.iter().filter(|(_, digest)| digest == self.folder.builtin().digest());
        let own = own.map(|(_, digest)| (BUILT_IN.to_owned(), digest.to_string()));
        ran.add_named(named) | ran.add(own)
    }

    /// Another host owns the partition, and its last commit names these chains.
    pub fn stand_by(&mut self, named: Names) {
        self.owner = false;
        // A host without notes learns what ran before it judges its folder.
        let ran = if self.means.notes.unknown() { self.learn() } else { Ok((self.means.notes.ran().clone(), false)) };
        match ran {
            Ok((ran, _)) => self.settle(&named, &ran),
            Err(error) => tracing::debug!(error = %error, "the folder is judged later"),
        }
        self.stands &= self.named.as_ref() == Some(&named);
        self.named = Some(named);
        self.stand();
        self.list();
    }

    /// Standing by, takes the chains that the last commit names: nothing runs in them here, but streams are told by them
    /// whether a company's filters keep state.
    fn stand(&mut self) {
        if self.owner || self.stands {
            return;
        }
        let Some(named) = self.named.clone() else { return };
        let mut slots = Vec::with_capacity(named.len());
        for (name, digest) in &named {
            match self.stand_slot(name, digest) {
                Ok(slot) => slots.push((name, slot)),
                Err(error) => {
                    tracing::debug!(folder = &**name, error = %error, "a chain that is named is asked for later");
                    return;
                }
            }
        }
        self.cell.store(Chains::new(slots.iter().map(|(name, slot)| (&***name, slot)), &self.empty));
        self.means.warmer.after(&self.cell.load());
        self.stands = true;
    }

    fn stand_slot(&mut self, name: &str, digest: &str) -> Result<Slot, SourceError> {
        if let Some(Ok(chain)) = self.found(name)
            && &**chain.digest() == digest
        {
            return Ok(Slot::Ready(Arc::clone(chain)));
        }
        let builtin = self.folder.builtin();
        if &**builtin.digest() == digest {
            return Ok(Slot::Ready(Arc::clone(builtin)));
        }
        if digest.is_empty() {
            return Ok(Slot::Broken);
        }
        Ok(self.copy(name, digest)?.map_or(Slot::Broken, Slot::Ready))
    }

    /// Looks at the folder, and at what was deployed. As owner it switches to what was changed and is good.
    pub fn look(&mut self, thorough: bool) {
        self.means.warmer.sweep();
        self.stand();
        if thorough {
            self.forget_refused();
        }
        let changed = self.folder.scan(thorough);
        if self.hear() | changed {
            self.changed();
        }
    }

    /// Looks only at what other hosts deployed, and at files that took long to judge.
    pub fn listen(&mut self) {
        let changed = self.folder.finish();
        if self.hear() | changed {
            self.changed();
        }
    }

    fn changed(&mut self) {
        if self.owner {
            self.swap();
        } else if let Some(named) = self.named.clone().filter(|_| !self.means.notes.unknown()) {
            let ran = self.means.notes.ran().clone();
            self.settle(&named, &ran);
        }
        self.list();
    }

    fn swap(&mut self) {
        let running: Names =
            self.running.iter().map(|(name, running)| (name.as_str().into(), running.slot.digest())).collect();
        let (ran, mut swapped) = (self.means.notes.ran().clone(), false);
        for name in self.folders(&running) {
            let sight = self.sight(&name, named_in(&running, &name), &ran);
            if sight.choose() == Choice::Found && !sight.agrees() {
                let slot = self.found_slot(&name);
                self.run(&name, slot, true);
                swapped = true;
            }
        }
        if swapped {
            self.share();
            self.switch();
        }
    }

    /// Lets something serve a folder from the next switch on.
    fn run(&mut self, name: &str, slot: Option<Slot>, switched: bool) {
        let before = self.running.get(name).map(|running| running.slot.digest());
        let Some(slot) = slot else {
            tracing::info!(folder = name, "module folder emptied; what served it before serves it again");
            self.means.metrics.module_swap("removed");
            self.running.remove(name);
            return;
        };
        if before.as_ref() == Some(&slot.digest()) {
            return;
        }
        if let Slot::Ready(chain) = &slot {
            tracing::info!(folder = name, chain = %chain.digest(), filters = chain.filters().len(), "chain switched");
            let builtin = chain.digest() == self.folder.builtin().digest();
            if !builtin {
                self.means.metrics.module_swap("applied");
            }
        }
        self.running.insert(name.to_owned(), Running { slot, since_ms: self.means.clock.now_ms(), switched });
    }

    fn switch(&self) {
        let slots = self.running.iter().map(|(name, running)| (name.as_str(), &running.slot));
        let chains = Chains::new(slots, &self.empty);
        // Everything slow happens before, and what no longer runs is dropped after it.
        self.means.warmer.before(&self.cell.load(), &chains);
        self.cell.store(chains);
        self.means.warmer.after(&self.cell.load());
        let running = self.running.iter().filter_map(|(name, running)| match &running.slot {
            Slot::Ready(chain) => Some((name.as_str(), chain)),
            Slot::Broken => None,
        });
        let modules =
            running.flat_map(|(name, chain)| chain.filters().iter().map(move |filter| (name, &**filter.module())));
        self.means.metrics.figures().keep_only(modules);
    }

    /// Every folder that is here, or is named.
    fn folders(&self, named: &Names) -> BTreeSet<String> {
        let named = named.iter().map(|(folder, _)| folder.to_string());
        let released = self.released.keys().cloned();
        self.folder.names().map(str::to_owned).chain(named).chain(released).chain([PLATFORM.to_owned()]).collect()
    }

    fn sight<'a>(&'a self, name: &str, named: Named<'a>, ran: &Ran) -> Sight<'a> {
        let applied = self.means.notes.applied(name);
        if let Some(released) = self.released.get(name) {
            let found = released.chain().map_or(Found::Refused, |chain| Found::Released(chain.digest()));
            return Sight { named, found, applied, ran_before: true, given_back: false };
        }
        let given_back = matches!(named, Named::Chain(digest)
            if self.means.registry.of(name).is_some_and(|releases| releases.was_given_back(digest)));
        let built_in = |digest: &str| digest == &**self.folder.builtin().digest() || ran.holds(BUILT_IN, digest);
        if name == PLATFORM && !self.folder.has(name) && matches!(named, Named::Chain(digest) if !built_in(digest)) {
            // The chain that comes with the host is no word against one that somebody put into a folder.
            let never_had = matches!(applied, Applied::Chain(digest) if built_in(digest));
            let applied = if never_had { Applied::Nothing } else { applied };
            return Sight { named, found: Found::Nothing, applied, ran_before: false, given_back };
        }
        let found = match self.folder.chain(name) {
            None => Found::Nothing,
            Some(Err(_)) => Found::Refused,
            Some(Ok(chain)) => Found::Chain(chain.digest()),
        };
        let ran_before = matches!(found, Found::Chain(digest) if ran.holds(name, digest));
        Sight { named, found, applied, ran_before, given_back }
    }

    fn found_slot(&self, name: &str) -> Option<Slot> {
        self.found(name)?.ok().map(|chain| Slot::Ready(Arc::clone(chain)))
    }

    /// The chain that is named, from wherever there is a copy. Where there is none any more, the folder has to do.
    fn named_slot(&mut self, name: &str, digest: &str) -> Result<Option<Slot>, SourceError> {
        if let Some(chain) = self.copy(name, digest)? {
            return Ok(Some(Slot::Ready(chain)));
        }
        tracing::error!(
            folder = name,
            chain = digest,
            "there is no copy of the chain that the last commit names; the folder's own runs"
        );
        Ok(self.found_slot(name).or(Some(Slot::Broken)))
    }

    /// Notes what is applied: where the folder holds what is named, and where it is judged to be older than that.
    fn settle(&mut self, named: &Names, ran: &Ran) {
        let mut applied: Vec<(String, Option<String>)> = Vec::new();
        for name in self.folders(named) {
            if self.sight(&name, named_in(named, &name), ran).settles() {
                // Of a folder that something was deployed to, too: its files count as seen.
                match self.folder.chain(&name) {
                    Some(Err(_)) => {}
                    None => applied.push((name, None)),
                    Some(Ok(chain)) => {
                        let digest = Some(chain.digest().to_string());
                        applied.push((name, digest));
                    }
                }
            }
        }
        let pairs = applied.iter().map(|(name, digest)| (name.as_str(), digest.as_deref()));
        if let Err(error) = self.means.notes.note(pairs, ran) {
            tracing::warn!(error = %error, "what was applied can't be noted in data.dir; after a restart it counts as new");
        }
    }
}

/// Where copies, notes and what was deployed lie in `data.dir`.
#[must_use]
pub fn places(data: &Path) -> (PathBuf, PathBuf, PathBuf) {
    (data.join("modules"), data.join("modules.json"), data.join("releases"))
}

#[cfg(test)]
#[path = "keeper/tests.rs"]
mod tests;
