//! `build`: a filter's project to WebAssembly: small, and the same bytes wherever its folder lies.

mod guest;
mod rust;

pub(super) use rust::RustProject;

use super::filter::FilterArgs;
use super::out::Out;
use super::replace::replace;
use super::settings::ConfigArgs;
use super::{Done, UsageError, check};
use guest::Guest;
use serde_json::json;
use std::path::{Path, PathBuf};
use tidegate_guest_build::{Clang, ComponentizeJs, ComponentizePy, Keep, Packages, WasmTarget, ensure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The project's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Keep line tables, so that every frame of a trap has its source line: a module of megabytes (Rust and C)
    #[arg(long)]
    lines: bool,
    /// Refuse to build where Cargo.lock would change (Rust)
    #[arg(long)]
    locked: bool,
    /// Tell it as JSON, the host's verdict on a line of its own
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let project = Project::find(&args.dir)?;
    let compiler = project.compiler()?;
    let keep = if args.lines { Keep::Lines } else { Keep::Names };
    let options = Options { locked: args.locked, keep };
    let Some(module) = project.build(&compiler, options)? else { return Ok(Done::Badly) };
    let path = args.dir.join(format!("{}.wasm", project.name()));
    replace(&path, &module)?;
    let digest = blake3::hash(&module).to_hex();
    if args.json {
        let value =
            json!({"file": path, "bytes": module.len(), "digest": digest.as_str(), "compiler": compiler.version()});
        out.json(&value)?;
    } else {
        out.line(&format!("built {}: {} bytes, {digest}", path.display(), module.len()))?;
    }
    check::judge(&FilterArgs::of(path, args.config), args.json, out)
}

/// How a project is built.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Nothing of Cargo.lock may change.
    pub(super) locked: bool,
    /// What of the author's stays in the module.
    pub(super) keep: Keep,
}

/// A filter's project, in the language that its files say.
pub(super) enum Project {
    Rust(RustProject),
    Guest(Guest),
}

/// What builds a project.
#[derive(Debug, Clone)]
pub(super) enum Compiler {
    Rust(WasmTarget),
    C(Clang),
    Js(ComponentizeJs),
    Python(ComponentizePy),
}

impl Compiler {
    /// Builds are the same byte for byte only where it is the same.
    fn version(&self) -> &str {
        match self {
            Self::Rust(target) => &target.version,
            Self::C(clang) => &clang.version,
            Self::Js(componentize) => &componentize.version,
            Self::Python(componentize) => &componentize.version,
        }
    }
}

impl Project {
    /// The project of a folder.
    ///
    /// # Errors
    /// There is none, or what its tool chain says of it.
    pub(super) fn find(dir: &Path) -> anyhow::Result<Self> {
        if dir.join("Cargo.toml").is_file() {
            return RustProject::find(dir).map(Self::Rust);
        }
        if let Some(guest) = Guest::find(dir)? {
            return Ok(Self::Guest(guest));
        }
        let problem = format!(
            "{} holds no filter's project (Cargo.toml, filter.c, filter.js or filter.py): `tidegate new NAME` makes one",
            dir.display()
        );
        Err(UsageError(problem).into())
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Rust(project) => &project.name,
            Self::Guest(project) => &project.name,
        }
    }

    /// With symbolic links followed.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Rust(project) => &project.folder,
            Self::Guest(project) => &project.folder,
        }
    }

    /// Where its compiler writes; it need not be there.
    pub(super) fn target_folder(&self) -> PathBuf {
        match self {
            Self::Rust(project) => project.target_folder.clone(),
            Self::Guest(project) => project.folder.join("node_modules"),
        }
    }

    /// Finds what builds it.
    ///
    /// # Errors
    /// It isn't there: the text holds the command to type.
    pub(super) fn compiler(&self) -> anyhow::Result<Compiler> {
        match self {
            Self::Rust(_) => ensure(Packages::Tell).map(Compiler::Rust),
            Self::Guest(project) => project.compiler(),
        }
    }

    /// The module; none where it does not compile, which the compiler has told.
    ///
    /// # Errors
    /// What keeps the compiler from being run, or its work from being read.
    pub(super) fn build(&self, compiler: &Compiler, options: Options) -> anyhow::Result<Option<Vec<u8>>> {
        match (self, compiler) {
            (Self::Rust(project), Compiler::Rust(target)) => project.build(target, options),
            (Self::Guest(project), compiler) => project.build(compiler, options),
            (Self::Rust(_), _) => anyhow::bail!("the project is in another language now: start again"),
        }
    }
}
