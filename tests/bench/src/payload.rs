//! The events of every measurement: JSON of about 180 bytes that begins with its number.

use std::io::Write as _;

/// Length of an event, unless its number is long: what the targets were set for.
pub(crate) const BYTES: usize = 180;

/// Makes the events of one company.
#[derive(Debug)]
pub(crate) struct Payload {
    /// What follows the number.
    rest: String,
}

/// What a company is called.
pub(crate) fn company(number: u32) -> String {
    format!("company-{number}")
}

impl Payload {
    /// For a company.
    pub(crate) fn of(company: &str) -> Self {
        let text = format!(
            r#","companyId":"{company}","metricName":"integration_score","value":0.85,"previousValue":0.8,"period":"2026-Q1","source":""#
        );
        // The number and what stands before it take about twelve bytes, the end two.
        let fill = "x".repeat(BYTES.saturating_sub(text.len() + 14));
        Self { rest: format!("{text}{fill}\"}}") }
    }

    /// Writes event `n`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, n: u64) {
        // Writing to memory can't fail.
        let _ = write!(out, "{{\"n\":{n}{}", self.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_its_size() {
        let mut out = Vec::new();
        Payload::of("company-7").write(&mut out, 123_456);
        let event: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((event["n"].as_u64(), event["companyId"].as_str()), (Some(123_456), Some("company-7")));
        assert!((176..=184).contains(&out.len()), "{}", out.len());
    }
}
