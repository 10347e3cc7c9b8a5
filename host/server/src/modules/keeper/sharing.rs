//! Copies of chains, here and where hosts share them, and what hosts tell one another of chains that ran.

use super::{Keeper, RAN, Slot};
use crate::modules::copy::unpack;
use crate::modules::role;
use crate::source::SourceError;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::named::Ran;
use tidegate_filter::Chain;

/// How long one exchange with other hosts' copies may take.
pub(super) const SHARING: Duration = Duration::from_secs(10);
/// So often copies that can't be asked for are asked for again before the folder has to do.
pub(super) const TRIES: u32 = 10;

impl Keeper {
    /// Tells other hosts which chains ran.
    pub(super) fn tell(&self, ran: &Ran) {
        if !self.shares() {
            return;
        }
        let told = serde_json::to_vec(ran.pairs()).map_err(|error| SourceError::Away(error.to_string()));
        if let Err(error) = told.and_then(|ran| self.ask(self.means.source.share(RAN, ran.into()))) {
            tracing::warn!(error = %error, "other hosts can't be told which chains ran");
        }
    }

    pub(super) fn copy(&mut self, name: &str, digest: &str) -> Result<Option<Arc<Chain>>, SourceError> {
        let running = self.running.values().find_map(|running| match &running.slot {
            // The same filters can stand in both places, and are other chains there.
            Slot::Ready(chain) if &**chain.digest() == digest && chain.role() == role(name) => Some(Arc::clone(chain)),
            Slot::Ready(_) | Slot::Broken => None,
        });
        let files = || self.folder.chain(name)?.ok().filter(|chain| &**chain.digest() == digest).map(Arc::clone);
        if let Some(chain) = running.or_else(files) {
            return Ok(Some(chain));
        }
        let (role, engine) = (role(name), self.folder.engine().clone());
        let make = |packed: &[u8]| match unpack(&engine, role, digest, packed) {
            Ok(chain) => Some(Arc::new(chain)),
            Err(reason) => {
                tracing::error!(folder = name, chain = digest, reason, "a copy of a chain is damaged");
                None
            }
        };
        let kept = self.means.copies.read(digest).unwrap_or_else(|error| {
            tracing::warn!(chain = digest, error = %error, "a copy of a chain can't be read");
            None
        });
        if let Some(chain) = kept.and_then(|packed| make(&packed)) {
            return Ok(Some(chain));
        }
        let shared = self.ask(self.means.source.shared(digest));
        let Some(packed) = self.bear(shared)? else { return Ok(None) };
        let chain = make(&packed);
        if chain.is_some()
            && let Err(error) = self.means.copies.keep(digest, &packed)
        {
            tracing::warn!(chain = digest, error = %error, "a copy of a chain can't be kept");
        }
        Ok(chain)
    }

    /// What ran before, as far as any host told; and whether this host knows of more.
    pub(super) fn learn(&mut self) -> Result<(Ran, bool), SourceError> {
        let mut ran = Ran::default();
        let shared = self.ask(self.means.source.shared(RAN));
        if let Some(told) = self.bear(shared)? {
            match serde_json::from_slice::<Vec<(String, String)>>(&told) {
                Ok(told) => ran = Ran::from(told),
                Err(error) => tracing::warn!(error = %error, "what other hosts told of chains that ran can't be read"),
            }
        }
        let more = ran.join(self.means.notes.ran());
        Ok((ran, more))
    }

    /// Gives an error on for a while, so that it is tried again; a host that never gets an answer goes on without.
    pub(super) fn bear<T>(&mut self, answer: Result<Option<T>, SourceError>) -> Result<Option<T>, SourceError> {
        match answer {
            Ok(answer) => {
                self.failures = 0;
                Ok(answer)
            }
            Err(error) if self.failures < TRIES => {
                self.failures += 1;
                Err(error)
            }
            Err(error) => {
                tracing::error!(error = %error, "other hosts' copies of chains can't be asked for");
                Ok(None)
            }
        }
    }

    pub(super) fn shares(&self) -> bool {
        self.means.source.kind() == "jetstream"
    }

    /// Gives other hosts copies of what runs, before a commit names it.
    pub(super) fn share(&mut self) {
        if !self.shares() {
            return;
        }
        let shared = match self.ask(self.means.source.shared_names()) {
            Ok(names) => names.into_iter().collect::<HashSet<String>>(),
            Err(error) => {
                tracing::warn!(error = %error, "other hosts can't be given copies of the chains that run");
                return;
            }
        };
        let digests: BTreeSet<Arc<str>> = self.running.values().map(|running| running.slot.digest()).collect();
        for digest in digests.iter().filter(|digest| !digest.is_empty() && !shared.contains(&***digest)) {
            let packed = match self.means.copies.read(digest) {
                Ok(Some(packed)) => packed,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(chain = %digest, error = %error, "a copy of a chain can't be read");
                    continue;
                }
            };
            if let Err(error) = self.ask(self.means.source.share(digest, packed)) {
                tracing::warn!(chain = %digest, error = %error, "other hosts can't be given a copy of a chain that runs");
            }
        }
    }

    /// Drops what neither the last commit nor this host names, nor what was deployed.
    pub(super) fn drop_copies(&mut self) {
        // Read before it is known what was deployed: a copy is shared before it is deployed, and must not go in between.
        let shared = if self.shares() { self.ask(self.means.source.shared_names()) } else { Ok(Vec::new()) };
        // Of what may have been deployed meanwhile nothing is dropped.
        let (Ok(shared), Ok(_)) = (shared, self.heard()) else {
            return tracing::debug!("old copies of chains are dropped later");
        };
        self.make_released();
        let named = self.named.iter().flatten().map(|(_, digest)| &**digest);
        let found = self.folder.names().filter_map(|name| Some(&**self.folder.chain(name)?.ok()?.digest()));
        let released = self.means.registry.all().flat_map(|(_, releases)| releases.chains());
        // What a folder is rolled back to.
        let before = self.named.iter().flatten().filter_map(|(name, digest)| self.ran_before(name, digest));
        let needed = named.chain(found).chain(released).chain(before).chain([&**self.folder.builtin().digest()]);
        let needed: HashSet<&str> = needed.collect();
        if let Err(error) = self.means.copies.retain(&needed) {
            tracing::warn!(error = %error, "old copies of chains can't be dropped");
        }
        let drop_shared = |shared: Vec<String>| -> Result<(), SourceError> {
            for name in shared.iter().filter(|name| *name != RAN && !needed.contains(name.as_str())) {
                self.ask(self.means.source.unshare(name))?;
            }
            Ok(())
        };
        if let Err(error) = drop_shared(shared) {
            tracing::warn!(error = %error, "old shared copies of chains can't be dropped");
        }
    }

    /// The chain that served a folder before this one: of those that were rolled back none.
    pub(super) fn ran_before(&self, folder: &str, digest: &str) -> Option<&str> {
        let releases = self.means.registry.of(folder);
        let rolled_back = |chain: &str| releases.is_some_and(|releases| releases.was_rolled_back(chain));
        self.means.notes.ran().before(folder, digest, rolled_back)
    }

    pub(super) fn ask<T>(&self, question: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        self.ask_within(SHARING, question)
    }

    pub(super) fn ask_within<T>(
        &self,
        time: Duration,
        question: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let timely = async { tokio::time::timeout(time, question).await };
        let late = |_| Err(SourceError::Away("no answer in time".to_owned()));
        self.means.runtime.block_on(timely).unwrap_or_else(late)
    }
}
