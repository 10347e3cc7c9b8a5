//! The SDK's sources, which travel in the binary: a new project needs nothing published.

macro_rules! sources {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../guest-sdk/", $path)))),+]
    };
}

/// Path below the SDK's folder, and text.
pub(super) const SOURCES: &[(&str, &str)] = sources![
    "README.md",
    "macros/Cargo.toml",
    "macros/src/arguments.rs",
    "macros/src/expand.rs",
    "macros/src/lib.rs",
    "macros/src/question.rs",
    "rust/Cargo.toml",
    "rust/src/bindings.rs",
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
    "wit/v1/filter.wit",
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
        // Makes the bindings, which are carried.
        found.remove("generate.sh");
        let carried: BTreeSet<String> = SOURCES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(carried, found);
    }
}
