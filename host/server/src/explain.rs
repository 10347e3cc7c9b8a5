//! Gathers what is known of one event: records, backlog, cache, source, and this host's connections.

use crate::http::Site;
use crate::store::{Store, StoreError};
use crate::stream::open;
use crate::stream::registry::{Connection, Ended};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::commit::{CompanyHead, Head};
use tidegate_core::cursor::IdCursor;
use tidegate_core::event::Company;
use tidegate_core::explain::{Cached, Evidence, Explanation, Fate, InSource, Question, explain};
use tidegate_core::limits::RECORDS_SEARCHED;
use tidegate_core::position::Position;
use tidegate_core::record::{Became, Recorded};
use tidegate_core::sent::Told;

/// Records read in one go while a step is looked for.
const PIECE: usize = 1_000;
/// How long the source may take to say whether it has the event.
const SOURCE_TIME: Duration = Duration::from_secs(2);
/// Outputs of one event that are looked up in the cache at a time.
const OUTPUTS: usize = 1_000;

/// Which event is meant.
#[derive(Debug, Clone)]
pub enum Asked {
    /// The one with this id.
    Id(IdCursor),
    /// The one of this sequence; in the present generation unless another is named.
    Sequence {
        /// Its sequence in the stream.
        sequence: u64,
        /// Which life of the stream.
        generation: Option<u16>,
    },
}

/// A connection that was sent something of it, or of which nobody remembers.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// Which one.
    pub connection: Arc<Connection>,
    /// What is known.
    pub told: Told,
    /// When and why it ended, if it has.
    pub ended: Option<(u64, &'static str)>,
}

/// Everything that is said about an event.
#[derive(Debug)]
pub struct Found {
    /// Which event.
    pub question: Question,
    /// Nothing speaks for the time in the asked id: what follows is of the event with its sequence.
    pub doubtful: bool,
    /// What is known.
    pub evidence: Evidence,
    /// What became of it.
    pub explanation: Explanation,
    /// This host's connections of the company that were sent it.
    pub recipients: Vec<Recipient>,
    /// Open connections of the company on this host.
    pub connected: usize,
}

/// Gathers and explains. `None`: the partition holds nothing yet.
///
/// # Errors
/// The store could not be asked.
pub async fn gather(site: &Site, company: Company, asked: &Asked) -> Result<Option<Found>, StoreError> {
    let (streams, store) = (&site.streams, site.streams.store.as_ref());
    let head = store.head().await?;
    let Some(current) = head.generation().copied() else { return Ok(None) };
    let (generation, sequence, known) = match asked {
        Asked::Id(id) => {
            let (generation, known) =
                open::generation_of(streams, &company, &head, id).await?.unwrap_or((current.number, false));
            (generation, id.sequence, known)
        }
        Asked::Sequence { sequence, generation } => (generation.unwrap_or(current.number), *sequence, true),
    };
    let question = Question { company, generation, sequence };
    let evidence = evidence(site, store, &head, &question).await?;
    let explanation = explain(&question, &evidence);
    let (recipients, connected) = recipients(site, &question, &evidence, &explanation);
    Ok(Some(Found { question, doubtful: !known, evidence, explanation, recipients, connected }))
}

async fn evidence(site: &Site, store: &dyn Store, head: &Head, asked: &Question) -> Result<Evidence, StoreError> {
    let record = store.record_at(asked.generation, asked.sequence).await?;
    let oldest = store.records_above(0, 1).await?.pop();
    // Read after the record: what left the backlog since then is in a record that is read after this.
    let company = head_of(store, &asked.company).await?;
    let step = match &record {
        Some(record) if waited(record, asked) => find_step(store, record.number, asked).await?,
        _ => None,
    };
    let cached = cached(store, asked).await?;
    Ok(Evidence {
        // Read before the records: what is not above it was committed when they were read.
        checkpoint: head.checkpoint,
        floor: head.floor,
        company,
        record,
        oldest,
        step,
        cached,
        source: in_source(site, head, asked).await,
    })
}

/// The event's outputs in the replay cache, on all pages that they fill.
pub(crate) async fn cached(store: &dyn Store, asked: &Question) -> Result<Vec<Cached>, StoreError> {
    let event = (asked.generation, asked.sequence);
    let (mut cached, mut from) = (Vec::new(), Position::before(asked.generation, asked.sequence));
    loop {
        let page = store.page(&asked.company, from, OUTPUTS).await?;
        let next = page.next().filter(|next| next.event() == event);
        let of_event = page.entries.into_iter().take_while(|entry| entry.position.event() == event);
        cached.extend(of_event.map(|entry| Cached {
            position: entry.position,
            subject: entry.subject,
            event_type: entry.event_type,
            time_ms: entry.time_ms,
            chain: entry.chain,
            bytes: entry.data.len() as u64,
        }));
        match next {
            Some(next) => from = next,
            None => return Ok(cached),
        }
    }
}

async fn head_of(store: &dyn Store, company: &Company) -> Result<Option<CompanyHead>, StoreError> {
    Ok(store.companies().await?.into_iter().find(|(name, _)| name == company).map(|(_, head)| head))
}

fn waited(record: &Recorded, asked: &Question) -> bool {
    let lines = record.record.find(asked.generation, asked.sequence).unwrap_or_default();
    lines.iter().any(|line| line.company.as_ref() == Some(&asked.company) && line.became == Became::Waits)
}

/// The step that took an event out of its company's backlog, among the commits after the one that let it wait.
async fn find_step(store: &dyn Store, after: u64, asked: &Question) -> Result<Option<Recorded>, StoreError> {
    let (mut after, mut searched) = (after, 0);
    while searched < RECORDS_SEARCHED {
        let records = store.records_above(after, PIECE).await?;
        let Some(last) = records.last() else { return Ok(None) };
        (after, searched) = (last.number, searched + records.len());
        let is_it = |one: &Recorded| {
            let lines = one.record.find(asked.generation, asked.sequence).unwrap_or_default();
            !one.record.batch && lines.iter().any(|line| line.company.as_ref() == Some(&asked.company))
        };
        if let Some(step) = records.into_iter().find(is_it) {
            return Ok(Some(step));
        }
    }
    Ok(None)
}

/// Asked only where the source numbers as it did then.
async fn in_source(site: &Site, head: &Head, asked: &Question) -> InSource {
    let source = &site.streams.source;
    let current = head.generation().filter(|current| current.number == asked.generation);
    let (Some(current), false) = (current, source.kind() == "core") else { return InSource::Unknown };
    let asking = async {
        if source.facts(asked.sequence).await?.created_ms != current.created_ms {
            return Ok(InSource::Unknown);
        }
        Ok::<_, crate::source::SourceError>(match source.fetch(asked.sequence).await? {
            Some(event) => InSource::Held { subject: event.subject, time_ms: event.time_ms },
            None => InSource::NotHeld,
        })
    };
    match tokio::time::timeout(SOURCE_TIME, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => InSource::Unknown,
    }
}

/// Who was sent any of its outputs, oldest connection first, and how many of the company are connected.
fn recipients(site: &Site, asked: &Question, evidence: &Evidence, said: &Explanation) -> (Vec<Recipient>, usize) {
    let connections = &site.streams.connections;
    let own = |connection: &Connection| connection.company_id == asked.company.as_str();
    let open: Vec<_> = connections.list().into_iter().filter(|one| own(one)).collect();
    let connected = open.len();
    let outputs = match said.fate {
        Fate::RecordsGone { .. } => evidence.cached.last().map_or(0, |last| last.position.output),
        _ => said.outputs,
    };
    let told = |connection: &Connection| {
        let sent = connection.what_was_sent();
        let each = (1..=outputs).map(|output| sent.told(Position::new(asked.generation, asked.sequence, output)));
        each.reduce(|one, other| match (one, other) {
            (Told::Sent(_), _) | (Told::Forgotten, Told::Not) => one,
            (Told::Not, _) | (Told::Forgotten, Told::Sent(_) | Told::Forgotten) => other,
        })
    };
    let ended = connections.ended().into_iter().filter(|ended| own(&ended.connection));
    let ended = ended.map(|Ended { connection, at_ms, reason }| (connection, Some((at_ms, reason))));
    let all = ended.chain(open.into_iter().map(|connection| (connection, None)));
    let mut found: Vec<Recipient> = all
        .filter_map(|(connection, ended)| {
            let told = told(&connection).filter(|told| *told != Told::Not)?;
            Some(Recipient { connection, told, ended })
        })
        .collect();
    found.sort_by_key(|one| one.connection.connection_id);
    (found, connected)
}
