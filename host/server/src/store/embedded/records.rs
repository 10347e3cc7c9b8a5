//! What each commit decided, kept within its bounds.

use super::super::{StoreError, TRIM_ENTRIES};
use super::database::event;
use bytes::Bytes;
use rusqlite::{Connection, Row, params};
use tidegate_core::commit::Commit;
use tidegate_core::limits::{RECORD_BYTES, RECORDS, RECORDS_REMOVED};
use tidegate_core::position::Position;
use tidegate_core::record::{Record, Recorded};

/// Writes a commit's record; the oldest go where there are too many.
pub(super) fn write(base: &Connection, commit: &Commit, record: &Bytes, now_ms: u64) -> Result<(), StoreError> {
    let read = Record::decode(record).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    base.prepare_cached("INSERT OR REPLACE INTO records (number, upto, at_ms, e) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![commit.name.number.cast_signed(), event(read.upto), now_ms.cast_signed(), &record[..]])?;
    let (mut kept, mut bytes): (i64, i64) = base
        .prepare_cached("SELECT records, record_bytes FROM head")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    (kept, bytes) = (kept + 1, bytes + record.len() as i64);
    let over = |kept: i64, bytes: i64| kept > RECORDS.cast_signed() || bytes > RECORD_BYTES.cast_signed();
    if over(kept, bytes) {
        let mut last = 0;
        let mut select = base.prepare_cached("SELECT number, length(e) FROM records ORDER BY number LIMIT ?1")?;
        let mut rows = select.query([RECORDS_REMOVED as i64])?;
        while over(kept, bytes)
            && let Some(row) = rows.next()?
        {
            (kept, bytes, last) = (kept - 1, bytes - row.get::<_, i64>(1)?, row.get::<_, i64>(0)?);
        }
        base.prepare_cached("DELETE FROM records WHERE number <= ?1")?.execute([last])?;
    }
    base.prepare_cached("UPDATE head SET records = ?1, record_bytes = ?2")?.execute([kept, bytes])?;
    Ok(())
}

/// Removes records of before a time, a bounded piece of them.
pub(super) fn trim(base: &Connection, since_ms: u64) -> Result<(), StoreError> {
    let (count, bytes, last): (i64, i64, Option<i64>) = base
        .prepare_cached(
            "SELECT count(*), coalesce(sum(bytes), 0), max(number) FROM \
             (SELECT number, at_ms, length(e) AS bytes FROM records ORDER BY number LIMIT ?1) WHERE at_ms < ?2",
        )?
        .query_row(params![TRIM_ENTRIES as i64, since_ms.cast_signed()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let Some(last) = last else { return Ok(()) };
    base.prepare_cached("DELETE FROM records WHERE number <= ?1 AND at_ms < ?2")?
        .execute(params![last, since_ms.cast_signed()])?;
    base.prepare_cached("UPDATE head SET records = max(records - ?1, 0), record_bytes = max(record_bytes - ?2, 0)")?
        .execute([count, bytes])?;
    Ok(())
}

fn recorded(row: &Row<'_>) -> Result<Recorded, StoreError> {
    let number = row.get::<_, i64>(0)?.cast_unsigned();
    let record = Record::decode(&row.get::<_, Vec<u8>>(2)?.into());
    let record = record.map_err(|error| StoreError::Corrupt(format!("the record of commit {number}: {error}")))?;
    Ok(Recorded { number, at_ms: row.get::<_, i64>(1)?.cast_unsigned(), record })
}

pub(super) fn at(base: &Connection, generation: u16, sequence: u64) -> Result<Option<Recorded>, StoreError> {
    let upto = event(Position::before(generation, sequence));
    let mut select =
        base.prepare_cached("SELECT number, at_ms, e FROM records WHERE upto >= ?1 ORDER BY upto, number LIMIT 1")?;
    let mut rows = select.query([upto])?;
    rows.next()?.map(recorded).transpose()
}

pub(super) fn above(base: &Connection, number: u64, limit: usize) -> Result<Vec<Recorded>, StoreError> {
    let mut select =
        base.prepare_cached("SELECT number, at_ms, e FROM records WHERE number > ?1 ORDER BY number LIMIT ?2")?;
    let mut rows = select.query(params![number.cast_signed(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(recorded(row)?);
    }
    Ok(found)
}
