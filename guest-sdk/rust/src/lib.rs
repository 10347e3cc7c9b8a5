#![doc = include_str!("../../README.md")]

#[doc(hidden)]
pub mod bindings;
mod error;
mod event;
#[doc(hidden)]
pub mod filter;
mod imports;
pub mod json;
pub mod log;
mod output;
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

// The macro names the crate as its users do.
extern crate self as tidegate_guest;

pub use error::{Error, Result};
pub use event::Event;
pub use filter::{Description, Filter, NoConfig};
pub use state::State;
pub use tidegate_guest_macros::filter;
pub use verdict::{Data, IntoVerdict, Verdict};

/// For what [`#[filter]`](macro@filter) writes; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{self, Guest as Exports};
    pub use crate::filter::{self, Description, Filter};
}
