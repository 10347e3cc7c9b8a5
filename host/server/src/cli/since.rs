//! A time from which on something is asked for.

use crate::clock::Clock;
use crate::config::values::duration;
use std::str::FromStr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, in milliseconds since 1970: given as such, as RFC 3339, or as the time that has passed since (`2h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since(u64);

impl Since {
    pub(super) fn ms(self) -> u64 {
        self.0
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ms) = text.parse() {
            return Ok(Self(ms));
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self(u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)));
        }
        let ago =
            duration(text).map_err(|_error| "a span such as `2h`, RFC 3339, or milliseconds since 1970 is accepted")?;
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Ok(Self(Clock::system().now_ms().saturating_sub(ago_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_time_is_read() {
        assert_eq!("1700000000000".parse(), Ok(Since(1_700_000_000_000)));
        assert_eq!("2023-11-14T22:13:20Z".parse(), Ok(Since(1_700_000_000_000)));
        let hours: Since = "2h".parse().expect("a span");
        let passed_ms = Clock::system().now_ms() - hours.ms();
        assert!((7_200_000..7_260_000).contains(&passed_ms), "{passed_ms}");
        assert!("yesterday".parse::<Since>().is_err());
    }
}
