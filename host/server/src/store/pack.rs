//! Entries as both stores keep them, in rows: those that a company has of one commit stand together, since a row costs more
//! than the bytes of an entry. A row stands at the position of its last entry.

use super::{StoreError, check};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tidegate_core::entry::Entry;
use tidegate_core::event::Company;
use tidegate_core::position::Position;

/// Bytes of entries after which the next row is begun, so that it holds less and one more entry: a page of a replay is never
/// far behind its beginning.
const ROW_BYTES: usize = 32 << 10;

/// One row.
pub(super) struct Row {
    /// The position of its last entry.
    pub(super) at: Position,
    /// How many entries it holds.
    pub(super) count: usize,
    /// One entry, or several of them: see [`Row::is_packed`].
    pub(super) e: Bytes,
}

impl Row {
    /// Does `e` hold several entries, each behind its position and length? One entry stands there alone.
    pub(super) fn is_packed(&self) -> bool {
        self.count > 1
    }
}

/// Lays entries out in rows.
pub(super) fn rows(entries: &[Entry]) -> Vec<Row> {
    let (mut rows, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (number, entry) in entries.iter().enumerate() {
        bytes += entry.weight();
        if bytes >= ROW_BYTES || number + 1 == entries.len() {
            rows.push(row(entry.position, &entries[from..=number]));
            (from, bytes) = (number + 1, 0);
        }
    }
    rows
}

fn row(at: Position, entries: &[Entry]) -> Row {
    if let [entry] = entries {
        return Row { at, count: 1, e: entry.encode() };
    }
    let mut e = BytesMut::with_capacity(entries.iter().map(|entry| entry.weight() + 16).sum());
    for entry in entries {
        e.put_u64_le(entry.position.packed());
        e.put_u32_le(entry.position.output);
        e.put_u32_le(entry.weight() as u32);
        entry.encode_into(&mut e);
    }
    Row { at, count: entries.len(), e: e.freeze() }
}

/// The entries of a row at this position, in their order.
pub(super) fn entries(name: &Company, at: Position, mut e: Bytes, packed: bool) -> Result<Vec<Entry>, StoreError> {
    let decode = |at, e: &Bytes| Entry::decode(at, e).map_err(|error| check::unreadable(name, &error));
    if !packed {
        return Ok(vec![decode(at, &e)?]);
    }
    let cut = || StoreError::Corrupt(format!("of {name}: entries that are cut off"));
    let mut found = Vec::new();
    while !e.is_empty() {
        if e.len() < 16 {
            return Err(cut());
        }
        let at = Position::unpack(e.get_u64_le(), e.get_u32_le());
        let length = e.get_u32_le() as usize;
        if length > e.len() {
            return Err(cut());
        }
        found.push(decode(at, &e.split_to(length))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::stand::{company, entry};

    #[test]
    fn entries_come_back_from_their_rows_in_order() {
        for count in [0, 1, 2, 500] {
            let all: Vec<Entry> = (1..=count).map(|number| entry(Position::new(3, number, 1), number)).collect();
            let rows = rows(&all);
            assert_eq!(rows.is_empty(), count == 0);
            assert!(rows.iter().all(|row| row.e.len() < 2 * ROW_BYTES));
            let back = rows.into_iter().flat_map(|row| {
                let packed = row.is_packed();
                let entries = entries(&company("a"), row.at, row.e, packed).expect("they can be read");
                assert_eq!(entries.last().map(|entry| entry.position), Some(row.at));
                assert_eq!(entries.len(), row.count);
                entries
            });
            assert_eq!(back.collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let both = [entry(Position::new(1, 1, 1), 1), entry(Position::new(1, 2, 1), 2)];
        let whole = rows(&both).remove(0);
        for end in 1..whole.e.len() {
            let found = entries(&company("a"), whole.at, whole.e.slice(..end), true);
            assert!(found.is_err() || found.is_ok_and(|found| found.len() < 2), "cut at {end}");
        }
    }
}
