//! Real events of a company, read from the source again and passed through the platform chain: as its filters are given them.

use crate::pipeline::chains::LOST;
use crate::pipeline::guests::Guests;
use crate::source::feed::{Items, feed};
use crate::source::{Item, Source, SourceError};
use crate::store::StoreError;
use crate::stream::Streams;
use crate::tasks::Tasks;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::event::{Company, Input, SourceEvent};
use tidegate_filter::PlatformVerdict;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// Events that one request looks at: who wants more asks again.
pub const LOOKED_AT: usize = 50_000;
/// Events that one request gives.
pub const GIVEN: usize = 1_000;
/// Bytes of their data, about.
const GIVEN_BYTES: usize = 8 << 20;
/// Events that pass the platform chain together.
const BATCH: usize = 256;
/// After so long without an event the source is asked whether there is one.
const QUIET: Duration = Duration::from_millis(500);

/// Which events are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose.
    pub company: Company,
    /// From this source time on, in milliseconds since 1970.
    pub since_ms: u64,
    /// On this subject alone.
    pub subject: Option<String>,
    /// Above this sequence; where there is none, from about that time on.
    pub after: Option<u64>,
    /// At most so many, and no more than [`GIVEN`].
    pub limit: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Captured {
    /// As the company's chain is given them, in the order of the source.
    pub inputs: Vec<Input>,
    /// Where to go on, while the end of the source was not reached.
    pub after: Option<u64>,
}

/// Why nothing could be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Core NATS: an event that was read is nowhere any more.
    #[error("core NATS keeps no events; `tidegate dev` shows them as they come")]
    KeepsNothing,
    /// No platform chain loads.
    #[error("the platform chain can not run: {0}")]
    Platform(String),
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads from the source beside the pipeline, and runs on the threads that work backlogs off.
pub struct Capture {
    streams: Arc<Streams>,
    guests: Arc<Guests>,
    tasks: Tasks,
}

impl Capture {
    /// Works with these.
    #[must_use]
    pub fn new(streams: Arc<Streams>, guests: Arc<Guests>, tasks: Tasks) -> Self {
        Self { streams, guests, tasks }
    }

    /// The wanted events, a bounded piece.
    ///
    /// # Errors
    /// See [`CaptureError`].
    pub async fn events(&self, wanted: &Wanted) -> Result<Captured, CaptureError> {
        let source = &self.streams.source;
        if source.kind() == "core" {
            return Err(CaptureError::KeepsNothing);
        }
        let after = match wanted.after {
            Some(after) => after,
            None => self.beginning(wanted.since_ms).await?,
        };
        // What comes while it is read is left to the next one: there is an end to each.
        let (last, _) = source.last().await?;
        let mut reader = Reader::start(&self.tasks, Arc::clone(source), after, last);
        let (mut captured, mut looked_at, mut bytes) = (Captured::default(), 0, 0);
        loop {
            let events = reader.batch().await?;
            let Some(at) = events.last().map(|event| event.sequence) else { return Ok(captured) };
            looked_at += events.len();
            let events =
                events.into_iter().filter(|event| event.time_ms >= wanted.since_ms && wanted.is_on(&event.subject));
            for input in self.inputs(&wanted.company, events.collect()).await? {
                bytes += input.data.len();
                captured.inputs.push(input);
            }
            let limit = wanted.limit.clamp(1, GIVEN);
            if captured.inputs.len() >= limit || bytes >= GIVEN_BYTES {
                cut(&mut captured, limit);
                return Ok(captured);
            }
            captured.after = (at < last).then_some(at);
            if captured.after.is_none() || looked_at >= LOOKED_AT {
                return Ok(captured);
            }
        }
    }

    /// A sequence that surely lies before this time, by the index of times; the source's beginning where that knows none.
    async fn beginning(&self, since_ms: u64) -> Result<u64, CaptureError> {
        let store = &self.streams.store;
        let Some(generation) = store.head().await?.generation().map(|generation| generation.number) else {
            return Ok(0);
        };
        let mark = store.mark_before(since_ms).await?;
        Ok(mark.filter(|mark| mark.generation == generation).map_or(0, |mark| mark.sequence))
    }

    /// What the platform chain makes of these for the company.
    async fn inputs(&self, company: &Company, events: Vec<SourceEvent>) -> Result<Vec<Input>, CaptureError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let chain = self.streams.chains.load().platform();
        let chain = chain.ok_or_else(|| CaptureError::Platform("none loads (see `tidegate modules`)".to_owned()))?;
        let ran = self.guests.run(move |worker| worker.run_platform(&chain, &events)).await;
        let run = match ran {
            Some(Ok(run)) => run,
            Some(Err(interrupted)) => return Err(CaptureError::Platform(interrupted.to_string())),
            None => return Err(CaptureError::Platform(LOST.to_owned())),
        };
        let emitted = run.verdicts.into_iter().filter_map(|verdict| match verdict {
            PlatformVerdict::Emitted(inputs) => Some(inputs),
            PlatformVerdict::Dropped { .. } | PlatformVerdict::Dead(_) => None,
        });
        Ok(emitted.flatten().filter(|input| input.company == *company).collect())
    }
}

/// Leaves at most so many, and no event in part; one event of more is given whole.
fn cut(captured: &mut Captured, limit: usize) {
    if let Some(first_left_out) = captured.inputs.get(limit).map(|input| input.source.sequence) {
        let whole = captured.inputs.partition_point(|input| input.source.sequence < first_left_out);
        let keep = if whole == 0 {
            captured.inputs.partition_point(|input| input.source.sequence <= first_left_out)
        } else {
            whole
        };
        captured.inputs.truncate(keep);
    }
    captured.after = captured.inputs.last().map(|input| input.source.sequence);
}

impl Wanted {
    fn is_on(&self, subject: &str) -> bool {
        self.subject.as_deref().is_none_or(|wanted| wanted == subject)
    }
}

/// A reader of its own, up to where the source ended when it began.
struct Reader {
    source: Arc<dyn Source>,
    items: Items,
    at: u64,
    last: u64,
    ended: oneshot::Receiver<Result<(), SourceError>>,
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    fn start(tasks: &Tasks, source: Arc<dyn Source>, after: u64, last: u64) -> Self {
        let ((to, items), (end, ended)) = (feed(), oneshot::channel());
        let reads = Arc::clone(&source);
        let reading = async move {
            // Nobody waits for its end once enough was read.
            drop(end.send(reads.read(after, to).await));
        };
        let task = AbortOnDropHandle::new(tasks.spawn_handle("capture", reading));
        Self { source, items, at: after, last, ended, _task: task }
    }

    /// The next events; none at the end.
    async fn batch(&mut self) -> Result<Vec<SourceEvent>, SourceError> {
        let mut batch = Vec::new();
        while batch.len() < BATCH && self.at < self.last {
            let item = match self.items.try_recv() {
                Some(item) => item,
                None if !batch.is_empty() => break,
                None => match tokio::time::timeout(QUIET, self.items.recv()).await {
                    Ok(Some(item)) => item,
                    Ok(None) => return self.failed().await,
                    // The last ones may have been deleted, or be of no subject of ours.
                    Err(_quiet) => match self.source.next_stored(self.at).await? {
                        Some((next, _)) if next <= self.last => continue,
                        Some(_) | None => break,
                    },
                },
            };
            if let Item::Event(event) = item {
                self.at = event.sequence;
                if event.sequence <= self.last {
                    batch.push(event);
                }
            }
        }
        Ok(batch)
    }

    /// The reader ended by itself.
    async fn failed(&mut self) -> Result<Vec<SourceEvent>, SourceError> {
        match (&mut self.ended).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Err(SourceError::Away("the reader ended; try again".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn captured(sequences: &[u64]) -> Captured {
        let input = |sequence: &u64| Input {
            source: SourceEvent {
                sequence: *sequence,
                time_ms: 0,
                subject: "s".into(),
                headers: Bytes::new(),
                payload: Bytes::new(),
            },
            emission: 0,
            company: Company::new("a").unwrap(),
            event_type: "t".into(),
            data: Bytes::new(),
        };
        Captured { inputs: sequences.iter().map(input).collect(), after: None }
    }

    fn cut_to(sequences: &[u64], limit: usize) -> (Vec<u64>, Option<u64>) {
        let mut captured = captured(sequences);
        cut(&mut captured, limit);
        (captured.inputs.iter().map(|input| input.source.sequence).collect(), captured.after)
    }

    #[test]
    fn a_piece_ends_between_two_events() {
        assert_eq!(cut_to(&[1, 2, 3], 2), (vec![1, 2], Some(2)));
        assert_eq!(cut_to(&[1, 2, 2, 3], 2), (vec![1], Some(1)), "2 would be given in part");
        assert_eq!(cut_to(&[2, 2, 2, 3], 2), (vec![2, 2, 2], Some(2)), "or never");
        assert_eq!(cut_to(&[1, 2], 2), (vec![1, 2], Some(2)));
    }
}
