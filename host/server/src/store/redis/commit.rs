//! One commit as keys and arguments of its script, and the script's answer.

use super::RedisStore;
use super::link::Call;
use crate::store::pack::{self, Row};
use crate::store::{StoreError, check, text};
use bytes::{BufMut as _, BytesMut};
use tidegate_core::commit::{Commit, CommitAnswer, Part};
use tidegate_core::entry::Entry;
use tidegate_core::limits;
use tidegate_core::position::Position;

impl RedisStore {
    pub(super) async fn write_commit(&self, commit: &Commit) -> Result<CommitAnswer, StoreError> {
        check::ascending(commit)?;
        let (reply, confirmed) = self.link.commit(&self.link.scripts.commit, self.commit_call(commit)).await?;
        let mut fields = reply.fields()?;
        match fields.text()?.as_str() {
            "not-owner" => Ok(CommitAnswer::NotOwner),
            "evicted" => {
                let names: Result<Vec<_>, _> = fields.map(|field| check::company(&field.text()?)).collect();
                self.mend_each(&names?).await?;
                Ok(CommitAnswer::Refused)
            }
            "refused" => {
                let why: Result<Vec<String>, _> = fields.map(|field| field.text()).collect();
                tracing::warn!(commit = ?commit.name, why = ?why?, "the store refused a commit");
                Ok(CommitAnswer::Refused)
            }
            "stored" => {
                if !confirmed {
                    // It is stored and can't be taken back: to stop here would make a replica's outage everybody's.
                    self.metrics.commit_unconfirmed();
                    tracing::warn!(commit = commit.name.number, "too few replicas have a commit (redis.wait-replicas)");
                }
                let mut places = Vec::new();
                while !fields.is_empty() {
                    let company = check::company(&fields.text()?)?;
                    places.push((company, text::parse_place(&fields.text()?)?));
                }
                Ok(CommitAnswer::Stored(places))
            }
            other => Err(StoreError::Corrupt(format!("the commit script answered {other:?}"))),
        }
    }

    /// In the order in which `commit.lua` takes them.
    fn commit_call(&self, commit: &Commit) -> Call {
        let keys = &self.keys;
        let mut call = Call::default()
            .key(&keys.head)
            .key(&keys.lease)
            .key(&keys.generations)
            .key(&keys.outbox)
            .key(&keys.companies)
            .key(&keys.times)
            .key(&keys.waiting)
            .key(&keys.records)
            .key(&keys.states)
            .text(commit.name.token.to_text())
            .text(commit.name.number.to_string())
            .text(commit.follows.token.to_text())
            .text(commit.follows.number.to_string())
            .text(commit.generation.number.to_string())
            .text(text::generation(&commit.generation))
            .text(limits::GENERATIONS.to_string())
            .text(commit.checkpoint.map(text::place).unwrap_or_default())
            .text(commit.checkpoint.map(|at| text::mark(at.generation, at.sequence)).unwrap_or_default())
            .text((commit.time_ms_max / 60_000).to_string())
            .text(commit.floor.as_ref().map(text::floor).unwrap_or_default())
            .text(commit.chains.as_ref().map(text::chains).unwrap_or_default())
            .text(commit.rebuild.as_ref().map(text::rebuild).unwrap_or_default())
            .text(limits::OUTBOX_ENTRIES.to_string())
            .text(limits::OUTBOX_BYTES.to_string())
            .text(commit.parts.len().to_string())
            .text(commit.dead.len().to_string())
            .text(&keys.news);
        call.push_bytes(commit.record.clone().unwrap_or_default());
        for bound in [limits::RECORDS, limits::RECORD_BYTES, limits::RECORDS_REMOVED as u64] {
            call.push(bound.to_string());
        }
        let rows: Vec<Vec<Row>> = commit.parts.iter().map(|part| pack::rows(&part.outputs)).collect();
        for (part, rows) in commit.parts.iter().zip(&rows) {
            for key in [keys.stream(&part.company), keys.company(&part.company)] {
                call.push_key(key);
            }
            call.push_key(keys.backlog(&part.company));
            call.push_key(keys.state(&part.company));
            push_header(&mut call, part, rows.len());
        }
        for (part, rows) in commit.parts.iter().zip(rows) {
            push_body(&mut call, part, rows);
        }
        for letter in &commit.dead {
            call.push_bytes(letter.encode());
        }
        call
    }
}

/// As `commit.lua` unpacks it.
fn push_header(call: &mut Call, part: &Part, rows: usize) {
    let id = |position: Option<Position>| position.map(text::position).unwrap_or_default();
    let (first, last) = (part.outputs.first(), part.outputs.last());
    let weight = part.outputs.iter().map(Entry::weight).sum();
    let (sets, deletes): (Vec<_>, Vec<_>) = check::last_writes(part).partition(|write| write.value.is_some());
    let mut header = BytesMut::with_capacity(256);
    for count in [rows, part.outputs.len(), weight, part.backlog_add.len(), sets.len(), deletes.len()] {
        // All of them are bounded by what fits a commit.
        header.put_u32_le(count as u32);
    }
    for text in [
        part.company.as_str(),
        &id(first.map(|entry| entry.position)),
        &id(last.map(|entry| entry.position)),
        &last.map(|entry| entry.time_ms.to_string()).unwrap_or_default(),
        &last.map(|entry| entry.running.to_string()).unwrap_or_default(),
        &id(part.backlog_add.first().map(check::waits_at)),
        &id(part.backlog_add.last().map(check::waits_at)),
        &part.backlog_done.map(text::above).unwrap_or_default(),
    ] {
        // The longest is a company's name.
        header.put_u8(text.len() as u8);
        header.put_slice(text.as_bytes());
    }
    call.push_bytes(header.freeze());
}

fn push_body(call: &mut Call, part: &Part, rows: Vec<Row>) {
    for row in rows {
        call.push(text::position(row.at));
        call.push(row.count.to_string());
        call.push_bytes(row.e);
    }
    for waiting in &part.backlog_add {
        call.push(text::position(check::waits_at(waiting)));
        call.push_bytes(waiting.encode());
        call.push(text::place(waiting.previous));
    }
    for write in check::last_writes(part) {
        if let Some(value) = &write.value {
            call.push(field(&write.filter, &write.key));
            call.push_bytes(value.clone());
        }
    }
    for write in check::last_writes(part).filter(|write| write.value.is_none()) {
        call.push(field(&write.filter, &write.key));
    }
}

/// The field of a key of a filter: a file name holds no NUL.
fn field(filter: &str, key: &str) -> String {
    format!("{filter}\0{key}")
}
