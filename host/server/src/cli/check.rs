//! `check`: the host's own verdict over a filter, without a host.

use super::Done;
use super::out::{Out, plain};
use super::settings::ConfigArgs;
use crate::config::Config;
use crate::modules::file::FilterFile;
use crate::modules::folder::PLATFORM;
use crate::modules::selftest;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate_filter::{Engine, EngineSettings, Filter, LoadError, Role};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A component, or a core module with the world's custom section; NAME.toml beside it is read, too
    file: PathBuf,
    /// Where the filter is to stand [default: platform in a folder `_platform`, else company]
    #[arg(long)]
    role: Option<RoleName>,
    /// Tell the verdict as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RoleName {
    Platform,
    Company,
}

/// Why a filter is refused: a short word and the reason.
struct Refused {
    kind: &'static str,
    reason: String,
}

impl From<LoadError> for Refused {
    fn from(error: LoadError) -> Self {
        Self { kind: error.kind(), reason: error.to_string() }
    }
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<Done> {
    let config = args.config.load()?;
    let engine = Engine::new(EngineSettings { compile_parallel: true, ..EngineSettings::default() })
        .context("no engine can be made")?;
    let role = match args.role {
        Some(RoleName::Platform) => Role::Platform,
        Some(RoleName::Company) => Role::Company,
        None => role_of(&args.file),
    };
    std::fs::metadata(&args.file).with_context(|| format!("{} can not be read", args.file.display()))?;
    match load(&engine, &config, &args.file, role) {
        Ok((filter, size)) => {
            accepted(args, role, &filter, size, out)?;
            Ok(Done::Well)
        }
        Err(Refused { kind, reason }) => {
            if args.json {
                out.json(&json!({"file": args.file, "accepted": false, "kind": kind, "reason": reason}))?;
            } else {
                out.line(&format!("refused: {}: {} ({kind})", args.file.display(), plain(&reason)))?;
            }
            Ok(Done::Badly)
        }
    }
}

/// The role a file has by the folder it lies in.
fn role_of(file: &Path) -> Role {
    let folder = file.canonicalize().ok().and_then(|path| Some(path.parent()?.file_name()?.to_owned()));
    if folder.is_some_and(|name| name == PLATFORM) { Role::Platform } else { Role::Company }
}

/// Loads a filter with what stands beside it, as the host does before it switches to it.
fn load(engine: &Engine, config: &Config, file: &Path, role: Role) -> Result<(Arc<Filter>, usize), Refused> {
    let refused = |kind: &'static str| move |reason: String| Refused { kind, reason };
    let files =
        FilterFile::read(file, u64::from(config.filters.limits_max.module_mib) << 20).map_err(refused("unreadable"))?;
    let settings = files.settings().map_err(refused("configuration"))?;
    let limits = config.filters.limits.patched(&settings.limits);
    limits.within(&config.filters.limits_max).map_err(|error| refused("configuration")(error.to_string()))?;
    let text = serde_json::to_string(&settings.config).map_err(|error| refused("configuration")(error.to_string()))?;
    let code = engine.load(&files.wasm, role, &limits)?;
    let filter = Arc::new(Filter::new(engine, &files.name, code, &text, limits, settings.on_error)?);
    if let Some(cases) = &files.cases {
        selftest::run(engine, &filter, role, cases).map_err(refused("self-test"))?;
    }
    Ok((filter, files.wasm.len()))
}

fn accepted(args: &Args, role: Role, filter: &Filter, size: usize, out: &mut Out) -> anyhow::Result<()> {
    let code = filter.code();
    let described = code.description();
    let role = match role {
        Role::Platform => "platform",
        Role::Company => "company",
    };
    if args.json {
        let value: Value = json!({
            "file": args.file, "accepted": true, "role": role, "name": described.name, "version": described.version,
            "codeDigest": &**code.digest(), "filterDigest": filter.digest(), "bytes": size, "reads": described.reads,
            "emits": described.emits, "usesState": code.imports_state(), "limits": serde_json::to_value(filter.limits())?,
        });
        out.json(&value)?;
        return Ok(());
    }
    let list = |items: &[String]| if items.is_empty() { "(not told)".to_owned() } else { plain(&items.join(", ")) };
    out.line(&format!(
        "accepted: {} {} ({role} filter, {size} bytes)",
        plain(&described.name),
        plain(&described.version)
    ))?;
    out.line(&format!("  code    {}", code.digest()))?;
    out.line(&format!("  version {} (code, configuration and limits)", filter.digest()))?;
    out.line(&format!("  reads   {}", list(&described.reads)))?;
    out.line(&format!("  emits   {}", list(&described.emits)))?;
    out.line(&format!("  state   {}", if code.imports_state() { "kept for each company" } else { "none" }))?;
    Ok(())
}
