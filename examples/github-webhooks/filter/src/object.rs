//! An object's members as places in the payload: what the summary doesn't name is never parsed or copied.

use std::borrow::Cow;

use tidegate_guest::json::Items;

/// The members of one JSON object.
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Object<'a> {
    /// The members of a text that is JSON; `None` where it isn't an object.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let items = Items::of(text);
        if !items.are_members() {
            return None;
        }
        Some(Self(items.filter_map(|item| Some((item.key?, text.get(item.value)?))).collect()))
    }

    /// An object in this one.
    pub(crate) fn object(&self, key: &str) -> Option<Self> {
        Self::of(self.value(key)?)
    }

    /// The first of these members that is a text with something in it.
    pub(crate) fn text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| serde_json::from_str(self.value(key)?).ok().filter(|text: &String| !text.is_empty()))
    }

    /// A whole number.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        serde_json::from_str(self.value(key)?).ok()
    }

    /// How many elements an array has.
    pub(crate) fn length(&self, key: &str) -> Option<u64> {
        let value = self.value(key).filter(|value| value.starts_with('['))?;
        Some(Items::of(value).count() as u64)
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_another_kind_are_taken_as_missing() {
        let object = Object::of(r#"{"n":7,"t":"x\u0041","e":"","o":{"a":1},"l":[1,[2,3]],"z":null,"f":1.5}"#).unwrap();
        assert_eq!(object.text(&["missing", "z", "n", "e", "t"]).as_deref(), Some("xA"));
        assert_eq!(object.text(&["o", "l"]), None);
        assert_eq!((object.number("n"), object.number("f"), object.number("t")), (Some(7), None, None));
        assert_eq!((object.length("l"), object.length("o"), object.length("z")), (Some(2), None, None));
        assert!(object.object("o").is_some() && object.object("l").is_none() && object.object("missing").is_none());
        assert!(Object::of("[1]").is_none() && Object::of("1").is_none());
    }
}
