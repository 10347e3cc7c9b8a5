//! A dead letter that is tried again: the event is published once more, for the part alone that had failed.

use crate::event::{Company, Input};
use std::fmt;

/// The header that narrows an event to one part.
pub const HEADER: &str = "Tidegate-Retry";

/// The part that an event is for: the others were served when it came first. It takes parts away and never adds one, so
/// it does no harm wherever it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Number of the platform emission, from 1.
    pub emission: u32,
    /// Its company.
    pub company: Company,
}

impl Retry {
    /// Reads it from an event's headers, lines of `name: value`; `None` where there is none that can be read.
    #[must_use]
    pub fn of(headers: &[u8]) -> Option<Self> {
        if headers.is_empty() {
            return None;
        }
        let value = headers.split(|byte| *byte == b'\n').find_map(|line| {
            let (name, value) = (line.get(..HEADER.len())?, line.get(HEADER.len()..)?);
            name.eq_ignore_ascii_case(HEADER.as_bytes()).then_some(value.strip_prefix(b":")?)
        })?;
        let (emission, company) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
        Some(Self { emission: emission.parse().ok()?, company: Company::new(company).ok()? })
    }

    /// Is this input the part?
    #[must_use]
    pub fn is_for(&self, input: &Input) -> bool {
        input.emission.checked_add(1) == Some(self.emission) && input.company == self.company
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.emission, self.company)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SourceEvent;

    fn input(emission: u32, company: &str) -> Input {
        let source = SourceEvent {
            sequence: 1,
            time_ms: 1,
            subject: "s".into(),
            headers: bytes::Bytes::new(),
            payload: bytes::Bytes::new(),
        };
        let company = Company::new(company).unwrap();
        Input { source, emission, company, event_type: "t".into(), data: bytes::Bytes::new() }
    }

    #[test]
    fn it_comes_back_from_a_header_whatever_stands_around_it() {
        let retry = Retry { emission: 2, company: Company::new("acme").unwrap() };
        let headers = format!("Trace: 1\ntidegate-retry: {retry}\nOther: 1 b\n");
        assert_eq!(Retry::of(headers.as_bytes()), Some(retry));
        for none in ["", "Trace: 1\n", "Tidegate-Retry\n", "Tidegate-Retry: x acme\n", "Tidegate-Retry: 1\n"] {
            assert_eq!(Retry::of(none.as_bytes()), None, "{none:?}");
        }
        assert_eq!(Retry::of(b"Tidegate-Retry: 1 ../etc\n"), None);
        assert_eq!(Retry::of(b"Tidegate-Retry-More: 1 acme\n"), None);
    }

    #[test]
    fn only_the_part_that_failed_is_meant() {
        let retry = Retry { emission: 2, company: Company::new("acme").unwrap() };
        assert!(retry.is_for(&input(1, "acme")));
        assert!(!retry.is_for(&input(0, "acme")), "another emission for the same company");
        assert!(!retry.is_for(&input(1, "beta")));
    }
}
