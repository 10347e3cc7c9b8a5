//! The company that a payload names, read without keeping anything else of it.

use std::borrow::Cow;
use std::{fmt, str};

use serde::Deserializer;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a payload says of its company.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Company<'a> {
    /// Its `companyId`.
    Named(Cow<'a, str>),
    /// JSON, but no object, or one without a `companyId` that is text.
    Missing,
    /// Why it isn't JSON.
    NotJson(String),
}

impl<'a> Company<'a> {
    /// Reads the whole payload: half a company's name would be another company.
    pub(crate) fn of(payload: &'a [u8]) -> Self {
        let text = match str::from_utf8(payload) {
            Ok(text) => text,
            Err(error) => return Self::NotJson(error.to_string()),
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let found = (&mut reader).deserialize_any(Payload).and_then(|company| reader.end().map(|()| company));
        match found {
            Ok(Some(company)) if !company.is_empty() => Self::Named(company),
            Ok(_) => Self::Missing,
            Err(error) => Self::NotJson(error.to_string()),
        }
    }
}

/// Any JSON text; of an object the `companyId`.
struct Payload;

impl<'de> Visitor<'de> for Payload {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut company = None;
        while let Some(Text(key)) = map.next_key()? {
            if key.as_deref() == Some("companyId") {
                if company.is_some() {
                    return Err(de::Error::custom("`companyId` stands twice"));
                }
                let Text(name) = map.next_value()?;
                company = Some(name);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(company.flatten())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A text, borrowed unless it holds escapes; `None` for any other value.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de> de::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Text(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Text(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Text(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Text(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Text(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_company_is_found_whatever_the_layout() {
        let named = |payload: &'static str| match Company::of(payload.as_bytes()) {
            Company::Named(company) => company.into_owned(),
            other => panic!("{payload}: {other:?}"),
        };
        assert_eq!(named(r#"{"companyId":"acme"}"#), "acme");
        assert_eq!(named(r#" { "x" : [1,{"companyId":"other"}], "companyId" : "acme" } "#), "acme");
        assert_eq!(named("{\"company\\u0049d\":\"ac\\u006de\"}"), "acme");
        assert_eq!(named(r#"{"companyId":"é"}"#), "é");
    }

    #[test]
    fn plain_names_are_borrowed() {
        let payload = br#"{"companyId":"acme"}"#;
        assert!(matches!(Company::of(payload), Company::Named(Cow::Borrowed("acme"))));
    }

    #[test]
    fn json_without_a_named_company_has_none() {
        for payload in [
            "{}",
            "[]",
            "1",
            "-1",
            "1.5",
            "true",
            "null",
            "\"acme\"",
            r#"["acme"]"#,
            r#"{"companyid":"acme"}"#,
            r#"{"companyId":null}"#,
            r#"{"companyId":""}"#,
            r#"{"companyId":7}"#,
            r#"{"companyId":["acme"]}"#,
            r#"{"companyId":{"id":"acme"}}"#,
        ] {
            assert_eq!(Company::of(payload.as_bytes()), Company::Missing, "{payload}");
        }
    }

    #[test]
    fn what_is_not_json_is_never_read_in_part() {
        for payload in [
            &b""[..],
            b"{",
            b"{\"companyId\":\"acme\"",
            b"{\"companyId\":\"acme\"}x",
            b"{\"companyId\":\"acme\",}",
            b"\xff",
            b"{\"companyId\":\"acme\",\"x\":\"\xff\"}",
            b"{\"companyId\":\"acme\",\"companyId\":\"globex\"}",
            b"hello",
        ] {
            let company = Company::of(payload);
            assert!(matches!(company, Company::NotJson(_)), "{}: {company:?}", String::from_utf8_lossy(payload));
        }
    }
}
