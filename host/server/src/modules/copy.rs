//! A copy of a chain: its modules with all that makes their versions, in one piece, named by the chain's digest.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_filter::{Chain, Engine, Filter, Limits, OnError, Role};

/// Bytes of the length that stands first.
const LENGTH: usize = 4;

/// What of a filter is not in its module.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    name: String,
    config: String,
    limits: Limits,
    on_error: OnError,
    /// Bytes of its module, which follow in order.
    bytes: usize,
}

/// Packs a chain and its modules, one for each filter.
///
/// # Errors
/// What can't be written as JSON.
pub fn pack(chain: &Chain, modules: &[&[u8]]) -> Result<Bytes, String> {
    let part = |(filter, module): (&Arc<Filter>, &&[u8])| Part {
        name: filter.name().to_string(),
        config: filter.config_json().to_owned(),
        limits: *filter.limits(),
        on_error: filter.on_error(),
        bytes: module.len(),
    };
    let parts: Vec<Part> = chain.filters().iter().zip(modules).map(part).collect();
    let head = serde_json::to_vec(&parts).map_err(|error| error.to_string())?;
    let length = u32::try_from(head.len()).map_err(|error| error.to_string())?;
    let mut packed = Vec::with_capacity(LENGTH + head.len() + modules.iter().map(|module| module.len()).sum::<usize>());
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&head);
    modules.iter().for_each(|module| packed.extend_from_slice(module));
    Ok(packed.into())
}

/// Makes the chain of a copy again. Its digest tells whether it is whole.
///
/// # Errors
/// Why it is none, in a sentence.
pub fn unpack(engine: &Engine, role: Role, digest: &str, packed: &[u8]) -> Result<Chain, String> {
    let parts = parts(packed)?;
    let mut filters = Vec::with_capacity(parts.len());
    for (part, module) in parts {
        let code = engine.load(module, role, &part.limits).map_err(|error| error.to_string())?;
        let filter = Filter::new(engine, &part.name, code, &part.config, part.limits, part.on_error);
        filters.push(Arc::new(filter.map_err(|error| error.to_string())?));
    }
    let chain = Chain::new(filters, role).map_err(|error| error.to_string())?;
    match &**chain.digest() == digest {
        true => Ok(chain),
        false => Err(format!("the copy makes chain {} and not {digest}", chain.digest())),
    }
}

/// The modules of a copy, in the order of its filters.
///
/// # Errors
/// It is no copy of a chain, in a sentence.
pub fn modules(packed: &[u8]) -> Result<Vec<&[u8]>, String> {
    Ok(parts(packed)?.into_iter().map(|(_, module)| module).collect())
}

fn parts(packed: &[u8]) -> Result<Vec<(Part, &[u8])>, String> {
    let cut = || "the copy ends too early".to_owned();
    let (length, rest) = packed.split_first_chunk::<LENGTH>().ok_or_else(cut)?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
    let parts: Vec<Part> = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    let mut with_modules = Vec::with_capacity(parts.len());
    for part in parts {
        let (module, after) = rest.split_at_checked(part.bytes).ok_or_else(cut)?;
        rest = after;
        with_modules.push((part, module));
    }
    Ok(with_modules)
}

/// The copies in `data.dir`.
#[derive(Debug)]
pub struct Copies {
    dir: PathBuf,
}

impl Copies {
    /// Those in this folder, which is made when the first is kept.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Is there one of this chain?
    #[must_use]
    pub fn has(&self, digest: &str) -> bool {
        self.dir.join(digest).is_file()
    }

    /// Keeps one.
    ///
    /// # Errors
    /// It can't be written.
    pub fn keep(&self, digest: &str, packed: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let beside = self.dir.join(format!("{digest}.part"));
        let mut file = fs::File::create(&beside)?;
        file.write_all(packed)?;
        file.sync_all()?;
        fs::rename(beside, self.dir.join(digest))
    }

    /// The one of this chain, if there is one.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(&self, digest: &str) -> io::Result<Option<Bytes>> {
        match fs::read(self.dir.join(digest)) {
            Ok(packed) => Ok(Some(packed.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Drops all but these.
    ///
    /// # Errors
    /// The folder can't be read, or a file not be removed.
    pub fn retain(&self, digests: &HashSet<&str>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| digests.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::BUILTIN;
    use tidegate_filter::EngineSettings;

    #[test]
    fn a_copy_makes_the_same_chain_again_and_a_damaged_one_none() {
        let engine = Engine::new(EngineSettings::default()).unwrap();
        // A limit that no default has: the copy carries it.
        let limits = Limits { call_ms: 77, ..Limits::default() };
        let code = engine.load(BUILTIN, Role::Platform, &limits).unwrap();
        let filter = Filter::new(&engine, "10-platform", code, "{}", limits, OnError::Skip).unwrap();
        let chain = Chain::new(vec![Arc::new(filter)], Role::Platform).unwrap();
        let packed = pack(&chain, &[BUILTIN]).unwrap();
        let again = unpack(&engine, Role::Platform, chain.digest(), &packed).unwrap();
        assert_eq!(again.digest(), chain.digest());
        assert_eq!(modules(&packed).unwrap(), [BUILTIN]);
        assert_eq!((again.filters()[0].limits().call_ms, again.filters()[0].on_error()), (77, OnError::Skip));
        assert!(unpack(&engine, Role::Platform, "another", &packed).unwrap_err().contains("another"));
        for length in [0, 3, 4, 20, packed.len() - 1] {
            assert!(unpack(&engine, Role::Platform, chain.digest(), &packed[..length]).is_err());
        }
    }

    #[test]
    fn copies_are_kept_until_nobody_names_them() {
        let dir = std::env::temp_dir().join(format!("tidegate-copies-{}", std::process::id()));
        let copies = Copies::new(dir.clone());
        copies.retain(&HashSet::new()).unwrap();
        assert_eq!(copies.read("a").unwrap(), None);
        copies.keep("a", b"1").unwrap();
        copies.keep("b", b"2").unwrap();
        copies.retain(&HashSet::from(["b"])).unwrap();
        assert!(!copies.has("a") && copies.has("b"));
        assert_eq!(copies.read("b").unwrap().as_deref(), Some(&b"2"[..]));
        fs::remove_dir_all(dir).unwrap();
    }
}
