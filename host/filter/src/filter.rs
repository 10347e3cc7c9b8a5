//! Code with a configuration and limits: one link of a chain.

use crate::code::Code;
use crate::engine::Engine;
use crate::error::LoadError;
use crate::instance::Instance;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest file name stem of a filter, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// A start that takes longer is not tried within a batch's time (20 ms).
const SLOW_START: Duration = Duration::from_millis(5);
/// The number of the next filter.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What happens to an event at which a filter fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It goes to the dead letters; the next one is processed.
    #[default]
    DeadLetter,
    /// What the filter was given is dropped; the failure is only told.
    Skip,
    /// The company's events wait in its backlog from this one on.
    Pause,
}

/// One link of a chain.
pub struct Filter {
    number: u64,
    name: Arc<str>,
    code: Arc<Code>,
    config_json: Arc<str>,
    limits: Limits,
    on_error: OnError,
    digest: blake3::Hash,
    module: Arc<str>,
    instance_key: Arc<str>,
    state_name: Arc<str>,
    /// The quickest start so far, in microseconds.
    start_micros: AtomicU64,
}

impl Filter {
    /// Puts a filter together and lets it judge its configuration, on an instance that is thrown away. `name` is the stem
    /// of the file's name, such as `10-threshold`; `config_json` is `{}` without configuration.
    ///
    /// # Errors
    /// [`LoadError::Refused`] has the filter's own message about its configuration; the other kinds say what is wrong
    /// with name, JSON or start.
    pub fn new(
        engine: &Engine,
        name: &str,
        code: Arc<Code>,
        config_json: &str,
        limits: Limits,
        on_error: OnError,
    ) -> Result<Self, LoadError> {
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.chars().any(|c| !c.is_ascii_graphic() || c == '/' || c == '@')
        {
            let problem = format!(
                "the filter's name {name:?} is not 1 to {NAME_BYTES_MAX} printable characters without space, `/` and `@`"
            );
            return Err(LoadError::Configuration(problem));
        }
        code.check_config(config_json)?;
        limits.within(&SENSIBLE).map_err(|error| LoadError::Configuration(error.to_string()))?;
        let digest = digest(&code, config_json, &limits, on_error)?;
        let module = format!("{name}@{}", &digest.to_hex()[..12]).into();
        let instance_key = format!("{name}@{}", digest.to_hex()).into();
        let state_name = format!("{name}@{}", code.description().state_version).into();
        let filter = Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            code,
            config_json: config_json.into(),
            limits,
            on_error,
            digest,
            module,
            instance_key,
            state_name,
            start_micros: AtomicU64::new(u64::MAX),
        };
        Instance::rehearse(&filter, engine.0.log_sink.as_deref()).map_err(LoadError::readable)?;
        Ok(filter)
    }

    /// Stem of its file's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// Its configuration as `init` is given it.
    #[must_use]
    pub fn config_json(&self) -> &str {
        &self.config_json
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What happens where it fails.
    #[must_use]
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// BLAKE3 over code, configuration, limits and `on-error`, in hexadecimal: the key of this version.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.to_hex().to_string()
    }

    /// `name@` and the first twelve digits of the digest: how errors and logs name it.
    #[must_use]
    pub fn module(&self) -> &Arc<str> {
        &self.module
    }

    /// Under what its state is kept, for each company: its name and the state version its code declares, so that a
    /// version that declares another one starts empty, and a rollback finds what it left.
    #[must_use]
    pub fn state_name(&self) -> &Arc<str> {
        &self.state_name
    }

    /// Name and whole digest: what a chain's digest is made of.
    pub(crate) fn instance_key(&self) -> &Arc<str> {
        &self.instance_key
    }

    /// What tells its instances apart from those of every other filter of this process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// An instance was started, which took so long.
    pub(crate) fn started(&self, took: Duration) {
        // The quickest counts: what else the machine did meanwhile is not the filter's doing.
        self.start_micros.fetch_min(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Does a start take too long for a batch to wait for?
    pub(crate) fn starts_slowly(&self) -> bool {
        u128::from(self.start_micros.load(Ordering::Relaxed)) > SLOW_START.as_micros()
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("module", &self.module).finish_non_exhaustive()
    }
}

/// Ceilings that only rule out what makes no sense: the deployer's are applied where files are read.
const SENSIBLE: Limits = Limits {
    call_ms: 3_600_000,
    memory_mib: 4096,
    output_bytes: u32::MAX as u64,
    outputs: 1_000_000,
    log_per_second: u32::MAX,
    state_bytes: u64::MAX,
    module_mib: u32::MAX,
};

fn digest(code: &Code, config_json: &str, limits: &Limits, on_error: OnError) -> Result<blake3::Hash, LoadError> {
    let told = |error: serde_json::Error| LoadError::Host(error.to_string());
    let limits = serde_json::to_string(limits).map_err(told)?;
    let on_error = serde_json::to_string(&on_error).map_err(told)?;
    let mut hasher = blake3::Hasher::new();
    for part in [&**code.digest(), config_json, &limits, &on_error] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    Ok(hasher.finalize())
}
