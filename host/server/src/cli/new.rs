//! `new`: a filter's project, which builds, passes its tests and holds all that it needs.

mod files;
mod lock;
mod sdk;

use super::out::Out;
use super::{Done, UsageError};
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest name of a project, in bytes: a filter's file name has room for more.
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The filter's name, and the folder that is made for it
    name: String,
    /// The language it is written in
    #[arg(long, default_value = "rust")]
    lang: Language,
    /// Make the project in this folder [default: NAME, here]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Rust,
    Js,
    Python,
    C,
}

impl Language {
    /// The file that is the filter.
    fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Js => "filter.js",
            Self::Python => "filter.py",
            Self::C => "filter.c",
        }
    }

    /// What is typed in the project's folder before it is built.
    fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["cargo test"],
            Self::Js => &["npm ci", "npm test"],
            Self::Python => &["PYTHONPATH=tidegate-guest/python python3 -m unittest"],
            Self::C => &[],
        }
    }
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<Done> {
    check_name(&args.name).map_err(UsageError)?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if fs::read_dir(&folder).map_or(folder.exists(), |mut entries| entries.next().is_some()) {
        let problem = format!("{} is there already: a project is made in a folder of its own", folder.display());
        return Err(UsageError(problem).into());
    }
    for (path, text) in files::of(args.lang, &args.name)? {
        write(&folder.join(path), &text)?;
    }
    let shown = folder.display();
    out.line(&format!(
        "made {shown}: {1} is the filter, {0}.toml its settings, {0}.test.ndjson its cases",
        args.name,
        args.lang.source()
    ))?;
    for step in args.lang.steps() {
        out.line(&format!("  (cd {shown} && {step})"))?;
    }
    out.line(&format!("  tidegate build {shown}              # leaves {0}.wasm there", args.name))?;
    out.line(&format!("  tidegate test {shown}/{0}.wasm", args.name))?;
    Ok(Done::Well)
}

/// A package, a function and a file are named so.
fn check_name(name: &str) -> Result<(), String> {
    const WORDS: [&str; 55] = [
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
        "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
        "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
        "union", "test", "filter", "tests",
    ];
    const CRATES: [&str; 7] =
        ["std", "core", "alloc", "proc-macro", "serde", "tidegate-guest", "tidegate-guest-macros"];
    let wrong = |why: &str| Err(format!("{name:?} is no name for a filter: {why}"));
    if name.len() > NAME_BYTES_MAX || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return wrong("1 to 64 characters are accepted, the first of them a letter from a to z");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_') {
        return wrong("a-z, 0-9, - and _ are accepted");
    }
    if WORDS.contains(&name) || CRATES.contains(&name.replace('_', "-").as_str()) {
        return wrong("it means something else in Rust");
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("{} can not be made", folder.display()))?;
    fs::write(path, text).with_context(|| format!("{} can not be written", path.display()))
}
