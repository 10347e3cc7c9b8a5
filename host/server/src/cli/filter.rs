//! A filter's file for the verbs of its author: loaded by the host's own code, with what stands beside it.

use super::out::{Out, plain};
use super::settings::ConfigArgs;
use crate::config::Config;
use crate::modules::file::FilterFile;
use crate::modules::folder::PLATFORM;
use anyhow::Context as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_filter::{Chain, Engine, EngineSettings, Filter, LoadError, Role};

/// Which filter, and for which place.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// A component, or a core module with the world's custom section; NAME.toml beside it is read, too
    pub(super) file: PathBuf,
    /// Where the filter is to stand [default: platform in a folder `_platform`, else company]
    #[arg(long)]
    role: Option<RoleName>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RoleName {
    Platform,
    Company,
}

/// A filter that was accepted so far: its cases were not run.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) filter: Arc<Filter>,
    pub(super) role: Role,
    /// How long checking and compiling took.
    pub(super) compiled: Duration,
    /// Size of the module.
    pub(super) bytes: usize,
    /// The text of its recorded cases, if there are any.
    pub(super) cases: Option<String>,
}

/// Why a filter is refused: a short word and the reason.
pub(super) struct Refused {
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

impl From<LoadError> for Refused {
    fn from(error: LoadError) -> Self {
        Self { kind: error.kind(), reason: error.to_string() }
    }
}

impl Refused {
    /// Tells the refusal.
    pub(super) fn tell(&self, file: &Path, json: bool, out: &mut Out) -> anyhow::Result<()> {
        let Self { kind, reason } = self;
        if json {
            out.json(&json!({"file": file, "accepted": false, "kind": kind, "reason": reason}))?;
        } else {
            out.line(&format!("refused: {}: {} ({kind})", file.display(), plain(reason)))?;
        }
        Ok(())
    }
}

impl FilterArgs {
    /// A filter that stands where its folder says.
    pub(super) fn of(file: PathBuf, config: ConfigArgs) -> Self {
        Self { file, role: None, config }
    }

    /// Loads the filter, as the host does before it switches to it.
    ///
    /// # Errors
    /// The outer one where nothing can be said of the filter: no configuration, no such file. The inner one is the
    /// host's refusal.
    pub(super) fn load(&self) -> anyhow::Result<Result<Loaded, Refused>> {
        self.load_on(EngineSettings { compile_parallel: true, ..EngineSettings::default() })
    }

    /// The same on an engine with these settings.
    pub(super) fn load_on(&self, settings: EngineSettings) -> anyhow::Result<Result<Loaded, Refused>> {
        let config = self.config.load()?;
        let settings = EngineSettings { compile_time_max: Some(config.filters.compile_timeout), ..settings };
        let engine = Engine::new(settings).context("no engine can be made")?;
        std::fs::metadata(&self.file).with_context(|| format!("{} can not be read", self.file.display()))?;
        Ok(load(engine, &config, &self.file, self.role()))
    }

    fn role(&self) -> Role {
        match self.role {
            Some(RoleName::Platform) => Role::Platform,
            Some(RoleName::Company) => Role::Company,
            None => role_of(&self.file),
        }
    }
}

/// The role a file has by the folder it lies in.
fn role_of(file: &Path) -> Role {
    let folder = file.canonicalize().ok().and_then(|path| Some(path.parent()?.file_name()?.to_owned()));
    if folder.is_some_and(|name| name == PLATFORM) { Role::Platform } else { Role::Company }
}

fn load(engine: Engine, config: &Config, file: &Path, role: Role) -> Result<Loaded, Refused> {
    let refused = |kind: &'static str| move |reason: String| Refused { kind, reason };
    let files =
        FilterFile::read(file, u64::from(config.filters.limits_max.module_mib) << 20).map_err(refused("unreadable"))?;
    let settings = files.settings().map_err(refused("configuration"))?;
    let limits = config.filters.limits.patched(&settings.limits);
    limits.within(&config.filters.limits_max).map_err(|error| refused("configuration")(error.to_string()))?;
    let text = serde_json::to_string(&settings.config).map_err(|error| refused("configuration")(error.to_string()))?;
    let began = Instant::now();
    let code = engine.load_module(&files.wasm, role, &limits)?;
    let compiled = began.elapsed();
    let filter = Arc::new(Filter::new(&engine, &files.name, code, &text, limits, settings.on_error)?);
    // A folder of this filter alone must be one that the host takes.
    Chain::new(vec![Arc::clone(&filter)], role)?;
    Ok(Loaded { engine, filter, role, compiled, bytes: files.wasm.len(), cases: files.cases })
}
