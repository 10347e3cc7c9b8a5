//! `new`: a filter's project, which builds, passes its tests and holds all that it needs.

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

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<Done> {
    match args.lang {
        Language::Rust => {}
        Language::Js | Language::Python | Language::C => {
            let problem = "--lang: there is no SDK for this language yet; accepted: rust. Any language that makes a \
                           component of the world in guest-sdk/wit can be used without one";
            return Err(UsageError(problem.to_owned()).into());
        }
    }
    check_name(&args.name).map_err(UsageError)?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if fs::read_dir(&folder).map_or(folder.exists(), |mut entries| entries.next().is_some()) {
        let problem = format!("{} is there already: a project is made in a folder of its own", folder.display());
        return Err(UsageError(problem).into());
    }
    for (path, text) in files(&args.name)? {
        write(&folder.join(path), &text)?;
    }
    let shown = folder.display();
    out.line(&format!(
        "made {shown}: src/lib.rs is the filter, {0}.toml its settings, {0}.test.ndjson its cases",
        args.name
    ))?;
    out.line(&format!("  (cd {shown} && cargo test)          # natively"))?;
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

/// Every file of a project, by its path in it.
fn files(name: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let filled = |text: &str| text.replace("NAME", name).replace("FUNCTION", &name.replace('-', "_"));
    let mut files = vec![
        (PathBuf::from("Cargo.toml"), filled(include_str!("new/rust/Cargo.toml.in"))),
        (PathBuf::from("Cargo.lock"), lock::text(name)?),
        (PathBuf::from("README.md"), filled(include_str!("new/rust/README.md.in"))),
        (PathBuf::from(".gitignore"), "/target\n".to_owned()),
        (PathBuf::from("src/lib.rs"), filled(include_str!("new/rust/lib.rs.in"))),
        (PathBuf::from(format!("{name}.toml")), filled(include_str!("new/rust/settings.toml.in"))),
        (PathBuf::from(format!("{name}.test.ndjson")), filled(include_str!("new/rust/cases.ndjson.in"))),
    ];
    files.extend(sdk::SOURCES.iter().map(|(path, text)| (Path::new("tidegate-guest").join(path), (*text).to_owned())));
    Ok(files)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("{} can not be made", folder.display()))?;
    fs::write(path, text).with_context(|| format!("{} can not be written", path.display()))
}
