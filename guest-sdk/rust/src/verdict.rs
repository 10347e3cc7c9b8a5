//! What a filter answers to one event.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

use crate::bindings::tidegate::filter::types::{Emission, Place, Span};
use crate::output::{self, EMPTY};
use crate::{Error, Event};

/// The answer to one event: dropped, passed on as events of its own, or an error.
///
/// What it emits is written to the batch's one output buffer at once, so a verdict is a few numbers; it counts for
/// the event during which it was made.
#[must_use = "only the verdict that the filter returns counts"]
pub struct Verdict {
    outcome: Outcome,
    /// The event during which it was made.
    event: u32,
}

/// The data of one emission, in the making: see [`Verdict::emit_with`]. Writing to it can't fail.
pub struct Data<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Data<'_> {
    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl Write for Data<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where in the output buffer the answer stands.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Drop(Span),
    Emit { start: u32, end: u32 },
    Error(Span),
}

impl Verdict {
    /// Not passed on. The reason is for `explain` and the logs; it may be empty.
    pub fn drop(reason: &str) -> Self {
        Self::made(|output| Outcome::Drop(output.text(reason)))
    }

    /// The event can't be handled: the deployer's `on-error` decides (by default it becomes a dead letter with this
    /// text).
    pub fn error(text: impl Display) -> Self {
        // The text is made by the author's code: outside the buffer.
        let text = text.to_string();
        Self::made(|output| Outcome::Error(output.text(&text)))
    }

    /// Passed on unchanged, with the event's own type.
    pub fn pass(event: &Event<'_>) -> Self {
        Self::emit("", event.payload())
    }

    /// Passed on with this type and data; an empty type keeps the event's own. Data that is a part of the payload is
    /// passed on without a copy.
    pub fn emit(event_type: &str, data: &[u8]) -> Self {
        Self::none().and(event_type, data)
    }

    /// Passed on with this type and a value as JSON.
    ///
    /// ```
    /// # use tidegate_guest::{filter, Event, Verdict};
    /// #[filter]
    /// fn only_the_sum(event: &Event) -> Verdict {
    ///     let values: Vec<f64> = event.json()?;
    ///     Verdict::emit_json("sum", &values.iter().sum::<f64>())
    /// }
    /// ```
    pub fn emit_json<T: Serialize + ?Sized>(event_type: &str, value: &T) -> Self {
        Self::none().and_json(event_type, value)
    }

    /// Passed on with data that `write` writes straight into the output buffer.
    pub fn emit_with(event_type: &str, write: impl FnOnce(&mut Data<'_>)) -> Self {
        let mut verdict = Self::none();
        let ((), span) = output::detached(|bytes| write(&mut Data { bytes }));
        verdict.push(event_type, Place::Output, span);
        verdict
    }

    /// Passed on as several events, of type and data each. Without any it is the same as a drop.
    ///
    /// ```
    /// # use tidegate_guest::{filter, Event, Verdict};
    /// #[filter]
    /// fn each_line(event: &Event) -> Verdict {
    ///     Verdict::emit_many(event.payload().split(|byte| *byte == b'\n').map(|line| ("line", line)))
    /// }
    /// ```
    pub fn emit_many<'t, 'd>(emissions: impl IntoIterator<Item = (&'t str, &'d [u8])>) -> Self {
        emissions.into_iter().fold(Self::none(), |verdict, (event_type, data)| verdict.and(event_type, data))
    }

    /// A beginning for [`and`](Self::and) and [`and_json`](Self::and_json).
    pub fn none() -> Self {
        Self::made(|output| Outcome::Emit { start: output.len(), end: output.len() })
    }

    /// Emits one more event. A drop or an error stays what it is.
    pub fn and(mut self, event_type: &str, data: &[u8]) -> Self {
        if matches!(self.outcome, Outcome::Emit { .. }) {
            let (place, span) = output::with(|output| output.data(data));
            self.push(event_type, place, span);
        }
        self
    }

    /// Emits one more event with a value as JSON. A value that has no JSON form (a map with keys that aren't text)
    /// makes it an error.
    pub fn and_json<T: Serialize + ?Sized>(mut self, event_type: &str, value: &T) -> Self {
        if !matches!(self.outcome, Outcome::Emit { .. }) {
            return self;
        }
        let (written, span) = output::detached(|bytes| serde_json::to_writer(&mut *bytes, value));
        if let Err(error) = written {
            return Self::error(format_args!("`{event_type}` has no JSON form: {error}"));
        }
        self.push(event_type, Place::Output, span);
        self
    }

    /// For platform filters: the companies that its emissions go to. A company's own filter can't change the company;
    /// there the host makes it an error.
    ///
    /// A name that is empty or holds a comma, which separates names, makes it an error: it would reach others.
    pub fn to_companies<'c>(self, companies: impl IntoIterator<Item = &'c str>) -> Self {
        let Outcome::Emit { start, end } = self.outcome else { return self };
        let (named, span) = output::detached(|bytes| {
            for (index, company) in companies.into_iter().enumerate() {
                if company.is_empty() || company.contains(',') {
                    return Err(Error::new(format_args!("`{company}` can't be a company's name")));
                }
                // Writing to memory can't fail.
                let _ = write!(bytes, "{}{company}", if index > 0 { "," } else { "" });
            }
            Ok(())
        });
        if let Err(error) = named {
            return Self::error(error);
        }
        if span.length == 0 {
            return Self::error("emitted to no company");
        }
        output::with(|output| output.emissions(start..end).iter_mut().for_each(|emission| emission.companies = span));
        self
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub(crate) fn event(&self) -> u32 {
        self.event
    }

    fn made(outcome: impl FnOnce(&mut output::Output) -> Outcome) -> Self {
        output::with(|output| Self { outcome: outcome(output), event: output.event() })
    }

    fn push(&mut self, event_type: &str, data_place: Place, data: Span) {
        let Outcome::Emit { start, end } = &mut self.outcome else { return };
        output::with(|output| {
            // Another verdict was made in between: its emissions stand after ours, which move behind them.
            if *end != output.len() {
                let moved = output.len();
                output.repeat(*start..*end);
                *start = moved;
            }
            let event_type = if event_type.is_empty() { EMPTY } else { output.text(event_type) };
            output.push(Emission { event_type, companies: EMPTY, data_place, data });
            *end = output.len();
        });
    }
}

/// An error becomes the event's error text.
impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        Self::error(error)
    }
}

/// What a filter function may return.
pub trait IntoVerdict {
    /// The verdict that it stands for.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl<E: Display> IntoVerdict for Result<Verdict, E> {
    fn into_verdict(self) -> Verdict {
        self.unwrap_or_else(Verdict::error)
    }
}
