//! Where events come from: one ordered reader for the partition's stream, whatever server holds it.

pub mod chosen;
pub mod core;
pub mod embedded;
pub mod feed;
pub mod headers;
pub mod jetstream;
pub mod letter;
pub mod letter_ids;
pub mod nats;
pub mod subject;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod server;

use bytes::Bytes;
use feed::Feed;
use futures_util::future::BoxFuture;
use letter::{Retried, StoredLetter};
use letter_ids::LetterIds;
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;

/// Why a source could not answer: what failed, and whether to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It can't be reached, or not read on: try again.
    #[error("the source can't be reached: {0}")]
    Away(String),
    /// It has no room: the publisher must wait (HTTP 507).
    #[error("the source is full: {0}")]
    Full(String),
    /// It refuses for good: what, and the way out.
    #[error("{0}")]
    Refused(String),
}

/// A record that hosts share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Which version it is: counted over all records.
    pub revision: u64,
    /// What it holds; empty where a tool deleted it.
    pub bytes: Bytes,
}

/// What of the records was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Their last versions, oldest first.
    pub changed: Vec<Record>,
    /// The place up to which all is told: what to ask after next time.
    pub last: u64,
    /// They were begun anew since: what is not in here, or told next, is gone.
    pub anew: bool,
    /// This is a part: ask again after `last`.
    pub more: bool,
}

/// What a reader hands on, in the order of the stream.
#[derive(Debug)]
pub enum Item {
    /// One event.
    Event(SourceEvent),
    /// Events were lost by the source itself (core NATS: slow consumer, disconnect); `None`: nobody knows how many.
    Lost(Option<u64>),
    /// Nobody listened before this sequence, on core NATS: what was published since the item before it may be lost.
    Unheard(u64),
    /// A stored message that can't be handed on as an event: a dead letter by its sequence, with the reason.
    Unreadable {
        /// What can be told of it.
        event: SourceEvent,
        /// Why it can't be an event.
        reason: String,
    },
    /// So many messages were deleted one by one before they were read: counted, no loss by the source.
    Deleted(u64),
    /// A consumer was made anew (at start, or within one reading), or the stream no longer holds what came next:
    /// nothing after it may be committed before the stream was compared with the checkpoint. It holds what the source
    /// says now, with the time of the message at `after` (or at the last sequence handed on before, where the reading
    /// went on by itself).
    Attached(StreamFacts),
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The subject: one of the configured ones, checked by the caller.
    pub subject: String,
    /// The payload.
    pub payload: Bytes,
    /// Further headers as lines `name: value`, each ended by a line feed.
    pub headers: Bytes,
    /// `Nats-Msg-Id`, where repeating must be safe.
    pub id: Option<String>,
}

/// What became of a publish: lowest and highest sequence where the source numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// Messages acknowledged, counted from the first one on.
    pub accepted: u64,
    /// Lowest sequence.
    pub first: Option<u64>,
    /// Highest sequence.
    pub last: Option<u64>,
}

impl Published {
    /// Counts one more, with its sequence where there is one.
    fn add(&mut self, sequence: Option<u64>) {
        self.accepted += 1;
        self.first = [self.first, sequence].into_iter().flatten().min();
        self.last = [self.last, sequence].into_iter().flatten().max();
    }
}

/// A stream of events, read in order, and written to by `/ingest` and `publish`.
///
/// Every future may be dropped at any time: nothing stays half done on our side, and a dropped `read` ends.
pub trait Source: Send + Sync + 'static {
    /// What it is, in a word: `jetstream`, `core`, `embedded`; `nats` while the server was never asked.
    fn kind(&self) -> &'static str;
    /// What the stream says of itself, with the time of the message at `checkpoint_sequence`, if it still has it.
    fn facts(&self, checkpoint_sequence: u64) -> BoxFuture<'_, Result<StreamFacts, SourceError>>;
    /// Reads on after this sequence until the receiver is dropped (then `Ok`) or the source can't go on; every error
    /// that ends it is returned and the caller starts again from its checkpoint. Items sent before the error are good.
    /// The first item is `Attached`.
    fn read(&self, after: u64, to: Feed) -> BoxFuture<'_, Result<(), SourceError>>;
    /// The first sequence above `after` that belongs to the configured subjects, with its time, as the server (not the
    /// reader) knows it; `None`: everything is here. Used when idle, to move the checkpoint and to find a wedged reader.
    fn next_stored(&self, after: u64) -> BoxFuture<'_, Result<Option<(u64, u64)>, SourceError>>;
    /// The message at this sequence as raw bytes, for a dead letter about one that no reader can hand on.
    fn fetch(&self, sequence: u64) -> BoxFuture<'_, Result<Option<SourceEvent>, SourceError>>;
    /// Publishes in order; returns how far it came.
    fn publish<'a>(&'a self, messages: &'a [Publish]) -> BoxFuture<'a, Result<Published, (Published, SourceError)>>;
    /// Publishes a dead letter for good; the id makes a repeat harmless.
    fn publish_dead<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<(), SourceError>>;
    /// The kept dead letters above this place in their log, oldest first, at most `limit`.
    fn dead_letters(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredLetter>, SourceError>>;
    /// The first and the last place of that log; the last one is below the first where it is empty.
    fn dead_places(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>>;
    /// Which letters were retried, as noted above this place in their log, oldest retry first.
    fn retried(&self, after: u64) -> BoxFuture<'_, Result<Vec<Retried>, SourceError>>;
    /// What hosts keep for one another under a name (copies of modules, and which chains ran); `None` where it is not
    /// there, or where this source keeps nothing for others.
    fn shared<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, SourceError>> {
        let _ = name;
        Box::pin(async { Ok(None) })
    }
    /// The names of all that is kept so.
    fn shared_names(&self) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Keeps something for other hosts, in place of what had the name; does nothing where there are none.
    fn share<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), SourceError>> {
        let _ = (name, bytes);
        Box::pin(async { Ok(()) })
    }
    /// No longer keeps it.
    fn unshare<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        let _ = name;
        Box::pin(async { Ok(()) })
    }
    /// The records that hosts share and that were changed after this place, at their last versions; none where this source
    /// keeps nothing for others.
    fn records(&self, after: u64) -> BoxFuture<'_, Result<Records, SourceError>> {
        let _ = after;
        Box::pin(async { Ok(Records::default()) })
    }
    /// Writes a record over its version `revision` (0: there is none yet); the new one's. `None`: it has another by now.
    fn put_record<'a>(
        &'a self,
        name: &'a str,
        bytes: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, SourceError>> {
        let _ = (name, bytes, revision);
        Box::pin(async { Err(SourceError::Refused("this source keeps nothing for other hosts".to_owned())) })
    }
    /// Which dead letters are kept, all of them from the beginning of their log on: what a rebuild must not write again.
    fn dead_ids(&self) -> BoxFuture<'_, Result<LetterIds, SourceError>>;
    /// Is it reachable now? For health.
    fn connected(&self) -> bool;
    /// A host was seen to have committed up to this sequence: a source that numbers by itself gives no such number again.
    fn saw(&self, _sequence: u64) {}
    /// Everything up to this sequence is committed: a source that keeps nothing need not remember it any more.
    fn committed(&self, _sequence: u64) {}
    /// Nothing above this sequence is committed, or will be: a source that keeps nothing hands it on again at the next `read`,
    /// under new numbers.
    fn take_back(&self, _above: u64) {}
    /// What was handed on may be committed, or another host may have received the same: none of it may come again.
    fn forget(&self) {}
    /// Last sequence and its time as of now: what an idle partition moves its checkpoint to. Never move it back: on core
    /// NATS nothing is known before the first event, and this is `(0, 0)`.
    fn last(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>>;
}

/// A slice of a read buffer keeps the whole buffer alive; what is small is copied out, so that a quiet company's
/// event does not hold 64 KiB.
fn own(bytes: Bytes) -> Bytes {
    const COPIED_BYTES_MAX: usize = 16 << 10;
    if bytes.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(&bytes) } else { bytes }
}
