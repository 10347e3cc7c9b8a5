//! Reading the log in order: pages of whole, synced records.

use super::super::{Item, SourceError};
use super::log::Shared;
use super::record::Decoded;
use super::segment::{Segment, Window};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Events in one page.
const PAGE_EVENTS: usize = 512;
/// Payload bytes in one page, or one event.
const PAGE_BYTES: usize = 1 << 20;

/// Where a reader stands.
#[derive(Debug)]
pub(super) struct Cursor {
    next: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    segment: Arc<Segment>,
    offset: u64,
}

impl Cursor {
    /// Before the first event above this sequence.
    pub(super) fn after(sequence: u64) -> Self {
        Self { next: sequence + 1, open: None }
    }

    /// The sequence it reads next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }
}

/// The next events up to `last`, at least one; blocks on the disk.
pub(super) fn page(shared: &Shared, cursor: &mut Cursor, last: u64) -> Result<Vec<Item>, SourceError> {
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut window = Window::for_records((last + 1).saturating_sub(cursor.next));
    while cursor.next <= last && items.len() < PAGE_EVENTS && bytes < PAGE_BYTES {
        let open = match &mut cursor.open {
            Some(open) => open,
            None => cursor.open.insert(open_at(shared, cursor.next)?),
        };
        match window.decode_at(&open.file, open.offset).map_err(|error| unreadable(&open.segment, &error))? {
            Some(Decoded::Record(record)) => {
                open.segment.remember(record.event.sequence, open.offset);
                open.offset += record.length as u64;
                if record.event.sequence >= cursor.next {
                    cursor.next = record.event.sequence + 1;
                    bytes += record.event.weight();
                    items.push(Item::Event(record.event));
                }
            }
            // The end of a file, or damage in it: the next file says where the log goes on.
            None | Some(Decoded::Short(_) | Decoded::Broken) => {
                let Some(following) = shared.segment_after(open.segment.first_sequence) else {
                    return Err(SourceError::Away(format!(
                        "the log is damaged in {} before event {}",
                        open.segment.path.display(),
                        cursor.next
                    )));
                };
                if following.first_sequence > cursor.next {
                    let count = following.first_sequence - cursor.next;
                    tracing::error!(file = %open.segment.path.display(), first = cursor.next, count, "events lost, the log is damaged");
                    items.push(Item::Lost(Some(count)));
                    cursor.next = following.first_sequence;
                }
                cursor.open = None;
                window.clear();
            }
        }
    }
    Ok(items)
}

fn open_at(shared: &Shared, sequence: u64) -> Result<Open, SourceError> {
    let Some(segment) = shared.segment_of(sequence) else {
        return Err(SourceError::Away(format!("event {sequence} is gone from the log: its retention has passed it")));
    };
    let file = File::open(&segment.path).map_err(|error| unreadable(&segment, &error))?;
    Ok(Open { offset: segment.offset_before(sequence), file, segment })
}

fn unreadable(segment: &Segment, error: &io::Error) -> SourceError {
    SourceError::Away(format!("{}: {error}", segment.path.display()))
}
