//! One event, as a filter reads it: borrowed from the batch's bytes.

use std::str;

use serde::Deserialize;

use crate::Result;
use crate::bindings::tidegate::filter::types::{self, Span};
use crate::{Error, json};

/// One event. Everything it hands out is borrowed from the batch: reading costs no copy.
pub struct Event<'a> {
    record: &'a types::Event,
    bytes: &'a [u8],
}

impl<'a> Event<'a> {
    pub(crate) fn new(record: &'a types::Event, bytes: &'a [u8]) -> Self {
        Self { record, bytes }
    }

    /// The subject it was published on, for example `metrics.calculated`.
    pub fn subject(&self) -> &'a str {
        self.text(self.record.subject)
    }

    /// Its sequence in the source.
    pub fn sequence(&self) -> u64 {
        self.record.sequence
    }

    /// Its time in the source, in milliseconds since 1970. The only clock a filter has: the same event always gives the
    /// same result.
    pub fn time_ms(&self) -> u64 {
        self.record.time_ms
    }

    /// The company; empty in a platform filter, until one has decided it.
    pub fn company(&self) -> &'a str {
        self.text(self.record.company)
    }

    /// The event type; empty until a filter has decided it.
    pub fn event_type(&self) -> &'a str {
        self.text(self.record.event_type)
    }

    /// The payload as it came: any bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.slice(self.record.payload)
    }

    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers in their order, as name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.text(self.record.headers).lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim_ascii(), value.trim_ascii()))
        })
    }

    /// The payload as JSON. Fields of type `&str` and [`Cow<str>`](std::borrow::Cow) (with `#[serde(borrow)]`) borrow
    /// from it; `&str` refuses text with escapes, `Cow<str>` takes both.
    ///
    /// # Errors
    /// A payload that isn't JSON or not of this shape; the text names the field and the event.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T> {
        json::read(self.payload())
            .map_err(|problem| Error::new(format_args!("{problem} ({}, sequence {})", self.subject(), self.sequence())))
    }

    fn slice(&self, span: Span) -> &'a [u8] {
        let start = span.offset as usize;
        start
            .checked_add(span.length as usize)
            .and_then(|end| self.bytes.get(start..end))
            .unwrap_or_else(|| panic!("the host gave a span outside the batch's {} bytes: {span:?}", self.bytes.len()))
    }

    fn text(&self, span: Span) -> &'a str {
        str::from_utf8(self.slice(span)).unwrap_or_else(|_| panic!("the host gave text that isn't UTF-8: {span:?}"))
    }
}

impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("subject", &self.subject())
            .field("sequence", &self.sequence())
            .field("time_ms", &self.time_ms())
            .field("company", &self.company())
            .field("event_type", &self.event_type())
            .field("payload", &String::from_utf8_lossy(self.payload()))
            .finish()
    }
}
