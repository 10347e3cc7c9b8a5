//! How filters are built: the compilers for WebAssembly, found or set up, and modules without what only their author needs.
//!
//! `tidegate build` and the repository's own `cargo xtask` share it, so that a module that was built by either is the same.

mod clang;
mod compiler;
mod packages;
mod script;
mod strip;

pub use clang::Clang;
pub use compiler::{TARGET, WasmTarget, cache_folder, cargo, ensure, output, registry_remaps};
pub use packages::Packages;
pub use script::{COMPONENTIZE_JS, COMPONENTIZE_PY, ComponentizeJs, ComponentizePy, js_folder, py_folder};
pub use strip::{Keep, strip};
