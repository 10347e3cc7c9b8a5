//! The versions of the filter world that are served side by side: the present one and the one before it.

use crate::bindings::v2::tidegate::filter::types::Event;
use crate::bindings::{v1, v2};
use crate::code::Description;
use crate::error::LoadError;
use crate::imports::Host;
use crate::records::{BatchResult, Process, Whole};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker};

/// The versions of the world that are served.
pub const SERVED: &str = "1.0.0 to every later 1.x, and 2.0.0 to every later 2.x";

/// A version of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum World {
    /// 1.x: nothing is said of the configuration.
    V1,
    /// 2.x: the present one.
    V2,
}

impl World {
    /// The one that a version as it stands in an import, such as `1.0.0`, belongs to.
    pub(crate) fn of(version: &str) -> Result<Self, LoadError> {
        match version.split('.').next() {
            Some("1") => Ok(Self::V1),
            Some("2") => Ok(Self::V2),
            _ => {
                let found = if version.is_empty() { "(none)".into() } else { version.to_owned() };
                Err(LoadError::Version { found, served: SERVED })
            }
        }
    }

    /// Its major version.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Code that fits a version, ready to be instantiated.
pub(crate) struct FilterPre {
    pre: InstancePre<Host>,
    indices: Indices,
}

/// Where a component's exports stand, and which version's they are.
enum Indices {
    V1(v1::FilterIndices),
    V2(v2::FilterIndices),
}

impl FilterPre {
    /// Compares the types of what it exports with its version's.
    pub(crate) fn new(world: World, pre: InstancePre<Host>) -> wasmtime::Result<Self> {
        let indices = match world {
            World::V1 => v1::FilterIndices::new(&pre).map(Indices::V1),
            World::V2 => v2::FilterIndices::new(&pre).map(Indices::V2),
        };
        Ok(Self { indices: indices?, pre })
    }

    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        self.pre.engine()
    }

    /// Where the compiled code lies in memory.
    pub(crate) fn image(&self) -> Range<*const u8> {
        self.pre.component().image_range()
    }

    pub(crate) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate(&mut *store)?;
        let start = match &self.indices {
            Indices::V1(indices) => indices.load(&mut *store, &instance).map(Start::V1),
            Indices::V2(indices) => indices.load(&mut *store, &instance).map(Start::V2),
        };
        Ok(Exports { start: start?, process: Process::of(&instance, store)? })
    }
}

/// What an instance exports.
pub(crate) struct Exports {
    start: Start,
    /// A batch has the same shape in both versions.
    process: Process,
}

/// What is called before the first batch.
enum Start {
    V1(v1::Filter),
    V2(v2::Filter),
}

impl Exports {
    pub(crate) fn describe(&self, store: &mut Store<Host>) -> wasmtime::Result<Description> {
        match &self.start {
            Start::V1(exports) => {
                let v1::Description { name, version, reads, emits, state_version } = exports.call_describe(store)?;
                Ok(Description { name, version, reads, emits, state_version, config_schema: String::new() })
            }
            Start::V2(exports) => {
                let said = exports.call_describe(store)?;
                let v2::Description { name, version, reads, emits, state_version, config_schema } = said;
                Ok(Description { name, version, reads, emits, state_version, config_schema })
            }
        }
    }

    pub(crate) fn init(&self, store: &mut Store<Host>, config: &str) -> wasmtime::Result<Result<(), String>> {
        match &self.start {
            Start::V1(exports) => exports.call_init(store, config),
            Start::V2(exports) => exports.call_init(store, config),
        }
    }

    pub(crate) fn process(
        &self,
        store: &mut Store<Host>,
        events: &[Whole<Event>],
        bytes: &[u8],
    ) -> wasmtime::Result<BatchResult> {
        self.process.call(store, events, bytes)
    }
}

/// Everything a filter of any version may import. A filter that imports less is content with it; a platform filter that
/// imports state is refused by name before it comes here.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    v1::tidegate::filter::log::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    v1::tidegate::filter::state::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    v2::Filter::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A released version stays as it is, to the byte: filters were built with it. What changes it gets a folder of its own,
    /// or, where it only adds functions to `log` or `state`, the next minor version.
    #[test]
    fn a_released_world_does_not_change() {
        let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        assert_eq!(digest(include_str!("../../../guest-sdk/wit/v1/filter.wit")), "2ffaa953320da7bd");
        assert_eq!(digest(include_str!("../../../guest-sdk/wit/v2/filter.wit")), "00f72c27ea0b1842");
    }

    #[test]
    fn another_version_is_told_what_is_served() {
        assert_eq!(World::of("1.4.2"), Ok(World::V1));
        assert_eq!(World::of("2.0.0"), Ok(World::V2));
        for (version, found) in [("3.0.0", "3.0.0"), ("0.9.0", "0.9.0"), ("", "(none)"), ("10.0.0", "10.0.0")] {
            let told = World::of(version).expect_err("refused").to_string();
            let expected = format!("it is built for version {found} of tidegate:filter; this host serves {SERVED}");
            assert_eq!(told, expected);
        }
    }
}
