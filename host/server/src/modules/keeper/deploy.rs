//! What is done to a folder of filters through the admin API, or by the host itself: pushes, rollbacks, and giving it
//! back to its files.

use super::Keeper;
use super::released::Released;
use crate::modules::folder::Refusal;
use crate::modules::registry::PutError;
use crate::modules::releases::{Before, Cause, Facts, Releases, Verb};
use crate::modules::{Slot, role};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::swap::Named;
use tidegate_filter::Chain;

/// Who acts when the host does.
const ITSELF: &str = "tidegate";
/// How long after a switch a chain is watched, in milliseconds: what fails later is rather the input's doing.
const WATCHED_MS: u64 = 3_600_000;

/// How long a push waits for the files of its folder, which were changed a moment ago.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be done to a folder.
pub struct Wish {
    /// The folder.
    pub folder: String,
    /// What.
    pub what: What,
    /// Who wishes it, as they name themselves.
    pub by: String,
    /// Why, in their words.
    pub message: String,
}

/// A chain that a push changes.
pub struct Base {
    /// It.
    pub chain: Arc<Chain>,
    /// Its copy.
    pub packed: Bytes,
}

/// Actions on a folder.
pub enum What {
    /// This chain is to serve it.
    Push {
        /// The chain, checked, started and tested.
        chain: Arc<Chain>,
        /// Its copy.
        packed: Bytes,
        /// The chain that it was made from, by digest: another one by now is no base for it any more.
        base: Option<String>,
        /// What of it is new.
        verb: Verb,
        /// The filter that was put in or taken out.
        filter: String,
    },
    /// What ran before is to serve it, or the release of this number.
    Rollback(Option<u64>),
    /// Its files are to serve it.
    GiveBack,
    /// The chain of this digest spent its error budget: what ran before is to serve it, if it was switched to lately.
    Spent(String),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The release that serves the folder; none: its files do.
    pub release: Option<u64>,
    /// The chain that serves it; none: there is none of its own.
    pub chain: Option<String>,
    /// It runs from the next batch on. False: this host stands by, and the owner switches when it hears of it.
    pub runs: bool,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// It is not as the wish supposes.
    #[error("{0}")]
    Conflict(String),
    /// There is nothing to do it with.
    #[error("{0}")]
    Nothing(String),
    /// It can't be noted or shared now.
    #[error("{0}")]
    Away(String),
}

impl Keeper {
    /// The chain that serves a folder, or is to: what a push changes.
    ///
    /// # Errors
    /// The folder's files make no chain, and nothing was deployed in their place.
    pub fn base(&mut self, folder: &str) -> Result<Option<Base>, DeployError> {
        // What was changed in the folder a moment ago is part of it.
        self.look_at(folder);
        self.check_judged(folder)?;
        self.check_present(folder)?;
        let chain = match self.found(folder) {
            // The built-in chain is there until somebody puts one in its place.
            Some(Ok(chain)) if chain.digest() == self.folder.builtin().digest() => return Ok(None),
            Some(Ok(chain)) => Arc::clone(chain),
            None => return Ok(None),
            Some(Err(refusal)) => {
                let (file, reason) = (refusal.file, refusal.reason);
                return Err(DeployError::Conflict(format!(
                    "what is in {folder} makes no chain that a filter could be put into: {file}: {reason}"
                )));
            }
        };
        let lost = |reason: String| DeployError::Away(format!("the copy of chain {}: {reason}", chain.digest()));
        let packed = match self.means.copies.read(chain.digest()).map_err(|error| lost(error.to_string()))? {
            Some(packed) => packed,
            None => {
                let shared = self.ask(self.means.source.shared(chain.digest()));
                shared.map_err(|error| lost(error.to_string()))?.ok_or_else(|| lost("there is none".to_owned()))?
            }
        };
        Ok(Some(Base { chain, packed }))
    }

    /// Does it: notes it for all hosts, and switches where this one owns the partition.
    ///
    /// # Errors
    /// Nothing was done, and why.
    pub fn deploy(&mut self, wish: Wish) -> Result<Deployed, DeployError> {
        let Wish { folder, what, by, message } = wish;
        if matches!(what, What::Rollback(None) | What::GiveBack) {
            // It may be for its files to serve, as they are now.
            self.look_at(&folder);
        }
        self.hear();
        let cause = Cause { by, message, at_ms: self.means.clock.now_ms(), from: self.present(&folder) };
        let mut releases = self.means.registry.of(&folder).cloned().unwrap_or_default();
        let mut made = None;
        match what {
            What::Push { chain, packed, base, verb, filter } => {
                self.check_base(&folder, base.as_deref())?;
                self.give_copies(&chain, packed)?;
                releases.push(Facts::from(&*chain), verb, &filter, cause);
                made = Some(chain);
            }
            What::Rollback(Some(number)) => {
                let Some(release) = releases.release(number) else {
                    return Err(no_release(&folder, number, &releases));
                };
                let digest = release.chain.clone();
                made = Some(self.kept(&folder, &digest)?);
                releases.roll_back(number, Verb::Rollback, cause);
            }
            What::Rollback(None) => made = self.roll_back(&folder, &mut releases, Verb::Rollback, cause)?,
            What::GiveBack => {
                if releases.serves.is_none() {
                    let problem = format!("{folder} is served by its files: nothing was deployed to it");
                    return Err(DeployError::Conflict(problem));
                }
                self.check_files(&folder)?;
                releases.give_back(Verb::GiveBack, self.files(&folder).map(str::to_owned), cause);
            }
            What::Spent(digest) => {
                self.check_watched(&folder, &digest)?;
                let cause = Cause { by: ITSELF.to_owned(), ..cause };
                made = self.roll_back(&folder, &mut releases, Verb::RolledBackByItself, cause)?;
            }
        }
        self.put(&folder, releases)?;
        match made {
            Some(chain) => drop(self.released.insert(folder.clone(), Released::new(chain))),
            None => drop(self.released.remove(&folder)),
        }
        self.changed();
        Ok(self.deployed(&folder))
    }

    /// Looks at a folder's files, and waits for what becomes of them.
    fn look_at(&mut self, folder: &str) {
        self.look(false);
        if self.folder.finish_one(folder, Instant::now() + PATIENCE) {
            self.changed();
        }
    }

    /// What ran before is to serve the folder; the chain, where that is a release.
    fn roll_back(
        &mut self,
        folder: &str,
        releases: &mut Releases,
        verb: Verb,
        cause: Cause,
    ) -> Result<Option<Arc<Chain>>, DeployError> {
        let files = self.files(folder).map(str::to_owned);
        if releases.serving(files.as_deref()).is_none() {
            self.check_present(folder)?;
            let Some(files) = files else { return Err(nothing_before(folder)) };
            let Some(before) = self.ran_before(folder, &files).map(str::to_owned) else {
                return Err(nothing_before(folder));
            };
            let chain = self.kept(folder, &before)?;
            releases.roll_files_back(&files, Facts::from(&*chain), verb, cause);
            return Ok(Some(chain));
        }
        match releases.before() {
            Some(Before::Release(number)) => {
                let digest = releases.release(number).map(|release| release.chain.clone()).unwrap_or_default();
                let chain = self.kept(folder, &digest)?;
                releases.roll_back(number, verb, cause);
                Ok(Some(chain))
            }
            // By itself the host goes back to a chain that ran, and to nothing else.
            Some(Before::Files) if verb == Verb::RolledBackByItself && files.is_none() => Err(nothing_before(folder)),
            Some(Before::Files) => {
                self.check_files(folder)?;
                releases.give_back(verb, files, cause);
                Ok(None)
            }
            None => Err(nothing_before(folder)),
        }
    }

    /// A folder is given back to files that make a chain, or to none: those that don't would leave it what it runs, and
    /// it would say that they run.
    fn check_files(&self, folder: &str) -> Result<(), DeployError> {
        if self.folder.is_pending(folder) {
            let problem = format!("the files of {folder} are still being judged: try again");
            return Err(DeployError::Conflict(problem));
        }
        match self.folder.chain(folder) {
            Some(Err(Refusal { file, reason, .. })) => Err(DeployError::Conflict(format!(
                "the files of {folder} make no chain, and what runs goes on: {file}: {reason}"
            ))),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// A chain that spent its budget is rolled back while it is new, and only where it runs.
    fn check_watched(&self, folder: &str, digest: &str) -> Result<(), DeployError> {
        let running = self.running.get(folder).filter(|running| self.owner && &*running.slot.digest() == digest);
        let Some(running) = running else {
            return Err(DeployError::Conflict(format!("chain {digest} does not run for {folder}")));
        };
        if self.means.registry.of(folder).is_some_and(|releases| releases.was_gone_back_to(digest)) {
            return Err(DeployError::Conflict(format!("chain {digest} is what {folder} was set back to")));
        }
        let now_ms = self.means.clock.now_ms();
        let released = self.means.registry.of(folder).and_then(|releases| releases.serving(self.files(folder)));
        let deployed_ms = released.map(|release| release.at_ms);
        let switched_ms = running.switched.then_some(running.since_ms);
        match deployed_ms.max(switched_ms) {
            Some(ms) if now_ms.saturating_sub(ms) < WATCHED_MS => Ok(()),
            _ => Err(DeployError::Conflict(format!("chain {digest} has run for {folder} for long"))),
        }
    }

    /// The digest of what runs for a folder, as far as this host knows.
    fn present(&self, folder: &str) -> Option<String> {
        let named = self.named.as_ref().map(|named| super::named_in(named, folder));
        match (self.owner, self.running.get(folder), named) {
            (true, Some(running), _) => Some(running.slot.digest().to_string()).filter(|digest| !digest.is_empty()),
            (true, None, _) => None,
            (false, _, Some(Named::Chain(digest))) => Some(digest.to_owned()),
            (false, ..) => None,
        }
    }

    /// Where nothing was deployed, this host's files have to make what runs: older ones would take it back.
    fn check_present(&self, folder: &str) -> Result<(), DeployError> {
        if self.released.contains_key(folder) {
            return Ok(());
        }
        let builtin = &**self.folder.builtin().digest();
        let (present, files) = (self.present(folder), self.files(folder));
        // Where nothing of its own runs, or nobody said yet what does, there is nothing that could be taken back.
        match present.as_deref().filter(|present| *present != builtin) {
            Some(present) if files != Some(present) => Err(DeployError::Conflict(format!(
                "the files of {folder} on this host make another chain than the one that runs ({present}): bring them up \
                 to date, or ask the host whose files do"
            ))),
            _ => Ok(()),
        }
    }

    /// What is pushed goes into what the folder holds now, and not into what it held before.
    fn check_judged(&self, folder: &str) -> Result<(), DeployError> {
        if self.folder.is_pending(folder) && !self.released.contains_key(folder) {
            return Err(DeployError::Conflict(format!(
                "the files of {folder} were changed a moment ago and are still being judged: push again"
            )));
        }
        Ok(())
    }

    fn check_base(&self, folder: &str, base: Option<&str>) -> Result<(), DeployError> {
        self.check_judged(folder)?;
        let builtin = &**self.folder.builtin().digest();
        let found = self.found(folder).and_then(Result::ok).map(|chain| &**chain.digest());
        if found.filter(|digest| *digest != builtin) == base {
            return Ok(());
        }
        Err(DeployError::Conflict(format!("{folder} was changed while this was checked: push again")))
    }

    fn give_copies(&self, chain: &Chain, packed: Bytes) -> Result<(), DeployError> {
        let digest = chain.digest();
        let kept = self.means.copies.keep(digest, &packed);
        kept.map_err(|error| DeployError::Away(format!("no copy of the chain can be kept in data.dir: {error}")))?;
        if self.shares() {
            let shared = self.ask(self.means.source.share(digest, packed));
            shared.map_err(|error| DeployError::Away(format!("other hosts can't be given the chain: {error}")))?;
        }
        Ok(())
    }

    /// A chain of which there is to be a copy.
    fn kept(&mut self, folder: &str, digest: &str) -> Result<Arc<Chain>, DeployError> {
        match self.copy(folder, digest) {
            Ok(Some(chain)) if chain.role() == role(folder) => Ok(chain),
            Ok(_) => Err(DeployError::Nothing(format!("there is no copy of chain {digest} of {folder} any more"))),
            Err(error) => Err(DeployError::Away(format!("the copy of chain {digest} can't be had now: {error}"))),
        }
    }

    fn put(&mut self, folder: &str, releases: Releases) -> Result<(), DeployError> {
        let action = releases.log.last().cloned();
        let source = self.shares().then(|| Arc::clone(&self.means.source));
        let put = self.means.registry.put(folder, releases, source.as_deref());
        let put = self.means.runtime.block_on(async { tokio::time::timeout(super::sharing::SHARING, put).await });
        match put {
            Ok(Ok(())) => {}
            Ok(Err(error @ PutError::Stale)) => return Err(DeployError::Conflict(format!("{error}: try again"))),
            Ok(Err(error)) => return Err(DeployError::Away(error.to_string())),
            Err(_elapsed) => {
                return Err(DeployError::Away(
                    "other hosts can't be told in time: look before you try again".to_owned(),
                ));
            }
        }
        if let Some(action) = action {
            tracing::info!(
                folder, verb = ?action.verb, by = action.by, message = action.message, filter = action.filter,
                from = action.from, to = action.to, release = action.release, "deployed"
            );
        }
        Ok(())
    }

    fn deployed(&self, folder: &str) -> Deployed {
        let files = self.files(folder);
        let release = self.means.registry.of(folder).and_then(|releases| releases.serving(files));
        let running = self.running.get(folder).map(|running| &running.slot);
        let chain = match (release, running) {
            (Some(release), _) => Some(release.chain.clone()),
            (None, Some(Slot::Ready(chain))) if self.owner => Some(chain.digest().to_string()),
            (None, _) => files.map(str::to_owned),
        };
        Deployed { release: release.map(|release| release.number), chain, runs: self.owner }
    }
}

fn no_release(folder: &str, number: u64, releases: &Releases) -> DeployError {
    let kept: Vec<String> = releases.kept.iter().map(|release| release.number.to_string()).collect();
    let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
    DeployError::Nothing(format!("{folder} has no release {number}; kept: {kept}"))
}

fn nothing_before(folder: &str) -> DeployError {
    DeployError::Nothing(format!("nothing is known of a chain that ran for {folder} before"))
}
