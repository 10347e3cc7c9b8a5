//! The one output buffer of a batch: emissions, texts and the data that doesn't stand in the input.

use std::cell::RefCell;
use std::ops::Range;

use crate::bindings::tidegate::filter::types::{self, Emission, Place, Span, VerdictKind};
use crate::verdict::{Outcome, Verdict};

/// No bytes.
pub(crate) const EMPTY: Span = Span { offset: 0, length: 0 };

thread_local! {
    static OUTPUT: RefCell<Output> = const { RefCell::new(Output::new()) };
}

/// What the events of the present batch gave so far.
pub(crate) struct Output {
    /// Addresses of the batch's bytes: data that lies in them is passed on without a copy.
    input: Range<usize>,
    emissions: Vec<Emission>,
    bytes: Vec<u8>,
    /// Counts events, so that a verdict kept from another event is noticed.
    event: u32,
    /// Where the present event's emissions and bytes begin.
    start: (usize, usize),
    /// Sizes of the last batch: the next one is probably like it.
    last: (usize, usize),
}

impl Output {
    const fn new() -> Self {
        Self { input: 0..0, emissions: Vec::new(), bytes: Vec::new(), event: 0, start: (0, 0), last: (0, 0) }
    }

    pub(crate) fn event(&self) -> u32 {
        self.event
    }

    /// How many emissions stand in the buffer.
    pub(crate) fn len(&self) -> u32 {
        index(self.emissions.len())
    }

    pub(crate) fn push(&mut self, emission: Emission) {
        self.emissions.push(emission);
    }

    pub(crate) fn emissions(&mut self, range: Range<u32>) -> &mut [Emission] {
        let range = range.start as usize..range.end as usize;
        self.emissions.get_mut(range).unwrap_or_default()
    }

    /// Copies emissions to the end of the buffer.
    pub(crate) fn repeat(&mut self, range: Range<u32>) {
        self.emissions.extend_from_within(range.start as usize..range.end as usize);
    }

    pub(crate) fn text(&mut self, text: &str) -> Span {
        self.append(text.as_bytes())
    }

    pub(crate) fn append(&mut self, data: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.since(start)
    }

    /// What was appended since the buffer had this length.
    pub(crate) fn since(&self, start: usize) -> Span {
        Span { offset: index(start), length: index(self.bytes.len() - start) }
    }

    /// Data for an emission: a span of the input where it lies in it, a copy otherwise.
    pub(crate) fn data(&mut self, data: &[u8]) -> (Place, Span) {
        // A slice that is alive and lies in these addresses can only be a part of the input.
        let address = data.as_ptr() as usize;
        let inside = address >= self.input.start && address.saturating_add(data.len()) <= self.input.end;
        if inside && !data.is_empty() {
            (Place::Input, Span { offset: index(address - self.input.start), length: index(data.len()) })
        } else {
            (Place::Output, self.append(data))
        }
    }

    /// What was written for the event and not returned is no output.
    fn settle(&mut self, verdict: &Verdict) -> types::Verdict {
        if verdict.event() != self.event {
            let text = self.text("the filter returned the verdict of another event");
            return self.settle_text(VerdictKind::Error, text);
        }
        match *verdict.outcome() {
            Outcome::Drop(text) => self.settle_text(VerdictKind::Drop, text),
            Outcome::Error(text) => self.settle_text(VerdictKind::Error, text),
            // Passing on nothing is dropping, and is told as that.
            Outcome::Emit { start, end } if start == end => self.settle_text(VerdictKind::Drop, EMPTY),
            Outcome::Emit { start, end } => {
                self.emissions.truncate(end as usize);
                self.emissions.drain(self.start.0..start as usize);
                types::Verdict { kind: VerdictKind::Emit, text: EMPTY, emissions: end - start }
            }
        }
    }

    fn settle_text(&mut self, kind: VerdictKind, text: Span) -> types::Verdict {
        let (emissions, start) = self.start;
        let from = text.offset as usize;
        let length = text.length as usize;
        self.emissions.truncate(emissions);
        self.bytes.copy_within(from..from + length, start);
        self.bytes.truncate(start + length);
        types::Verdict { kind, text: self.since(start), emissions: 0 }
    }
}

/// Uses the output buffer. No code of the author's may run inside: see [`detached`].
pub(crate) fn with<R>(use_it: impl FnOnce(&mut Output) -> R) -> R {
    OUTPUT.with_borrow_mut(use_it)
}

/// Lets code of the author append to the buffer. It may make verdicts itself, so the buffer isn't borrowed meanwhile;
/// what such verdicts wrote is void.
pub(crate) fn detached<R>(write: impl FnOnce(&mut Vec<u8>) -> R) -> (R, Span) {
    let mut bytes = with(|output| std::mem::take(&mut output.bytes));
    let start = bytes.len();
    let result = write(&mut bytes);
    with(|output| {
        output.bytes = bytes;
        (result, output.since(start.min(output.bytes.len())))
    })
}

/// Starts a batch over these bytes.
pub(crate) fn begin(input: &[u8]) {
    let range = input.as_ptr_range();
    with(|output| {
        output.input = range.start as usize..range.end as usize;
        output.emissions = Vec::with_capacity(output.last.0);
        output.bytes = Vec::with_capacity(output.last.1);
    });
}

/// Starts an event of the batch.
pub(crate) fn begin_event() {
    with(|output| {
        output.event = output.event.wrapping_add(1);
        output.start = (output.emissions.len(), output.bytes.len());
    });
}

/// Ends an event with what its filter returned.
pub(crate) fn settle(verdict: &Verdict) -> types::Verdict {
    with(|output| output.settle(verdict))
}

/// Ends the batch and hands over what it gave.
pub(crate) fn finish() -> (Vec<Emission>, Vec<u8>) {
    with(|output| {
        output.input = 0..0;
        output.last = (output.emissions.len(), output.bytes.len());
        output.event = output.event.wrapping_add(1);
        (std::mem::take(&mut output.emissions), std::mem::take(&mut output.bytes))
    })
}

/// Offsets are 32 bits wide, as a filter's memory is; natively a test could go past it.
fn index(value: usize) -> u32 {
    u32::try_from(value).unwrap_or_else(|_| panic!("a batch's output must be below 4 GiB"))
}
