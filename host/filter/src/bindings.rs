//! Generated code only: the host's side of the filter world, version 1.
#![allow(missing_docs, reason = "generated; the world's own file says what each item means")]
#![allow(unreachable_pub, unsafe_code, reason = "generated; its one kind of unsafe follows a type check")]

wasmtime::component::bindgen!({
    path: "../../guest-sdk/wit/v1",
    world: "filter",
    imports: { default: trappable },
});
