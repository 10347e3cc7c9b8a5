//! The flat shape of one call: events into one list of bytes, and the result out of one, every span checked.

use crate::bindings::v2::tidegate::filter::types::{Emission, Event, Place, Span, VerdictKind};
use crate::check::Role;
use crate::limits::Limits;
use crate::records::{BatchResult, Whole};
use crate::trap::Failure;
use bytes::Bytes;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use tidegate_core::event::{SourceEvent, check_event_type};

/// The longest reason or error text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 2048;
/// Distinct names remembered by an [`Interner`], and the longest of them, in bytes.
const NAMES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 256;

/// Bytes of a result that no emission needs and that are kept with its outputs all the same: cheaper than a copy.
const SLACK_BYTES_MAX: usize = 64 << 10;

/// The bytes of a result, and whether what is emitted of them shares them.
struct ResultBytes {
    bytes: Bytes,
    share: bool,
}

impl ResultBytes {
    fn slice(&self, range: Range<usize>) -> Bytes {
        if self.share { self.bytes.slice(range) } else { Bytes::copy_from_slice(&self.bytes[range]) }
    }
}

/// One event within a chain: what the next filter is given.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Which input it came from.
    pub(crate) input: usize,
    /// Companies, separated by commas; none before a platform filter decided.
    pub(crate) companies: Option<Arc<str>>,
    /// Event type; none before a filter decided.
    pub(crate) event_type: Option<Arc<str>>,
    pub(crate) data: Bytes,
}

/// What a filter made of one item.
#[derive(Debug)]
pub(crate) enum Answer {
    Dropped(Arc<str>),
    Emitted(Vec<Item>),
    /// It said that it can't, or emitted what is not allowed: the item's fault, the call counts.
    Failed(Failure),
}

/// Names that come again and again (event types, companies, reasons), allocated once. Long ones are not kept.
#[derive(Debug, Default)]
pub(crate) struct Interner(HashSet<Arc<str>>);

impl Interner {
    pub(crate) fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        if name.len() > NAME_BYTES_MAX {
            return name.into();
        }
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        let fresh: Arc<str> = name.into();
        self.0.insert(fresh.clone());
        fresh
    }
}

/// The arguments of one call. Kept and filled anew, so that a call allocates nothing for its input.
#[derive(Debug, Default)]
pub(crate) struct Flat {
    pub(crate) events: Vec<Whole<Event>>,
    pub(crate) bytes: Vec<u8>,
    /// For each event its own part of `bytes`.
    own: Vec<Range<usize>>,
}

/// What an item weighs in a call, in bytes.
pub(crate) fn weight(item: &Item, source: &SourceEvent) -> usize {
    item.data.len() + source.headers.len() + source.subject.len() + size_of::<Event>()
}

impl Flat {
    /// Lays out `items`. The sum of their weights is bounded by the caller.
    pub(crate) fn fill<'a>(
        &mut self,
        items: &[Item],
        company: Option<&str>,
        source: impl Fn(usize) -> &'a SourceEvent,
    ) -> Result<(), Failure> {
        self.events.clear();
        self.bytes.clear();
        self.own.clear();
        let pinned = self.put(company.unwrap_or_default().as_bytes())?;
        for item in items {
            let source = source(item.input);
            let start = self.bytes.len();
            let event = Event {
                subject: self.put(source.subject.as_bytes())?,
                headers: self.put(&source.headers)?,
                company: match &item.companies {
                    Some(companies) => self.put(companies.as_bytes())?,
                    None => pinned,
                },
                event_type: self.put(item.event_type.as_deref().unwrap_or_default().as_bytes())?,
                payload: self.put(&item.data)?,
                sequence: source.sequence,
                time_ms: source.time_ms,
            };
            self.events.push(Whole(event));
            self.own.push(start..self.bytes.len());
        }
        Ok(())
    }

    fn put(&mut self, part: &[u8]) -> Result<Span, Failure> {
        let too_large = |_| Failure::new("memory", "the event passes 4 GiB");
        let span = Span {
            offset: u32::try_from(self.bytes.len()).map_err(too_large)?,
            length: u32::try_from(part.len()).map_err(too_large)?,
        };
        self.bytes.extend_from_slice(part);
        Ok(span)
    }

    /// Reads the result of a call over `items`.
    ///
    /// # Errors
    /// The call has failed: a count, a span or a text is wrong, or an event emits more than its limits allow.
    pub(crate) fn read(
        &self,
        result: BatchResult,
        items: &[Item],
        role: Role,
        limits: &Limits,
        names: &mut Interner,
    ) -> Result<Vec<Answer>, Failure> {
        let BatchResult { verdicts, emissions, bytes } = result;
        if verdicts.len() != items.len() {
            return Err(garbage(format!("{} verdicts for {} events", verdicts.len(), items.len())));
        }
        let announced: u64 = verdicts.iter().map(|verdict| u64::from(verdict.0.emissions)).sum();
        if announced != emissions.len() as u64 {
            return Err(garbage(format!("{} emissions, while its verdicts announce {announced}", emissions.len())));
        }
        let emitted = |Whole(emission): &Whole<Emission>| match emission.data_place {
            Place::Output => emission.data.length as usize,
            Place::Input => 0,
        };
        let used = emissions.iter().map(emitted).fold(0, usize::saturating_add);
        // Outputs live for as long as somebody may read them, and with them all bytes that they share.
        let share = bytes.len() <= used.saturating_mul(2).saturating_add(SLACK_BYTES_MAX);
        let bytes = ResultBytes { bytes: Bytes::from(bytes), share };
        let mut rest = emissions.as_slice();
        let mut answers = Vec::with_capacity(items.len());
        for (position, Whole(verdict)) in verdicts.iter().enumerate() {
            let (emitted, after) = rest.split_at(verdict.emissions as usize);
            rest = after;
            if verdict.kind != VerdictKind::Emit && !emitted.is_empty() {
                return Err(garbage("emissions of an event that is not emitted"));
            }
            answers.push(match verdict.kind {
                VerdictKind::Drop => Answer::Dropped(names.intern(words(&bytes.bytes, verdict.text)?)),
                VerdictKind::Error => Answer::Failed(said_error(words(&bytes.bytes, verdict.text)?, role)),
                VerdictKind::Emit => self.emitted(position, &items[position], emitted, &bytes, role, limits, names)?,
            });
        }
        Ok(answers)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one call, each used here alone")]
    fn emitted(
        &self,
        position: usize,
        item: &Item,
        emitted: &[Whole<Emission>],
        result: &ResultBytes,
        role: Role,
        limits: &Limits,
        names: &mut Interner,
    ) -> Result<Answer, Failure> {
        let bytes = &result.bytes;
        if emitted.len() > limits.outputs as usize {
            return Err(Failure::new(
                "output",
                format!("it emits {} times for one event; outputs allows {}", emitted.len(), limits.outputs),
            ));
        }
        let total: u64 = emitted.iter().map(|emission| u64::from(emission.0.data.length)).sum();
        if total > limits.output_bytes {
            return Err(Failure::new(
                "output",
                format!("it emits {total} bytes for one event; output-bytes allows {}", limits.output_bytes),
            ));
        }
        let mut items = Vec::with_capacity(emitted.len());
        let mut problem = None;
        for Whole(emission) in emitted {
            let event_type = text(bytes, emission.event_type)?;
            let companies = text(bytes, emission.companies)?;
            problem = problem.or_else(|| not_allowed(event_type, companies, role));
            items.push(Item {
                input: item.input,
                companies: if companies.is_empty() { item.companies.clone() } else { Some(names.intern(companies)) },
                event_type: if event_type.is_empty() {
                    item.event_type.clone()
                } else {
                    Some(names.intern(event_type))
                },
                data: match emission.data_place {
                    Place::Output => result.slice(range(bytes.len(), emission.data)?),
                    Place::Input => self.passed_on(position, item, emission.data)?,
                },
            });
        }
        Ok(problem.map_or(Answer::Emitted(items), Answer::Failed))
    }

    /// Data that points into the input: the payload, or a part of it, is shared; other parts of the same event are
    /// copied; another event's bytes are not given out.
    fn passed_on(&self, position: usize, item: &Item, data: Span) -> Result<Bytes, Failure> {
        let data = range(self.bytes.len(), data)?;
        let payload = self.events[position].0.payload;
        let (start, end) = (payload.offset as usize, payload.offset as usize + payload.length as usize);
        if data.start >= start && data.end <= end {
            return Ok(item.data.slice(data.start - start..data.end - start));
        }
        let own = &self.own[position];
        if data.is_empty() {
            return Ok(Bytes::new());
        }
        if data.start < own.start || data.end > own.end {
            return Err(garbage("data that points into another event"));
        }
        Ok(Bytes::copy_from_slice(&self.bytes[data]))
    }
}

/// A filter's own error. What platform filters refuse most often has a word of its own in metrics.
fn said_error(text: &str, role: Role) -> Failure {
    let known = match role {
        Role::Platform => ["no company", "no event type", "not JSON"].into_iter().find(|word| text.starts_with(word)),
        Role::Company => None,
    };
    Failure::new(known.unwrap_or("error"), text)
}

/// What is well formed and yet not a filter's to emit.
fn not_allowed(event_type: &str, companies: &str, role: Role) -> Option<Failure> {
    match role {
        Role::Platform => None,
        Role::Company if !companies.is_empty() => {
            Some(Failure::new("company", "it names a company, which only a platform filter may"))
        }
        Role::Company if event_type.is_empty() => None,
        Role::Company => check_event_type(event_type).err().map(|problem| Failure::new("event type", problem)),
    }
}

/// A reason or an error, cut to what is kept.
fn words(bytes: &Bytes, span: Span) -> Result<&str, Failure> {
    let text = text(bytes, span)?;
    Ok(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)])
}

fn text(bytes: &Bytes, span: Span) -> Result<&str, Failure> {
    std::str::from_utf8(&bytes[range(bytes.len(), span)?])
        .map_err(|error| garbage(format!("a text that is no UTF-8 ({error})")))
}

/// An empty span may stand anywhere: it says "nothing".
fn range(length: usize, span: Span) -> Result<Range<usize>, Failure> {
    if span.length == 0 {
        return Ok(0..0);
    }
    let (start, end) = (span.offset as usize, span.offset as usize + span.length as usize);
    if end > length {
        return Err(garbage(format!("a span {start}..{end} in {length} bytes")));
    }
    Ok(start..end)
}

fn garbage(what: impl Into<String>) -> Failure {
    let mut text: String = what.into();
    text.insert_str(0, "its result has ");
    Failure::new("garbage", text)
}
