//! What is told of the folders: what runs, what was refused, and what differs from what runs.

use super::{Keeper, Names, Running, named_in};
use crate::modules::{Listed, Slot};
use std::collections::BTreeSet;
use std::sync::Arc;
use tidegate_core::swap::Named;
use tidegate_filter::{Chain, Filter};

impl Keeper {
    /// Brings listing and health up to date, and logs each difference once.
    pub(super) fn list(&mut self) {
        let mut listed = Vec::new();
        let mut problems: Vec<String> = self.folder.unreadable().map(str::to_owned).into_iter().collect();
        let mut told = BTreeSet::new();
        let running: Names = match (&self.named, self.owner) {
            (Some(named), false) => named.clone(),
            (_, true) => {
                self.running.iter().map(|(name, running)| (name.as_str().into(), running.slot.digest())).collect()
            }
            (None, false) => Names::new(),
        };
        for name in self.folders(&running) {
            listed.extend(self.list_running(&name));
            match self.found(&name) {
                Some(Err(refusal)) => {
                    if self.folder.unreadable().is_none() {
                        problems.push(format!("{name}/{}: {}", refusal.file, refusal.reason));
                    }
                    listed.push(refused(&name, &refusal.file, "refused", refusal.since_ms, refusal.reason));
                }
                found => {
                    let found = found
                        .and_then(Result::ok)
                        .map(|chain| (chain, self.folder.has(&name) || self.released.contains_key(&name)));
                    if let Some(reason) = difference(named_in(&running, &name), found) {
                        problems.push(format!("{name}: {reason}"));
                        told.insert(format!("{name}: {reason}"));
                        listed.push(refused(&name, "-", "differs", self.folder.since_ms(&name), reason));
                    }
                }
            }
        }
        for difference in told.difference(&self.told) {
            tracing::warn!(difference, "a folder of modules differs from what runs");
        }
        self.told = told;
        self.means.health.modules(problems);
        let releases = self.means.registry.all().map(|(name, releases)| (name.to_owned(), releases.clone()));
        self.listing.set(listed, releases.collect());
    }

    /// The filters that run for a folder. On a host that stands by: those of its own folder, where that is what runs.
    fn list_running(&self, name: &str) -> Vec<Listed> {
        let running = self.running.get(name).filter(|_| self.owner);
        let named = self.named.as_ref().map(|named| named_in(named, name));
        let (chain, since_ms) = match (running, self.found(name)) {
            (Some(Running { slot: Slot::Ready(chain), since_ms, .. }), _) => (chain, *since_ms),
            (None, Some(Ok(chain)))
                if !self.owner && named.is_none_or(|named| named == Named::Chain(chain.digest())) =>
            {
                (chain, self.folder.since_ms(name))
            }
            _ => return Vec::new(),
        };
        let builtin = chain.digest() == self.folder.builtin().digest();
        let row = |filter: &Arc<Filter>| match builtin {
            true => Listed { state: "built-in", ..active(name, filter, 0) },
            false => active(name, filter, since_ms),
        };
        chain.filters().iter().map(row).collect()
    }
}

/// How a folder differs from what runs, in a sentence. What is found may come with the host instead of from a folder.
fn difference(runs: Named<'_>, found: Option<(&Arc<Chain>, bool)>) -> Option<String> {
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    match (runs, found) {
        (Named::Never | Named::Broken, _) | (Named::Nothing, None | Some((_, false))) => None,
        (Named::Chain(runs), Some((found, _))) if runs == &**found.digest() => None,
        (Named::Nothing, Some((found, true))) => {
            Some(format!("the folder holds chain {}, and no chain of its own runs", short(found.digest())))
        }
        (Named::Chain(runs), None | Some((_, false))) => {
            Some(format!("there is no folder, and chain {} runs", short(runs)))
        }
        (Named::Chain(runs), Some((found, true))) => {
            Some(format!("the folder holds chain {}, and chain {} runs", short(found.digest()), short(runs)))
        }
    }
}

fn active(folder: &str, filter: &Filter, since_ms: u64) -> Listed {
    let description = filter.code().description();
    Listed {
        folder: folder.to_owned(),
        filter: filter.name().to_string(),
        module: Some(filter.module().to_string()),
        version: Some(format!("{} {}", description.name, description.version)),
        world: Some(filter.code().world().number()),
        config_schema: filter.code().config_schema().cloned(),
        state: "active",
        since_ms,
        reason: None,
    }
}

fn refused(folder: &str, file: &str, state: &'static str, since_ms: u64, reason: String) -> Listed {
    let (folder, filter) = (folder.to_owned(), file.to_owned());
    Listed {
        folder,
        filter,
        module: None,
        version: None,
        world: None,
        config_schema: None,
        state,
        since_ms,
        reason: Some(reason),
    }
}
