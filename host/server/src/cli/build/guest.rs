//! A project in C, JavaScript or Python: the author's files, and the SDK's beside them.

use super::{Compiler, Options};
use crate::cli::UsageError;
use anyhow::{Context as _, bail};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use tidegate_guest_build::{Clang, ComponentizeJs, ComponentizePy, Keep, Packages, strip};

/// The SDK's folder in a project.
const SDK: &str = "tidegate-guest";
/// What a build leaves before the host's rename; `dev` does not take it for a change.
const BUILT: &str = ".tidegate-build.partial";
/// The world that a filter is built for, while it is built.
const WORLD: &str = ".tidegate-world.partial";

/// A project whose filter is one of these files.
pub(in crate::cli) struct Guest {
    pub(in crate::cli) name: String,
    /// With symbolic links followed.
    pub(in crate::cli) folder: PathBuf,
    language: Language,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    C,
    Js,
    Python,
}

impl Language {
    const ALL: [Self; 3] = [Self::C, Self::Js, Self::Python];

    /// The file that tells it.
    fn source(self) -> &'static str {
        match self {
            Self::C => "filter.c",
            Self::Js => "filter.js",
            Self::Python => "filter.py",
        }
    }

    /// A file of the SDK that it can't do without.
    fn sdk(self) -> &'static str {
        match self {
            Self::C => "c/tidegate.c",
            Self::Js => "js/build.mjs",
            Self::Python => "python/tidegate_entry.py",
        }
    }
}

impl Guest {
    /// The project of a folder; none where there is no file that tells a language.
    ///
    /// # Errors
    /// Several such files, no name, or no SDK.
    pub(super) fn find(dir: &Path) -> anyhow::Result<Option<Self>> {
        let found: Vec<Language> =
            Language::ALL.into_iter().filter(|language| dir.join(language.source()).is_file()).collect();
        let language = match found[..] {
            [] => return Ok(None),
            [language] => language,
            _ => {
                let names: Vec<&str> = found.iter().map(|language| language.source()).collect();
                let problem = format!("{} holds {}: a project has one filter", dir.display(), names.join(" and "));
                return Err(UsageError(problem).into());
            }
        };
        let folder = dir.canonicalize().with_context(|| format!("{} can not be read", dir.display()))?;
        let project = Self { name: name(&folder)?, folder, language };
        let sdk = project.folder.join(SDK).join(language.sdk());
        if !sdk.is_file() {
            bail!(
                "{} isn't there: `tidegate new NAME --lang …` makes a project that holds the SDK; copy its {SDK} here",
                sdk.display()
            );
        }
        Ok(Some(project))
    }

    /// Finds what builds it.
    pub(super) fn compiler(&self) -> anyhow::Result<Compiler> {
        Ok(match self.language {
            Language::C => Compiler::C(Clang::ensure(Packages::Tell)?),
            Language::Js => Compiler::Js(ComponentizeJs::find(&self.folder)?),
            Language::Python => Compiler::Python(ComponentizePy::find(&self.folder)?),
        })
    }

    /// The module; none where there is none, which the compiler has told.
    pub(super) fn build(&self, compiler: &Compiler, options: Options) -> anyhow::Result<Option<Vec<u8>>> {
        let (sdk, built) = (Path::new(SDK), Path::new(BUILT));
        let lines = options.keep == Keep::Lines;
        let world = Path::new(WORLD);
        let done = match compiler {
            Compiler::C(clang) => clang.build(&self.folder, &self.c_sources()?, &sdk.join("c"), built, lines),
            Compiler::Js(componentize) => self
                .write_world()
                .and_then(|()| componentize.build(&self.folder, &sdk.join("js/build.mjs"), world, built)),
            Compiler::Python(componentize) => self.write_world().and_then(|()| {
                let paths = [".", "tidegate-guest/python"];
                componentize.build(&self.folder, "tidegate_entry", &paths, world, built)
            }),
            Compiler::Rust(_) => bail!("the project is in another language now: start again"),
        };
        let path = self.folder.join(built);
        let module = fs::read(&path);
        // Whatever became of it, nothing of it stays.
        fs::remove_file(&path).ok();
        fs::remove_dir_all(self.folder.join(WORLD)).ok();
        if !done? {
            return Ok(None);
        }
        let module = module.with_context(|| format!("{} can not be read", path.display()))?;
        match compiler {
            Compiler::C(_) => strip(&module, options.keep).map(Some).context("what was built is no module"),
            _ => Ok(Some(module)),
        }
    }

    /// Writes the world into a folder of its own: without state for a filter that never asks for it, since what is in the
    /// world is imported by these tool chains, used or not, and a filter that imports state is taken for one that keeps some.
    fn write_world(&self) -> anyhow::Result<()> {
        let own = world_of(&self.folder.join(SDK).join("wit"))?.join("filter.wit");
        let text = fs::read_to_string(&own).with_context(|| format!("{} can not be read", own.display()))?;
        let text = if uses_state(&self.folder)? { text } else { text.replace("    import state;\n", "") };
        let folder = self.folder.join(WORLD);
        fs::create_dir_all(&folder).with_context(|| format!("{} can not be made", folder.display()))?;
        fs::write(folder.join("filter.wit"), text)
            .with_context(|| format!("{} can not be written", folder.join("filter.wit").display()))
    }

    /// Every `*.c` of the project's folder and the SDK's, in one order on every machine.
    fn c_sources(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut sources = Vec::new();
        for part in [Path::new(""), &Path::new(SDK).join("c")] {
            let folder = self.folder.join(part);
            for entry in fs::read_dir(&folder).with_context(|| format!("{} can not be read", folder.display()))? {
                let name = entry?.file_name();
                if Path::new(&name).extension() == Some(OsStr::new("c")) {
                    sources.push(part.join(name));
                }
            }
        }
        sources.sort();
        Ok(sources)
    }
}

/// Whether a source of a project in JavaScript or Python speaks of the SDK and of state; one that only mentions both costs
/// nothing but the import.
fn uses_state(folder: &Path) -> anyhow::Result<bool> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} can not be read", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with('.') || [SDK, "node_modules"].contains(&name) {
            continue;
        }
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let speaks = path.is_file() && ["js", "mjs", "py"].contains(&ending) && {
            let text = fs::read(&path).with_context(|| format!("{} can not be read", path.display()))?;
            let text = String::from_utf8_lossy(&text);
            text.contains("tidegate") && text.contains("state")
        };
        if speaks || (path.is_dir() && !path.is_symlink() && uses_state(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The filter's settings bear its name: the one NAME.toml of the folder.
fn name(folder: &Path) -> anyhow::Result<String> {
    // Of other tools.
    const OTHERS: [&str; 3] = ["pyproject", "tidegate", "componentize-py"];
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} can not be read", folder.display()))? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        if path.extension() == Some(OsStr::new("toml")) && !OTHERS.contains(&stem) {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    match &names[..] {
        [name] => Ok(name.clone()),
        [] => bail!("{} holds no NAME.toml: the settings, which may be empty, name the filter", folder.display()),
        _ => bail!("{} holds {}.toml: one of them names the filter, which?", folder.display(), names.join(".toml, ")),
    }
}

/// The world that a project's SDK is of: the highest version that it holds. A project is built with its own, whatever the
/// present one is.
fn world_of(wit: &Path) -> anyhow::Result<PathBuf> {
    let unread = || format!("{} can not be read", wit.display());
    let mut versions = Vec::new();
    for entry in fs::read_dir(wit).with_context(unread)? {
        let name = entry.with_context(unread)?.file_name();
        versions.extend(name.to_str().and_then(|name| name.strip_prefix('v')?.parse::<u32>().ok()));
    }
    let highest = versions.iter().max().with_context(|| format!("{} holds no world (v1, v2, …)", wit.display()))?;
    Ok(wit.join(format!("v{highest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(name: &str, files: &[&str]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tidegate-guest-{}-{name}", std::process::id()));
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, "").expect("written");
        }
        folder
    }

    #[test]
    fn a_file_tells_the_language_and_the_settings_the_name() {
        let files = ["filter.py", "only-high.toml", "pyproject.toml", "tidegate-guest/python/tidegate_entry.py"];
        let folder = desk("python", &files);
        let found = Guest::find(&folder).expect("a project").expect("one");
        assert_eq!((found.name.as_str(), found.language), ("only-high", Language::Python));
        fs::write(folder.join("filter.c"), "").expect("written");
        let told = |folder: &Path| Guest::find(folder).err().expect("refused").to_string();
        assert!(told(&folder).contains("filter.c and filter.py"), "{}", told(&folder));
        fs::remove_file(folder.join("filter.py")).expect("removed");
        assert!(told(&folder).contains("tidegate-guest/c/tidegate.c isn't there"), "{}", told(&folder));
        fs::write(folder.join("other.toml"), "").expect("written");
        assert!(told(&folder).contains("only-high.toml, other.toml"), "{}", told(&folder));
        fs::remove_dir_all(&folder).expect("removed");
        assert!(Guest::find(&folder).expect("none").is_none());
    }

    #[test]
    fn state_is_in_the_world_of_those_who_ask_for_it() {
        let files = ["filter.js", "lib/more.js", "a.toml", "tidegate-guest/js/build.mjs", "tidegate-guest/js/state.js"];
        let folder = desk("state", &files);
        fs::create_dir_all(folder.join("tidegate-guest/wit/v2")).expect("made");
        let world = include_str!("../../../../../guest-sdk/wit/v2/filter.wit");
        fs::write(folder.join("tidegate-guest/wit/v2/filter.wit"), world).expect("written");
        let project = Guest::find(&folder).expect("a project").expect("one");
        let written = || {
            project.write_world().expect("written");
            fs::read_to_string(folder.join(WORLD).join("filter.wit")).expect("a world")
        };
        assert!(written().contains("import log;") && !written().contains("import state;"));
        fs::write(folder.join("lib/more.js"), "import * as state from \"../tidegate-guest/js/state.js\"")
            .expect("written");
        assert_eq!(written(), world);
        // A project of the world before is built with it.
        fs::rename(folder.join("tidegate-guest/wit/v2"), folder.join("tidegate-guest/wit/v1")).expect("renamed");
        assert_eq!(written(), world);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn c_is_compiled_in_one_order() {
        let folder = desk("c", &["filter.c", "a.toml", "also.c", "note.h", "tidegate-guest/c/tidegate.c"]);
        let found = Guest::find(&folder).expect("a project").expect("one");
        let sources = found.c_sources().expect("sources");
        assert_eq!(sources, ["also.c", "filter.c", "tidegate-guest/c/tidegate.c"].map(PathBuf::from));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
