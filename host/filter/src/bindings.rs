//! Generated code only: the host's side of the filter world, in the versions that are served.
#![allow(missing_docs, reason = "generated; the world's own files say what each item means")]
#![allow(unreachable_pub, unsafe_code, reason = "generated; its one kind of unsafe follows a type check")]

/// The present version.
pub mod v2 {
    wasmtime::component::bindgen!({
        path: "../../guest-sdk/wit/v2",
        world: "filter",
        imports: { default: trappable },
    });
}

/// The previous version. A batch has the present one's shape: one way of calling serves both.
pub mod v1 {
    wasmtime::component::bindgen!({
        path: "../../guest-sdk/wit/v1",
        world: "filter",
        imports: { default: trappable },
        with: { "tidegate:filter/types@1.0.0": crate::bindings::shared },
    });
}

/// `types` of version 1: the present one's, but for what a filter says of itself.
pub mod shared {
    pub use super::v2::tidegate::filter::types::{BatchResult, Event, Host, HostWithStore, add_to_linker};

    #[derive(Debug, Clone, wasmtime::component::ComponentType, wasmtime::component::Lift)]
    #[component(record)]
    pub struct Description {
        pub name: String,
        pub version: String,
        pub reads: Vec<String>,
        pub emits: Vec<String>,
        #[component(name = "state-version")]
        pub state_version: u32,
    }
}
