//! Lines for the host's log, bounded in rate by the host.
//!
//! ```
//! use tidegate_guest::{filter, log, Event, Verdict};
//!
//! #[filter]
//! fn watch(event: &Event) -> Verdict {
//!     if event.payload().is_empty() {
//!         log::warn(format_args!("{} came without a payload", event.subject()));
//!     }
//!     Verdict::pass(event)
//! }
//! ```

use std::fmt::Display;

use crate::bindings::tidegate::filter::log::Level as Wire;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author, while looking for a fault.
    Debug,
    /// Something worth knowing.
    Info,
    /// Something that may need a look.
    Warn,
    /// Something that went wrong.
    Error,
}

/// Writes a line with [`Level::Debug`].
pub fn debug(message: impl Display) {
    write(Level::Debug, message);
}

/// Writes a line with [`Level::Info`].
pub fn info(message: impl Display) {
    write(Level::Info, message);
}

/// Writes a line with [`Level::Warn`].
pub fn warn(message: impl Display) {
    write(Level::Warn, message);
}

/// Writes a line with [`Level::Error`].
pub fn error(message: impl Display) {
    write(Level::Error, message);
}

/// Writes a line.
pub fn write(level: Level, message: impl Display) {
    let level = match level {
        Level::Debug => Wire::Debug,
        Level::Info => Wire::Info,
        Level::Warn => Wire::Warn,
        Level::Error => Wire::Error,
    };
    crate::imports::log(level, &message.to_string());
}
