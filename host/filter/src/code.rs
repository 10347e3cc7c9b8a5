//! A file that passed: checked, compiled, and asked what it is.

use crate::check::{Role, check_size, check_surface};
use crate::component::component;
use crate::engine::Engine;
use crate::error::LoadError;
use crate::instance::Instance;
use crate::limits::Limits;
use crate::schema::ConfigSchema;
use crate::trap::caught;
use crate::world::{FilterPre, World};
use object::read::{File, Object as _, ObjectSection as _};
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::Component;

/// What a filter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Subjects it expects, with `*` and `>` as in NATS; empty: any.
    pub reads: Vec<String>,
    /// Event types it may emit; empty: any.
    pub emits: Vec<String>,
    /// Version of what it keeps in its state.
    pub state_version: u32,
    /// JSON Schema of its configuration; empty: it has none.
    pub config_schema: String,
}

/// The number of what a file is checked for. It changes with it: nothing that is cached gets past a new check.
const CHECKS: u32 = 1;

/// Bytes of a file that are read at a time: they fit into a core's own cache.
const READ_BYTES: u64 = 256 << 10;

/// A file, and its digest, which is taken once.
#[derive(Debug, Clone)]
pub struct Module {
    bytes: Vec<u8>,
    digest: blake3::Hash,
}

impl Module {
    /// Takes the digest of a file's bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let digest = blake3::hash(&bytes);
        Self { bytes, digest }
    }

    /// Reads a file of about `size` bytes to its end, and takes its digest while what was read is at hand.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(mut file: impl Read, size: usize) -> io::Result<Self> {
        let (mut bytes, mut hasher) = (Vec::with_capacity(size + 1), blake3::Hasher::new());
        loop {
            let before = bytes.len();
            if file.by_ref().take(READ_BYTES).read_to_end(&mut bytes)? == 0 {
                return Ok(Self { bytes, digest: hasher.finalize() });
            }
            hasher.update(&bytes[before..]);
        }
    }

    /// BLAKE3 of the bytes.
    #[must_use]
    pub fn digest(&self) -> &blake3::Hash {
        &self.digest
    }
}

impl Deref for Module {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is known of code that passed, and kept beside it.
#[derive(Serialize, Deserialize)]
struct Note {
    imports_state: bool,
    world: World,
    description: Description,
}

/// Compiled code of one file. It is dropped with the last filter that uses it.
pub struct Code {
    digest: Arc<str>,
    role: Role,
    description: Description,
    imports_state: bool,
    world: World,
    schema: Option<ConfigSchema>,
    pub(crate) pre: FilterPre,
}

impl Code {
    /// BLAKE3 of the file, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// Lets the memory go that its compiled form takes, where it can be had again from its file: for code that is not run
    /// for now. Running it goes on working, and takes what it needs of it again.
    pub fn rest(&self) {
        crate::resident::give_back(&self.image());
    }

    /// Where its compiled form lies in memory.
    pub(crate) fn image(&self) -> Range<*const u8> {
        self.pre.image()
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Whether it can keep state.
    #[must_use]
    pub fn imports_state(&self) -> bool {
        self.imports_state
    }

    /// The JSON Schema of its configuration, where it brings one.
    #[must_use]
    pub fn config_schema(&self) -> Option<&serde_json::Value> {
        self.schema.as_ref().map(ConfigSchema::value)
    }

    /// Holds a configuration against that schema; without one every JSON text fits.
    pub(crate) fn check_config(&self, json: &str) -> Result<(), LoadError> {
        let told =
            |error: serde_json::Error| LoadError::Configuration(format!("the configuration is no JSON: {error}"));
        let Some(schema) = &self.schema else {
            return serde_json::from_str::<serde::de::IgnoredAny>(json).map(drop).map_err(told);
        };
        schema.check(&serde_json::from_str(json).map_err(told)?)
    }

    /// The version of the world it was built for.
    #[must_use]
    pub fn world(&self) -> World {
        self.world
    }

    /// The role it was checked for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code")
            .field("digest", &self.digest)
            .field("name", &self.description.name)
            .finish_non_exhaustive()
    }
}

/// What reads and compiles files is made for files that mean no harm, too: where it panics, the file is no filter.
fn guarded(judge: impl FnOnce() -> Result<Arc<Code>, LoadError>) -> Result<Arc<Code>, LoadError> {
    let judged = caught(judge).unwrap_or_else(|words| {
        Err(LoadError::Format(format!("the file can't be read: its reader gave up ({words})")))
    });
    judged.map_err(LoadError::readable)
}

impl Engine {
    /// Checks a file, makes it a component, compiles it (or finds it compiled) and asks it what it is. Takes from
    /// milliseconds to seconds: not for a thread that events pass.
    ///
    /// # Errors
    /// [`LoadError`] says in words for its author why the file is no filter for this role.
    pub fn load(&self, bytes: &[u8], role: Role, limits: &Limits) -> Result<Arc<Code>, LoadError> {
        guarded(|| self.judge(bytes, || blake3::hash(bytes), role, limits))
    }

    /// The same for a file whose digest is known.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_module(&self, module: &Module, role: Role, limits: &Limits) -> Result<Arc<Code>, LoadError> {
        guarded(|| self.judge(module, || *module.digest(), role, limits))
    }

    fn judge(
        &self,
        bytes: &[u8],
        digest: impl FnOnce() -> blake3::Hash,
        role: Role,
        limits: &Limits,
    ) -> Result<Arc<Code>, LoadError> {
        check_size(bytes.len(), limits)?;
        let digest: Arc<str> = digest().to_hex().as_str().into();
        if let Some(code) = self.in_use(&digest, role) {
            return Ok(code);
        }
        let name = format!("{digest}-{:016x}-{}", self.settings_hash(), role.name());
        let (note, pre) = match self.kept(&name) {
            Some(kept) => kept,
            None => self.make(&name, bytes, role, limits)?,
        };
        let schema = ConfigSchema::read(&note.description.config_schema)?;
        let Note { imports_state, world, description } = note;
        let code = Arc::new(Code { digest, role, description, imports_state, world, schema, pre });
        self.remember(&code);
        Ok(code)
    }

    /// What passed all that before, with this engine and in this role.
    fn kept(&self, name: &str) -> Option<(Note, FilterPre)> {
        let kept = self.0.cache.as_ref()?.load(name)?;
        let loaded = deserialize(&self.0.wasm, &kept.path).and_then(|compiled| {
            let note: Note = serde_json::from_slice(&kept.note)?;
            let pre = self.ready(note.world, &compiled)?;
            Ok((note, pre))
        });
        match loaded {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                tracing::warn!(name, error = %format!("{error:#}"), "cached code does not fit: compiling anew");
                None
            }
        }
    }

    fn make(&self, name: &str, bytes: &[u8], role: Role, limits: &Limits) -> Result<(Note, FilterPre), LoadError> {
        let component = component(bytes)?;
        let surface = check_surface(&component, role)?;
        let compiled = self.0.compiler.compile(component.into_owned())?;
        let ready = |world| self.ready(world, &compiled).map(|pre| (world, pre));
        let fitted = match surface.world {
            Some(world) => ready(world),
            // Code that imports nothing of the world doesn't say which one it is of.
            None => ready(World::V2).or_else(|refused| ready(World::V1).map_err(|_other| refused)),
        };
        let (world, pre) = fitted.map_err(|error| {
            let number = surface.world.unwrap_or(World::V2).number();
            LoadError::World(format!("it doesn't fit tidegate:filter {number}.x: {error:#}"))
        })?;
        let description = Instance::describe(&pre, limits)?;
        check_description(&description)?;
        let note = Note { imports_state: surface.imports_state, world, description };
        if let Some(cache) = &self.0.cache {
            let stored = compiled.serialize().map_err(|error| format!("{error:#}")).and_then(|body| {
                let note = serde_json::to_vec(&note).map_err(|error| error.to_string())?;
                cache.store(name, &note, &body, line_tables(&body)).map_err(|error| error.to_string())
            });
            match stored {
                // From there it takes the memory of what is used of it, and not of all.
                Ok(()) => return Ok(self.kept(name).unwrap_or((note, pre))),
                // Without it the next start compiles again: slower, not wrong.
                Err(error) => tracing::warn!(name, error, "compiled code could not be kept"),
            }
        }
        Ok((note, pre))
    }

    fn ready(&self, world: World, compiled: &Component) -> wasmtime::Result<FilterPre> {
        self.0.linker.instantiate_pre(compiled).and_then(|pre| FilterPre::new(world, pre))
    }

    /// Tells code of other versions and settings of wasmtime apart.
    fn settings_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.wasm.precompile_compatibility_hash().hash(&mut hasher);
        // What a host before this one let pass is judged again.
        (env!("CARGO_PKG_VERSION"), CHECKS).hash(&mut hasher);
        hasher.finish()
    }
}

/// Where compiled code keeps its guest's line tables: in files of filters in Rust more than four fifths of it, and nothing
/// that runs.
fn line_tables(compiled: &[u8]) -> Range<usize> {
    let section = File::parse(compiled).ok().and_then(|file| file.section_by_name(".wasmtime.dwarf")?.file_range());
    let range = section.and_then(|(start, length)| {
        let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
        Some(start..start.checked_add(length)?)
    });
    range.filter(|range| range.end <= compiled.len()).unwrap_or(0..0)
}

#[allow(unsafe_code, reason = "compiling anew at each start takes up to seconds for each module")]
fn deserialize(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by `Component::serialize` in this host: the cache gives out only what carries the
    // checksum under its own key, under the very name that was asked for, from a folder that only this user can write to, and
    // it never writes to a file that has its name. wasmtime compares version and settings itself. The line tables, which
    // that checksum leaves out, are read by safe code, and only to tell a trap: what is wrong in them makes a wrong line.
    let mapped = unsafe { Component::deserialize_file(engine, path) };
    mapped.or_else(|refused| {
        // Code in files can't be run everywhere (`noexec`).
        let Ok(bytes) = std::fs::read(path) else { return Err(refused) };
        // SAFETY: as above.
        unsafe { Component::deserialize(engine, &bytes) }
    })
}

fn check_description(description: &Description) -> Result<(), LoadError> {
    let Description { name, version, reads, emits, state_version: _, config_schema: _ } = description;
    let told = |problem: String| Err(LoadError::Start(format!("what `describe` says can't be taken: {problem}")));
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return told(format!("the name {:?} is empty, over 128 bytes, or holds control characters", shortened(name)));
    }
    if version.len() > 128 || version.chars().any(char::is_control) {
        return told(format!("the version {:?} is over 128 bytes or holds control characters", shortened(version)));
    }
    if reads.len() > 1000 || emits.len() > 1000 {
        return told("it lists over 1,000 subjects or event types".into());
    }
    for subject in reads {
        if subject.is_empty() || subject.len() > 256 || subject.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return told(format!(
                "the subject {:?} is empty, over 256 bytes, or holds spaces or control characters",
                shortened(subject)
            ));
        }
    }
    for event_type in emits {
        if let Err(problem) = tidegate_core::event::check_event_type(event_type) {
            return told(problem);
        }
    }
    Ok(())
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}
