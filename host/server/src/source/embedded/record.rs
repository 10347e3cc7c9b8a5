//! One record of the log as bytes: length, checksum, then flags, sequence, time, subject, headers, payload.

use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use tidegate_core::event::SourceEvent;

/// Length and checksum.
const PREFIX_BYTES: usize = 8;
/// Flags, sequence, time and the two lengths.
const FIXED_BYTES: usize = 1 + 8 + 8 + 4 + 4;
/// A body beyond this is a damaged length, not a record.
const BODY_BYTES_MAX: usize = 1 << 30;
/// More records of the same publish follow: none of them counts without the last.
const MORE: u8 = 1;

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub(super) enum Decoded {
    /// A whole record.
    Record(Record),
    /// Not all of it: it needs this many bytes to tell more.
    Short(usize),
    /// No record.
    Broken,
}

/// A whole record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) event: SourceEvent,
    /// Is this not the last of its publish?
    pub(super) more: bool,
    /// Its bytes in the file.
    pub(super) length: usize,
}

/// What a record is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) sequence: u64,
    pub(super) time_ms: u64,
    pub(super) more: bool,
    pub(super) subject: &'a str,
    pub(super) headers: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// Adds a record.
pub(super) fn encode(out: &mut BytesMut, fields: Fields<'_>) {
    let body = FIXED_BYTES + fields.subject.len() + fields.headers.len() + fields.payload.len();
    out.reserve(PREFIX_BYTES + body);
    let start = out.len();
    out.put_u32_le(body as u32);
    out.put_u32_le(0);
    out.put_u8(if fields.more { MORE } else { 0 });
    out.put_u64_le(fields.sequence);
    out.put_u64_le(fields.time_ms);
    out.put_u32_le(fields.subject.len() as u32);
    out.put_u32_le(fields.headers.len() as u32);
    out.put_slice(fields.subject.as_bytes());
    out.put_slice(fields.headers);
    out.put_slice(fields.payload);
    let checksum = crc32fast::hash(&out[start + PREFIX_BYTES..]);
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the record that stands at the beginning; everything in it is copied out.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Decoded::Short(PREFIX_BYTES);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if !(FIXED_BYTES..=BODY_BYTES_MAX).contains(&length) {
        return Decoded::Broken;
    }
    let Some((checksum, rest)) = rest.split_first_chunk::<4>() else {
        return Decoded::Short(PREFIX_BYTES);
    };
    let Some(body) = rest.get(..length) else {
        return Decoded::Short(PREFIX_BYTES + length);
    };
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Decoded::Broken;
    }
    record(body)
        .map_or(Decoded::Broken, |(event, more)| Decoded::Record(Record { event, more, length: PREFIX_BYTES + length }))
}

fn record(body: &[u8]) -> Option<(SourceEvent, bool)> {
    let (flags, rest) = body.split_first()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (time_ms, rest) = rest.split_first_chunk::<8>()?;
    let (subject_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (headers_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (subject, rest) = rest.split_at_checked(u32::from_le_bytes(*subject_bytes) as usize)?;
    let (headers, payload) = rest.split_at_checked(u32::from_le_bytes(*headers_bytes) as usize)?;
    let event = SourceEvent {
        sequence: u64::from_le_bytes(*sequence),
        time_ms: u64::from_le_bytes(*time_ms),
        subject: Arc::from(std::str::from_utf8(subject).ok()?),
        headers: Bytes::copy_from_slice(headers),
        payload: Bytes::copy_from_slice(payload),
    };
    Some((event, flags & MORE == MORE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_no_part_of_it_does() {
        let mut bytes = BytesMut::new();
        let fields = Fields { sequence: 7, time_ms: 9, more: true, subject: "a.b", headers: b"A: b\n", payload: b"{}" };
        encode(&mut bytes, fields);
        let Decoded::Record(record) = decode(&bytes) else { panic!() };
        assert_eq!(
            (record.event.sequence, record.event.time_ms, record.more, record.length),
            (7, 9, true, bytes.len())
        );
        assert_eq!(
            (&*record.event.subject, &record.event.headers[..], &record.event.payload[..]),
            ("a.b", &b"A: b\n"[..], &b"{}"[..])
        );
        for end in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..end]), Decoded::Short(needed) if needed > end), "{end}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            assert!(!matches!(decode(&damaged), Decoded::Record(_)), "{at}");
        }
        assert!(matches!(decode(&[0; 64]), Decoded::Broken));
    }
}
