//! JSON pointers (RFC 6901), read from configuration, followed in a text.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::items::Items;

/// A JSON pointer (RFC 6901), as in `/user/emails/0`. In a configuration it is a text.
///
/// ```
/// use tidegate_guest::json::Pointer;
///
/// let pointer: Pointer = "/user/ids/1".parse().unwrap();
/// assert_eq!(pointer.find(r#"{"user": {"ids": [7, 8]}}"#), Some("8"));
/// assert_eq!(pointer.find("{}"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    tokens: Vec<String>,
}

/// Why a text is no JSON pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerError {
    /// It begins with something else than `/`.
    NoSlash,
    /// A `~` that is followed by neither `0` nor `1`.
    Tilde,
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSlash => "a JSON pointer begins with `/`, as in `/user/email`",
            Self::Tilde => "in a JSON pointer `~` is written `~0`, and `/` in a name `~1`",
        })
    }
}

impl std::error::Error for PointerError {}

impl Pointer {
    /// Its tokens, with `~0` and `~1` undone. None for the whole text.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The part of a JSON text that it points at. Of a key that stands twice the last counts, as for most readers.
    ///
    /// The text must be JSON: see [`check`](super::check).
    pub fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut found = text.trim_ascii();
        for token in &self.tokens {
            let items = Items::of(found);
            let item = if items.are_members() {
                items.filter(|item| item.key.as_deref() == Some(token)).last()
            } else {
                element(token).and_then(|index| { items }.nth(index))
            };
            found = found.get(item?.value)?;
        }
        Some(found)
    }

    /// The text, number or flag it points at, as a text: a key for [`State`](crate::State). `None` where nothing is, or null.
    ///
    /// The text must be JSON: see [`check`](super::check).
    ///
    /// # Errors
    /// A list or an object stands there.
    pub fn find_key(&self, text: &str) -> crate::Result<Option<String>> {
        match self.find(text) {
            None | Some("null") => Ok(None),
            Some(found) if found.starts_with('"') => Ok(Some(serde_json::from_str(found)?)),
            Some(found) if found.starts_with(['{', '[']) => {
                Err(crate::Error::new(format_args!("`{self}` is neither a text nor a number")))
            }
            Some(found) => Ok(Some(found.to_owned())),
        }
    }
}

/// An index as the RFC has it: digits without a leading zero.
fn element(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    plain.then(|| token.parse().ok()).flatten()
}

impl std::str::FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self { tokens: Vec::new() });
        }
        let tokens = text.strip_prefix('/').ok_or(PointerError::NoSlash)?;
        let tokens = tokens.split('/').map(|token| {
            let undone = token.replace("~1", "/").replace("~0", "~");
            // Every tilde of an escape is followed by 0 or 1.
            let escapes =
                token.match_indices('~').all(|(at, _)| matches!(token.as_bytes().get(at + 1), Some(b'0' | b'1')));
            escapes.then_some(undone).ok_or(PointerError::Tilde)
        });
        Ok(Self { tokens: tokens.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By a visitor: an error from here still has the place in the text, which names the field.
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Pointer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON pointer")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pointer, E> {
                text.parse().map_err(|error| E::custom(format_args!("`{text}`: {error}")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_text_of_what_is_pointed_at() {
        let text = r#"{"text":"a\nb","number":7.50,"flag":true,"null":null,"list":[1]}"#;
        let key = |pointer: &str| pointer.parse::<Pointer>().expect("a pointer").find_key(text);
        assert_eq!(key("/text").expect("a key").as_deref(), Some("a\nb"));
        assert_eq!(key("/number").expect("a key").as_deref(), Some("7.50"));
        assert_eq!(key("/flag").expect("a key").as_deref(), Some("true"));
        assert_eq!((key("/null").expect("none"), key("/other").expect("none")), (None, None));
        assert_eq!(key("/list").expect_err("no key").to_string(), "`/list` is neither a text nor a number");
    }

    /// The examples of RFC 6901, section 5.
    #[test]
    fn pointers_find_what_the_rfc_says() {
        let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        for (pointer, value) in [
            ("", text),
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", "\"bar\""),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            let parsed: Pointer = pointer.parse().expect("a pointer");
            assert_eq!(parsed.find(text), Some(value), "{pointer}");
            assert_eq!(parsed.to_string(), pointer);
        }
        for pointer in ["/foo/2", "/foo/00", "/foo/-", "/foo/bar", "/x", "/foo/0/x"] {
            assert_eq!(pointer.parse::<Pointer>().expect("a pointer").find(text), None, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        assert_eq!("user".parse::<Pointer>(), Err(PointerError::NoSlash));
        assert_eq!("/a~b".parse::<Pointer>(), Err(PointerError::Tilde));
        assert_eq!("/~".parse::<Pointer>(), Err(PointerError::Tilde));
        assert_eq!("/~01".parse::<Pointer>().expect("a pointer").tokens(), ["~1"]);
    }
}
