//! What is read. Each call sees one moment.

use super::super::{CompanyState, PAGE_BYTES, StoreError, TimeMark, check, pack, text};
use super::database::{event, position};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::sync::Arc;
use tidegate_core::commit::{CompanyHead, Head, Page, Waiting};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::gap::Floor;
use tidegate_core::lease::Lease;
use tidegate_core::position::{Position, Token};

/// A company as its row has it.
pub(super) struct CompanyRow {
    /// What the other tables call it.
    pub(super) id: i64,
    pub(super) head: CompanyHead,
    /// The newest input that ever waited, as text; empty before the first.
    pub(super) waiting_top: String,
}

const COMPANY: &str = "SELECT id, running, top, entries, bytes, waiting, waiting_bytes, waiting_from, floor, \
                       waiting_top, name FROM companies";

/// Numbers are stored bit by bit.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn company_row(row: &Row<'_>) -> Result<CompanyRow, StoreError> {
    let top: String = row.get(2)?;
    let head = CompanyHead {
        running: unsigned(row, 1)?,
        top: if top.is_empty() { Position::default() } else { text::parse_position(&top)? },
        entries: unsigned(row, 3)?,
        bytes: unsigned(row, 4)?,
        waiting: unsigned(row, 5)?,
        waiting_bytes: unsigned(row, 6)?,
        waiting_from: text::parse_place(&row.get::<_, String>(7)?)?,
        floor: text::parse_floor(&row.get::<_, String>(8)?)?,
    };
    Ok(CompanyRow { id: row.get(0)?, head, waiting_top: row.get(9)? })
}

pub(super) fn company(base: &Connection, company: &Company) -> Result<Option<CompanyRow>, StoreError> {
    let mut select = base.prepare_cached(&format!("{COMPANY} WHERE name = ?1"))?;
    let mut rows = select.query([company.as_str()])?;
    rows.next()?.map(company_row).transpose()
}

pub(super) fn companies(base: &Connection) -> Result<Vec<(Company, CompanyHead)>, StoreError> {
    let mut select = base.prepare_cached(&format!("{COMPANY} ORDER BY name"))?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((check::company(&row.get::<_, String>(10)?)?, company_row(row)?.head));
    }
    Ok(found)
}

/// The head with the places of companies whose inputs wait.
pub(super) fn whole_head(base: &Connection) -> Result<Head, StoreError> {
    let mut select = base.prepare_cached("SELECT name, waiting_from FROM companies WHERE waiting_from != ''")?;
    let mut rows = select.query([])?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        let company = check::company(&row.get::<_, String>(0)?)?;
        waiting.extend(text::parse_place(&row.get::<_, String>(1)?)?.map(|place| (company, place)));
    }
    Ok(Head { waiting, ..head(base)? })
}

/// The head alone: what commits and pages look at.
pub(super) fn head(base: &Connection) -> Result<Head, StoreError> {
    let mut select = base.prepare_cached("SELECT number, facts FROM generations ORDER BY number")?;
    let mut rows = select.query([])?;
    let mut generations = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        generations.push(text::parse_generation(&number.to_string(), &row.get::<_, String>(1)?)?);
    }
    let mut select =
        base.prepare_cached("SELECT store, token, number, checkpoint, floor, chains, rebuild FROM head")?;
    let mut rows = select.query([])?;
    let row = rows.next()?.ok_or_else(|| StoreError::Corrupt("it has no head".to_owned()))?;
    let column = |index| row.get::<_, String>(index);
    let last = match column(1)? {
        token if token.is_empty() => text::parse_name("", "")?,
        token => text::parse_name(&token, &unsigned(row, 2)?.to_string())?,
    };
    Ok(Head {
        store: text::parse_store_id(&column(0)?)?,
        last,
        checkpoint: text::parse_place(&column(3)?)?,
        generations,
        floor: text::parse_floor(&column(4)?)?,
        chains: text::parse_chains(&column(5)?)?,
        waiting: Vec::new(),
        rebuild: text::parse_rebuild(&column(6)?)?,
    })
}

pub(super) fn lease(base: &Connection) -> Result<Lease, StoreError> {
    let mut select = base.prepare_cached("SELECT epoch, token, holder, until_ms FROM lease")?;
    let mut rows = select.query([])?;
    let Some(row) = rows.next()? else { return Ok(Lease::default()) };
    let token: String = row.get(1)?;
    let token = Token::parse(&token).ok_or_else(|| StoreError::Corrupt(format!("the lease's token {token:?}")))?;
    Ok(Lease { epoch: unsigned(row, 0)?, token, holder: row.get(2)?, until_ms: unsigned(row, 3)? })
}

pub(super) fn state(base: &Connection, name: &Company) -> Result<CompanyState, StoreError> {
    let mut state = CompanyState::new();
    let Some(company) = company(base, name)? else { return Ok(state) };
    let mut select = base.prepare_cached("SELECT filter, key, value FROM state WHERE company = ?1")?;
    let mut rows = select.query([company.id])?;
    while let Some(row) = rows.next()? {
        let (filter, key): (Arc<str>, Arc<str>) = (row.get(0)?, row.get(1)?);
        state.entry(filter).or_default().insert(key, row.get::<_, Vec<u8>>(2)?.into());
    }
    Ok(state)
}

pub(super) fn waiting(
    base: &Connection,
    name: &Company,
    inputs: usize,
    bytes: usize,
) -> Result<Vec<Waiting>, StoreError> {
    let mut found = Vec::new();
    let Some(company) = company(base, name)? else { return Ok(found) };
    let mut select = base.prepare_cached("SELECT e FROM waiting WHERE company = ?1 ORDER BY event, output LIMIT ?2")?;
    let mut rows = select.query(params![company.id, limit(inputs)])?;
    let mut weight = 0;
    while (found.is_empty() || weight < bytes)
        && let Some(row) = rows.next()?
    {
        let blob = Bytes::from(row.get::<_, Vec<u8>>(0)?);
        weight += blob.len();
        found.push(Waiting::decode(name, &blob).map_err(|error| check::unreadable(name, &error))?);
    }
    Ok(found)
}

pub(super) fn page(base: &Connection, name: &Company, above: Position, entries_max: usize) -> Result<Page, StoreError> {
    let head = head(base)?;
    let company = company(base, name)?;
    let mut page = Page {
        entries: Vec::new(),
        full: false,
        floor: Floor::higher(company.as_ref().and_then(|row| row.head.floor), head.floor),
        place: company.as_ref().and_then(|row| row.head.waiting_from).or(head.checkpoint),
        last: head.last,
        store: head.store,
        generation: head.generation().map_or(0, |generation| generation.number),
        running: company.as_ref().map_or(0, |row| row.head.running),
        rebuild: head.rebuild,
    };
    let Some(company) = company else { return Ok(page) };
    let mut select = base.prepare_cached(
        "SELECT event, output, e, packed FROM entries WHERE company = ?1 AND (event, output) > (?2, ?3) \
         ORDER BY event, output LIMIT ?4",
    )?;
    let mut rows = select.query(params![company.id, event(above), above.output, limit(entries_max)])?;
    let (mut read, mut weight) = (0, 0);
    while !page.full
        && let Some(row) = rows.next()?
    {
        let of_row = entries(name, row)?;
        read += of_row.len();
        weight += of_row.iter().map(Entry::weight).sum::<usize>();
        // The first row may begin below.
        page.entries.extend(of_row.into_iter().filter(|entry| entry.position > above));
        page.full = read >= entries_max || weight >= PAGE_BYTES;
    }
    Ok(page)
}

/// What stands in a row of event, output, `e` and `packed`.
pub(super) fn entries(name: &Company, row: &Row<'_>) -> Result<Vec<Entry>, StoreError> {
    let at = position(row.get(0)?, row.get(1)?);
    pack::entries(name, at, row.get::<_, Vec<u8>>(2)?.into(), row.get(3)?)
}

pub(super) fn entry(base: &Connection, name: &Company, at: Position) -> Result<Option<Entry>, StoreError> {
    let mut select = base.prepare_cached(
        "SELECT event, output, e, packed FROM entries JOIN companies ON companies.id = entries.company \
         WHERE name = ?1 AND (event, output) >= (?2, ?3) ORDER BY event, output LIMIT 1",
    )?;
    let mut rows = select.query(params![name.as_str(), event(at), at.output])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(entries(name, row)?.into_iter().find(|entry| entry.position == at))
}

fn mark(base: &Connection, sql: &str, argument: i64) -> Result<Option<TimeMark>, StoreError> {
    let row = |row: &Row<'_>| {
        let at = position(row.get(0)?, 0);
        Ok(TimeMark { minute: unsigned(row, 1)?, generation: at.generation, sequence: at.sequence })
    };
    Ok(base.prepare_cached(sql)?.query_row([argument], row).optional()?)
}

pub(super) fn newest_mark(base: &Connection) -> Result<Option<TimeMark>, StoreError> {
    mark(base, "SELECT event, minute FROM times WHERE event <= ?1 ORDER BY event DESC LIMIT 1", i64::MAX)
}

pub(super) fn marks_around(
    base: &Connection,
    generation: u16,
    sequence: u64,
) -> Result<(Option<TimeMark>, Option<TimeMark>), StoreError> {
    let at = event(Position::before(generation, sequence));
    let below = mark(base, "SELECT event, minute FROM times WHERE event < ?1 ORDER BY event DESC LIMIT 1", at)?;
    let above = mark(base, "SELECT event, minute FROM times WHERE event >= ?1 ORDER BY event LIMIT 1", at)?;
    let same = |mark: &TimeMark| mark.generation == generation;
    Ok((below.filter(same), above.filter(same)))
}

pub(super) fn mark_before(base: &Connection, time_ms: u64) -> Result<Option<TimeMark>, StoreError> {
    let sql = "SELECT event, minute FROM times WHERE minute < ?1 ORDER BY minute DESC, event DESC LIMIT 1";
    mark(base, sql, (time_ms / 60_000).cast_signed())
}

pub(super) fn outbox(base: &Connection, letters: usize) -> Result<Vec<(u64, DeadLetter)>, StoreError> {
    let mut select = base.prepare_cached("SELECT id, e FROM outbox ORDER BY id LIMIT ?1")?;
    let mut rows = select.query([limit(letters)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let letter = DeadLetter::decode(&row.get::<_, Vec<u8>>(1)?.into());
        found.push((unsigned(row, 0)?, letter.map_err(|error| StoreError::Corrupt(error.to_string()))?));
    }
    Ok(found)
}

pub(super) fn outbox_dropped(base: &Connection) -> Result<u64, StoreError> {
    Ok(base.query_row("SELECT dropped FROM head", [], |row| unsigned(row, 0))?)
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
