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

/// The previous version.
pub mod v1 {
    wasmtime::component::bindgen!({
        path: "../../guest-sdk/wit/v1",
        world: "filter",
        imports: { default: trappable },
    });
}
