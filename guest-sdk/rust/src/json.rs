//! JSON without a tree: errors that name the field, and ways to parts of a text.

mod items;
mod locate;
mod pointer;

use std::str;

use serde::Deserialize;

pub use items::{Item, Items};
pub use pointer::{Pointer, PointerError};

/// Reads a value. The error's text names the field.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    // Checked once for the whole text: serde_json doesn't look into text that it skips.
    let text = str::from_utf8(bytes).map_err(|error| format!("not JSON: {error}"))?;
    serde_json::from_str(text).map_err(|error| {
        if !error.is_data() {
            return format!("not JSON: {error}");
        }
        match locate::path_at(text, error.line(), error.column()) {
            Some(path) => format!("field `{path}`: {error}"),
            None => error.to_string(),
        }
    })
}

/// Checks that bytes are one JSON text, without making anything of it.
///
/// # Errors
/// What is wrong with it, after `not JSON: `.
///
/// ```
/// use tidegate_guest::json;
///
/// assert_eq!(json::check(br#"{"a":1}"#).unwrap(), r#"{"a":1}"#);
/// assert!(json::check(br#"{"a":"#).unwrap_err().to_string().starts_with("not JSON: EOF"));
/// ```
pub fn check(bytes: &[u8]) -> crate::Result<&str> {
    read::<serde::de::IgnoredAny>(bytes).map_err(crate::Error::new)?;
    str::from_utf8(bytes).map_err(crate::Error::from)
}
