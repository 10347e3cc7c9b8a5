//! What a test of the contract stands on: a store of either kind that can be stopped, saved and put back.

use super::server::{Folder, RedisServer};
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::store::redis::{RedisOptions, RedisStore};
use bytes::Bytes;
use std::fs;
use std::sync::Arc;
use tidegate_core::commit::{Commit, CompanyHead, Counts, Part, StateWrite, Waiting};
use tidegate_core::entry::{DeadLetter, Entry};
use tidegate_core::event::{Company, Fault, Input, SourceEvent};
use tidegate_core::generation::Generation;
use tidegate_core::position::{CommitName, Place, Position, Token};

/// A store and what it lives in.
pub(crate) enum Stand {
    Embedded { folder: Folder, store: Option<Arc<EmbeddedStore>> },
    Redis { server: RedisServer, store: Arc<RedisStore> },
}

const SAVED: &str = "saved";

impl Stand {
    pub(crate) fn embedded() -> Self {
        let mut stand = Self::Embedded { folder: Folder::new("store"), store: None };
        stand.open();
        stand
    }

    /// Nothing where there is no server to be had.
    pub(crate) fn redis() -> Option<Self> {
        let server = RedisServer::start(&[])?;
        let store = RedisStore::connect(&server.url(), &RedisOptions::default()).unwrap();
        Some(Self::Redis { server, store: Arc::new(store) })
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded { store, .. } => Arc::clone(store.as_ref().unwrap()) as Arc<dyn Store>,
            Self::Redis { store, .. } => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    fn open(&mut self) {
        if let Self::Embedded { folder, store } = self {
            *store = None;
            let dir = Arc::new(DataDir::lock(&folder.0).unwrap());
            *store = Some(Arc::new(EmbeddedStore::open(&dir, Clock::system()).unwrap()));
        }
    }

    /// Keeps a copy of what is stored now. No store of before may be held.
    pub(crate) fn save(&mut self) {
        match self {
            Self::Embedded { folder, store } => {
                *store = None;
                fs::copy(folder.0.join("replay.sqlite"), folder.0.join(SAVED)).unwrap();
                self.open();
            }
            Self::Redis { server, .. } => {
                server.ask(&["SAVE"]).unwrap();
                fs::copy(server.folder.0.join("dump.rdb"), server.folder.0.join(SAVED)).unwrap();
            }
        }
    }

    /// Goes back to that copy.
    pub(crate) fn put_back(&mut self) {
        match self {
            Self::Embedded { folder, store } => {
                *store = None;
                for left in ["replay.sqlite-wal", "replay.sqlite-shm"] {
                    let _ = fs::remove_file(folder.0.join(left));
                }
                fs::copy(folder.0.join(SAVED), folder.0.join("replay.sqlite")).unwrap();
                self.open();
            }
            Self::Redis { server, .. } => {
                server.kill();
                fs::copy(server.folder.0.join(SAVED), server.folder.0.join("dump.rdb")).unwrap();
                server.up();
            }
        }
    }
}

/// Makes commits that follow one another, as an owner does.
pub(crate) struct Writer {
    pub(crate) token: Token,
    pub(crate) last: CommitName,
    pub(crate) generation: Generation,
}

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const NOW: u64 = 1_700_000_000_000;

impl Writer {
    /// Takes the lease.
    pub(crate) async fn new(store: &dyn Store) -> Self {
        let token = Token(rand::random());
        store.acquire("host", token, 5_000).await.unwrap();
        let head = store.head().await.unwrap();
        let generation = head.generation().copied().unwrap_or_else(|| Generation::new(1, NOW));
        Self { token, last: head.last, generation }
    }

    /// The next commit, still empty, with the checkpoint at this sequence.
    pub(crate) fn next(&mut self, sequence: u64) -> Commit {
        let name = CommitName { token: self.token, number: self.last.number + 1 };
        let follows = std::mem::replace(&mut self.last, name);
        let time_ms = NOW + sequence;
        (self.generation.last_sequence, self.generation.last_ms) = (sequence, time_ms);
        if self.generation.first_sequence == 0 {
            (self.generation.first_sequence, self.generation.first_ms) = (sequence, time_ms);
        }
        Commit {
            name,
            follows,
            generation: self.generation,
            checkpoint: Some(self.place(sequence)),
            time_ms_max: time_ms,
            parts: Vec::new(),
            dead: Vec::new(),
            floor: None,
            chains: None,
            rebuild: None,
            dead_before: Vec::new(),
            counts: Counts::default(),
            drops: Vec::new(),
            record: None,
        }
    }

    pub(crate) fn place(&self, sequence: u64) -> Place {
        Place { generation: self.generation.number, sequence, time_ms: NOW + sequence }
    }

    /// A commit with one output of one event for a company.
    pub(crate) fn one(&mut self, company: &Company, sequence: u64, running: u64) -> Commit {
        let entry = entry(Position::new(self.generation.number, sequence, 1), running);
        let mut commit = self.next(sequence);
        commit.parts.push(Part { outputs: vec![entry], ..Part::new(company.clone()) });
        commit
    }
}

pub(crate) fn company(name: &str) -> Company {
    Company::new(name).unwrap()
}

pub(crate) fn entry(position: Position, running: u64) -> Entry {
    Entry {
        position,
        time_ms: NOW + position.sequence,
        running,
        subject: "metrics.calculated".into(),
        event_type: "metric_updated".into(),
        chain: 7,
        data: Bytes::from(format!("{{\"n\":{running}}}")),
    }
}

fn source(sequence: u64) -> SourceEvent {
    SourceEvent {
        sequence,
        time_ms: NOW + sequence,
        subject: "metrics.calculated".into(),
        headers: Bytes::new(),
        payload: Bytes::from_static(b"\x00\xff not even JSON"),
    }
}

pub(crate) fn waiting(company: &Company, previous: Place, sequence: u64, emission: u32) -> Waiting {
    let source = source(sequence);
    let data = Bytes::from(format!("{{\"sequence\":{sequence}}}"));
    let input = Input { source, emission, company: company.clone(), event_type: "t".into(), data };
    Waiting { input, previous, counts: emission == 0 }
}

pub(crate) fn letter(sequence: u64) -> DeadLetter {
    let fault = Fault { kind: "trap", reason: "it trapped".into(), module: None, backtrace: None };
    DeadLetter::new(1, NOW, 0, None, &fault, source(sequence))
}

pub(crate) fn set(filter: &str, key: &str, value: Option<&'static str>) -> StateWrite {
    StateWrite { filter: filter.into(), key: key.into(), value: value.map(|text| Bytes::from_static(text.as_bytes())) }
}

/// Head of one company, all zero when it is unknown.
pub(crate) async fn head_of(store: &dyn Store, company: &Company) -> CompanyHead {
    let heads = store.companies().await.unwrap();
    heads.into_iter().find(|(name, _)| name == company).map(|(_, head)| head).unwrap_or_default()
}
