//! Reads a Server-Sent Events stream as a browser does: by the rules of the HTML standard, piece by piece.

/// The longest line and the largest event that are held, in bytes.
const BYTES_MAX: usize = 64 << 20;

/// One event, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its type; `message` where the stream names none.
    pub event: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
    /// The last id of the stream when it was complete: what a reconnect sends as `Last-Event-ID`. Empty before the
    /// first.
    pub id: String,
}

/// Why a stream can't be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line or an event without end.
    #[error("an event of more than {BYTES_MAX} bytes")]
    TooLarge,
}

/// Takes bytes as they come, gives events as they are complete.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    started: bool,
    /// A line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    event: String,
    data: String,
    /// The id the event under way has set; it counts only once the event is complete.
    pending_id: Option<String>,
    last_id: String,
    retry_ms: Option<u64>,
}

impl SseParser {
    /// A new stream whose last id is known.
    #[must_use]
    pub fn new(last_id: &str) -> Self {
        Self { last_id: last_id.to_owned(), ..Self::default() }
    }

    /// The parser of the next connection: what was cut off is gone, the last id and the wait stay.
    #[must_use]
    pub fn reconnect(self) -> Self {
        Self { last_id: self.last_id, retry_ms: self.retry_ms, ..Self::default() }
    }

    /// The id of the last complete event: what a reconnect sends.
    #[must_use]
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// How long the stream asked to wait before a reconnect, in milliseconds.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Takes the next bytes, cut anywhere, and gives the events they complete.
    ///
    /// # Errors
    /// When an event has no end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        let mut events = Vec::new();
        for &byte in bytes {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                continue;
            }
            match byte {
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.line(&line));
                    // The buffer is kept for the next line.
                    self.line = line;
                    self.line.clear();
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > BYTES_MAX {
                return Err(SseError::TooLarge);
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &[u8]) -> Option<SseEvent> {
        let line = if std::mem::replace(&mut self.started, true) {
            line
        } else {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.pending_id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            // A comment, or a field of a later standard.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        if let Some(id) = self.pending_id.take() {
            self.last_id = id;
        }
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return None;
        }
        data.pop();
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(SseEvent { event, data, id: self.last_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, data: &str, id: &str) -> SseEvent {
        SseEvent { event: event.to_owned(), data: data.to_owned(), id: id.to_owned() }
    }

    fn read(text: &str) -> Vec<SseEvent> {
        SseParser::default().push(text.as_bytes()).expect("small")
    }

    #[test]
    fn an_event_has_type_data_and_id() {
        assert_eq!(read("event: a\ndata: {\"x\":1}\nid: s-1-2\n\n"), [event("a", "{\"x\":1}", "s-1-2")]);
        assert_eq!(read("data:  two spaces\n\n"), [event("message", " two spaces", "")]);
    }

    #[test]
    fn every_cut_and_every_line_end_reads_the_same() {
        let text = "\u{feff}retry: 10\n\n:heartbeat\nevent: x\ndata: ä\ndata:\ndata: b\nid: 1\n\ndata\n\nid: 2\n\nevent: lost\n\ndata: c\n\n";
        let expected = [event("x", "ä\n\nb", "1"), event("message", "", "1"), event("message", "c", "2")];
        for end in ["\n", "\r", "\r\n"] {
            let bytes = text.replace('\n', end).into_bytes();
            for size in 1..bytes.len() {
                let mut parser = SseParser::default();
                let events: Vec<SseEvent> =
                    bytes.chunks(size).flat_map(|chunk| parser.push(chunk).expect("small")).collect();
                assert_eq!(events, expected, "{end:?} in pieces of {size}");
                assert_eq!((parser.retry_ms(), parser.last_id()), (Some(10), "2"));
            }
        }
    }

    #[test]
    fn an_id_counts_only_once_its_event_is_complete() {
        let mut parser = SseParser::new("old");
        assert_eq!(parser.push(b"data: a\nid: new\n").expect("small"), []);
        assert_eq!(parser.last_id(), "old");
        assert_eq!(parser.push(b"\n").expect("small"), [event("message", "a", "new")]);
        assert_eq!(parser.last_id(), "new");
        parser.push(b"id: a\0b\n\n").expect("small");
        assert_eq!(parser.last_id(), "new", "an id with NUL is none");
        parser.push(b"id\n\n").expect("small");
        assert_eq!(parser.last_id(), "", "an empty id forgets");
    }

    #[test]
    fn a_retry_that_is_no_number_is_none() {
        let mut parser = SseParser::default();
        parser.push(b"retry: 1e3\n\nretry:\n\nretry: -5\n\n").expect("small");
        assert_eq!(parser.retry_ms(), None);
    }

    #[test]
    fn an_event_cut_off_by_the_end_is_none() {
        let mut parser = SseParser::default();
        let events = parser.push(b"retry: 5\nid: 1\ndata: a\n\nid: 2\ndata: b\n").expect("small");
        assert_eq!(events, [event("message", "a", "1")]);
        let mut parser = parser.reconnect();
        assert_eq!((parser.last_id(), parser.retry_ms()), ("1", Some(5)));
        assert_eq!(parser.push(b"data: c\n\n").expect("small"), [event("message", "c", "1")]);
    }
}
