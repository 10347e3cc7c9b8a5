//! One version of a filter that is being written: built, judged as a host judges it, and laid into the host's folder.

use crate::cli::build::{Compiler, Options, Project};
use crate::cli::filter::{FilterArgs, Loaded, Refused};
use crate::cli::replace::replace;
use crate::cli::settings::ConfigArgs;
use crate::cli::test::events;
use crate::modules::folder::DEFAULT;
use crate::modules::selftest::{self, Event, Outcome, Report};
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidegate_filter::{EngineSettings, Role};
use tidegate_guest_build::Keep;

/// What builds versions.
#[derive(Clone)]
pub(super) struct Maker {
    /// The project's folder.
    pub(super) dir: PathBuf,
    pub(super) compiler: Compiler,
    pub(super) config: ConfigArgs,
    /// Events to be run through each version.
    pub(super) events: Option<PathBuf>,
    /// The host's folder of modules, and of compiled code.
    pub(super) modules: PathBuf,
    pub(super) compiled: PathBuf,
}

/// What came of one attempt.
pub(super) enum Made {
    /// The compiler has told why there is nothing.
    NotCompiled,
    Refused(Refused),
    /// Its cases do not come out as expected.
    Failed(Box<Loaded>, Report),
    /// It lies in the host's folder.
    Good(Good),
}

pub(super) struct Good {
    /// `name@digest`.
    pub(super) module: String,
    pub(super) bytes: usize,
    /// What became of each event: that of a case, or of the file of events.
    pub(super) came: Vec<(Event, Outcome)>,
    pub(super) cases: usize,
    /// How long the compiler took.
    pub(super) built: Duration,
    /// Since the compiler was done.
    pub(super) since: Instant,
}

impl Maker {
    /// Builds, judges and lays out. It blocks for as long as the compiler works.
    ///
    /// # Errors
    /// What keeps it from being tried at all.
    pub(super) fn make(&self) -> anyhow::Result<Made> {
        let project = Project::find(&self.dir)?;
        let began = Instant::now();
        let options = Options { locked: false, keep: Keep::Names };
        let Some(module) = project.build(&self.compiler, options)? else { return Ok(Made::NotCompiled) };
        let (built_in, since) = (began.elapsed(), Instant::now());
        let file = self.dir.join(format!("{}.wasm", project.name()));
        replace(&file, &module)?;
        // The host finds compiled what is compiled here.
        let settings = EngineSettings {
            cache_dir: Some(self.compiled.clone()),
            compile_parallel: true,
            ..EngineSettings::default()
        };
        let loaded = match FilterArgs::of(file.clone(), self.config.clone()).load_on(settings)? {
            Ok(loaded) => loaded,
            Err(refused) => return Ok(Made::Refused(refused)),
        };
        let cases = loaded.cases.as_deref().unwrap_or_default();
        let report = selftest::run(&loaded.engine, &loaded.filter, loaded.role, cases);
        if !report.failures.is_empty() {
            return Ok(Made::Failed(Box::new(loaded), report));
        }
        let cases = report.cases;
        let came = match &self.events {
            None => report.came.into_iter().map(|(_, event, outcome)| (event, outcome)).collect(),
            Some(path) => match play(&loaded, path)? {
                Ok(came) => came,
                Err(reason) => return Ok(Made::Refused(Refused { kind: "events", reason })),
            },
        };
        self.lay_out(project.name(), &module)?;
        let module = loaded.filter.module().to_string();
        Ok(Made::Good(Good { module, bytes: loaded.bytes, came, cases, built: built_in, since }))
    }

    /// Settings first: the module that comes after them is the change.
    fn lay_out(&self, name: &str, module: &[u8]) -> anyhow::Result<()> {
        let folder = self.modules.join(DEFAULT);
        fs::create_dir_all(&folder).with_context(|| format!("{} can not be made", folder.display()))?;
        let settings = self.dir.join(format!("{name}.toml"));
        let there = folder.join(format!("{name}.toml"));
        match fs::read(&settings) {
            Ok(text) if fs::read(&there).is_ok_and(|present| present == text) => {}
            Ok(text) => replace(&there, &text)?,
            Err(_gone) => drop(fs::remove_file(&there)),
        }
        replace(&folder.join(format!("{name}.wasm")), module)
    }
}

/// The events of a file, one after the other; the inner error is the filter's.
type Played = Result<Vec<(Event, Outcome)>, String>;

fn play(loaded: &Loaded, path: &Path) -> anyhow::Result<Played> {
    let events = match events(path)? {
        Ok(events) => events,
        Err(problem) => return Ok(Err(problem)),
    };
    debug_assert_eq!(loaded.role, Role::Company, "a project's folder is not the platform's");
    let ran = selftest::run_events(&loaded.engine, &loaded.filter, loaded.role, &events);
    Ok(ran.map(|(outcomes, _)| events.into_iter().map(|(_, event)| event).zip(outcomes).collect()))
}
