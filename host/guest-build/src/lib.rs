//! How filters are built: the compiler for WebAssembly, found or set up, and modules without what only their author needs.
//!
//! `tidegate build` and the repository's own `cargo xtask` share it, so that a module that was built by either is the same.

mod compiler;
mod strip;

pub use compiler::{Packages, TARGET, WasmTarget, cache_folder, cargo, ensure, output, registry_remaps};
pub use strip::{Keep, strip};
