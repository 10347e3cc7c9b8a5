//! Entries as they stand in rows: those that a company has of one commit stand together, since a row costs more than the
//! bytes of an entry. A row stands at the position of its last entry.

use super::super::{StoreError, check};
use bytes::{Buf as _, BufMut as _, Bytes};
use tidegate_core::entry::Entry;
use tidegate_core::event::Company;
use tidegate_core::position::Position;

/// Bytes of entries after which the next row is begun, so that it holds less and one more entry: a page of a replay is never far behind its beginning.
const ROW_BYTES: usize = 32 << 10;

/// One row.
pub(super) struct Row {
    /// The position of its last entry.
    pub(super) at: Position,
    pub(super) e: Bytes,
    /// Whether `e` holds several entries, each behind its position and length.
    pub(super) packed: bool,
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
        return Row { at, e: entry.encode(), packed: false };
    }
    let mut e = Vec::with_capacity(entries.iter().map(|entry| entry.weight() + 16).sum());
    for entry in entries {
        e.put_u64_le(entry.position.packed());
        e.put_u32_le(entry.position.output);
        let entry = entry.encode();
        e.put_u32_le(entry.len() as u32);
        e.put_slice(&entry);
    }
    Row { at, e: e.into(), packed: true }
}

/// The entries of a row, in their order.
pub(super) fn entries(name: &Company, row: Row) -> Result<Vec<Entry>, StoreError> {
    let decode = |at, e: &Bytes| Entry::decode(at, e).map_err(|error| check::unreadable(name, &error));
    let Row { at, mut e, packed } = row;
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
                let at = row.at;
                let entries = entries(&company("a"), row).expect("they can be read");
                assert_eq!(entries.last().map(|entry| entry.position), Some(at));
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
            let cut = Row { at: whole.at, e: whole.e.slice(..end), packed: true };
            let found = entries(&company("a"), cut);
            assert!(found.is_err() || found.is_ok_and(|found| found.len() < 2), "cut at {end}");
        }
    }
}
