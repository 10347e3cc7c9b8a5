//! The events in a stream's bytes, each the one that is due or a fault.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::Visit;

/// What stands before an event's number: payloads of measurements begin with it.
const MARK: &[u8] = b"data: {\"n\":";
/// Frames that are kept while their rest is on the way are shorter.
const FRAME_BYTES_MAX: usize = 64 << 10;

static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));
static NUMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));

/// How far a stream has come.
#[derive(Debug)]
pub(super) struct Frames {
    /// The beginning of a frame that the last bytes ended in.
    begun: Vec<u8>,
    next: u64,
    wrap: u64,
    fault: Option<String>,
    /// Id of the last event, where ids are kept.
    id: Option<String>,
}

impl Frames {
    /// Nothing has come yet.
    pub(super) fn new(visit: &Visit) -> Self {
        let Visit { first, wrap, .. } = *visit;
        Self { begun: Vec::new(), next: first, wrap, fault: None, id: visit.ids.then(String::new) }
    }

    /// Number of the event that is due.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Id of the last event, where ids are kept.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What was wrong since this was asked last.
    pub(super) fn fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    /// Reads bytes; gives how many events ended in them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> u64 {
        let (mut rest, mut events) = (bytes, 0);
        if !self.begun.is_empty() {
            let split = self.begun.last() == Some(&b'\n') && bytes.first() == Some(&b'\n');
            let found = if split { Some(1) } else { END.find(bytes).map(|at| at + 2) };
            let Some(end) = found else {
                self.keep(bytes);
                return 0;
            };
            let mut frame = std::mem::take(&mut self.begun);
            frame.extend_from_slice(&bytes[..end]);
            events += self.frame(&frame);
            frame.clear();
            self.begun = frame;
            rest = &bytes[end..];
        }
        while let Some(end) = END.find(rest) {
            events += self.frame(&rest[..end]);
            rest = &rest[end + 2..];
        }
        self.keep(rest);
        events
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.begun.len() + bytes.len() > FRAME_BYTES_MAX {
            self.wrong("a frame that doesn't end".to_owned());
            self.begun.clear();
        }
        self.begun.extend_from_slice(bytes);
    }

    fn frame(&mut self, frame: &[u8]) -> u64 {
        let Some(at) = NUMBER.find(frame) else {
            if ["event: gap", "event: bye"].iter().any(|kind| memmem::find(frame, kind.as_bytes()).is_some()) {
                self.wrong(String::from_utf8_lossy(frame).trim().to_owned());
            }
            return 0;
        };
        let digits = frame[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let n = digits.fold(0_u64, |n, digit| n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
        if n != self.next {
            self.wrong(format!("event {n} where {} was due", self.next));
        }
        self.next = if n + 1 == self.wrap { 0 } else { n + 1 };
        if let Some(id) = &mut self.id
            && let Some(at) = memmem::rfind(frame, b"\nid: ")
        {
            *id = String::from_utf8_lossy(&frame[at + 5..]).trim().to_owned();
        }
        1
    }

    fn wrong(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(first: u64, wrap: u64) -> Frames {
        let address = ([127, 0, 0, 1], 0).into();
        let (targets, header) = (Vec::new(), String::new());
        Frames::new(&Visit { address, targets, header, connections: 1, opening: 1, first, wrap, ids: true })
    }

    const TEXT: &[u8] =
        b"event: ready\ndata: {}\n\nevent: a\ndata: {\"n\":7,\"x\":1}\nid: 1\n\ndata: {\"n\":8}\n\n:heartbeat\n\ndata: {\"n\":9}\n\n";

    #[test]
    fn every_border_between_pieces_gives_the_same_events() {
        for cut in 0..TEXT.len() {
            let mut frames = frames(7, u64::MAX);
            let events = frames.read(&TEXT[..cut]) + frames.read(&TEXT[cut..]);
            assert_eq!((events, frames.next(), frames.fault()), (3, 10, None), "cut at {cut}");
            assert_eq!(frames.id(), Some("1"), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_lost_doubled_or_told_as_a_gap_is_a_fault() {
        for (first, text) in [(6, TEXT), (8, TEXT), (0, b"event: gap\ndata: {}\n\n".as_slice())] {
            let mut frames = frames(first, u64::MAX);
            frames.read(text);
            assert!(frames.fault().is_some());
        }
    }

    #[test]
    fn numbers_may_begin_again() {
        let mut frames = frames(1, 2);
        assert_eq!(frames.read(b"data: {\"n\":1}\n\ndata: {\"n\":0}\n\n"), 2);
        assert_eq!(frames.fault(), None);
    }
}
