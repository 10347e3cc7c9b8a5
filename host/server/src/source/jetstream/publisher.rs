//! Publishing into a stream: in order, many on their way at a time, each acknowledged.

use super::super::{Publish, Published, SourceError, headers};
use super::JetStream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use std::collections::VecDeque;
use std::error::Error as _;

/// Messages on their way at a time: hides the round trip, and a failure leaves at most so many untold.
const IN_FLIGHT: usize = 256;
/// The stream's store said no: its limit of bytes or messages is reached.
const STORE_FAILED: ErrorCode = ErrorCode(10077);
const STORAGE_EXCEEDED: ErrorCode = ErrorCode(10047);

pub(super) async fn publish(source: &JetStream, messages: &[Publish]) -> Result<Published, (Published, SourceError)> {
    let mut published = Published::default();
    if !source.nats.connected() {
        // The client would keep them and send them later, when the publisher has long been told that it failed.
        return Err((published, SourceError::Away("NATS is not connected".into())));
    }
    let mut waiting: VecDeque<PublishAckFuture> = VecDeque::new();
    for message in messages {
        if waiting.len() == IN_FLIGHT {
            acknowledge(source, waiting.pop_front(), &mut published).await?;
        }
        match send(source, message).await {
            Ok(ack) => waiting.push_back(ack),
            Err(error) => {
                while !waiting.is_empty() {
                    acknowledge(source, waiting.pop_front(), &mut published).await?;
                }
                return Err((published, error));
            }
        }
    }
    while !waiting.is_empty() {
        acknowledge(source, waiting.pop_front(), &mut published).await?;
    }
    Ok(published)
}

async fn send(source: &JetStream, message: &Publish) -> Result<PublishAckFuture, SourceError> {
    let mut headers = headers::map(&message.headers);
    if let Some(id) = &message.id {
        let value = id.parse::<async_nats::HeaderValue>();
        headers.insert(
            "Nats-Msg-Id",
            value.map_err(|error| SourceError::Refused(format!("the message id can't be a header: {error}")))?,
        );
    }
    let (subject, payload) = (message.subject.clone(), message.payload.clone());
    let sent = if headers.is_empty() {
        source.context.publish(subject, payload).await
    } else {
        source.context.publish_with_headers(subject, headers, payload).await
    };
    sent.map_err(|error| failure(&error))
}

async fn acknowledge(
    source: &JetStream,
    ack: Option<PublishAckFuture>,
    published: &mut Published,
) -> Result<(), (Published, SourceError)> {
    let Some(ack) = ack else {
        return Ok(());
    };
    match ack.await {
        // A stream that sources others numbers anew: the sequence of the first stream would name another event.
        Ok(ack) => {
            published.add(Some(ack.sequence).filter(|_| ack.stream == source.stream));
            Ok(())
        }
        Err(error) => Err((*published, failure(&error))),
    }
}

/// Whose fault a failed publish is.
pub(super) fn failure(error: &PublishError) -> SourceError {
    let code = error
        .source()
        .and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>())
        .map(async_nats::jetstream::Error::error_code);
    match (error.kind(), code) {
        (_, Some(STORE_FAILED | STORAGE_EXCEEDED | ErrorCode::INSUFFICIENT_RESOURCES)) => {
            SourceError::Full(error.to_string())
        }
        (PublishErrorKind::MaxPayloadExceeded, _) => {
            SourceError::Refused(format!("larger than the NATS server takes: {error}"))
        }
        _ => SourceError::Away(error.to_string()),
    }
}
