//! Who is connected: for `/stream/stats`, limits and the admin's list.

use crate::clock::Clock;
use dashmap::DashMap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_core::event::Company;

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
}

/// All connections.
#[derive(Debug, Default)]
pub struct Connections {
    next: AtomicU64,
    all: DashMap<u64, (Company, Arc<Connection>)>,
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
        });
        self.all.insert(connection_id, (company.clone(), Arc::clone(&connection)));
        connection
    }

    /// Takes it off the list.
    pub fn leave(&self, connection: &Connection) {
        self.all.remove(&connection.connection_id);
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
