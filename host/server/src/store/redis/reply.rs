//! Reads what the server answered, field by field; whatever is not what it should be is an error.

use crate::store::StoreError;
use bytes::Bytes;
use redis::Value;
use std::str::FromStr;

/// One value of an answer.
#[derive(Debug)]
pub(super) struct Reply(Value);

/// The fields of a list, taken off the front.
#[derive(Debug)]
pub(super) struct Fields(std::vec::IntoIter<Value>);

fn wrong(what: &str, value: &Value) -> StoreError {
    let mut found = format!("{value:?}");
    if let Some((end, _)) = found.char_indices().nth(100) {
        found.truncate(end);
    }
    StoreError::Corrupt(format!("expected {what}, found {found}"))
}

impl Reply {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    /// Nothing there?
    pub(super) fn is_nil(&self) -> bool {
        matches!(self.0, Value::Nil)
    }

    /// Its bytes.
    pub(super) fn bytes(self) -> Result<Bytes, StoreError> {
        match self.0 {
            Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
            Value::SimpleString(text) => Ok(Bytes::from(text)),
            Value::Int(number) => Ok(Bytes::from(number.to_string())),
            Value::Okay => Ok(Bytes::from_static(b"OK")),
            other => Err(wrong("a text", &other)),
        }
    }

    /// Its text.
    pub(super) fn text(self) -> Result<String, StoreError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|error| StoreError::Corrupt(format!("a text: {error}")))
    }

    /// Its number; 0 for an empty text or nothing.
    pub(super) fn number<T: FromStr + Default>(self) -> Result<T, StoreError> {
        if self.is_nil() {
            return Ok(T::default());
        }
        let text = self.text()?;
        if text.is_empty() {
            return Ok(T::default());
        }
        text.parse().ok().ok_or_else(|| StoreError::Corrupt(format!("expected a number, found {text:?}")))
    }

    /// Its fields; those of a map one after the other.
    pub(super) fn fields(self) -> Result<Fields, StoreError> {
        match self.0 {
            Value::Array(values) | Value::Set(values) => Ok(Fields(values.into_iter())),
            Value::Map(pairs) => {
                let flat: Vec<Value> = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
                Ok(Fields(flat.into_iter()))
            }
            other => Err(wrong("a list", &other)),
        }
    }
}

impl Fields {
    /// The next field.
    pub(super) fn one(&mut self) -> Result<Reply, StoreError> {
        self.0.next().map(Reply).ok_or_else(|| StoreError::Corrupt("an answer ends too early".to_owned()))
    }

    /// The next field's text.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.one()?.text()
    }

    /// Is there nothing more?
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

impl Iterator for Fields {
    type Item = Reply;

    fn next(&mut self) -> Option<Reply> {
        self.0.next().map(Reply)
    }
}
