//! Puts a filter into the chain that serves a folder, as an author or a pipeline of theirs wishes it: judged as the host
//! judges files, before anything changes.

use super::copy::{self, Packer};
use super::file::FilterFile;
use super::folder::{self, FolderSettings};
use super::keeper::{Base, DeployError, Deployed, What, Wish};
use super::registry::is_folder;
use super::releases::{BY_BYTES_MAX, MESSAGE_BYTES_MAX, Verb};
use super::role;
use super::watch::KeeperLine;
use bytes::Bytes;
use std::sync::Arc;
use tidegate_filter::{Chain, Engine, Filter};
use tokio::sync::Semaphore;

/// Pushes that are judged at a time: compiling takes whole processors.
const AT_A_TIME: usize = 1;

/// What is pushed to a folder.
#[derive(Debug, Clone)]
pub enum Change {
    /// This filter goes into its chain, in the place of one that has its name.
    Put(FilterFile),
    /// The filter of this name goes out of it.
    Remove(String),
}

/// A push.
#[derive(Debug)]
pub struct Push {
    /// The folder.
    pub folder: String,
    /// What is to be other in it.
    pub change: Change,
    /// Who, as they name themselves.
    pub by: String,
    /// Why, in their words.
    pub message: String,
    /// Only say what would become of it.
    pub dry_run: bool,
}

/// What became of a push, or would.
#[derive(Debug)]
pub struct Pushed {
    /// The filter's `name@digest`, and the name and version it gives itself; none where it was taken out.
    pub filter: Option<(String, String)>,
    /// Recorded cases that passed.
    pub cases: usize,
    /// The filters of the chain, in order: `name@digest`.
    pub filters: Vec<String>,
    /// The chain that served the folder before.
    pub before: Option<String>,
    /// The chain.
    pub chain: String,
    /// What was done; none for a dry run, and where the chain is the one that serves it already.
    pub deployed: Option<Deployed>,
}

/// Why a push changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It makes no sense as it is asked.
    #[error("{0}")]
    Wrong(String),
    /// The host's verdict on the filter: what `tidegate check` and a folder would say.
    #[error("{0}")]
    Refused(String),
    /// It could not be deployed.
    #[error(transparent)]
    NotDeployed(#[from] DeployError),
}

/// Judges and deploys.
#[derive(Clone)]
pub struct Pusher {
    engine: Engine,
    settings: FolderSettings,
    line: KeeperLine,
    turn: Arc<Semaphore>,
}

impl Pusher {
    /// For these folders, through the thread that keeps them.
    #[must_use]
    pub fn new(engine: Engine, settings: FolderSettings, line: KeeperLine) -> Self {
        Self { engine, settings, line, turn: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// The largest module that is taken, in bytes.
    #[must_use]
    pub fn module_bytes_max(&self) -> usize {
        (self.settings.limits_max.module_mib as usize) << 20
    }

    /// Judges a push, and deploys it unless it is only to be judged.
    ///
    /// # Errors
    /// Nothing changed, and why.
    pub async fn push(&self, push: Push) -> Result<Pushed, PushError> {
        check(&push.folder, &push.by, &push.message)?;
        let Push { folder, change, by, message, dry_run } = push;
        let _turn = self.turn.acquire().await.map_err(|_closed| PushError::Wrong("the host stops".to_owned()))?;
        let base = self.line.base(folder.clone()).await?;
        let before = base.as_ref().map(|base| base.chain.digest().to_string());
        let made = self.made(&folder, base, change).await?;
        let mut pushed = Pushed {
            filter: made.filter,
            cases: made.cases,
            filters: made.chain.filters().iter().map(|filter| filter.module().to_string()).collect(),
            chain: made.chain.digest().to_string(),
            before: before.clone(),
            deployed: None,
        };
        if dry_run || before.as_ref() == Some(&pushed.chain) {
            return Ok(pushed);
        }
        let (verb, filter) = (made.verb, made.name);
        let what = What::Push { chain: made.chain, packed: made.packed, base: before, verb, filter };
        pushed.deployed = Some(self.line.deploy(Wish { folder, what, by, message }).await?);
        Ok(pushed)
    }

    /// The engine that it judges with.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The chain that a change would make of what serves a folder.
    ///
    /// # Errors
    /// It is refused, or there is nothing it could change.
    pub async fn judge(&self, folder: &str, change: Change) -> Result<Arc<Chain>, PushError> {
        let _turn = self.turn.acquire().await.map_err(|_closed| PushError::Wrong("the host stops".to_owned()))?;
        let base = self.line.base(folder.to_owned()).await?;
        Ok(self.made(folder, base, change).await?.chain)
    }

    async fn made(&self, folder: &str, base: Option<Base>, change: Change) -> Result<Made, PushError> {
        let (engine, settings, name) = (self.engine.clone(), self.settings.clone(), folder.to_owned());
        let made = tokio::task::spawn_blocking(move || make(&engine, &settings, &name, base, change)).await;
        made.map_err(|error| PushError::Refused(format!("checking it failed: {error}")))?
    }

    /// Lets what ran before serve a folder again, or a release, or its files.
    ///
    /// # Errors
    /// Nothing changed, and why.
    pub async fn roll_back(&self, wish: Wish) -> Result<Deployed, PushError> {
        check(&wish.folder, &wish.by, &wish.message)?;
        Ok(self.line.deploy(wish).await?)
    }
}

fn check(folder: &str, by: &str, message: &str) -> Result<(), PushError> {
    let wrong = |problem: String| Err(PushError::Wrong(problem));
    if !is_folder(folder) {
        return wrong(format!(
            "{folder:?} is no folder of filters: a company, `_default` or `_platform`; a company's name is 1 to 128 of \
             A-Za-z0-9._- and begins with none of `_` and `.`"
        ));
    }
    if by.is_empty() || by.len() > BY_BYTES_MAX {
        return wrong(format!("who acts is told in 1 to {BY_BYTES_MAX} bytes (--by)"));
    }
    if message.len() > MESSAGE_BYTES_MAX {
        return wrong(format!(
            "the message has {} bytes; at most {MESSAGE_BYTES_MAX} are kept (--message)",
            message.len()
        ));
    }
    Ok(())
}

/// A chain that was judged.
struct Made {
    chain: Arc<Chain>,
    packed: Bytes,
    verb: Verb,
    name: String,
    filter: Option<(String, String)>,
    cases: usize,
}

fn make(
    engine: &Engine,
    settings: &FolderSettings,
    folder: &str,
    base: Option<Base>,
    change: Change,
) -> Result<Made, PushError> {
    let role = role(folder);
    let (present, packed) =
        base.map_or((Vec::new(), Bytes::new()), |base| (base.chain.filters().to_vec(), base.packed));
    let modules = if packed.is_empty() { Vec::new() } else { copy::modules(&packed).map_err(PushError::Refused)? };
    let mut links: Vec<(Arc<Filter>, &[u8])> =
        present.into_iter().zip(modules.iter().map(|module| &**module)).collect();
    let (mut described, mut cases) = (None, 0);
    let file;
    let (verb, name) = match change {
        Change::Put(put) => {
            file = put;
            let refused = |reason: String| PushError::Refused(format!("{}: {reason}", file.name));
            let filter = Arc::new(folder::make(engine, settings, &file, role).map_err(refused)?);
            cases = folder::tested(engine, &filter, &file, role).map_err(refused)?;
            let description = filter.code().description();
            described = Some((filter.module().to_string(), format!("{} {}", description.name, description.version)));
            links.retain(|(other, _)| **other.name() != *file.name);
            // As files are: in the order of their names.
            let at = links.partition_point(|(other, _)| **other.name() < *file.name);
            links.insert(at, (filter, &file.wasm));
            (Verb::Push, file.name.clone())
        }
        Change::Remove(name) => {
            let before = links.len();
            links.retain(|(other, _)| **other.name() != *name);
            if links.len() == before {
                let there: Vec<&str> = links.iter().map(|(filter, _)| &**filter.name()).collect();
                let problem = format!("{folder} has no filter {name}; it has: {}", there.join(", "));
                return Err(DeployError::Nothing(problem).into());
            }
            (Verb::Remove, name)
        }
    };
    let (filters, modules): (Vec<Arc<Filter>>, Vec<&[u8]>) = links.into_iter().unzip();
    let chain = Chain::new(filters, role).map_err(|error| PushError::Refused(error.to_string()))?;
    let packed = Packer::default().pack(&chain, &modules).map_err(PushError::Refused)?;
    Ok(Made { chain: Arc::new(chain), packed, verb, name, filter: described, cases })
}
