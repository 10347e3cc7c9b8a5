#![cfg_attr(any(doc, doctest), doc = include_str!("../../README.md"))]
#![cfg_attr(
    not(any(doc, doctest)),
    doc = "Write Tidegate filters in Rust: see the guide in README.md, two folders up."
)]
// The guide's commands carry marks for the test that runs them.
#![allow(rustdoc::invalid_codeblock_attributes, reason = "the marks are no attributes of rustdoc's")]

#[doc(hidden)]
pub mod bindings;
// Documentation alone: its filters are compiled and run as the guide's are.
#[cfg(any(doc, doctest))]
pub mod cookbook;
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

    /// What `?` does with an error in a function that returns a verdict.
    #[cold]
    pub fn failed<E>(error: E) -> crate::Verdict
    where
        crate::Error: From<E>,
    {
        crate::Verdict::error(crate::Error::from(error))
    }
}

#[cfg(test)]
mod tests {
    /// The bindings are generated beforehand, so that filters build fast: they must not fall behind.
    #[test]
    fn the_bindings_are_those_of_the_wit_file() {
        let wit = include_bytes!("../../wit/v2/filter.wit");
        let digest = wit
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let line = format!("//! FNV-1a of filter.wit: {digest:016x}\n");
        assert!(include_str!("bindings.rs").contains(&line), "filter.wit has changed: run guest-sdk/generate.sh");
    }
}
