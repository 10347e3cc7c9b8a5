//! What the stores keep, as bytes: entries of the replay cache, waiting inputs, dead letters.
//!
//! One layout for every store: a version byte, then fields in a fixed order, numbers little-endian, texts with a
//! 32-bit length before them. A value that can't be read is an error that says so, never a panic.

use crate::commit::Waiting;
use crate::event::{Company, Fault, Input, SourceEvent};
use crate::position::{Place, Position};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// The first byte of every stored value.
pub(crate) const VERSION: u8 = 1;

/// One output as the replay cache holds it. Its position is the store's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// The source's time of its event, in milliseconds since 1970.
    pub time_ms: u64,
    /// The company's running number of it, from 1, without holes.
    pub running: u64,
    /// The subject of its event.
    pub subject: Arc<str>,
    /// Its event type.
    pub event_type: Arc<str>,
    /// First half of the digest of the chain that made it.
    pub chain: u64,
    /// Its data.
    pub data: Bytes,
}

/// An input that could not be handled, on its way to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Generation of the stream it came from.
    pub generation: u16,
    /// When that stream was made: part of the letter's identity.
    pub created_ms: u64,
    /// Number of the platform emission, from 1; 0 for the event itself.
    pub emission: u32,
    /// The company, once known.
    pub company: Option<Company>,
    /// Why.
    pub kind: Arc<str>,
    /// The whole story.
    pub reason: Arc<str>,
    /// `name@digest` of the filter to blame.
    pub module: Option<Arc<str>>,
    /// Where it happened.
    pub backtrace: Option<Arc<str>>,
    /// The original, byte for byte.
    pub source: SourceEvent,
}

impl DeadLetter {
    /// A letter for this event.
    #[must_use]
    pub fn new(
        generation: u16,
        created_ms: u64,
        emission: u32,
        company: Option<Company>,
        fault: &Fault,
        source: SourceEvent,
    ) -> Self {
        Self {
            generation,
            created_ms,
            emission,
            company,
            kind: fault.kind.into(),
            reason: fault.reason.clone(),
            module: fault.module.clone(),
            backtrace: fault.backtrace.clone(),
            source,
        }
    }

    /// The id under which it is published: the same input gives the same id, so that a repeat is no second letter.
    #[must_use]
    pub fn id(&self) -> String {
        let company = self.company.as_ref().map_or("", Company::as_str);
        let module = self.module.as_deref().unwrap_or("");
        format!("{}-{}-{}-{company}-{module}", self.created_ms, self.source.sequence, self.emission)
    }
}

/// A stored value that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored value can't be read: {0}")]
pub struct DecodeError(pub(crate) &'static str);

impl Entry {
    /// Its bytes, without the position.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.weight());
        self.encode_into(&mut out);
        out.freeze()
    }

    /// Adds the bytes of [`Entry::encode`].
    pub fn encode_into(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        out.put_u64_le(self.running);
        out.put_u64_le(self.time_ms);
        out.put_u64_le(self.chain);
        put(out, self.subject.as_bytes());
        put(out, self.event_type.as_bytes());
        out.put_slice(&self.data);
    }

    /// The reverse of [`Entry::encode`]; the data shares `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not an entry's.
    pub fn decode(position: Position, bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes)?;
        let (running, time_ms, chain) = (input.u64()?, input.u64()?, input.u64()?);
        let (subject, event_type) = (input.text()?, input.text()?);
        Ok(Self { position, time_ms, running, subject, event_type, chain, data: input.rest() })
    }

    /// What it weighs in the cache, in bytes: as many as [`Entry::encode`] gives.
    #[must_use]
    pub fn weight(&self) -> usize {
        1 + 24 + 8 + self.subject.len() + self.event_type.len() + self.data.len()
    }
}

impl Waiting {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let shared = self.input.data == self.input.source.payload;
        let mut out = BytesMut::with_capacity(self.input.weight() + 128);
        out.put_u8(VERSION);
        out.put_u8(u8::from(self.counts) | u8::from(shared) << 1);
        out.put_u16_le(self.previous.generation);
        out.put_u64_le(self.previous.sequence);
        out.put_u64_le(self.previous.time_ms);
        out.put_u32_le(self.input.emission);
        put(&mut out, self.input.event_type.as_bytes());
        put_source(&mut out, &self.input.source);
        if !shared {
            out.put_slice(&self.input.data);
        }
        out.freeze()
    }

    /// The reverse of [`Waiting::encode`].
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not a waiting input's.
    pub fn decode(company: &Company, bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes)?;
        let flags = input.u8()?;
        let previous = Place { generation: input.u16()?, sequence: input.u64()?, time_ms: input.u64()? };
        let emission = input.u32()?;
        let event_type = input.text()?;
        let source = input.source()?;
        let data = if flags & 2 == 0 { input.rest() } else { source.payload.clone() };
        let input = Input { source, emission, company: company.clone(), event_type, data };
        Ok(Self { input, previous, counts: flags & 1 == 1 })
    }
}

impl DeadLetter {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.source.weight() + self.reason.len() + 256);
        out.put_u8(VERSION);
        out.put_u16_le(self.generation);
        out.put_u64_le(self.created_ms);
        out.put_u32_le(self.emission);
        put(&mut out, self.company.as_ref().map_or("", Company::as_str).as_bytes());
        put(&mut out, self.kind.as_bytes());
        put(&mut out, self.reason.as_bytes());
        put(&mut out, self.module.as_deref().unwrap_or("").as_bytes());
        put(&mut out, self.backtrace.as_deref().unwrap_or("").as_bytes());
        put_source(&mut out, &self.source);
        out.freeze()
    }

    /// The reverse of [`DeadLetter::encode`].
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not a dead letter's.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes)?;
        let (generation, created_ms, emission) = (input.u16()?, input.u64()?, input.u32()?);
        let company = Some(input.text()?).filter(|name| !name.is_empty());
        let company = company.map(|name| Company::new(&name).ok().ok_or(DecodeError("bad company"))).transpose()?;
        let (kind, reason) = (input.text()?, input.text()?);
        let module = Some(input.text()?).filter(|text| !text.is_empty());
        let backtrace = Some(input.text()?).filter(|text| !text.is_empty());
        let source = input.source()?;
        Ok(Self { generation, created_ms, emission, company, kind, reason, module, backtrace, source })
    }
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

fn put_source(out: &mut BytesMut, source: &SourceEvent) {
    out.put_u64_le(source.sequence);
    out.put_u64_le(source.time_ms);
    put(out, source.subject.as_bytes());
    put(out, &source.headers);
    put(out, &source.payload);
}

/// Takes fields off the front; every read is checked.
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Self { bytes: bytes.clone() };
        if reader.u8()? == VERSION { Ok(reader) } else { Err(DecodeError("unknown version")) }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if self.bytes.len() < length {
            return Err(DecodeError("too short"));
        }
        Ok(self.bytes.split_to(length))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&taken);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number in as few bytes as it needs, seven bits in each.
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError("a number without an end"))
    }

    fn blob(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn text(&mut self) -> Result<Arc<str>, DecodeError> {
        let blob = self.blob()?;
        std::str::from_utf8(&blob).ok().map(Arc::from).ok_or(DecodeError("not UTF-8"))
    }

    fn source(&mut self) -> Result<SourceEvent, DecodeError> {
        let (sequence, time_ms) = (self.u64()?, self.u64()?);
        Ok(SourceEvent { sequence, time_ms, subject: self.text()?, headers: self.blob()?, payload: self.blob()? })
    }

    fn rest(self) -> Bytes {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SourceEvent {
        SourceEvent {
            sequence: 9,
            time_ms: 1_699_999_999_999,
            subject: "metrics.calculated".into(),
            headers: Bytes::from_static(b"a: b\n"),
            payload: Bytes::from_static(b"{\"companyId\":\"c\"}"),
        }
    }

    #[test]
    fn every_stored_value_comes_back_as_it_went() {
        let company = Company::new("company-a").unwrap();
        let entry = Entry {
            position: Position::new(1, 9, 1),
            time_ms: 5,
            running: 77,
            subject: "metrics.calculated".into(),
            event_type: "metric_updated".into(),
            chain: 3,
            data: Bytes::from_static(b"{}"),
        };
        assert_eq!(Entry::decode(entry.position, &entry.encode()).unwrap(), entry);
        assert_eq!(entry.encode().len(), entry.weight());
        for data in [source().payload, Bytes::from_static(b"other")] {
            let input = Input { source: source(), emission: 2, company: company.clone(), event_type: "t".into(), data };
            let waiting = Waiting { input, previous: Place { generation: 1, sequence: 8, time_ms: 4 }, counts: true };
            assert_eq!(Waiting::decode(&company, &waiting.encode()).unwrap(), waiting);
        }
        let fault = Fault { kind: "trap", reason: "it trapped".into(), module: Some("f@1".into()), backtrace: None };
        let letter = DeadLetter::new(1, 42, 0, Some(company), &fault, source());
        assert_eq!(DeadLetter::decode(&letter.encode()).unwrap(), letter);
        assert_eq!(letter.id(), "42-9-0-company-a-f@1");
    }

    #[test]
    fn torn_or_foreign_bytes_are_an_error() {
        let entry = Entry {
            position: Position::new(1, 9, 1),
            time_ms: 5,
            running: 1,
            subject: "s".into(),
            event_type: "t".into(),
            chain: 0,
            data: Bytes::new(),
        };
        let whole = entry.encode();
        for end in 0..whole.len() {
            assert!(Entry::decode(entry.position, &whole.slice(..end)).is_err(), "{end}");
        }
        assert!(Entry::decode(entry.position, &Bytes::from_static(b"\x09123")).is_err());
    }
}
