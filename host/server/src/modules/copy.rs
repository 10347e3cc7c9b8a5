//! A copy of a chain: its modules with all that makes their versions, in one piece, named by the chain's digest.
//!
//! Modules are compressed, since nine tenths of one are what tells its source lines, and a swap hands a copy to NATS before
//! it is switched to. (`cargo xtask bench 9`)

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_filter::{Chain, Engine, Filter, Limits, OnError, Role};

/// Bytes of the length that stands first.
const LENGTH: usize = 4;
/// The fastest: a higher one takes several times as long for a fifth less.
const LEVEL: i32 = 1;
/// The most that is decompressed at once, in bytes, whatever the copy says of limits: as much as is read of a shared copy.
const BYTES_MAX: usize = 1 << 30;
/// How many compressed modules are remembered, and how many bytes of them.
const REMEMBERED: usize = 16;
const REMEMBERED_BYTES: usize = 16 << 20;

/// What of a filter is not in its module.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    name: String,
    config: String,
    limits: Limits,
    on_error: OnError,
    /// Bytes of its module.
    bytes: usize,
    /// Bytes of what follows of it, in order: a Zstandard frame. In copies of earlier hosts it is the module itself.
    #[serde(default)]
    compressed: Option<usize>,
}

/// Packs chains. It remembers modules that it compressed lately: most swaps change only the configuration.
#[derive(Debug, Default)]
pub struct Packer {
    lately: Mutex<VecDeque<(Box<str>, Bytes)>>,
}

impl Packer {
    /// Packs a chain and its modules, one for each filter.
    ///
    /// # Errors
    /// What can't be compressed, or written as JSON.
    pub fn pack(&self, chain: &Chain, modules: &[&[u8]]) -> Result<Bytes, String> {
        let (mut parts, mut bodies) = (Vec::with_capacity(modules.len()), Vec::with_capacity(modules.len()));
        for (filter, module) in chain.filters().iter().zip(modules) {
            let body = self.compressed(filter.code().digest(), module).map_err(|error| error.to_string())?;
            parts.push(Part {
                name: filter.name().to_string(),
                config: filter.config_json().to_owned(),
                limits: *filter.limits(),
                on_error: filter.on_error(),
                bytes: module.len(),
                compressed: Some(body.len()),
            });
            bodies.push(body);
        }
        let head = serde_json::to_vec(&parts).map_err(|error| error.to_string())?;
        let length = u32::try_from(head.len()).map_err(|error| error.to_string())?;
        let mut packed = Vec::with_capacity(LENGTH + head.len() + bodies.iter().map(Bytes::len).sum::<usize>());
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(&head);
        bodies.iter().for_each(|body| packed.extend_from_slice(body));
        Ok(packed.into())
    }

    fn compressed(&self, digest: &str, module: &[u8]) -> io::Result<Bytes> {
        let known = |lately: &VecDeque<(Box<str>, Bytes)>| lately.iter().position(|(known, _)| **known == *digest);
        {
            let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = known(&lately).and_then(|at| lately.remove(at)) {
                let body = found.1.clone();
                lately.push_front(found);
                return Ok(body);
            }
        }
        let body = Bytes::from(zstd::bulk::compress(module, LEVEL)?);
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&lately).is_none() {
            lately.push_front((digest.into(), body.clone()));
        }
        while lately.len() > REMEMBERED || lately.iter().map(|(_, body)| body.len()).sum::<usize>() > REMEMBERED_BYTES {
            lately.pop_back();
        }
        Ok(body)
    }
}

/// Makes the chain of a copy again. Its digest tells whether it is whole.
///
/// # Errors
/// Why it is none, in a sentence.
pub fn unpack(engine: &Engine, role: Role, digest: &str, packed: &[u8]) -> Result<Chain, String> {
    let parts = parts(packed)?;
    let mut filters = Vec::with_capacity(parts.len());
    for (part, body) in parts {
        // One at a time in memory.
        let code = engine.load(&module(&part, body)?, role, &part.limits).map_err(|error| error.to_string())?;
        let filter = Filter::new(engine, &part.name, code, &part.config, part.limits, part.on_error);
        filters.push(Arc::new(filter.map_err(|error| error.to_string())?));
    }
    let chain = Chain::new(filters, role).map_err(|error| error.to_string())?;
    match &**chain.digest() == digest {
        true => {
            chain.rest();
            Ok(chain)
        }
        false => Err(format!("the copy makes chain {} and not {digest}", chain.digest())),
    }
}

/// The modules of a copy, in the order of its filters.
///
/// # Errors
/// It is no copy of a chain, in a sentence.
pub fn modules(packed: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, String> {
    let parts = parts(packed)?;
    let bytes = parts.iter().map(|(part, _)| part.bytes).fold(0, usize::saturating_add);
    if bytes > BYTES_MAX {
        return Err(format!("its modules have {bytes} bytes together; at most {BYTES_MAX} are unpacked"));
    }
    parts.iter().map(|(part, body)| module(part, body)).collect()
}

/// Parts, each with what follows of it.
fn parts(packed: &[u8]) -> Result<Vec<(Part, &[u8])>, String> {
    let cut = || "the copy ends too early".to_owned();
    let (length, rest) = packed.split_first_chunk::<LENGTH>().ok_or_else(cut)?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
    let parts: Vec<Part> = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    let mut with_bodies = Vec::with_capacity(parts.len());
    for part in parts {
        let (body, after) = rest.split_at_checked(part.compressed.unwrap_or(part.bytes)).ok_or_else(cut)?;
        rest = after;
        with_bodies.push((part, body));
    }
    Ok(with_bodies)
}

fn module<'a>(part: &Part, body: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    if part.compressed.is_none() {
        return Ok(body.into());
    }
    let wrong = |reason: String| format!("the module of {} can't be decompressed: {reason}", part.name);
    let most = BYTES_MAX.min(part.limits.module_mib as usize * (1 << 20));
    if part.bytes > most {
        return Err(wrong(format!("it has {} bytes; its limit is {most}", part.bytes)));
    }
    let module = zstd::bulk::decompress(body, part.bytes).map_err(|error| wrong(error.to_string()))?;
    match module.len() == part.bytes {
        true => Ok(module.into()),
        false => Err(wrong(format!("it has {} bytes and not {}", module.len(), part.bytes))),
    }
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
        let packed = Packer::default().pack(&chain, &[BUILTIN]).unwrap();
        assert!(packed.len() < BUILTIN.len());
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
    fn a_copy_of_an_earlier_host_holds_modules_as_they_are() {
        let head = br#"[{"name":"a","config":"{}","limits":LIMITS,"on_error":ERROR,"bytes":3}]"#;
        let head = String::from_utf8(head.to_vec()).unwrap();
        let head = head.replace("LIMITS", &serde_json::to_string(&Limits::default()).unwrap());
        let head = head.replace("ERROR", &serde_json::to_string(&OnError::Skip).unwrap());
        let mut packed = (head.len() as u32).to_le_bytes().to_vec();
        packed.extend_from_slice(head.as_bytes());
        packed.extend_from_slice(b"abc");
        assert_eq!(modules(&packed).unwrap(), [b"abc".as_slice()]);
    }

    #[test]
    fn a_module_that_is_other_than_its_part_says_or_larger_than_it_may_is_refused() {
        let part = |bytes| Part {
            name: "a".to_owned(),
            config: "{}".to_owned(),
            limits: Limits { module_mib: 1, ..Limits::default() },
            on_error: OnError::Skip,
            bytes,
            compressed: Some(0),
        };
        let body = zstd::bulk::compress(&[7; 1000], LEVEL).unwrap();
        assert_eq!(module(&part(1000), &body).unwrap(), [7; 1000].as_slice());
        for bytes in [999, 1001] {
            assert!(module(&part(bytes), &body).unwrap_err().contains("module of a"));
        }
        assert!(module(&part(2 << 20), &body).unwrap_err().contains("limit"));
    }

    #[test]
    fn modules_compressed_lately_are_remembered_and_no_more_than_a_few() {
        let packer = Packer::default();
        for number in 0..REMEMBERED * 2 {
            let module = [number as u8; 100];
            let first = packer.compressed(&number.to_string(), &module).unwrap();
            assert_eq!(packer.compressed(&number.to_string(), b"not looked at").unwrap(), first);
        }
        assert_eq!(packer.lately.lock().unwrap().len(), REMEMBERED);
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
