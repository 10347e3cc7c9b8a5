//! What is written besides commits: the lease, floors, trimming, the outbox.

use super::super::{Keep, LeaseAnswer, PAGE_BYTES, StoreError, TRIM_ENTRIES};
use super::commit::{write_company, write_entries};
use super::database::event;
use super::read;
use super::records;
use rusqlite::{Connection, params};
use tidegate_core::entry::Entry;
use tidegate_core::event::Company;
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::lease::Lease;
use tidegate_core::position::Token;

/// Free pages of the file that are kept for what comes next; 4 KiB each.
const FREE_PAGES: i64 = 4_096;
/// Pages given back to the file system in one piece.
const FREED_PAGES: i64 = 1_024;

/// Grants the lease: whoever has the folder's lock is alone, so there is nobody to wait for. Epoch and token change as
/// anywhere else.
pub(super) fn acquire(
    base: &Connection,
    host: &str,
    token: Token,
    now_ms: u64,
    lease_ms: u64,
) -> Result<LeaseAnswer, StoreError> {
    change_lease(base, |lease| {
        lease.grant(host, token, now_ms, lease_ms);
        LeaseAnswer::Granted { epoch: lease.epoch }
    })
}

/// Reads, changes and writes the lease.
pub(super) fn change_lease<T>(base: &Connection, change: impl FnOnce(&mut Lease) -> T) -> Result<T, StoreError> {
    let mut lease = read::lease(base)?;
    let answer = change(&mut lease);
    base.prepare_cached(
        "INSERT OR REPLACE INTO lease (id, epoch, token, holder, until_ms) VALUES (0, ?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        lease.epoch.cast_signed(),
        lease.token.to_text(),
        lease.holder,
        lease.until_ms.cast_signed()
    ])?;
    Ok(answer)
}

pub(super) fn trim(base: &Connection, token: Token, name: &Company, keep: Keep) -> Result<bool, StoreError> {
    if read::lease(base)?.token != token {
        return Ok(false);
    }
    // One mark from before stays, as the beginning of what the index knows.
    let first_minute = (keep.since_ms / 60_000).saturating_sub(1);
    base.prepare_cached("DELETE FROM times WHERE minute < ?1")?.execute([first_minute.cast_signed()])?;
    records::trim(base, keep.since_ms)?;
    let Some(mut row) = read::company(base, name)? else { return Ok(false) };
    let mut select =
        base.prepare_cached("SELECT event, output, e, packed FROM entries WHERE company = ?1 ORDER BY event, output")?;
    let mut rows = select.query([row.id])?;
    let (mut removed, mut freed, mut more) = (0_usize, 0_usize, false);
    let mut last: Option<Entry> = None;
    // Of a row in the middle of which the piece ends.
    let mut rest: Vec<Entry> = Vec::new();
    'rows: while let Some(found) = rows.next()? {
        let mut entries = read::entries(name, found)?.into_iter();
        let count = entries.len();
        while let Some(entry) = entries.next() {
            // Only between two events may the piece end.
            if last.as_ref().is_none_or(|last| last.position.event() != entry.position.event()) {
                let goes = entry.time_ms < keep.since_ms
                    || row.head.entries > keep.entries_max
                    || row.head.bytes > keep.bytes_max;
                more = goes && (removed >= TRIM_ENTRIES || freed >= PAGE_BYTES);
                if !goes || more {
                    if entries.len() + 1 < count {
                        rest.extend(std::iter::once(entry).chain(entries));
                    }
                    break 'rows;
                }
            }
            (removed, freed) = (removed + 1, freed + entry.weight());
            row.head.entries = row.head.entries.saturating_sub(1);
            row.head.bytes = row.head.bytes.saturating_sub(entry.weight() as u64);
            last = Some(entry);
        }
    }
    drop(rows);
    let Some(last) = last else { return Ok(false) };
    let floor = Floor {
        position: last.position,
        time_ms: last.time_ms,
        reason: GapReason::Trimmed,
        running: Some(last.running),
    };
    row.head.floor = Floor::higher(row.head.floor, Some(floor));
    write_company(base, row.id, &row.head)?;
    let end = rest.last().unwrap_or(&last).position;
    base.prepare_cached("DELETE FROM entries WHERE company = ?1 AND (event, output) <= (?2, ?3)")?.execute(params![
        row.id,
        event(end),
        end.output
    ])?;
    write_entries(base, row.id, &rest)?;
    give_back(base)?;
    Ok(more)
}

/// Gives space back to the file system in small pieces where much is free.
fn give_back(base: &Connection) -> Result<(), StoreError> {
    let free: i64 = base.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free > FREE_PAGES {
        let mut vacuum = base.prepare(&format!("PRAGMA incremental_vacuum({FREED_PAGES})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

pub(super) fn outbox_done(base: &Connection, token: Token, keys: &[u64]) -> Result<(), StoreError> {
    if read::lease(base)?.token != token {
        return Ok(());
    }
    let mut delete = base.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
    for key in keys {
        delete.execute([key.cast_signed()])?;
    }
    Ok(())
}
