//! `check`: the host's own verdict over a filter, without a host.

use super::Done;
use super::out::{Out, plain};
use super::settings::ConfigArgs;
use crate::config::Config;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidegate_filter::{Code, Engine, EngineSettings, Filter, Limits, LimitsPatch, LoadError, OnError, Role};

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
pub(super) struct Refused {
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

impl From<LoadError> for Refused {
    fn from(error: LoadError) -> Self {
        Self { kind: error.kind(), reason: error.to_string() }
    }
}

/// What stands in `NAME.toml`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Beside {
    config: Option<toml::Table>,
    limits: LimitsPatch,
    on_error: OnError,
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
    let bytes = read(&args.file, &config.filters.limits_max)
        .with_context(|| format!("{} can not be read", args.file.display()))?;
    let verdict =
        bytes.and_then(|bytes| load(&engine, &config, &args.file, role, &bytes).map(|filter| (filter, bytes.len())));
    match verdict {
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
pub(super) fn role_of(file: &Path) -> Role {
    let folder = file.canonicalize().ok().and_then(|path| Some(path.parent()?.file_name()?.to_owned()));
    if folder.is_some_and(|name| name == "_platform") { Role::Platform } else { Role::Company }
}

/// Loads a file as the host would, with what stands beside it.
pub(super) fn load(engine: &Engine, config: &Config, file: &Path, role: Role, bytes: &[u8]) -> Result<Filter, Refused> {
    let refused = |reason: String| Refused { kind: "configuration", reason };
    let beside = beside(file).map_err(refused)?;
    let limits = config.filters.limits.patched(&beside.limits);
    limits.within(&config.filters.limits_max).map_err(|error| refused(error.to_string()))?;
    let text = serde_json::to_string(&beside.config.unwrap_or_default()).map_err(|error| refused(error.to_string()))?;
    let code: Arc<Code> = engine.load(bytes, role, &limits)?;
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("filter");
    Ok(Filter::new(engine, name, code, &text, limits, beside.on_error)?)
}

fn beside(file: &Path) -> Result<Beside, String> {
    let path = file.with_extension("toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Beside::default()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.to_string().trim()))
}

/// Reads a regular file up to the size any filter may have.
pub(super) fn read(file: &Path, ceiling: &Limits) -> std::io::Result<Result<Vec<u8>, Refused>> {
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(file)?.is_file() {
        return Ok(Err(Refused { kind: "format", reason: "it is no regular file".to_owned() }));
    }
    let bytes_max = u64::from(ceiling.module_mib) << 20;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
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
