//! Which chains run: the folder of modules, and what became of it.

pub mod copy;
pub mod file;
pub mod folder;
mod judging;
pub mod keeper;
pub mod notes;
pub mod push;
pub mod registry;
pub mod releases;
pub mod selftest;
pub mod shadow;
pub mod warm;
pub mod watch;

use arc_swap::ArcSwap;
use releases::{Release, Releases};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_core::event::Company;
use tidegate_filter::{Chain, Role};
use tokio::sync::Notify;

/// What serves a company.
#[derive(Debug, Clone)]
pub enum Slot {
    /// This chain.
    Ready(Arc<Chain>),
    /// Its chain can't load and there is no last good one: its events wait.
    Broken,
}

impl Slot {
    /// The chain's digest; empty for none, as commits name it.
    #[must_use]
    pub fn digest(&self) -> Arc<str> {
        match self {
            Self::Ready(chain) => Arc::clone(chain.digest()),
            Self::Broken => Arc::from(""),
        }
    }
}

/// The chains of one moment. A batch takes them once.
#[derive(Debug)]
pub struct Chains {
    platform: Option<Arc<Chain>>,
    default: Slot,
    companies: HashMap<Company, Slot>,
    names: Vec<(Arc<str>, Arc<str>)>,
}

impl Chains {
    /// Puts the chains together, by folder; `empty` serves companies without a folder where there is no default one.
    #[must_use]
    pub fn new<'a>(folders: impl IntoIterator<Item = (&'a str, &'a Slot)>, empty: &Arc<Chain>) -> Self {
        let (mut platform, mut default) = (None, Slot::Ready(Arc::clone(empty)));
        let (mut companies, mut names) = (HashMap::new(), Vec::new());
        for (name, slot) in folders {
            names.push((Arc::from(name), slot.digest()));
            match (name, slot) {
                (folder::PLATFORM, Slot::Ready(chain)) => platform = Some(Arc::clone(chain)),
                (folder::PLATFORM, Slot::Broken) => {}
                (folder::DEFAULT, slot) => default = slot.clone(),
                (name, slot) => {
                    companies.extend(Company::new(name).ok().map(|company| (company, slot.clone())));
                }
            }
        }
        Self { platform, default, companies, names }
    }

    /// The platform chain; `None` when it can't load and there is no last good one.
    #[must_use]
    pub fn platform(&self) -> Option<Arc<Chain>> {
        self.platform.clone()
    }

    /// What serves a company: its own folder, else the default one.
    #[must_use]
    pub fn company(&self, company: &Company) -> Slot {
        self.companies.get(company).unwrap_or(&self.default).clone()
    }

    /// The folder that serves a company.
    #[must_use]
    pub fn folder<'a>(&self, company: &'a Company) -> &'a str {
        if self.companies.contains_key(company) { company.as_str() } else { folder::DEFAULT }
    }

    /// A company's chain, where one can be run.
    #[must_use]
    pub fn ready(&self, company: &Company) -> Option<Arc<Chain>> {
        match self.company(company) {
            Slot::Ready(chain) => Some(chain),
            Slot::Broken => None,
        }
    }

    /// The digest of that chain.
    #[must_use]
    pub fn digest(&self, company: &Company) -> Option<Arc<str>> {
        self.ready(company).map(|chain| Arc::clone(chain.digest()))
    }

    /// Can a company's filters keep state?
    #[must_use]
    pub fn is_stateful(&self, company: &Company) -> bool {
        matches!(self.company(company), Slot::Ready(chain) if chain.is_stateful())
    }

    /// Can the filters of this folder keep state? Those of the platform can't.
    #[must_use]
    pub fn folder_is_stateful(&self, name: &str) -> bool {
        let slot = match Company::new(name) {
            Ok(company) => self.companies.get(&company),
            Err(_) => (name == folder::DEFAULT).then_some(&self.default),
        };
        matches!(slot, Some(Slot::Ready(chain)) if chain.is_stateful())
    }

    /// Every chain that runs.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Chain>> {
        let slots = self.companies.values().chain([&self.default]);
        let ready = slots.filter_map(|slot| match slot {
            Slot::Ready(chain) => Some(chain),
            Slot::Broken => None,
        });
        ready.chain(&self.platform)
    }

    /// Folders and digests of what runs; an empty digest where events wait.
    #[must_use]
    pub fn names(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.names.clone()
    }
}

/// The present chains, and a bell that rings when they change. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChainsCell {
    chains: Arc<ArcSwap<Chains>>,
    changed: Arc<Notify>,
}

impl ChainsCell {
    /// Begins with these.
    #[must_use]
    pub fn new(chains: Chains) -> Self {
        Self { chains: Arc::new(ArcSwap::from_pointee(chains)), changed: Arc::new(Notify::new()) }
    }

    /// The chains as of now.
    #[must_use]
    pub fn load(&self) -> Arc<Chains> {
        self.chains.load_full()
    }

    /// From the next batch on, these.
    pub fn store(&self, chains: Chains) {
        self.chains.store(Arc::new(chains));
        self.changed.notify_waiters();
    }

    /// Rings at each change.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

/// One filter file, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The folder: `_platform`, `_default` or a company.
    pub folder: String,
    /// The file's name without its ending.
    pub filter: String,
    /// `name@digest` of the version, once it could be read.
    pub module: Option<String>,
    /// The name and version the filter gives itself.
    pub version: Option<String>,
    /// Which version of the filter world it is built for.
    pub world: Option<u32>,
    /// The JSON Schema of its configuration, where it brings one.
    pub config_schema: Option<serde_json::Value>,
    /// `active`, `built-in`, `refused` (the last good version runs on, if there is one) or `differs` (the folder holds
    /// something else than what runs).
    pub state: &'static str,
    /// Since when this process runs it, or finds it as it is, in milliseconds since 1970; a restart begins anew.
    pub since_ms: u64,
    /// Why it was refused, or how it differs.
    pub reason: Option<String>,
}

/// The listing of `tidegate modules`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Listing(Arc<Mutex<Told>>);

/// What is told of folders.
#[derive(Debug, Default)]
struct Told {
    listed: Vec<Listed>,
    releases: BTreeMap<String, Releases>,
}

impl Listing {
    /// All files as of now.
    #[must_use]
    pub fn all(&self) -> Vec<Listed> {
        self.lock().listed.clone()
    }

    /// What was deployed to a folder.
    #[must_use]
    pub fn releases(&self, folder: &str) -> Option<Releases> {
        self.lock().releases.get(folder).cloned()
    }

    /// The releases that serve folders now.
    #[must_use]
    pub fn serving(&self) -> BTreeMap<String, Release> {
        let told = self.lock();
        let serving = |(folder, releases): (&String, &Releases)| {
            let number = releases.serves.as_ref()?.number;
            Some((folder.clone(), releases.release(number)?.clone()))
        };
        told.releases.iter().filter_map(serving).collect()
    }

    fn set(&self, listed: Vec<Listed>, releases: BTreeMap<String, Releases>) {
        *self.lock() = Told { listed, releases };
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The built-in platform filter, compiled to WebAssembly like any other.
pub const BUILTIN: &[u8] = include_bytes!("../../../filters/platform/platform.wasm");

/// The role a folder's filters have.
#[must_use]
pub fn role(folder: &str) -> Role {
    if folder == folder::PLATFORM { Role::Platform } else { Role::Company }
}
