//! The dead letters without JetStream: a log of their own, whose letters can be listed.

use super::super::letter::{Retried, StoredLetter};
use super::super::letter_ids::{self, LetterIds};
use super::super::{Item, SourceError};
use super::log::{Log, LogOptions};
use super::reader::Cursor;
use super::writer::Line;
use crate::clock::Clock;
use crate::source::headers::escape_subject;
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use tidegate_core::entry::DeadLetter;
use tokio::sync::Mutex;

/// How long they are kept: long enough to look after a holiday.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Ids by which a repeat is recognised: many times what an outbox holds.
const IDS_MAX: usize = 100_000;

/// The log of dead letters.
#[derive(Debug)]
pub struct DeadLog {
    log: Log,
    ids: Mutex<Ids>,
}

/// Digests of the latest ids.
#[derive(Debug, Default)]
struct Ids {
    known: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Ids {
    fn add(&mut self, id: [u8; 16]) {
        if self.known.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl DeadLog {
    /// Opens it in this folder, and reads the latest ids.
    ///
    /// # Errors
    /// As [`Log::open`], and where what is there can't be read.
    pub async fn open(folder: PathBuf, clock: Clock) -> Result<Self, SourceError> {
        let options = LogOptions { name: "dead-letters", ..LogOptions::new(folder, KEPT) };
        let opened = tokio::task::spawn_blocking(move || Log::open(&options, clock)).await;
        let log = opened.map_err(|error| SourceError::Away(format!("opening the dead letters: {error}")))??;
        let mut ids = Ids::default();
        let tail = log.tail();
        let after = (tail.first_sequence - 1).max(tail.last_sequence.saturating_sub(IDS_MAX as u64));
        let mut cursor = Cursor::after(after);
        while cursor.next() <= tail.last_sequence {
            for (_, _, letter) in letters(log.page(&mut cursor, tail.last_sequence).await?) {
                ids.add(digest(&letter));
            }
        }
        Ok(Self { log, ids: Mutex::new(ids) })
    }

    /// Keeps a letter; returns once it is synced. One that is kept already is not kept twice.
    ///
    /// # Errors
    /// [`SourceError::Full`] where the disk is, [`SourceError::Away`] where it can't be written.
    pub async fn append(&self, letter: &DeadLetter) -> Result<(), SourceError> {
        let id = digest(letter);
        if self.ids.lock().await.known.contains(&id) {
            return Ok(());
        }
        let subject = format!("tidegate.dlq.{}", escape_subject(letter.source.subject.as_bytes()));
        self.log.append(vec![Line { subject, headers: Bytes::new(), payload: letter.encode() }]).await?;
        self.ids.lock().await.add(id);
        Ok(())
    }

    /// The ids of all kept letters.
    ///
    /// # Errors
    /// [`SourceError::Away`] where the log can't be read.
    pub async fn ids(&self) -> Result<LetterIds, SourceError> {
        let (mut ids, tail) = (LetterIds::default(), self.log.tail());
        let newest = tail.last_sequence.saturating_sub(letter_ids::IDS_MAX as u64);
        let mut cursor = Cursor::after((tail.first_sequence - 1).max(newest));
        while cursor.next() <= tail.last_sequence {
            for (_, _, letter) in letters(self.log.page(&mut cursor, tail.last_sequence).await?) {
                ids.add(&letter.id());
            }
        }
        Ok(ids)
    }

    /// The first and the last place.
    #[must_use]
    pub fn places(&self) -> (u64, u64) {
        let tail = self.log.tail();
        (tail.first_sequence, tail.last_sequence)
    }

    /// Which letters were retried, as noted above this place, oldest retry first.
    ///
    /// # Errors
    /// [`SourceError::Away`] where the log can't be read.
    pub async fn retried(&self, after: u64) -> Result<Vec<Retried>, SourceError> {
        let (mut all, tail) = (Vec::new(), self.log.tail());
        let mut cursor = Cursor::after(after.max(tail.first_sequence - 1));
        while cursor.next() <= tail.last_sequence {
            let page = letters(self.log.page(&mut cursor, tail.last_sequence).await?);
            all.extend(page.filter_map(|(place, at, letter)| Retried::of(&StoredLetter::whole(place, at, letter))));
        }
        Ok(all)
    }

    /// The letters above this place, oldest first.
    ///
    /// # Errors
    /// [`SourceError::Away`] where the log can't be read.
    pub async fn list(&self, after: u64, limit: usize) -> Result<Vec<StoredLetter>, SourceError> {
        let tail = self.log.tail();
        let mut cursor = Cursor::after(after.max(tail.first_sequence - 1));
        let mut listed = Vec::new();
        while listed.len() < limit && cursor.next() <= tail.last_sequence {
            let page = letters(self.log.page(&mut cursor, tail.last_sequence).await?);
            listed.extend(page.map(|(place, time_ms, letter)| StoredLetter::whole(place, time_ms, letter)));
        }
        listed.truncate(limit);
        Ok(listed)
    }
}

/// The letters in a page, with place and time; what can't be read as one is passed, with a warning.
fn letters(page: Vec<Item>) -> impl Iterator<Item = (u64, u64, DeadLetter)> {
    page.into_iter().filter_map(|item| {
        let Item::Event(event) = item else { return None };
        match DeadLetter::decode(&event.payload) {
            Ok(letter) => Some((event.sequence, event.time_ms, letter)),
            Err(error) => {
                tracing::warn!(place = event.sequence, %error, "a kept dead letter can't be read");
                None
            }
        }
    })
}

fn digest(letter: &DeadLetter) -> [u8; 16] {
    let whole = *blake3::hash(letter.id().as_bytes()).as_bytes();
    std::array::from_fn(|at| whole[at])
}
