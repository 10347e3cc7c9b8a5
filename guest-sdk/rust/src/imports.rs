//! What the host offers: its own functions in WebAssembly, a recorder in native tests.

#[cfg(target_arch = "wasm32")]
mod host {
    pub(crate) use crate::bindings::tidegate::filter::log::write as log;
    pub(crate) use crate::bindings::tidegate::filter::state::{delete, get, scan, set};
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub(crate) use crate::testing::host::{delete, get, log, scan, set};
}

pub(crate) use host::{delete, get, log, scan, set};
