//! Everything but the commit: what is asked of the server, and what its answers mean.

use super::eviction::store_lost;
use super::link::Call;
use super::reply::Fields;
use super::{RedisStore, announcement};
use crate::store::{
    CompanyState, Keep, LeaseAnswer, PAGE_BYTES, StoreError, TRIM_ENTRIES, TimeMark, check, pack, text,
};
use bytes::Bytes;
use redis::cmd;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidegate_core::commit::{CompanyHead, Head, Page, Waiting};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::Company;
use tidegate_core::gap::Floor;
use tidegate_core::position::{Position, StoreId, Token};
use tidegate_core::record::{Record, Recorded};

/// Keys looked through in one call.
const KEYS_PIECE: usize = 1_000;
/// Companies asked for in one call.
const COMPANIES_PIECE: usize = 256;

impl RedisStore {
    pub(super) async fn read_head(&self) -> Result<Head, StoreError> {
        loop {
            let mut fields = self.link.run(&self.link.scripts.head, self.bookkeeping()).await?.fields()?;
            let store = fields.text()?;
            if store.is_empty() {
                self.begin_life().await?;
                continue;
            }
            let (token, number) = (fields.text()?, fields.text()?);
            let (checkpoint, floor, chains) = (fields.text()?, fields.text()?, fields.text()?);
            let rebuild = text::parse_rebuild(&fields.text()?)?;
            let mut generations = Vec::new();
            let mut rows = fields.one()?.fields()?;
            while !rows.is_empty() {
                generations.push(text::parse_generation(&rows.text()?, &rows.text()?)?);
            }
            generations.sort_unstable_by_key(|generation| generation.number);
            let mut waiting = Vec::new();
            let mut rows = fields.one()?.fields()?;
            while !rows.is_empty() {
                let company = check::company(&rows.text()?)?;
                waiting.extend(text::parse_place(&rows.text()?)?.map(|place| (company, place)));
            }
            if !fields.text()?.is_empty() {
                self.give_up(None).await?;
                continue;
            }
            return Ok(Head {
                store: text::parse_store_id(&store)?,
                last: text::parse_name(&token, &number)?,
                checkpoint: text::parse_place(&checkpoint)?,
                generations,
                floor: text::parse_floor(&floor)?,
                chains: text::parse_chains(&chains)?,
                waiting,
                rebuild,
            });
        }
    }

    /// Gives an empty store its id; whoever comes second keeps the first one's. Whatever a lost head left behind belongs to
    /// another life and goes before: the catalogue that would name it may be lost, too. All readers of a host find that out
    /// at once, and one looks through the server's keys.
    async fn begin_life(&self) -> Result<(), StoreError> {
        let _turn = self.beginning.acquire().await;
        if self.link.command(cmd("HEXISTS").arg(&self.keys.head).arg("store")).await?.number::<u8>()? == 1 {
            return Ok(());
        }
        let mut from = "0".to_owned();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&from).arg("MATCH").arg(self.keys.all()).arg("COUNT").arg(KEYS_PIECE);
            let mut fields = self.link.command(&scan).await?.fields()?;
            from = fields.text()?;
            let mut left: Vec<String> = fields.one()?.fields()?.map(|key| key.text()).collect::<Result<_, _>>()?;
            // The lease stays: whoever holds it goes on.
            left.retain(|key| *key != self.keys.lease && *key != self.keys.head);
            if !left.is_empty() {
                let call = left.into_iter().fold(Call::default().key(&self.keys.head), Call::key);
                self.link.run(&self.link.scripts.forget, call).await?;
            }
            if from == "0" {
                break;
            }
        }
        let call = Call::default().key(&self.keys.head).text(text::store_id(StoreId(rand::random())));
        self.link.run(&self.link.scripts.init, call).await.map(|_| ())
    }

    pub(super) async fn take_lease(&self, host: &str, token: Token, lease_ms: u64) -> Result<LeaseAnswer, StoreError> {
        let call = self.lease_call("acquire", token, lease_ms).text(host);
        let mut fields = self.link.run(&self.link.scripts.lease, call).await?.fields()?;
        match fields.text()?.as_str() {
            "granted" => Ok(LeaseAnswer::Granted { epoch: fields.one()?.number()? }),
            _ => Ok(LeaseAnswer::Held { holder: fields.text()?, for_ms: fields.one()?.number()? }),
        }
    }

    pub(super) async fn keep_lease(&self, what: &str, token: Token, lease_ms: u64) -> Result<bool, StoreError> {
        let mut call = self.lease_call(what, token, lease_ms).text(&self.keys.news);
        call.push_bytes(announcement::released());
        let mut fields = self.link.run(&self.link.scripts.lease, call).await?.fields()?;
        Ok(fields.text()? == "own")
    }

    fn lease_call(&self, what: &str, token: Token, lease_ms: u64) -> Call {
        Call::default().key(&self.keys.lease).text(what).text(token.to_text()).text(lease_ms.to_string())
    }

    pub(super) async fn read_companies(&self) -> Result<Vec<(Company, CompanyHead)>, StoreError> {
        let mut names = BTreeSet::new();
        let mut from = "0".to_owned();
        loop {
            let mut scan = cmd("SSCAN");
            scan.arg(&self.keys.companies).arg(&from).arg("COUNT").arg(COMPANIES_PIECE);
            let mut fields = self.link.command(&scan).await?.fields()?;
            from = fields.text()?;
            for name in fields.one()?.fields()? {
                names.insert(check::company(&name.text()?)?);
            }
            if from == "0" {
                break;
            }
        }
        let names: Vec<Company> = names.into_iter().collect();
        let mut heads = Vec::with_capacity(names.len());
        for piece in names.chunks(COMPANIES_PIECE) {
            heads.extend(self.read_heads(piece).await?);
        }
        Ok(heads)
    }

    /// Heads of companies of the catalogue, those mended first that Redis evicted.
    async fn read_heads(&self, companies: &[Company]) -> Result<Vec<(Company, CompanyHead)>, StoreError> {
        let (heads, evicted) = self.heads_left(companies).await?;
        if evicted.is_empty() {
            return Ok(heads);
        }
        self.mend_each(&evicted).await?;
        match self.heads_left(companies).await? {
            (heads, evicted) if evicted.is_empty() => Ok(heads),
            // Where that can't be mended, the store begins anew, and no head of before counts.
            _ => Err(StoreError::Away("the heads of companies were evicted; they are read again".into())),
        }
    }

    /// Heads of companies of the catalogue, and who has none.
    async fn heads_left(
        &self,
        companies: &[Company],
    ) -> Result<(Vec<(Company, CompanyHead)>, Vec<Company>), StoreError> {
        let mut call = Call::default();
        for company in companies {
            call.push_key(self.keys.company(company));
        }
        let rows = self.link.run(&self.link.scripts.companies, call).await?.fields()?;
        let (mut heads, mut evicted) = (Vec::with_capacity(companies.len()), Vec::new());
        for (company, row) in companies.iter().zip(rows) {
            let row = row.fields()?;
            if row.is_empty() {
                evicted.push(company.clone());
            } else {
                heads.push((company.clone(), company_head(row)?));
            }
        }
        Ok((heads, evicted))
    }

    pub(super) async fn read_state(&self, company: &Company) -> Result<CompanyState, StoreError> {
        let call = self.all_of(company).text(company.as_str());
        let mut answer = self.link.run(&self.link.scripts.state, call).await?.fields()?;
        if answer.one()?.number::<u8>()? == 1 {
            return Err(self.lost(company, "state").await);
        }
        let mut fields = answer.one()?.fields()?;
        let mut state = CompanyState::new();
        while !fields.is_empty() {
            let (field, value) = (fields.text()?, fields.one()?.bytes()?);
            let (filter, key) = field
                .split_once('\0')
                .ok_or_else(|| StoreError::Corrupt(format!("the state of {company} has the field {field:?}")))?;
            state.entry(Arc::from(filter)).or_default().insert(Arc::from(key), value);
        }
        Ok(state)
    }

    pub(super) async fn read_waiting(
        &self,
        company: &Company,
        inputs: usize,
        bytes: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let call = Call::default()
            .key(self.keys.company(company))
            .key(self.keys.backlog(company))
            .text(inputs.to_string())
            .text(bytes.to_string());
        let mut answer = self.link.run(&self.link.scripts.waiting, call).await?.fields()?;
        if answer.one()?.number::<u8>()? == 1 {
            return Err(self.lost(company, "waiting inputs").await);
        }
        let mut fields = answer.one()?.fields()?;
        let mut found = Vec::new();
        while !fields.is_empty() {
            let (_id, bytes, _count) = (fields.one()?, fields.one()?.bytes()?, fields.one()?);
            found.push(Waiting::decode(company, &bytes).map_err(|error| check::unreadable(company, &error))?);
        }
        Ok(found)
    }

    pub(super) async fn read_page(
        &self,
        company: &Company,
        above: Position,
        entries: usize,
    ) -> Result<Page, StoreError> {
        loop {
            let call = Call::default()
                .key(&self.keys.head)
                .key(self.keys.company(company))
                .key(self.keys.stream(company))
                .key(&self.keys.companies)
                .text(text::position(above))
                .text(entries.to_string())
                .text(PAGE_BYTES.to_string())
                .text(company.as_str());
            let mut fields = self.link.run(&self.link.scripts.page, call).await?.fields()?;
            let store = fields.text()?;
            if store.is_empty() {
                self.begin_life().await?;
                continue;
            }
            let page = page(company, &store, above, &mut fields)?;
            if fields.is_empty() {
                return Ok(page);
            }
            let (top, time_ms) = (fields.text()?, fields.text()?);
            let top = if top.is_empty() { None } else { Some(text::parse_position(&top)?) };
            self.mend(company, &store_lost(top.zip(time_ms.parse().ok()), &page)).await?;
        }
    }

    pub(super) async fn read_entry(&self, company: &Company, at: Position) -> Result<Option<Entry>, StoreError> {
        let call =
            Call::default().key(self.keys.company(company)).key(self.keys.stream(company)).text(text::position(at));
        let mut found = self.link.run(&self.link.scripts.entry, call).await?.fields()?;
        if found.is_empty() {
            return Ok(None);
        }
        let floor = text::parse_floor(&found.text()?)?;
        let mut entries = row(company, &mut found)?.into_iter();
        Ok(entries.find(|entry| entry.position == at && is_above(floor, at)))
    }

    pub(super) async fn read_marks(
        &self,
        generation: u16,
        sequence: u64,
    ) -> Result<(Option<TimeMark>, Option<TimeMark>), StoreError> {
        let call = Call::default().key(&self.keys.times).text(text::mark(generation, sequence));
        let mut fields = self.link.run(&self.link.scripts.marks, call).await?.fields()?;
        let (below, above) = (time_mark(fields.one()?.fields()?)?, time_mark(fields.one()?.fields()?)?);
        let same = |mark: &TimeMark| mark.generation == generation;
        Ok((below.filter(same), above.filter(same)))
    }

    pub(super) async fn read_mark_before(&self, time_ms: u64) -> Result<Option<TimeMark>, StoreError> {
        let mut range = cmd("ZREVRANGEBYSCORE");
        range.arg(&self.keys.times).arg(format!("({}", time_ms / 60_000)).arg("-inf");
        range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(1);
        time_mark(self.link.command(&range).await?.fields()?)
    }

    pub(super) async fn remove(&self, token: Token, company: &Company, keep: Keep) -> Result<bool, StoreError> {
        // One mark from before stays, as the beginning of what the index knows.
        let first_minute = (keep.since_ms / 60_000).saturating_sub(1);
        let call = Call::default()
            .key(&self.keys.lease)
            .key(self.keys.company(company))
            .key(self.keys.stream(company))
            .key(&self.keys.times)
            .key(&self.keys.head)
            .key(&self.keys.records)
            .text(token.to_text())
            .text(keep.since_ms.to_string())
            .text(keep.entries_max.to_string())
            .text(keep.bytes_max.to_string())
            .text(TRIM_ENTRIES.to_string())
            .text(PAGE_BYTES.to_string())
            .text(first_minute.to_string());
        Ok(self.link.run(&self.link.scripts.trim, call).await?.number::<u8>()? == 1)
    }

    pub(super) async fn read_outbox(&self, letters: usize) -> Result<Vec<(u64, DeadLetter)>, StoreError> {
        let mut range = cmd("XRANGE");
        range.arg(&self.keys.outbox).arg("-").arg("+").arg("COUNT").arg(letters);
        let mut found = Vec::new();
        for letter in self.link.command(&range).await?.fields()? {
            let mut letter = letter.fields()?;
            let id = letter.text()?;
            let key = id.split('-').next().and_then(|key| key.parse().ok());
            let key = key.ok_or_else(|| StoreError::Corrupt(format!("the letter's key {id:?}")))?;
            let mut values = letter.one()?.fields()?;
            values.one()?;
            let bytes = values.one()?.bytes()?;
            found.push((key, DeadLetter::decode(&bytes).map_err(|error| StoreError::Corrupt(error.to_string()))?));
        }
        Ok(found)
    }

    pub(super) async fn read_record(&self, generation: u16, sequence: u64) -> Result<Option<Recorded>, StoreError> {
        let wanted = Position::before(generation, sequence).packed().to_be_bytes();
        let mut call = Call::default().key(&self.keys.records);
        call.push_bytes(Bytes::copy_from_slice(&wanted));
        let mut fields = self.link.run(&self.link.scripts.record, call).await?.fields()?;
        if fields.is_empty() {
            return Ok(None);
        }
        let id = fields.text()?;
        recorded(&id, &fields.one()?.bytes()?).map(Some)
    }

    pub(super) async fn read_records(&self, number: u64, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        let mut range = cmd("XRANGE");
        range.arg(&self.keys.records).arg(number.saturating_add(1)).arg("+").arg("COUNT").arg(limit);
        let mut found = Vec::new();
        for record in self.link.command(&range).await?.fields()? {
            let mut record = record.fields()?;
            let id = record.text()?;
            let mut values = record.one()?.fields()?;
            values.one()?;
            found.push(recorded(&id, &values.one()?.bytes()?)?);
        }
        Ok(found)
    }

    pub(super) async fn remove_letters(&self, token: Token, keys: &[u64]) -> Result<(), StoreError> {
        for piece in keys.chunks(1_000) {
            let keys = &self.keys;
            let mut call = Call::default().key(&keys.head).key(&keys.outbox).key(&keys.lease).text(token.to_text());
            for key in piece {
                call.push(format!("{key}-0"));
            }
            self.link.run(&self.link.scripts.letters, call).await?;
        }
        Ok(())
    }

    pub(super) async fn read_dropped(&self) -> Result<u64, StoreError> {
        self.link.command(cmd("HGET").arg(&self.keys.head).arg("dropped")).await?.number()
    }

    pub(super) async fn read_clock(&self) -> Result<u64, StoreError> {
        let mut fields = self.link.command(&cmd("TIME")).await?.fields()?;
        let (seconds, micros): (u64, u64) = (fields.one()?.number()?, fields.one()?.number()?);
        Ok(seconds * 1_000 + micros / 1_000)
    }

    pub(super) async fn read_concerns(&self) -> Result<Vec<String>, StoreError> {
        let mut concerns = Vec::new();
        let memory = self.link.command(cmd("INFO").arg("memory")).await?.text()?;
        let value = |name: &str| {
            memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
        };
        let (limit, policy) = (value("maxmemory"), value("maxmemory_policy"));
        if limit != "0" && policy != "noeviction" {
            concerns.push(format!(
                "maxmemory-policy is {policy}: when memory is full, Redis throws away a whole company's history; \
                 set it to noeviction"
            ));
        }
        Ok(concerns)
    }
}

/// The entries of a row: its id, itself and how many it holds.
fn row(company: &Company, fields: &mut Fields) -> Result<Vec<Entry>, StoreError> {
    let at = text::parse_position(&fields.text()?)?;
    let (row, count) = (fields.one()?.bytes()?, fields.one()?.number::<usize>()?);
    pack::entries(company, at, row, count > 1)
}

/// What a company's own floor says was taken away may still stand in the oldest row.
fn is_above(floor: Option<Floor>, at: Position) -> bool {
    floor.is_none_or(|floor| at > floor.position)
}

/// A record as the commit script writes it: its time before it.
fn recorded(id: &str, bytes: &Bytes) -> Result<Recorded, StoreError> {
    let number = id.split('-').next().and_then(|number| number.parse().ok());
    let time = bytes.first_chunk().map(|time| u64::from_be_bytes(*time));
    let (number, at_ms) =
        number.zip(time).ok_or_else(|| StoreError::Corrupt(format!("the record of commit {id:?}")))?;
    let record = Record::decode(&bytes.slice(size_of::<u64>()..));
    let record = record.map_err(|error| StoreError::Corrupt(format!("the record of commit {number}: {error}")))?;
    Ok(Recorded { number, at_ms, record })
}

/// In the order of `companies.lua`.
fn company_head(mut fields: Fields) -> Result<CompanyHead, StoreError> {
    let running = fields.one()?.number()?;
    let top = fields.text()?;
    Ok(CompanyHead {
        running,
        top: if top.is_empty() { Position::default() } else { text::parse_position(&top)? },
        entries: fields.one()?.number()?,
        bytes: fields.one()?.number()?,
        waiting: fields.one()?.number()?,
        waiting_bytes: fields.one()?.number()?,
        waiting_from: text::parse_place(&fields.text()?)?,
        floor: text::parse_floor(&fields.text()?)?,
    })
}

/// In the order of `page.lua`, after the store's id.
fn page(company: &Company, store: &str, above: Position, fields: &mut Fields) -> Result<Page, StoreError> {
    let (token, number) = (fields.text()?, fields.text()?);
    let generation = fields.one()?.number()?;
    let checkpoint = text::parse_place(&fields.text()?)?;
    let partition_floor = text::parse_floor(&fields.text()?)?;
    let rebuild = text::parse_rebuild(&fields.text()?)?;
    let company_floor = text::parse_floor(&fields.text()?)?;
    let running = fields.one()?.number()?;
    let waiting_from = text::parse_place(&fields.text()?)?;
    let full = fields.one()?.number::<u8>()? == 1;
    let mut found = fields.one()?.fields()?;
    let mut entries = Vec::new();
    while !found.is_empty() {
        // The first row may begin below.
        let row = row(company, &mut found)?.into_iter();
        entries.extend(row.filter(|entry| entry.position > above && is_above(company_floor, entry.position)));
    }
    Ok(Page {
        entries,
        full,
        floor: Floor::higher(company_floor, partition_floor),
        place: waiting_from.or(checkpoint),
        last: text::parse_name(&token, &number)?,
        store: text::parse_store_id(store)?,
        generation,
        running,
        rebuild,
    })
}

/// A mark with its score, or nothing.
fn time_mark(mut fields: Fields) -> Result<Option<TimeMark>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let (generation, sequence) = text::parse_mark(&fields.text()?)?;
    let minute: f64 = fields.one()?.number()?;
    // Minutes are whole numbers far below 2^53.
    Ok(Some(TimeMark { minute: minute as u64, generation, sequence }))
}
