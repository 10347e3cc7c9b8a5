//! What was deployed to folders and serves them now, made chains again from their copies.

use super::Keeper;
use super::sharing::TRIES;
use crate::modules::folder::Refusal;
use crate::source::SourceError;
use std::sync::Arc;
use std::time::Duration;
use tidegate_filter::Chain;

/// How long one question for other hosts' deployments may take: the folder is looked at by the same thread.
const HEARING: Duration = Duration::from_secs(1);

/// A chain that was deployed.
pub(super) struct Released {
    pub(super) digest: String,
    made: Result<Arc<Chain>, Refusal>,
    /// It could not be asked for: try again.
    again: bool,
}

impl Released {
    pub(super) fn new(chain: Arc<Chain>) -> Self {
        Self { digest: chain.digest().to_string(), made: Ok(chain), again: false }
    }

    pub(super) fn chain(&self) -> Option<&Arc<Chain>> {
        self.made.as_ref().ok()
    }
}

impl Keeper {
    /// What is to serve a folder: what was deployed to it, else what its files make.
    pub(super) fn found(&self, name: &str) -> Option<Result<&Arc<Chain>, Refusal>> {
        match self.released.get(name) {
            Some(released) => Some(released.made.as_ref().map_err(Clone::clone)),
            None => self.folder.chain(name),
        }
    }

    /// The chain that a folder's files make.
    pub(super) fn files(&self, name: &str) -> Option<&str> {
        self.folder.chain(name)?.ok().map(|chain| &**chain.digest())
    }

    /// Asks what other hosts deployed since the last look, and makes chains of it. True when anything is other than it was.
    pub(super) fn hear(&mut self) -> bool {
        let heard = self.heard().unwrap_or_else(|error| {
            tracing::debug!(error = %error, "what other hosts deployed is asked for later");
            false
        });
        self.make_released() | heard
    }

    /// Asks what other hosts deployed since the last look.
    ///
    /// # Errors
    /// It could not be asked for: what is known may be old.
    pub(super) fn heard(&mut self) -> Result<bool, SourceError> {
        if !self.shares() {
            // As long as it is not chosen which kind of source it is, nothing is known.
            return Ok(self.means.source.kind() != "nats" && self.means.registry.read_own());
        }
        if !self.means.source.connected() {
            return Err(SourceError::Away("NATS is not connected".to_owned()));
        }
        let mut changed = false;
        loop {
            let told = self.ask_within(HEARING, self.means.source.records(self.means.registry.seen()))?;
            let more = told.more;
            changed |= self.means.registry.take(told);
            if !more {
                return Ok(changed);
            }
        }
    }

    /// Before a tenure begins, what was deployed has to be known.
    pub(super) fn know_releases(&mut self) -> Result<(), SourceError> {
        match self.heard() {
            Ok(_) => self.unheard = 0,
            Err(error) if self.unheard < TRIES => {
                self.unheard += 1;
                return Err(error);
            }
            Err(error) => {
                tracing::error!(error = %error, "what was deployed can't be asked for; what was named runs on")
            }
        }
        self.make_released();
        Ok(())
    }

    /// What could not be made a chain is tried again at the next look.
    pub(super) fn forget_refused(&mut self) {
        self.released.values_mut().for_each(|released| released.again |= released.made.is_err());
    }

    /// Makes the chains that are to serve now. True when anything is other than it was.
    pub(super) fn make_released(&mut self) -> bool {
        let serving: Vec<(String, u64, String)> = self
            .means
            .registry
            .all()
            .filter_map(|(name, releases)| {
                let release = releases.serving(self.files(name))?;
                Some((name.to_owned(), release.number, release.chain.clone()))
            })
            .collect();
        let before = self.released.len();
        self.released.retain(|name, _| serving.iter().any(|(serves, ..)| serves == name));
        let mut changed = self.released.len() < before;
        for (name, number, digest) in serving {
            let known = self.released.get(&name).filter(|released| released.digest == digest);
            if known.is_some_and(|released| !released.again) {
                continue;
            }
            let was_refused = known.is_some();
            let since_ms = self.means.clock.now_ms();
            let refused = |reason| Err(Refusal { file: name.clone(), reason, since_ms });
            let (made, again) = match self.copy(&name, &digest) {
                Ok(Some(chain)) => (Ok(chain), false),
                Ok(None) => (refused(format!("release {number}: there is no copy of its chain any more")), false),
                Err(error) => (refused(format!("release {number} can't be had now: {error}")), true),
            };
            changed |= !was_refused || made.is_ok();
            self.released.insert(name, Released { digest, made, again });
        }
        changed
    }
}
