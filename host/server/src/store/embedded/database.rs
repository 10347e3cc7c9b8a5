//! The database file: how it is opened, what its errors mean, and how numbers stand in it.

use super::super::{StoreError, text};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;
use tidegate_core::position::{Position, StoreId};

/// Version of `schema.sql`, kept in the file.
const VERSION: i64 = 4;
/// Pages a connection keeps in memory, in KiB.
const CACHE_KIB: i64 = 8 << 10;
/// The write-ahead log is cut back to this many bytes when it was longer.
const WAL_BYTES: i64 = 64 << 20;
/// Pages of it after which they are written to where they belong, and the disk is waited for: what commits write again and
/// again goes there once.
const WAL_PAGES: i64 = 4_096;

/// Opens the file for writing; makes it, with a new store id, where there is none.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let base = Connection::open(path).map_err(|error| opening(path, &error))?;
    (|| {
        // Has to be said before the first table is made.
        base.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        base.pragma_update(None, "journal_mode", "WAL")?;
        // A commit survives the end of the process; a power failure may cost the last ones, which are then made again
        // from the source's log.
        base.pragma_update(None, "synchronous", "NORMAL")?;
        base.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        base.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        tune(&base)
    })()
    .map_err(|error| opening(path, &error))?;
    let version: i64 =
        base.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| opening(path, &error))?;
    match version {
        0 => make(&base).map_err(|error| opening(path, &error))?,
        1..VERSION => upgrade(&base, version).map_err(|error| opening(path, &error))?,
        VERSION => {}
        other => {
            return Err(StoreError::Corrupt(format!(
                "{} has version {other}; this host reads version {VERSION}",
                path.display()
            )));
        }
    }
    Ok(base)
}

/// Opens the file for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let base = Connection::open_with_flags(path, flags).map_err(|error| opening(path, &error))?;
    tune(&base).map_err(|error| opening(path, &error))?;
    Ok(base)
}

fn tune(base: &Connection) -> rusqlite::Result<()> {
    base.pragma_update(None, "cache_size", -CACHE_KIB)?;
    base.set_prepared_statement_cache_capacity(64);
    base.busy_timeout(Duration::from_secs(2))
}

fn make(base: &Connection) -> rusqlite::Result<()> {
    base.execute_batch("BEGIN IMMEDIATE")?;
    base.execute_batch(include_str!("schema.sql"))?;
    base.execute("INSERT INTO head (id, store) VALUES (0, ?1)", [text::store_id(StoreId(rand::random()))])?;
    base.pragma_update(None, "user_version", VERSION)?;
    base.execute_batch("COMMIT")
}

/// From version 1, which did not know how its life had begun, 2, which kept no records of what commits decided, or 3, in
/// which each entry had a row.
fn upgrade(base: &Connection, version: i64) -> rusqlite::Result<()> {
    base.execute_batch("BEGIN IMMEDIATE")?;
    if version < 2 {
        base.execute_batch("ALTER TABLE head ADD COLUMN rebuild TEXT NOT NULL DEFAULT ''")?;
    }
    if version < 3 {
        base.execute_batch(
            "ALTER TABLE head ADD COLUMN records INTEGER NOT NULL DEFAULT 0;
             ALTER TABLE head ADD COLUMN record_bytes INTEGER NOT NULL DEFAULT 0;
             CREATE TABLE records (number INTEGER PRIMARY KEY, upto INTEGER NOT NULL, at_ms INTEGER NOT NULL, e BLOB NOT NULL);
             CREATE INDEX records_upto ON records (upto);",
        )?;
    }
    base.execute_batch("ALTER TABLE entries ADD COLUMN packed INTEGER NOT NULL DEFAULT 0")?;
    base.pragma_update(None, "user_version", VERSION)?;
    base.execute_batch("COMMIT")
}

fn opening(path: &Path, error: &rusqlite::Error) -> StoreError {
    match StoreError::from_sqlite(error) {
        StoreError::Away(story) => StoreError::Away(format!("{}: {story}", path.display())),
        StoreError::Full(story) => StoreError::Full(format!("{}: {story}", path.display())),
        StoreError::Corrupt(story) => StoreError::Corrupt(format!(
            "{}: {story}; move the file away to begin an empty replay cache, which is filled again from the source",
            path.display()
        )),
    }
}

impl StoreError {
    /// What an error of SQLite means to us.
    pub(super) fn from_sqlite(error: &rusqlite::Error) -> Self {
        let story = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::Full(story),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation => {
                    Self::Corrupt(story)
                }
                _ => Self::Away(story),
            },
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::QueryReturnedNoRows => Self::Corrupt(story),
            _ => Self::Away(story),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::from_sqlite(&error)
    }
}

/// Generation and sequence as a number that sorts rightly although it is signed.
pub(super) fn event(position: Position) -> i64 {
    (position.packed() ^ (1 << 63)).cast_signed()
}

/// The reverse of [`event`].
pub(super) fn position(event: i64, output: i64) -> Position {
    // Outputs are written from 32 bits.
    Position::unpack(event.cast_unsigned() ^ (1 << 63), output as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_sort_across_the_sign() {
        let places = [Position::new(1, 5, 1), Position::new(0x7fff, 9, 1), Position::new(0x8000, 1, 1)];
        assert!(places.map(event).is_sorted());
        for place in places {
            assert_eq!(position(event(place), 1), place);
        }
    }
}
