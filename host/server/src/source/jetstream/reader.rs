//! The one ordered reader of a stream: a consumer without acknowledgements, whose every irregularity ends it.
//!
//! The client's own ordered consumer mends itself silently, also on a stream that was made anew. This one is an
//! ordinary pull consumer with the same settings: a gap, a lost connection, a deletion or a missed heartbeat ends the
//! attempt, so each consumer is made here and announced with [`Item::Attached`].

use super::super::feed::Feed;
use super::super::{Item, SourceError, headers, own, subject};
use super::api::{StoredMessage, StreamInfo};
use super::{CAPTURE_STREAM, JetStream, choose};
use crate::source::nats::ConnectionCounts;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use async_nats::jetstream::message::Info;
use futures_util::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::event::SourceEvent;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Messages asked for at a time: bounds what waits in memory beside the queue.
const PULL_MESSAGES: usize = 256;
/// How often a quiet server says that it is there; two missed end the attempt.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long one request for messages stands.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// The server forgets a consumer of ours that nobody asks for this long: a full queue stops asking for a while, too.
const CONSUMER_IDLE: Duration = Duration::from_secs(300);
/// How long a reader waits for a connection before it says that there is none.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Reads until the receiver is gone, or something is wrong that only a start from the checkpoint mends.
pub(super) async fn read(source: &JetStream, after: u64, to: Feed) -> Result<(), SourceError> {
    let mut position = after;
    // One that the client swallows without an error is found here, when its owner asks for another start.
    let mut odd = odd_after(source, position).await;
    loop {
        let (message, reason) = match odd.take() {
            Some(odd) => odd,
            None => {
                let Err(error) = attempt(source, &mut position, &to).await else {
                    return Ok(());
                };
                // The client drops its connection on a message it can't parse, and would do so each time: it is passed.
                match odd_after(source, position).await {
                    Some(odd) => odd,
                    None => return Err(error),
                }
            }
        };
        let facts = source.facts_now(position).await?;
        position = message.sequence;
        tracing::warn!(
            stream = source.stream,
            sequence = position,
            reason,
            "a stored message can't be read as an event"
        );
        let unreadable = Item::Unreadable { event: message.into_event(), reason: reason.to_owned() };
        if to.send(Item::Attached(facts)).await.is_err() || to.send(unreadable).await.is_err() {
            return Ok(());
        }
    }
}

/// How often the next message is asked for.
const ASKED_AGAIN: usize = 3;

/// The next stored message, if the client can't hand it on.
async fn odd_after(source: &JetStream, position: u64) -> Option<(StoredMessage, &'static str)> {
    for _ in 0..ASKED_AGAIN {
        source.nats.wait_connected(CONNECT_WAIT).await.ok()?;
        // The answer may be lost with the connection, which another reader's message has just taken down.
        let Ok(next) = source.next_message(position).await else { continue };
        let message = next?;
        let reason = message.oddity()?;
        return Some((message, reason));
    }
    None
}

/// One consumer, from its making to its end; `Ok` when the receiver is gone.
async fn attempt(source: &JetStream, position: &mut u64, to: &Feed) -> Result<(), SourceError> {
    source.nats.wait_connected(CONNECT_WAIT).await?;
    let mut counts = source.nats.watch();
    let disconnects = counts.borrow_and_update().disconnects;
    ensure_stream(source).await?;
    let away = |what: &str, error: &dyn std::fmt::Display| {
        SourceError::Away(format!("stream {}: {what}: {error}", source.stream))
    };
    let consumer = source
        .nats
        .while_connected(source.context.create_consumer_on_stream(settings(source, *position), &source.stream))
        .await?
        .map_err(|error| away("making a consumer", &error))?;
    // After the consumer: a stream made anew before this shows in the facts, one made anew later takes the consumer away.
    let facts = source.facts_now(*position).await?;
    if to.send(Item::Attached(facts)).await.is_err() {
        return Ok(());
    }
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(PULL_MESSAGES)
        .expires(PULL_EXPIRES)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(|error| away("reading", &error))?;
    let mut delivery = Delivery { source, consumer: &consumer.cached_info().name, sequence: 0, subject: Arc::from("") };
    loop {
        let mut arrived = Vec::new();
        let mut ended = tokio::select! {
            biased;
            () = to.closed() => return Ok(()),
            next = messages.next() => take(source, next, &mut arrived),
            // What came before the connection was lost is good, and may be all that stands before an odd message.
            () = disconnected(&mut counts, disconnects) => Err(SourceError::Away("the connection to NATS was lost".into())),
        };
        while arrived.len() < PULL_MESSAGES
            && let Some(next) = messages.next().now_or_never()
        {
            let taken = take(source, next, &mut arrived);
            if taken.is_err() {
                ended = ended.and(taken);
                break;
            }
        }
        if !delivery.pass_all_on(arrived, position, to).await? {
            return Ok(());
        }
        ended?;
    }
}

/// Keeps a message, or says why there is none.
fn take<E: std::fmt::Display>(
    source: &JetStream,
    next: Option<Result<jetstream::Message, E>>,
    arrived: &mut Vec<jetstream::Message>,
) -> Result<(), SourceError> {
    let why = match next {
        Some(Ok(message)) => {
            arrived.push(message);
            return Ok(());
        }
        Some(Err(error)) => error.to_string(),
        None => "the subscription ended".to_owned(),
    };
    Err(SourceError::Away(format!("stream {}: reading: {why}", source.stream)))
}

async fn disconnected(counts: &mut watch::Receiver<ConnectionCounts>, before: u64) {
    if counts.wait_for(|counts| counts.disconnects != before).await.is_err() {
        std::future::pending().await
    }
}

/// A captured stream that somebody deleted is made again; its new creation time tells the caller.
async fn ensure_stream(source: &JetStream) -> Result<(), SourceError> {
    if source.wanted.capture
        && source.stream == CAPTURE_STREAM
        && super::api::stream_info(&source.nats, &source.stream).await?.is_none()
    {
        choose(&source.nats, &source.wanted).await?;
    }
    Ok(())
}

fn settings(source: &JetStream, after: u64) -> pull::Config {
    let mut config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        inactive_threshold: CONSUMER_IDLE,
        num_replicas: 1,
        memory_storage: true,
        description: Some("tidegate reader".into()),
        ..pull::Config::default()
    };
    match source.subjects.as_slice() {
        [one] => config.filter_subject = one.clone(),
        // Before 2.10 a server ignores several filters and sends everything; asking for it openly is the same.
        several if source.nats.server_version() >= (2, 10) && !any_overlap(several) => {
            config.filter_subjects = several.to_vec()
        }
        _ => {}
    }
    config
}

/// A server refuses filters that overlap, as `a.*.c` and `a.b.*` do.
fn any_overlap(subjects: &[String]) -> bool {
    subjects.iter().enumerate().any(|(at, one)| subjects[at + 1..].iter().any(|other| subject::overlaps(one, other)))
}

/// What was delivered so far by one consumer.
struct Delivery<'a> {
    source: &'a JetStream,
    consumer: &'a str,
    sequence: u64,
    /// The last one that is ours: mostly the next one, too.
    subject: Arc<str>,
}

impl Delivery<'_> {
    /// Hands these on; `false` when the receiver is gone.
    async fn pass_all_on(
        &mut self,
        messages: Vec<jetstream::Message>,
        position: &mut u64,
        to: &Feed,
    ) -> Result<bool, SourceError> {
        let mut items = Vec::with_capacity(messages.len());
        // Up to where something is wrong they are good.
        let placed = self.place_all(messages, position, &mut items).await;
        if to.send_all(items).await.is_err() {
            return Ok(false);
        }
        placed.map(|()| true)
    }

    /// Makes items of these, and of what is missing between them.
    async fn place_all(
        &mut self,
        messages: Vec<jetstream::Message>,
        position: &mut u64,
        items: &mut Vec<Item>,
    ) -> Result<(), SourceError> {
        let mut stand = None;
        for message in messages {
            let Info { stream_sequence: sequence, published, .. } = self.place(&message, *position)?;
            if sequence > *position + 1 {
                // One question for all of them: what the stream still holds now it held when these were delivered.
                let stand = match &stand {
                    Some(stand) => stand,
                    None => {
                        self.source.nats.wait_connected(CONNECT_WAIT).await?;
                        stand.insert(self.source.info().await?)
                    }
                };
                items.extend(self.what_is_missing(stand, *position, sequence).await?);
            }
            items.extend(self.event(message, sequence, published).map(Item::Event));
            *position = sequence;
        }
        Ok(())
    }

    /// What a delivery says of its place; an error where it is not the next one.
    fn place<'m>(&mut self, message: &'m jetstream::Message, position: u64) -> Result<Info<'m>, SourceError> {
        let info =
            message.info().map_err(|error| SourceError::Away(format!("a delivery that can't be placed: {error}")))?;
        if info.consumer != self.consumer
            || info.consumer_sequence != self.sequence + 1
            || info.stream_sequence <= position
        {
            return Err(SourceError::Away(format!(
                "stream {}: delivery {} of consumer {} came where {} of {} was due",
                self.source.stream,
                info.consumer_sequence,
                info.consumer,
                self.sequence + 1,
                self.consumer
            )));
        }
        self.sequence += 1;
        Ok(info)
    }

    /// Sequences are missing: of other subjects, deleted one by one, or purged before they were read.
    async fn what_is_missing(
        &self,
        stand: &StreamInfo,
        position: u64,
        sequence: u64,
    ) -> Result<Option<Item>, SourceError> {
        if stand.first_sequence() > position + 1 {
            return Ok(Some(Item::Attached(self.source.facts_now(position).await?)));
        }
        Ok(self.source.owns_all_of(&stand.config).then(|| Item::Deleted(sequence - position - 1)))
    }

    /// A message as an event, if it is of our subjects.
    fn event(&mut self, message: jetstream::Message, sequence: u64, published: OffsetDateTime) -> Option<SourceEvent> {
        let given = message.subject.as_str();
        if *self.subject != *given {
            if !self.source.subjects.iter().any(|pattern| subject::matches(pattern, given)) {
                return None;
            }
            self.subject = given.into();
        }
        let seconds = u64::try_from(published.unix_timestamp()).unwrap_or(0);
        Some(SourceEvent {
            sequence,
            time_ms: seconds * 1_000 + u64::from(published.millisecond()),
            subject: Arc::clone(&self.subject),
            headers: headers::lines(message.message.headers.as_ref()),
            payload: own(message.message.payload),
        })
    }
}
