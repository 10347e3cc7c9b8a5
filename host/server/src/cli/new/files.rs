//! The files of a new project, by their paths in it.

use super::{Language, lock, sdk};
use std::path::{Path, PathBuf};

/// Every file of a project of this name.
///
/// # Errors
/// As [`lock::text`].
pub(super) fn of(language: Language, name: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let filled = |text: &str| text.replace("NAME", name).replace("FUNCTION", &name.replace('-', "_"));
    let mut files: Vec<(PathBuf, String)> =
        templates(language).iter().map(|(path, text)| (PathBuf::from(filled(path)), filled(text))).collect();
    if language == Language::Rust {
        files.push((PathBuf::from("Cargo.lock"), lock::text(name)?));
    }
    let sources = sdk::sources(language).iter();
    files.extend(sources.map(|(path, text)| (Path::new("tidegate-guest").join(path), (*text).to_owned())));
    Ok(files)
}

/// Path and text, in which NAME and FUNCTION are to be filled in.
fn templates(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::Rust => &[
            ("Cargo.toml", include_str!("rust/Cargo.toml.in")),
            ("README.md", include_str!("rust/README.md.in")),
            (".gitignore", "/target\n"),
            ("src/lib.rs", include_str!("rust/lib.rs.in")),
            ("NAME.toml", include_str!("rust/settings.toml.in")),
            ("NAME.test.ndjson", include_str!("rust/cases.ndjson.in")),
        ],
        Language::Js => &[
            ("package.json", include_str!("js/package.json.in")),
            ("package-lock.json", include_str!("js/package-lock.json.in")),
            ("README.md", include_str!("js/README.md.in")),
            (".gitignore", "/node_modules\n*.partial\n"),
            ("filter.js", include_str!("js/filter.js.in")),
            ("filter.test.mjs", include_str!("js/filter.test.mjs.in")),
            ("NAME.toml", include_str!("guest-settings.toml.in")),
            ("NAME.test.ndjson", include_str!("guest-cases.ndjson.in")),
        ],
        Language::Python => &[
            ("README.md", include_str!("python/README.md.in")),
            (".gitignore", "/.venv\n__pycache__\n*.partial\n"),
            ("filter.py", include_str!("python/filter.py.in")),
            ("test_filter.py", include_str!("python/test_filter.py.in")),
            ("NAME.toml", include_str!("guest-settings.toml.in")),
            ("NAME.test.ndjson", include_str!("guest-cases.ndjson.in")),
        ],
        Language::C => &[
            ("README.md", include_str!("c/README.md.in")),
            (".gitignore", "*.partial\n"),
            ("filter.c", include_str!("c/filter.c.in")),
            ("NAME.toml", include_str!("c/settings.toml.in")),
            ("NAME.test.ndjson", include_str!("guest-cases.ndjson.in")),
        ],
    }
}
