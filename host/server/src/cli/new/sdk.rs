//! The SDK's sources, which travel in the binary: a new project needs nothing published.

use super::Language;

macro_rules! sources {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../guest-sdk/", $path)))),+]
    };
}

/// What of the SDK a project in this language holds: path below the SDK's folder, and text.
pub(super) fn sources(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::Rust => RUST,
        Language::Js => JS,
        Language::Python => PYTHON,
        Language::C => C,
    }
}

const C: &[(&str, &str)] = sources![
    "c/README.md",
    "c/json.c",
    "c/no_wasi.c",
    "c/tidegate.c",
    "c/tidegate.h",
    "c/world.c",
    "c/world.h",
    "c/world_type.c",
];

const JS: &[(&str, &str)] = sources![
    "js/README.md",
    "js/build.mjs",
    "js/entry.js",
    "js/log.js",
    "js/state.js",
    "js/tidegate.js",
    "wit/v2/filter.wit",
];

const PYTHON: &[(&str, &str)] = sources![
    "python/README.md",
    "python/tidegate/__init__.py",
    "python/tidegate/log.py",
    "python/tidegate/state.py",
    "python/tidegate_entry.py",
    "wit/v2/filter.wit",
];

const RUST: &[(&str, &str)] = sources![
    "COOKBOOK.md",
    "README.md",
    "macros/Cargo.toml",
    "macros/src/arguments.rs",
    "macros/src/expand.rs",
    "macros/src/lib.rs",
    "macros/src/question.rs",
    "rust/Cargo.toml",
    "rust/src/bindings.rs",
    "rust/src/cookbook.rs",
    "rust/src/error.rs",
    "rust/src/event.rs",
    "rust/src/filter.rs",
    "rust/src/imports.rs",
    "rust/src/json.rs",
    "rust/src/json/items.rs",
    "rust/src/json/locate.rs",
    "rust/src/json/pointer.rs",
    "rust/src/lib.rs",
    "rust/src/log.rs",
    "rust/src/output.rs",
    "rust/src/state.rs",
    "rust/src/testing.rs",
    "rust/src/testing/bench.rs",
    "rust/src/testing/case.rs",
    "rust/src/testing/diff.rs",
    "rust/src/testing/host.rs",
    "rust/src/testing/recorder.rs",
    "rust/src/verdict.rs",
    "wit/v2/filter.wit",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_source_of_the_sdk_is_carried() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk");
        let mut found = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).expect("below").to_str().expect("UTF-8").to_owned());
                }
            }
        }
        // They make bindings, which are carried; new projects are of the present world.
        let other =
            |path: &str| path.ends_with("generate.sh") || path.contains("__pycache__") || path.starts_with("wit/v1/");
        found.retain(|path| !other(path));
        let all = [Language::Rust, Language::Js, Language::Python, Language::C];
        let carried: BTreeSet<String> = all.into_iter().flat_map(sources).map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(carried, found);
    }

    #[test]
    fn the_world_in_c_is_that_of_the_wit_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk");
        let world = std::fs::read(root.join("wit/v2/filter.wit")).expect("the world");
        let digest = world
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let made = std::fs::read_to_string(root.join("c/world_type.c")).expect("made");
        assert!(made.contains(&format!("FNV-1a of filter.wit: {digest:016x}")), "run guest-sdk/c/generate.sh");
    }
}
