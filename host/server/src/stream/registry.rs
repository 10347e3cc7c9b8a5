//! Who is connected: for `/stream/stats`, limits and the admin's list.

use crate::clock::Clock;
use dashmap::DashMap;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_core::event::Company;
use tidegate_core::limits::ENDED_CONNECTIONS;
use tidegate_core::sent::Sent;

/// One connection, as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its number since the host started.
    pub connection_id: u64,
    /// Whose events it gets.
    pub company_id: String,
    /// When it came, in milliseconds since 1970.
    pub since_ms: u64,
    /// The peer's address.
    pub peer: String,
    /// Events sent so far.
    pub events: AtomicU64,
    /// Which those were.
    #[serde(skip)]
    sent: Mutex<Sent>,
}

/// A connection that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Which one.
    pub connection: Arc<Connection>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why, in the word of metrics and logs.
    pub reason: &'static str,
}

impl Connection {
    /// Notes what was sent, or left out, now.
    pub fn sent(&self, note: impl FnOnce(&mut Sent, u64), clock: &Clock) {
        note(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner), clock.now_ms());
    }

    /// What it was sent so far.
    #[must_use]
    pub fn what_was_sent(&self) -> Sent {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All connections.
#[derive(Debug, Default)]
pub struct Connections {
    next: AtomicU64,
    all: DashMap<u64, (Company, Arc<Connection>)>,
    /// The last ones that ended, oldest first.
    ended: Mutex<VecDeque<Ended>>,
}

impl Connections {
    /// Enters a connection.
    pub fn enter(&self, company: &Company, peer: String, clock: &Clock) -> Arc<Connection> {
        let connection_id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(Connection {
            connection_id,
            company_id: company.to_string(),
            since_ms: clock.now_ms(),
            peer,
            events: AtomicU64::new(0),
            sent: Mutex::default(),
        });
        self.all.insert(connection_id, (company.clone(), Arc::clone(&connection)));
        connection
    }

    /// Takes it off the list; what it was sent stays known for a while.
    pub fn leave(&self, connection: &Arc<Connection>, reason: &'static str, clock: &Clock) {
        self.all.remove(&connection.connection_id);
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= ENDED_CONNECTIONS {
            ended.pop_front();
        }
        ended.push_back(Ended { connection: Arc::clone(connection), at_ms: clock.now_ms(), reason });
    }

    /// Those that ended last, over all companies, oldest first.
    #[must_use]
    pub fn ended(&self) -> Vec<Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Is nobody connected?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many each company has.
    #[must_use]
    pub fn by_company(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for entry in &self.all {
            *counts.entry(entry.value().0.to_string()).or_default() += 1;
        }
        counts
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.all.iter().map(|entry| Arc::clone(&entry.value().1)).collect();
        all.sort_by_key(|connection| connection.connection_id);
        all
    }
}
