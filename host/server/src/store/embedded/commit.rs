//! One commit, all of it in one transaction.

use super::super::{StoreError, check, pack, text};
use super::database::event;
use super::read::{self, CompanyRow};
use super::records;
use rusqlite::{Connection, OptionalExtension as _, params};
use tidegate_core::commit::{Commit, CommitAnswer, CompanyHead, Decision, Part, decide};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::gap::Floor;
use tidegate_core::limits;
use tidegate_core::position::{Place, Position};

pub(super) fn apply(base: &Connection, commit: &Commit, now_ms: u64) -> Result<CommitAnswer, StoreError> {
    check::ascending(commit)?;
    let head = read::head(base)?;
    let lease = read::lease(base)?;
    match decide(lease.token, head.last, commit.name, commit.follows) {
        Decision::NotOwner => return Ok(CommitAnswer::NotOwner),
        Decision::Refuse => return Ok(refused(commit, "follows")),
        Decision::Repeat => return Ok(CommitAnswer::Stored(places(base, commit)?)),
        Decision::Apply => {}
    }
    if head.generation().is_some_and(|stored| stored.number > commit.generation.number) {
        return Ok(refused(commit, "generation"));
    }
    let mut rows = Vec::with_capacity(commit.parts.len());
    for part in &commit.parts {
        let row = read::company(base, &part.company)?;
        if let Some(row) = &row {
            let first = part.outputs.first().map(|entry| entry.position);
            if row.head.top != Position::default() && first.is_some_and(|first| first <= row.head.top) {
                return Ok(refused(commit, "top"));
            }
            let first = part.backlog_add.first().map(|waiting| text::position(check::waits_at(waiting)));
            if first.is_some_and(|first| first <= row.waiting_top) {
                return Ok(refused(commit, "backlog top"));
            }
        }
        rows.push(row);
    }
    for (part, row) in commit.parts.iter().zip(rows) {
        let row = row.map_or_else(|| make_company(base, &part.company), Ok)?;
        write_part(base, part, row)?;
    }
    write_letters(base, &commit.dead)?;
    write_head(base, commit, head.floor)?;
    if let Some(record) = &commit.record {
        records::write(base, commit, record, now_ms)?;
    }
    Ok(CommitAnswer::Stored(places(base, commit)?))
}

fn refused(commit: &Commit, why: &'static str) -> CommitAnswer {
    tracing::warn!(commit = ?commit.name, why, "the store refused a commit");
    CommitAnswer::Refused
}

fn places(base: &Connection, commit: &Commit) -> Result<Vec<(Company, Option<Place>)>, StoreError> {
    let touched = commit.parts.iter().filter(|part| !part.backlog_add.is_empty() || part.backlog_done.is_some());
    touched
        .map(|part| {
            let row = read::company(base, &part.company)?;
            Ok((part.company.clone(), row.and_then(|row| row.head.waiting_from)))
        })
        .collect()
}

fn make_company(base: &Connection, company: &Company) -> Result<CompanyRow, StoreError> {
    base.prepare_cached("INSERT INTO companies (name) VALUES (?1)")?.execute([company.as_str()])?;
    let id = base.last_insert_rowid();
    Ok(CompanyRow { id, head: CompanyHead::default(), waiting_top: String::new() })
}

fn write_part(base: &Connection, part: &Part, row: CompanyRow) -> Result<(), StoreError> {
    let CompanyRow { id, mut head, mut waiting_top } = row;
    write_entries(base, id, &part.outputs)?;
    if let Some(last) = part.outputs.last() {
        (head.running, head.top) = (last.running, last.position);
    }
    head.entries += part.outputs.len() as u64;
    head.bytes += part.outputs.iter().map(|entry| entry.weight() as u64).sum::<u64>();
    let mut insert =
        base.prepare_cached("INSERT INTO waiting (company, event, output, previous, e) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for waiting in &part.backlog_add {
        let (blob, at) = (waiting.encode(), check::waits_at(waiting));
        insert.execute(params![id, event(at), at.output, text::place(waiting.previous), &blob[..]])?;
        waiting_top = text::position(at);
        head.waiting += 1;
        head.waiting_bytes += blob.len() as u64;
        head.waiting_from.get_or_insert(waiting.previous);
    }
    if let Some(done) = part.backlog_done {
        take_out(base, id, done, &mut head)?;
    }
    for write in check::last_writes(part) {
        let (filter, key) = (&*write.filter, &*write.key);
        match &write.value {
            Some(value) => base
                .prepare_cached(
                    "INSERT INTO state (company, filter, key, value) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (company, filter, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![id, filter, key, &value[..]])?,
            None => base
                .prepare_cached("DELETE FROM state WHERE company = ?1 AND filter = ?2 AND key = ?3")?
                .execute(params![id, filter, key])?,
        };
    }
    write_company(base, id, &head)?;
    base.prepare_cached("UPDATE companies SET waiting_top = ?2 WHERE id = ?1")?.execute(params![id, waiting_top])?;
    Ok(())
}

/// Writes rows of entries that a company has none of yet.
pub(super) fn write_entries(base: &Connection, company: i64, entries: &[Entry]) -> rusqlite::Result<()> {
    let mut insert =
        base.prepare_cached("INSERT INTO entries (company, event, output, e, packed) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for row in pack::rows(entries) {
        insert.execute(params![company, event(row.at), row.at.output, &row.e[..], row.is_packed()])?;
    }
    Ok(())
}

/// Removes waiting inputs up to and including `done`.
fn take_out(base: &Connection, id: i64, done: Position, head: &mut CompanyHead) -> Result<(), StoreError> {
    let (count, bytes): (i64, i64) = base
        .prepare_cached(
            "SELECT count(*), coalesce(sum(length(e)), 0) FROM waiting \
             WHERE company = ?1 AND (event, output) <= (?2, ?3)",
        )?
        .query_row(params![id, event(done), done.output], |row| Ok((row.get(0)?, row.get(1)?)))?;
    base.prepare_cached("DELETE FROM waiting WHERE company = ?1 AND (event, output) <= (?2, ?3)")?.execute(params![
        id,
        event(done),
        done.output
    ])?;
    head.waiting = head.waiting.saturating_sub(count.cast_unsigned());
    head.waiting_bytes = head.waiting_bytes.saturating_sub(bytes.cast_unsigned());
    let oldest: Option<String> = base
        .prepare_cached("SELECT previous FROM waiting WHERE company = ?1 ORDER BY event, output LIMIT 1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    head.waiting_from = text::parse_place(oldest.as_deref().unwrap_or_default())?;
    Ok(())
}

pub(super) fn write_company(base: &Connection, id: i64, head: &CompanyHead) -> Result<(), StoreError> {
    let top = if head.top == Position::default() { String::new() } else { text::position(head.top) };
    base.prepare_cached(
        "UPDATE companies SET running = ?2, top = ?3, entries = ?4, bytes = ?5, waiting = ?6, waiting_bytes = ?7, \
         waiting_from = ?8, floor = ?9 WHERE id = ?1",
    )?
    .execute(params![
        id,
        head.running.cast_signed(),
        top,
        head.entries.cast_signed(),
        head.bytes.cast_signed(),
        head.waiting.cast_signed(),
        head.waiting_bytes.cast_signed(),
        head.waiting_from.map(text::place).unwrap_or_default(),
        head.floor.as_ref().map(text::floor).unwrap_or_default(),
    ])?;
    Ok(())
}

fn write_letters(base: &Connection, letters: &[DeadLetter]) -> Result<(), StoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut insert = base.prepare_cached("INSERT INTO outbox (e) VALUES (?1)")?;
    for letter in letters {
        insert.execute([&letter.encode()[..]])?;
    }
    // A full outbox drops its oldest. Whatever the newest one weighs, it stays.
    let first_kept: Option<i64> = base
        .prepare_cached(
            "SELECT min(id) FROM (SELECT id, row_number() OVER newest AS letters, sum(length(e)) OVER newest AS bytes \
             FROM outbox WINDOW newest AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)) \
             WHERE letters <= ?1 AND (bytes <= ?2 OR letters = 1)",
        )?
        .query_row(params![limits::OUTBOX_ENTRIES as i64, limits::OUTBOX_BYTES as i64], |row| row.get(0))?;
    let dropped = base.prepare_cached("DELETE FROM outbox WHERE id < ?1")?.execute([first_kept])?;
    if dropped > 0 {
        base.execute("UPDATE head SET dropped = dropped + ?1", [dropped as i64])?;
    }
    Ok(())
}

fn write_head(base: &Connection, commit: &Commit, floor: Option<Floor>) -> Result<(), StoreError> {
    let number = i64::from(commit.generation.number);
    base.prepare_cached("INSERT OR REPLACE INTO generations (number, facts) VALUES (?1, ?2)")?
        .execute(params![number, text::generation(&commit.generation)])?;
    base.prepare_cached(
        "DELETE FROM generations WHERE number NOT IN (SELECT number FROM generations ORDER BY number DESC LIMIT ?1)",
    )?
    .execute([limits::GENERATIONS as i64])?;
    if let Some(checkpoint) = commit.checkpoint {
        write_mark(base, checkpoint, commit.time_ms_max)?;
        base.prepare_cached("UPDATE head SET checkpoint = ?1")?.execute([text::place(checkpoint)])?;
    }
    if commit.floor.is_some() {
        let floor = Floor::higher(floor, commit.floor).as_ref().map(text::floor);
        base.prepare_cached("UPDATE head SET floor = ?1")?.execute([floor.unwrap_or_default()])?;
    }
    if let Some(rebuild) = &commit.rebuild {
        base.prepare_cached("UPDATE head SET rebuild = ?1")?.execute([text::rebuild(rebuild)])?;
    }
    if let Some(chains) = &commit.chains {
        base.prepare_cached("UPDATE head SET chains = ?1")?.execute([text::chains(chains)])?;
    }
    base.prepare_cached("UPDATE head SET token = ?1, number = ?2, generation = ?3")?.execute(params![
        commit.name.token.to_text(),
        commit.name.number.cast_signed(),
        number
    ])?;
    Ok(())
}

/// The newest mark of a minute of a generation moves on, the others stay.
fn write_mark(base: &Connection, checkpoint: Place, time_ms_max: u64) -> Result<(), StoreError> {
    let at = Position::before(checkpoint.generation, checkpoint.sequence);
    let mut minute = time_ms_max / 60_000;
    if let Some(newest) = read::newest_mark(base)? {
        let mark = Position::before(newest.generation, newest.sequence);
        if mark == at {
            return Ok(());
        }
        minute = minute.max(newest.minute);
        if newest.minute == minute && newest.generation == at.generation {
            base.prepare_cached("DELETE FROM times WHERE event = ?1")?.execute([event(mark)])?;
        }
    }
    base.prepare_cached("INSERT OR REPLACE INTO times (event, minute) VALUES (?1, ?2)")?
        .execute(params![event(at), minute.cast_signed()])?;
    Ok(())
}
