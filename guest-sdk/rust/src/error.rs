//! What a filter answers when it can't handle an event.

use std::fmt::{self, Debug, Display, Formatter};

/// Why an event can't be handled. `?` makes it from every [`std::error::Error`], with its causes.
///
/// ```
/// use tidegate_guest::Error;
///
/// fn level(text: &str) -> Result<u8, Error> {
///     let level: u8 = text.parse()?;
///     if level > 9 {
///         return Err(Error::new(format!("level {level} is above 9")));
///     }
///     Ok(level)
/// }
/// assert_eq!(level("12").unwrap_err().to_string(), "level 12 is above 9");
/// assert_eq!(level("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct Error {
    text: String,
}

/// A result whose error becomes the event's error text.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this text, which the deployer reads in the dead letter.
    pub fn new(text: impl Display) -> Self {
        Self { text: text.to_string() }
    }
}

// No `std::error::Error` for `Error` itself: that is what makes the conversion from all of them possible.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self { text }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Debug for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
