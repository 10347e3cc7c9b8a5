//! What a commit decided for each of its inputs, packed small: what `explain` answers from.
//!
//! A record is written with its commit, so that it is there if and only if what it speaks of is. Events of one fate lie
//! in runs, and each text stands in it once: a few bytes for each event of a batch.

use crate::entry::{DecodeError, Reader};
use crate::event::{Company, Fault};
use crate::limits::RECORD_TEXT_BYTES;
use crate::position::{Place, Position};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::HashMap;
use std::sync::Arc;

const BATCH: u8 = 0;
const STEP: u8 = 1;

/// What a filter took in a run: its calls are shared by the events of the run, so no event has a time of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterTime {
    /// The filter, by file name.
    pub filter: Arc<str>,
    /// Calls, failed ones included.
    pub calls: u32,
    /// Their wall time together, in microseconds.
    pub micros: u64,
    /// Events it was given.
    pub events: u32,
}

/// One chain's run over its part of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pass {
    /// First half of the chain's digest, as entries are stamped with it.
    pub chain: u64,
    /// Its filters, in order, as far as they were given something.
    pub filters: Vec<FilterTime>,
}

impl Pass {
    /// A run of this chain of which nothing else is known.
    #[must_use]
    pub fn of(chain: u64) -> Self {
        Self { chain, filters: Vec::new() }
    }
}

/// What became of an input, or of an event that never became one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Became {
    /// So many outputs of it are in the commit.
    Emitted(u32),
    /// A filter dropped it.
    Dropped {
        /// Which one, by file name.
        filter: Arc<str>,
        /// Why, in its words; may be empty.
        reason: Arc<str>,
    },
    /// It is a dead letter.
    Dead {
        /// The short word for it.
        kind: Arc<str>,
        /// The whole story, cut to what is kept.
        reason: Arc<str>,
        /// `name@digest` of the filter to blame, where one is.
        module: Option<Arc<str>>,
    },
    /// It joined its company's backlog.
    Waits,
    /// An emptied store was not filled with it: it is older than what is filled again.
    PassedOver,
}

impl Became {
    /// Dead for this fault.
    #[must_use]
    pub fn dead(fault: &Fault) -> Self {
        Self::Dead { kind: fault.kind.into(), reason: cut(&fault.reason), module: fault.module.clone() }
    }

    /// Dropped by this filter.
    #[must_use]
    pub fn dropped(filter: &Arc<str>, reason: &Arc<str>) -> Self {
        Self::Dropped { filter: filter.clone(), reason: cut(reason) }
    }
}

/// A text as it is kept.
fn cut(text: &Arc<str>) -> Arc<str> {
    if text.len() <= RECORD_TEXT_BYTES {
        return text.clone();
    }
    format!("{}…", &text[..text.floor_char_boundary(RECORD_TEXT_BYTES)]).into()
}

/// What became of one input of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    /// Whose input; none where the platform chain already ended the event.
    pub company: Option<Company>,
    /// What became of it.
    pub became: Became,
}

/// Events that stand together and have one fate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    generation: u16,
    first: u64,
    length: u64,
    shape: usize,
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// It is of a batch: it speaks of every event above `after` up to `upto`. Else it is of a backlog's step.
    pub batch: bool,
    /// The checkpoint that the commit set, or left where it was.
    pub upto: Position,
    /// The checkpoint before it.
    pub after: Position,
    /// The chains that ran; without a company the platform's.
    pub passes: Vec<(Option<Company>, Pass)>,
    shapes: Vec<Vec<Line>>,
    runs: Vec<Run>,
}

/// A record with what its store says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Number of its commit.
    pub number: u64,
    /// When the store wrote it, by the store's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// The record.
    pub record: Record,
}

impl Record {
    /// What became of an event's inputs in this commit; `None` when it does not speak of the event.
    #[must_use]
    pub fn find(&self, generation: u16, sequence: u64) -> Option<&[Line]> {
        let holds =
            |run: &&Run| run.generation == generation && sequence >= run.first && sequence - run.first < run.length;
        self.runs.iter().find(holds).and_then(|run| self.shapes.get(run.shape)).map(Vec::as_slice)
    }

    /// The run of a company's chain, or of the platform's.
    #[must_use]
    pub fn pass(&self, company: Option<&Company>) -> Option<&Pass> {
        self.passes.iter().find(|(whose, _)| whose.as_ref() == company).map(|(_, pass)| pass)
    }

    /// Every event it speaks of, in order: for tests that compare it with its commit.
    pub fn events(&self) -> impl Iterator<Item = (u16, u64, &[Line])> {
        self.runs.iter().flat_map(|run| {
            let lines = self.shapes.get(run.shape).map(Vec::as_slice).unwrap_or_default();
            (run.first..run.first.saturating_add(run.length)).map(move |sequence| (run.generation, sequence, lines))
        })
    }

    /// Reads what `Notes::encode` wrote.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not a record's.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes)?;
        let upto = Position::unpack(u64::from_be_bytes(input.array()?), 0);
        let after = Position::unpack(u64::from_be_bytes(input.array()?), 0);
        let batch = match input.u8()? {
            BATCH => true,
            STEP => false,
            _ => return Err(DecodeError("unknown kind of record")),
        };
        let mut texts = Vec::new();
        for _ in 0..input.varint()? {
            let length = usize::try_from(input.varint()?).ok().ok_or(DecodeError("too long"))?;
            let text = input.take(length)?;
            texts.push(std::str::from_utf8(&text).map(Arc::<str>::from).ok().ok_or(DecodeError("not UTF-8"))?);
        }
        let mut input = Texts { input, texts };
        let mut passes = Vec::new();
        for _ in 0..input.varint()? {
            let (company, chain) = (input.company()?, input.input.u64()?);
            let mut filters = Vec::new();
            for _ in 0..input.varint()? {
                let filter = input.text()?;
                let (calls, micros, events) = (input.small()?, input.varint()?, input.small()?);
                filters.push(FilterTime { filter, calls, micros, events });
            }
            passes.push((company, Pass { chain, filters }));
        }
        let mut lines = Vec::new();
        for _ in 0..input.varint()? {
            lines.push(input.line()?);
        }
        let mut shapes: Vec<Vec<Line>> = Vec::new();
        for _ in 0..input.varint()? {
            let mut shape = Vec::new();
            for _ in 0..input.varint()? {
                let at = input.index()?;
                shape.push(lines.get(at).cloned().ok_or(DecodeError("no such line"))?);
            }
            shapes.push(shape);
        }
        let mut runs: Vec<Run> = Vec::new();
        for _ in 0..input.varint()? {
            let head = input.varint()?;
            let (generation, first) = match runs.last() {
                _ if head & 1 == 1 => (input.input.u16()?, head >> 1),
                Some(last) => (last.generation, last.first.saturating_add(last.length).saturating_add(head >> 1)),
                None => return Err(DecodeError("a first run without a place")),
            };
            let (shape, length) = (input.index()?, input.varint()?);
            runs.push(Run { generation, first, length, shape });
        }
        Ok(Self { batch, upto, after, passes, shapes, runs })
    }
}

/// The rest of a record, once its texts are known.
struct Texts {
    input: Reader,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn varint(&mut self) -> Result<u64, DecodeError> {
        self.input.varint()
    }

    fn small(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).ok().ok_or(DecodeError("too large"))
    }

    fn index(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.varint()?).ok().ok_or(DecodeError("too large"))
    }

    fn text(&mut self) -> Result<Arc<str>, DecodeError> {
        let at = self.index()?;
        self.texts.get(at).cloned().ok_or(DecodeError("no such text"))
    }

    /// A text, or nothing.
    fn optional(&mut self) -> Result<Option<Arc<str>>, DecodeError> {
        let Some(at) = self.index()?.checked_sub(1) else { return Ok(None) };
        self.texts.get(at).cloned().map(Some).ok_or(DecodeError("no such text"))
    }

    fn company(&mut self) -> Result<Option<Company>, DecodeError> {
        let name = self.optional()?;
        name.map(|name| Company::new(&name).ok().ok_or(DecodeError("bad company"))).transpose()
    }

    fn line(&mut self) -> Result<Line, DecodeError> {
        let company = self.company()?;
        let became = match self.input.u8()? {
            0 => Became::Emitted(self.small()?),
            1 => Became::Dropped { filter: self.text()?, reason: self.text()? },
            2 => Became::Dead { kind: self.text()?, reason: self.text()?, module: self.optional()? },
            3 => Became::Waits,
            4 => Became::PassedOver,
            _ => return Err(DecodeError("unknown verdict")),
        };
        Ok(Line { company, became })
    }
}

/// A record in the making.
#[derive(Debug, Default)]
pub struct Notes {
    texts: Vec<Arc<str>>,
    known_texts: HashMap<Arc<str>, usize>,
    passes: Vec<(Option<Company>, Pass)>,
    lines: Vec<Line>,
    known_lines: HashMap<Line, usize>,
    /// Number of the event in the commit, and what became of one of its inputs.
    noted: Vec<(usize, usize)>,
}

impl Notes {
    /// A chain ran.
    pub fn pass(&mut self, company: Option<&Company>, pass: &Pass) {
        self.passes.push((company.cloned(), pass.clone()));
    }

    /// This became of an input of the commit's event with this number (from 0).
    pub fn note(&mut self, number: usize, company: Option<&Company>, became: Became) {
        let same = |line: &Line| line.became == became && line.company.as_ref() == company;
        let last = self.noted.last().map(|(_, at)| *at);
        let at = match last.filter(|at| same(&self.lines[*at])) {
            Some(at) => at,
            None => self.line(Line { company: company.cloned(), became }),
        };
        self.noted.push((number, at));
    }

    fn line(&mut self, line: Line) -> usize {
        if let Some(at) = self.known_lines.get(&line) {
            return *at;
        }
        self.lines.push(line.clone());
        self.known_lines.insert(line, self.lines.len() - 1);
        self.lines.len() - 1
    }

    fn text(&mut self, text: &str) -> u64 {
        if let Some(at) = self.known_texts.get(text) {
            return *at as u64;
        }
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.known_texts.insert(text, self.texts.len() - 1);
        self.texts.len() as u64 - 1
    }

    /// The bytes of a batch's record: `events` gives generation and sequence of each event by its number.
    #[must_use]
    pub fn batch(self, after: Place, upto: Place, events: impl Fn(usize) -> (u16, u64)) -> Bytes {
        self.encode(BATCH, after, upto, events)
    }

    /// The bytes of the record of a backlog's step, which leaves the checkpoint where it is.
    #[must_use]
    pub fn step(self, checkpoint: Place, events: impl Fn(usize) -> (u16, u64)) -> Bytes {
        self.encode(STEP, checkpoint, checkpoint, events)
    }

    /// The record of a commit that passes over everything above `after` up to `upto`.
    #[must_use]
    pub fn passed_over(after: Place, upto: Place) -> Bytes {
        let mut notes = Self::default();
        notes.line(Line { company: None, became: Became::PassedOver });
        let first = if after.generation == upto.generation { after.sequence + 1 } else { 1 };
        let length = (upto.sequence + 1).saturating_sub(first);
        let run = Run { generation: upto.generation, first, length, shape: 0 };
        notes.put(BATCH, after, upto, &[vec![0]], &[run])
    }

    fn encode(mut self, kind: u8, after: Place, upto: Place, events: impl Fn(usize) -> (u16, u64)) -> Bytes {
        self.noted.sort_by_key(|(number, _)| *number);
        let mut shapes: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut runs: Vec<Run> = Vec::new();
        for event in self.noted.chunk_by(|(one, _), (other, _)| one == other) {
            let (generation, sequence) = events(event[0].0);
            let lines = || event.iter().map(|(_, line)| *line);
            let last = runs.last_mut().filter(|run| shapes[run.shape].iter().copied().eq(lines()));
            let shape = match last {
                Some(run) if run.generation == generation && run.first + run.length == sequence => {
                    run.length += 1;
                    continue;
                }
                Some(run) => run.shape,
                None => *known.entry(lines().collect()).or_insert_with(|| {
                    shapes.push(lines().collect());
                    shapes.len() - 1
                }),
            };
            runs.push(Run { generation, first: sequence, length: 1, shape });
        }
        self.put(kind, after, upto, &shapes, &runs)
    }

    fn put(mut self, kind: u8, after: Place, upto: Place, shapes: &[Vec<usize>], runs: &[Run]) -> Bytes {
        let mut body = BytesMut::with_capacity(64 + runs.len() * 4);
        let passes = std::mem::take(&mut self.passes);
        put_varint(&mut body, passes.len() as u64);
        for (company, pass) in &passes {
            let company = company.as_ref().map_or(0, |company| self.text(company.as_str()) + 1);
            put_varint(&mut body, company);
            body.put_u64_le(pass.chain);
            put_varint(&mut body, pass.filters.len() as u64);
            for filter in &pass.filters {
                let name = self.text(&filter.filter);
                for number in [name, u64::from(filter.calls), filter.micros, u64::from(filter.events)] {
                    put_varint(&mut body, number);
                }
            }
        }
        let lines = std::mem::take(&mut self.lines);
        put_varint(&mut body, lines.len() as u64);
        for line in &lines {
            self.put_line(&mut body, line);
        }
        put_varint(&mut body, shapes.len() as u64);
        for shape in shapes {
            put_varint(&mut body, shape.len() as u64);
            shape.iter().for_each(|line| put_varint(&mut body, *line as u64));
        }
        put_varint(&mut body, runs.len() as u64);
        let mut before: Option<&Run> = None;
        for run in runs {
            let next = before.map(|before| (before.generation, before.first + before.length));
            match next.filter(|(generation, next)| *generation == run.generation && *next <= run.first) {
                Some((_, next)) => put_varint(&mut body, (run.first - next) << 1),
                None => {
                    put_varint(&mut body, run.first << 1 | 1);
                    body.put_u16_le(run.generation);
                }
            }
            put_varint(&mut body, run.shape as u64);
            put_varint(&mut body, run.length);
            before = Some(run);
        }
        let mut out = BytesMut::with_capacity(32 + body.len() + self.texts.len() * 16);
        out.put_u8(crate::entry::VERSION);
        // The first bytes compare as positions do: a store looks records up by them.
        out.put_u64(Position::before(upto.generation, upto.sequence).packed());
        out.put_u64(Position::before(after.generation, after.sequence).packed());
        out.put_u8(kind);
        put_varint(&mut out, self.texts.len() as u64);
        for text in &self.texts {
            put_varint(&mut out, text.len() as u64);
            out.put_slice(text.as_bytes());
        }
        out.put_slice(&body);
        out.freeze()
    }

    fn put_line(&mut self, out: &mut BytesMut, line: &Line) {
        let company = line.company.as_ref().map_or(0, |company| self.text(company.as_str()) + 1);
        put_varint(out, company);
        match &line.became {
            Became::Emitted(outputs) => {
                out.put_u8(0);
                put_varint(out, u64::from(*outputs));
            }
            Became::Dropped { filter, reason } => {
                out.put_u8(1);
                for text in [filter, reason] {
                    let at = self.text(text);
                    put_varint(out, at);
                }
            }
            Became::Dead { kind, reason, module } => {
                out.put_u8(2);
                for text in [kind, reason] {
                    let at = self.text(text);
                    put_varint(out, at);
                }
                let module = module.as_ref().map_or(0, |module| self.text(module) + 1);
                put_varint(out, module);
            }
            Became::Waits => out.put_u8(3),
            Became::PassedOver => out.put_u8(4),
        }
    }
}

fn put_varint(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
