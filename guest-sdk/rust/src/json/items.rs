//! The members of an object or the elements of an array, as places in the text.

use std::borrow::Cow;
use std::ops::Range;

/// The members of an object or the elements of an array, as places in the text: nothing is copied.
///
/// The text must be JSON (see [`check`](super::check)); in other text the items mean nothing.
///
/// ```
/// use tidegate_guest::json::Items;
///
/// let text = r#"{"name": "Ada", "ids": [1, 2]}"#;
/// let values: Vec<&str> = Items::of(text).map(|item| &text[item.value]).collect();
/// assert_eq!(values, [r#""Ada""#, "[1, 2]"]);
/// ```
#[derive(Clone, Debug)]
pub struct Items<'a> {
    text: &'a str,
    at: usize,
    object: bool,
}

/// One member or element.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    /// The member's key; `None` in an array.
    pub key: Option<Cow<'a, str>>,
    /// Where the item begins: at its key, or at its value in an array.
    pub start: usize,
    /// Where its value stands.
    pub value: Range<usize>,
}

impl<'a> Items<'a> {
    /// The items of an object or an array; a text of another kind has none.
    pub fn of(text: &'a str) -> Self {
        let at = skip_space(text.as_bytes(), 0);
        let opening = text.as_bytes().get(at);
        let container = matches!(opening, Some(b'{' | b'['));
        Self { text, at: if container { at + 1 } else { text.len() }, object: opening == Some(&b'{') }
    }

    /// Whether these are the members of an object.
    pub fn are_members(&self) -> bool {
        self.object
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let bytes = self.text.as_bytes();
        let mut at = skip_space(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
        if matches!(bytes.get(at), None | Some(b'}' | b']')) {
            self.at = bytes.len();
            return None;
        }
        let start = at;
        let key = if self.object {
            let end = skip_value(bytes, start);
            at = skip_space(bytes, skip_space(bytes, end) + 1);
            Some(key(self.text.get(start..end)?)?)
        } else {
            None
        };
        let end = skip_value(bytes, at);
        // Only text that isn't JSON has a value of no length, or one that is cut off.
        if end <= at || !self.text.is_char_boundary(end) {
            self.at = bytes.len();
            return None;
        }
        self.at = end;
        Some(Item { key, start, value: at..end })
    }
}

/// A key may be written with escapes, which say the same name.
fn key(quoted: &str) -> Option<Cow<'_, str>> {
    let plain = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if plain.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(plain)) }
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Past the value that begins here. Counts brackets instead of recursing: depth costs nothing.
fn skip_value(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut depth = 0usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                if depth == 0 {
                    return at;
                }
                depth -= 1;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    at.min(bytes.len())
}

fn skip_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(Option<String>, &str)> {
        Items::of(text).map(|item| (item.key.map(Cow::into_owned), &text[item.value])).collect()
    }

    #[test]
    fn members_and_elements_are_found_in_any_layout() {
        let text = " { \"a\" : [ 1 , {\"b\":2} ] ,\n\t\"c}\\\"\":\"]{\" , \"d\":-1.5e3} ";
        assert_eq!(
            values(text),
            [(Some("a".into()), "[ 1 , {\"b\":2} ]"), (Some("c}\"".into()), "\"]{\""), (Some("d".into()), "-1.5e3")]
        );
        assert_eq!(values("[ 1 , {\"b\":2} ]"), [(None, "1"), (None, "{\"b\":2}")]);
    }

    #[test]
    fn other_values_and_empty_containers_have_no_items() {
        for text in ["{}", "[ ]", "1", "\"{\"", "null", ""] {
            assert!(values(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_json_ends_without_a_panic() {
        let full = r#"{"a\"b":[1,{"c":"d\\"}],"é":{"f":[[]]}}"#;
        for cut in 0..full.len() {
            if let Some(text) = full.get(..cut) {
                let _ = values(text);
            }
        }
        for text in [
            "{,}",
            "{:",
            "{\"",
            "[}",
            "{\"a\"",
            "{\"a\":",
            "{]}",
            "[,",
            "[:",
            "[1:",
            "{\"a\"::",
            "{\"\\",
            "{\"a\"\"b\"",
        ] {
            let _ = values(text);
        }
    }
}
