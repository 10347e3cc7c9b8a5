//! What hosts tell one another over pub/sub: fields, each after its length, written by `commit.lua` in the commit itself.

use super::RedisStore;
use super::link::failure;
use crate::store::{Announcement, News, StoreError, check, pack, text};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tidegate_core::commit::{Commit, Counts, Part};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

const RELEASED: &str = "released";

impl RedisStore {
    /// Hands on what is told on the partition's channel, until the receiver is gone or the connection is.
    pub(super) async fn hear(&self, to: mpsc::Sender<News>) -> Result<(), StoreError> {
        let mut told = self.link.subscribe(&self.keys.news).await?.into_on_message();
        if to.send(News::Listening).await.is_err() {
            return Ok(());
        }
        loop {
            let message = tokio::select! {
                message = told.next() => message,
                () = to.closed() => return Ok(()),
            };
            let Some(message) = message else {
                return Err(StoreError::Away("the connection that brings announcements has ended".to_owned()));
            };
            let bytes: Vec<u8> = message.get_payload().map_err(|error| failure(&error))?;
            let news = match read(bytes.into()) {
                Ok(Some(news)) => news,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(error = %error, "an announcement can't be read; the store is read instead");
                    continue;
                }
            };
            // The client library holds what is not taken, without a bound, so this never waits: what finds no room is a
            // hole, which is noticed and filled.
            match to.try_send(news) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    tracing::debug!("an announcement found no room; the store is read instead")
                }
                Err(TrySendError::Closed(_)) => return Ok(()),
            }
        }
    }
}

/// The message that the lease was given back.
pub(super) fn released() -> Bytes {
    [&(RELEASED.len() as u32).to_le_bytes()[..], RELEASED.as_bytes()].concat().into()
}

/// Nothing for a kind of message that this version does not know.
fn read(message: Bytes) -> Result<Option<News>, StoreError> {
    let mut fields = Fields(message);
    Ok(match fields.text()?.as_str() {
        RELEASED => Some(News::Released),
        "commit" => Some(News::Commit(Box::new(announcement(fields)?))),
        _ => None,
    })
}

/// In the order in which `commit.lua` tells them.
fn announcement(mut fields: Fields) -> Result<Announcement, StoreError> {
    let store = text::parse_store_id(&fields.text()?)?;
    let name = text::parse_name(&fields.text()?, &fields.text()?)?;
    let follows = text::parse_name(&fields.text()?, &fields.text()?)?;
    let generation = text::parse_generation(&fields.text()?, &fields.text()?)?;
    let checkpoint = text::parse_place(&fields.text()?)?;
    let floor = text::parse_floor(&fields.text()?)?;
    let (mut parts, mut places) = (Vec::<Part>::new(), Vec::new());
    while !fields.0.is_empty() {
        let (kind, company) = (fields.text()?, check::company(&fields.text()?)?);
        match kind.as_str() {
            "row" => {
                let (at, count) = (text::parse_position(&fields.text()?)?, fields.text()?);
                let outputs = pack::entries(&company, at, fields.bytes()?, count != "1")?;
                match parts.last_mut() {
                    Some(part) if part.company == company => part.outputs.extend(outputs),
                    _ => parts.push(Part { outputs, ..Part::new(company) }),
                }
            }
            "place" => places.push((company, text::parse_place(&fields.text()?)?)),
            other => return Err(StoreError::Corrupt(format!("an announcement tells {other:?} of {company}"))),
        }
    }
    let commit = Commit {
        name,
        follows,
        generation,
        checkpoint,
        floor,
        parts,
        time_ms_max: 0,
        dead: Vec::new(),
        chains: None,
        // Only a store's first commit says it, and everybody reads after that one.
        rebuild: None,
        dead_before: Vec::new(),
        record: None,
        counts: Counts::default(),
        drops: Vec::new(),
    };
    Ok(Announcement { store, commit, places })
}

fn too_short() -> StoreError {
    StoreError::Corrupt("an announcement ends too early".to_owned())
}

/// The fields of a message, taken off the front.
struct Fields(Bytes);

impl Fields {
    fn bytes(&mut self) -> Result<Bytes, StoreError> {
        let field = self.take(size_of::<u32>()).and_then(|length| {
            let length = u32::from_le_bytes(length[..].try_into().ok()?);
            self.take(length as usize)
        });
        field.ok_or_else(too_short)
    }

    fn take(&mut self, bytes: usize) -> Option<Bytes> {
        (bytes <= self.0.len()).then(|| self.0.split_to(bytes))
    }

    fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?.into()).map_err(|error| StoreError::Corrupt(format!("a text: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_anywhere_is_an_error_and_no_panic() {
        let whole = released();
        assert!(matches!(read(whole.clone()), Ok(Some(News::Released))));
        for length in 0..whole.len() {
            assert!(read(whole.slice(..length)).is_err());
        }
        let unknown = Bytes::from_static(b"\x05\0\0\0other and more");
        assert!(matches!(read(unknown), Ok(None)));
        assert!(read(Bytes::from_static(b"\xff\xff\xff\xffx")).is_err());
    }
}
