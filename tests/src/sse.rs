//! Server-Sent Events as the HTML standard reads them, written apart from the host's own reader on purpose.

use std::time::Instant;

/// One block: what stands between two empty lines, comments and `retry` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The last `event` field.
    pub event: Option<String>,
    /// The `data` lines, joined by line feeds; none where the block dispatches nothing.
    pub data: Option<String>,
    /// The last `id` field.
    pub id: Option<String>,
    /// The last `retry` field that is a number.
    pub retry: Option<u64>,
    /// The comments.
    pub comments: Vec<String>,
    /// The names of the fields in their order.
    pub fields: Vec<String>,
    /// When its last byte was read.
    pub at: Instant,
}

impl Frame {
    /// What a browser would call its type.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self.event.as_deref() {
            None | Some("") => "message",
            Some(kind) => kind,
        }
    }

    /// Its data, empty where it has none.
    #[must_use]
    pub fn text(&self) -> &str {
        self.data.as_deref().unwrap_or_default()
    }

    /// Its data as JSON, null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }

    /// Whether it is one of the host's own and not a company's event.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.data.is_none() || matches!(self.kind(), "ready" | "caught-up" | "gap" | "bye" | "heartbeat")
    }
}

/// Reads bytes in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    event: Option<String>,
    data: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    comments: Vec<String>,
    fields: Vec<String>,
}

impl Parser {
    /// Reads some bytes and adds the blocks that end in them.
    pub fn read(&mut self, bytes: &[u8], at: Instant, frames: &mut Vec<Frame>) {
        for &byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => self.end_line(at, frames),
                _ => self.line.push(byte),
            }
        }
    }

    /// Whether a block has begun and not ended: what a cut connection leaves behind.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.line.is_empty() || !self.fields.is_empty()
    }

    fn end_line(&mut self, at: Instant, frames: &mut Vec<Frame>) {
        let bytes = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&bytes).into_owned();
        if !std::mem::replace(&mut self.begun, true)
            && let Some(rest) = line.strip_prefix('\u{feff}')
        {
            line = rest.to_owned();
        }
        if line.is_empty() {
            if !self.fields.is_empty() {
                frames.push(self.take(at));
            }
            return;
        }
        let (field, value) = match line.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (line.as_str(), ""),
        };
        self.fields.push(field.to_owned());
        match field {
            "" => self.comments.push(value.to_owned()),
            "event" => self.event = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => self.retry = value.parse().ok(),
            _ => {}
        }
    }

    fn take(&mut self, at: Instant) -> Frame {
        Frame {
            event: self.event.take(),
            data: self.data.take(),
            id: self.id.take(),
            retry: self.retry.take(),
            comments: std::mem::take(&mut self.comments),
            fields: std::mem::take(&mut self.fields),
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<Frame> {
        let (mut parser, mut frames) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.read(piece, Instant::now(), &mut frames);
        }
        frames
    }

    #[test]
    fn every_border_between_pieces_gives_the_same_blocks() {
        let text = "\u{feff}event: a\r\ndata: 1\r\ndata:2\rid: x-1-2\n\n:heartbeat\nevent: heartbeat\ndata: {}\n\nretry: 5\n\n";
        let whole: Vec<_> = parse(&[text.as_bytes()]).into_iter().map(|f| (f.event, f.data, f.id, f.retry)).collect();
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0], (Some("a".into()), Some("1\n2".into()), Some("x-1-2".into()), None));
        assert_eq!(whole[2], (None, None, None, Some(5)));
        for cut in 0..text.len() {
            let (a, b) = text.as_bytes().split_at(cut);
            let pieces: Vec<_> = parse(&[a, b]).into_iter().map(|f| (f.event, f.data, f.id, f.retry)).collect();
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_block_that_was_cut_off_is_no_event() {
        let (mut parser, mut frames) = (Parser::default(), Vec::new());
        parser.read(b"data: 1\n", Instant::now(), &mut frames);
        assert!(frames.is_empty() && parser.is_inside());
    }
}
