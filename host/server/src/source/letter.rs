//! Dead letters as messages: what their headers say, cut to what a server takes, and read back.

use super::headers::{escape_name, escape_subject, escape_value, pairs, unescape};
use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::{Company, Fault, SourceEvent};

/// Header bytes a server keeps with one message: JetStream refuses 64 KiB and more.
const HEADER_BYTES_MAX: usize = 60 << 10;
/// The longest reason, in bytes: a sentence, not a report.
const REASON_BYTES_MAX: usize = 4 << 10;
/// The longest subject it is published on, in bytes: a server reads one protocol line of 4 KiB.
const SUBJECT_BYTES_MAX: usize = 1_000;
/// Room kept for the header that says how much was cut.
const TRUNCATED_BYTES: usize = "Tidegate-Truncated: 18446744073709551615\r\n".len();
/// The same for the header that says how many of the original's headers were left out.
const HEADERS_CUT_BYTES: usize = "Tidegate-Headers-Cut: 18446744073709551615\r\n".len();

/// The kind of a note that a letter was retried. It lies in the log of the letters, so that it lives as long as they do.
const RETRIED: &str = "retried";
/// Where such notes are: no letter's subject is escaped to this.
pub const RETRIED_SUBJECT: &str = "tidegate.dlq.%retried";
/// What stands in a note in place of a module, before the letter's place.
const RETRY_OF: &str = "retry@";
/// What a note tells before the sequence.
const AS_SEQUENCE: &str = "published again as sequence ";

/// That a letter was retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// The letter's place.
    pub letter: u64,
    /// How many times, this one included.
    pub attempt: u32,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// The event that was made of it, where the source numbers.
    pub sequence: Option<u64>,
}

impl Retried {
    /// The note about a letter, to be put into the letters' log.
    #[must_use]
    pub fn note(letter: &StoredLetter, attempt: u32, sequence: Option<u64>) -> DeadLetter {
        let reason = match sequence {
            Some(sequence) => format!("{AS_SEQUENCE}{sequence}"),
            None => "published again".to_owned(),
        };
        let source = SourceEvent {
            sequence: letter.sequence.unwrap_or(0),
            time_ms: letter.time_ms,
            subject: letter.subject.as_str().into(),
            headers: Bytes::new(),
            payload: Bytes::new(),
        };
        let module = Some(format!("{RETRY_OF}{}", letter.place).into());
        let fault = Fault { kind: RETRIED, reason: reason.into(), module, backtrace: None };
        let company = letter.company.as_deref().and_then(|name| Company::new(name).ok());
        // Time, attempt and place make its id, so that each attempt is noted once.
        DeadLetter::new(0, letter.time_ms, attempt, company, &fault, source)
    }

    /// Reads a note; `None` for any other letter.
    #[must_use]
    pub fn of(note: &StoredLetter) -> Option<Self> {
        let module = note.module.as_deref().filter(|_| note.kind == RETRIED)?;
        Some(Self {
            letter: module.strip_prefix(RETRY_OF)?.parse().ok()?,
            attempt: note.emission,
            time_ms: note.time_ms,
            sequence: note.reason.strip_prefix(AS_SEQUENCE).and_then(|number| number.parse().ok()),
        })
    }
}

/// A dead letter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its place in the log of dead letters, from 1.
    pub place: u64,
    /// When it was put there, in milliseconds since 1970.
    pub time_ms: u64,
    /// The id that makes a repeat harmless.
    pub id: String,
    /// Why it could not be handled, in a word or two; empty in a letter of an older version.
    pub kind: String,
    /// Number of the platform emission, from 1; 0 for the event itself.
    pub emission: u32,
    /// Subject of the original.
    pub subject: String,
    /// Sequence of the original in its stream.
    pub sequence: Option<u64>,
    /// The company, once known.
    pub company: Option<String>,
    /// `name@digest` of the filter to blame.
    pub module: Option<String>,
    /// Why it could not be handled.
    pub reason: String,
    /// Where it happened.
    pub backtrace: Option<String>,
    /// Bytes that were cut off the payload's end.
    pub truncated_bytes: Option<u64>,
    /// Headers of the original that found no room.
    pub headers_cut: Option<u64>,
    /// The original's own headers as lines `name: value`, each ended by a line feed.
    pub headers: Bytes,
    /// The original's payload.
    pub payload: Bytes,
}

impl StoredLetter {
    /// Reads it back from a message's headers, as lines, and payload.
    #[must_use]
    pub fn parse(place: u64, time_ms: u64, lines: &[u8], payload: Bytes) -> Self {
        let mut letter = Self {
            place,
            time_ms,
            id: String::new(),
            kind: String::new(),
            emission: 0,
            subject: String::new(),
            sequence: None,
            company: None,
            module: None,
            reason: String::new(),
            backtrace: None,
            truncated_bytes: None,
            headers_cut: None,
            headers: Bytes::new(),
            payload,
        };
        let mut originals = Vec::new();
        for (name, value) in pairs(lines) {
            let value = String::from_utf8_lossy(value);
            let text = || String::from_utf8_lossy(&unescape(&value)).into_owned();
            let name = String::from_utf8_lossy(name);
            match name.as_ref() {
                "Nats-Msg-Id" => letter.id = text(),
                "Tidegate-Kind" => letter.kind = text(),
                "Tidegate-Subject" => letter.subject = text(),
                "Tidegate-Sequence" => letter.sequence = value.parse().ok(),
                "Tidegate-Company" => letter.company = Some(text()),
                "Tidegate-Module" => letter.module = Some(text()),
                "Tidegate-Reason" => letter.reason = text(),
                "Tidegate-Backtrace" => letter.backtrace = Some(text()),
                "Tidegate-Truncated" => letter.truncated_bytes = value.parse().ok(),
                "Tidegate-Headers-Cut" => letter.headers_cut = value.parse().ok(),
                other => {
                    if let Some(original) = other.strip_prefix("Tidegate-Original-") {
                        originals.extend(unescape(original));
                        originals.extend(b": ");
                        originals.extend(unescape(&value));
                        originals.push(b'\n');
                    }
                }
            }
        }
        letter.headers = originals.into();
        // The id is made of it, after the creation of the stream and the sequence.
        letter.emission = letter.id.split('-').nth(2).and_then(|number| number.parse().ok()).unwrap_or(0);
        letter
    }

    /// The same of a letter that was kept whole.
    #[must_use]
    pub fn whole(place: u64, time_ms: u64, letter: DeadLetter) -> Self {
        Self {
            place,
            time_ms,
            id: letter.id(),
            kind: letter.kind.to_string(),
            emission: letter.emission,
            subject: letter.source.subject.to_string(),
            sequence: Some(letter.source.sequence),
            company: letter.company.as_ref().map(|company| company.as_str().to_owned()),
            module: letter.module.as_deref().map(str::to_owned),
            reason: letter.reason.to_string(),
            backtrace: letter.backtrace.as_deref().map(str::to_owned),
            truncated_bytes: None,
            headers_cut: None,
            headers: letter.source.headers,
            payload: letter.source.payload,
        }
    }
}

/// A dead letter as a message.
#[derive(Debug, Clone)]
pub struct LetterMessage {
    /// `tidegate.dlq.<subject>`.
    pub subject: String,
    /// What the headers say.
    pub headers: HeaderMap,
    /// The original's payload, or as much of it as fits.
    pub payload: Bytes,
}

impl LetterMessage {
    /// The letter as a message of at most `bytes_max` bytes, headers included: headers are cut first, then the payload.
    #[must_use]
    pub fn new(letter: &DeadLetter, bytes_max: usize) -> Self {
        let mut subject = match &*letter.kind {
            RETRIED => RETRIED_SUBJECT.to_owned(),
            _ => format!("tidegate.dlq.{}", escape_subject(letter.source.subject.as_bytes())),
        };
        cut(&mut subject, SUBJECT_BYTES_MAX);
        if subject.ends_with('.') {
            subject.push('%');
        }
        let mut headers = Headers::new();
        headers.put("Nats-Msg-Id", escape_value(letter.id().as_bytes()));
        headers.put("Tidegate-Kind", escape_value(letter.kind.as_bytes()));
        headers.put("Tidegate-Sequence", letter.source.sequence.to_string());
        let mut about = escape_value(letter.source.subject.as_bytes());
        cut(&mut about, SUBJECT_BYTES_MAX);
        headers.put("Tidegate-Subject", about);
        if let Some(company) = letter.company.as_ref().map(Company::as_str) {
            headers.put("Tidegate-Company", company.to_owned());
        }
        if let Some(module) = &letter.module {
            let mut module = escape_value(module.as_bytes());
            cut(&mut module, SUBJECT_BYTES_MAX);
            headers.put("Tidegate-Module", module);
        }
        let mut reason = escape_value(letter.reason.as_bytes());
        cut(&mut reason, REASON_BYTES_MAX.min(bytes_max / 4));
        headers.put("Tidegate-Reason", reason);

        let payload = &letter.source.payload;
        let mut room =
            bytes_max.saturating_sub(payload.len() + headers.bytes).min(HEADER_BYTES_MAX.saturating_sub(headers.bytes));
        let original = |(name, value)| (format!("Tidegate-Original-{}", escape_name(name)), escape_value(value));
        let originals: Vec<(String, String)> = pairs(&letter.source.headers).map(original).collect();
        if originals.iter().map(|(name, value)| line_bytes(name, value)).sum::<usize>() > room {
            room = room.saturating_sub(HEADERS_CUT_BYTES);
        }
        let mut left_out = 0_u64;
        for (name, value) in originals {
            let bytes = line_bytes(&name, &value);
            if bytes <= room {
                room -= bytes;
                headers.put(&name, value);
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            headers.put("Tidegate-Headers-Cut", left_out.to_string());
        }
        if let Some(backtrace) = &letter.backtrace {
            let mut text = escape_value(backtrace.as_bytes());
            let name_bytes = line_bytes("Tidegate-Backtrace", "");
            cut(&mut text, room.saturating_sub(name_bytes));
            if !text.is_empty() {
                headers.put("Tidegate-Backtrace", text);
            }
        }
        let mut payload = payload.clone();
        if headers.bytes + payload.len() > bytes_max {
            let kept = bytes_max.saturating_sub(headers.bytes + TRUNCATED_BYTES).min(payload.len());
            headers.put("Tidegate-Truncated", (payload.len() - kept).to_string());
            payload.truncate(kept);
        }
        Self { subject, headers: headers.map, payload }
    }
}

/// Headers that know their length on the wire.
struct Headers {
    map: HeaderMap,
    bytes: usize,
}

impl Headers {
    fn new() -> Self {
        Self { map: HeaderMap::new(), bytes: "NATS/1.0\r\n\r\n".len() }
    }

    fn put(&mut self, name: &str, value: String) {
        // Both are escaped; what the client still does not take is left out rather than losing the letter.
        if let (Ok(name), Ok(checked)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            self.bytes += line_bytes(name.as_ref(), &value);
            self.map.append(name, checked);
        }
    }
}

fn line_bytes(name: &str, value: &str) -> usize {
    name.len() + ": \r\n".len() + value.len()
}

/// Cuts at a character's border, so that it has at most `bytes` bytes.
fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::headers::lines;
    use super::*;

    pub(in crate::source) fn letter(payload: &[u8], headers: &[u8], backtrace: Option<&str>) -> DeadLetter {
        let source = SourceEvent {
            sequence: 9,
            time_ms: 5,
            subject: "metrics.a b".into(),
            headers: Bytes::copy_from_slice(headers),
            payload: Bytes::copy_from_slice(payload),
        };
        let fault = Fault {
            kind: "trap",
            reason: "it\r\ntrapped at 100%".into(),
            module: Some("f@1".into()),
            backtrace: backtrace.map(Into::into),
        };
        DeadLetter::new(1, 42, 0, Some(Company::new("company-a").unwrap()), &fault, source)
    }

    #[test]
    fn a_letter_comes_back_from_its_message() {
        let letter = letter(b"{}", b"Trace: 1\nB\xff: \xfe\n", Some("line 1\nline 2"));
        let message = LetterMessage::new(&letter, 1 << 20);
        assert_eq!(message.subject, "tidegate.dlq.metrics.a%20b");
        assert_eq!(message.payload, letter.source.payload);
        assert_eq!(message.headers.get("Tidegate-Reason").unwrap().as_str(), "it%0D%0Atrapped at 100%25");
        let back = StoredLetter::parse(1, 2, &lines(Some(&message.headers)), message.payload);
        let whole = StoredLetter::whole(1, 2, letter);
        let sorted = |headers: &Bytes| {
            headers.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(sorted(&back.headers), sorted(&whole.headers));
        assert_eq!(StoredLetter { headers: Bytes::new(), ..back }, StoredLetter { headers: Bytes::new(), ..whole });
    }

    #[test]
    fn headers_are_cut_before_the_payload_and_the_cut_is_told() {
        let backtrace = "x".repeat(100_000);
        let message = LetterMessage::new(&letter(&[b'p'; 900], b"A: b\n", Some(&backtrace)), 2_000);
        assert_eq!(message.payload.len(), 900);
        assert!(message.headers.get("Tidegate-Truncated").is_none());
        assert!(message.headers.get("Tidegate-Backtrace").unwrap().as_str().len() < 900);
        assert!(wire(&message) <= 2_000, "{}", wire(&message));

        let message = LetterMessage::new(&letter(&[b'p'; 5_000], b"A: b\n", Some(&backtrace)), 2_000);
        assert!(message.headers.get("Tidegate-Backtrace").is_none());
        let cut: usize = message.headers.get("Tidegate-Truncated").unwrap().as_str().parse().unwrap();
        assert_eq!(cut + message.payload.len(), 5_000);
        assert!(wire(&message) <= 2_000);
    }

    #[test]
    fn a_note_of_a_retry_comes_back_and_no_letter_is_taken_for_one() {
        let letter = StoredLetter::whole(17, 2, letter(b"{}", b"", None));
        assert_eq!(Retried::of(&letter), None);
        for (attempt, sequence) in [(1, Some(99)), (2, None)] {
            let note = Retried::note(&letter, attempt, sequence);
            let message = LetterMessage::new(&note, 1 << 20);
            assert_eq!(message.subject, RETRIED_SUBJECT);
            let back = StoredLetter::parse(20, 5, &lines(Some(&message.headers)), message.payload);
            let told = Some(Retried { letter: 17, attempt, time_ms: 5, sequence });
            assert_eq!((Retried::of(&back), Retried::of(&StoredLetter::whole(20, 5, note))), (told.clone(), told));
        }
    }

    #[test]
    fn headers_that_found_no_room_are_counted() {
        let long = format!("A: b\nLong: {}\nC: d\n", "x".repeat(5_000));
        let message = LetterMessage::new(&letter(b"{}", long.as_bytes(), None), 2_000);
        assert!(wire(&message) <= 2_000);
        let back = StoredLetter::parse(1, 2, &lines(Some(&message.headers)), message.payload);
        assert_eq!((back.headers_cut, back.truncated_bytes), (Some(1), None));
        let kept = String::from_utf8_lossy(&back.headers).into_owned();
        assert!(kept.contains("A: b\n") && kept.contains("C: d\n"), "{kept}");
        let message = LetterMessage::new(&letter(b"{}", b"A: b\n", None), 2_000);
        assert_eq!(StoredLetter::parse(1, 2, &lines(Some(&message.headers)), Bytes::new()).headers_cut, None);
    }

    fn wire(message: &LetterMessage) -> usize {
        let headers: usize = message
            .headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(|value| line_bytes(name.as_ref(), value.as_str())))
            .sum();
        12 + headers + message.payload.len()
    }
}
