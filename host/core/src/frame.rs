//! The bytes of one Server-Sent Events frame.
//!
//! Fields end at CR, LF or CRLF in every client, so `data` is split there and nothing else may hold them. `id` comes
//! last: some clients take an id before its event is whole.

use crate::cursor::{event_id, place_id};
use crate::entry::Entry;
use crate::gap::GapReason;
use crate::position::Place;
use std::fmt::Write as _;

/// Writes an event's frame at the end of `out`.
pub fn event(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(entry.event_type.as_bytes());
    data(out, &entry.data);
    out.extend_from_slice(b"\nid: ");
    out.extend_from_slice(event_id(&entry.subject, entry.position, entry.time_ms).as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// How long the frame of this data gets, in bytes, at most: carriage returns become a line each.
#[must_use]
pub fn event_bytes_max(data: &[u8], event_type: &str) -> usize {
    let breaks = data.iter().filter(|b| matches!(b, b'\r' | b'\n')).count();
    data.len() + breaks * 7 + event_type.len() + 160
}

/// Appends `\ndata: …` lines.
fn data(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    loop {
        out.extend_from_slice(b"\ndata: ");
        match rest.iter().position(|b| matches!(b, b'\r' | b'\n')) {
            None => {
                out.extend_from_slice(rest);
                return;
            }
            Some(end) => {
                out.extend_from_slice(&rest[..end]);
                let pair = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
                rest = &rest[end + 1 + usize::from(pair)..];
            }
        }
    }
}

/// Why the host ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByeReason {
    /// The host shuts down.
    Drain,
    /// Nobody was there.
    Idle,
    /// `live.rotate` passed.
    Rotate,
    /// The token of the request ran out.
    TokenExpired,
    /// Too many connections, or too slow for the `disconnect` policy.
    Overloaded,
    /// The replay cache can't be read.
    StoreUnavailable,
    /// Streaming is switched off, for everyone or for this company.
    Disabled,
}

impl ByeReason {
    /// As it stands in `bye`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Idle => "idle",
            Self::Rotate => "rotate",
            Self::TokenExpired => "token-expired",
            Self::Overloaded => "overloaded",
            Self::StoreUnavailable => "store-unavailable",
            Self::Disabled => "disabled",
        }
    }
}

/// What the stream says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// First of all.
    Ready {
        /// The request had a cursor.
        resumed: bool,
        /// Everything up to here is in the cache.
        head: Option<Place>,
        /// How long the cache keeps events, in milliseconds.
        retention_ms: u64,
    },
    /// Replay is finished.
    CaughtUp {
        /// How many events it sent.
        replayed: u64,
    },
    /// Something is missing.
    Gap {
        /// The last id the client had, or its cursor.
        from: Option<String>,
        /// Where the gap ends.
        to: Option<Place>,
        /// How many events, where that is known.
        missed: Option<u64>,
        /// Why.
        reason: GapReason,
    },
    /// The host ends the stream; `retry_ms` goes before it.
    Bye {
        /// Why.
        reason: ByeReason,
        /// When to come back, in milliseconds.
        retry_ms: u64,
    },
    /// Nothing happened.
    Heartbeat {
        /// The host's clock, in milliseconds since 1970.
        now_ms: u64,
    },
}

/// Writes a control event; `id` is the place that holds once it was sent.
pub fn control(out: &mut Vec<u8>, event: &Control, id: Option<Place>) {
    let mut text = String::with_capacity(160);
    // Writing to a String can't fail.
    let _ = match event {
        Control::Ready { resumed, head, retention_ms } => {
            let head = json_id(head.map(place_id));
            write!(text, "event: ready\ndata: {{\"resumed\":{resumed},\"head\":{head},\"retentionMs\":{retention_ms}}}")
        }
        Control::CaughtUp { replayed } => write!(text, "event: caught-up\ndata: {{\"replayed\":{replayed}}}"),
        Control::Gap { from, to, missed, reason } => {
            let (from, to) = (json_id(from.clone()), json_id(to.map(place_id)));
            let missed = missed.map_or_else(|| "null".to_owned(), |n| n.to_string());
            let reason = reason.as_str();
            write!(
                text,
                "event: gap\ndata: {{\"from\":{from},\"to\":{to},\"missed\":{missed},\"reason\":\"{reason}\"}}"
            )
        }
        Control::Bye { reason, retry_ms } => {
            write!(text, "retry: {retry_ms}\nevent: bye\ndata: {{\"reason\":\"{}\"}}", reason.as_str())
        }
        Control::Heartbeat { now_ms } => write!(text, ":heartbeat\nevent: heartbeat\ndata: {{\"t\":{now_ms}}}"),
    };
    if let Some(place) = id {
        let _ = write!(text, "\nid: {}", place_id(place));
    }
    text.push_str("\n\n");
    out.extend_from_slice(text.as_bytes());
}

/// Ids hold nothing that JSON would escape.
fn json_id(id: Option<String>) -> String {
    id.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use bytes::Bytes;

    fn entry(data: &'static str) -> Entry {
        Entry {
            position: Position::new(1, 12_345, 1),
            time_ms: 1_699_999_999_999,
            running: 1,
            subject: "metrics.calculated".into(),
            event_type: "metric_updated".into(),
            chain: 0,
            data: Bytes::from_static(data.as_bytes()),
        }
    }

    fn text(entry: &Entry) -> String {
        let mut out = Vec::new();
        event(&mut out, entry);
        assert!(out.len() <= event_bytes_max(&entry.data, &entry.event_type));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_frame_is_the_one_of_the_protocol() {
        let expected = "event: metric_updated\ndata: {\"a\":1}\nid: metrics.calculated-12345-1699999999999\n\n";
        assert_eq!(text(&entry("{\"a\":1}")), expected);
    }

    #[test]
    fn no_line_break_in_data_can_begin_a_field() {
        let broken = text(&entry("a\nid: x\r\nevent: y\rz\n"));
        assert_eq!(
            broken,
            "event: metric_updated\ndata: a\ndata: id: x\ndata: event: y\ndata: z\ndata: \nid: metrics.calculated-12345-1699999999999\n\n"
        );
        assert!(text(&entry("\r\r\r\r")).matches("data: ").count() == 5);
    }

    #[test]
    fn control_events_carry_their_place_last() {
        let mut out = Vec::new();
        let place = Place { generation: 1, sequence: 3, time_ms: 9 };
        control(
            &mut out,
            &Control::Gap { from: None, to: Some(place), missed: Some(2), reason: GapReason::Trimmed },
            Some(place),
        );
        control(&mut out, &Control::Bye { reason: ByeReason::Drain, retry_ms: 5 }, None);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "event: gap\ndata: {\"from\":null,\"to\":\"at-3-0000000000009\",\"missed\":2,\"reason\":\"trimmed\"}\nid: at-3-0000000000009\n\n\
             retry: 5\nevent: bye\ndata: {\"reason\":\"drain\"}\n\n"
        );
    }
}
