//! The state of companies' filters as it will be once every planned commit is stored.

use crate::store::Store;
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_core::event::Company;
use tidegate_filter::{ChainState, InstancePool, StateWrite};

/// Bytes of state kept in memory over all companies; beyond that it is read from the store again when it is needed.
const KEPT_BYTES: u64 = 512 << 20;

/// State by company, read from the store at first use. Thrown away whole when a commit was refused.
pub struct States {
    store: Arc<dyn Store>,
    kept: HashMap<Company, ChainState>,
    /// Companies whose state has writes in commits that may not be stored yet: reading it now would lose them.
    fresh: HashMap<Company, u64>,
    bytes: u64,
    /// What guests keep of their state in memory goes with what is kept of it here.
    pool: InstancePool,
}

impl States {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, pool: InstancePool) -> Self {
        pool.forget_states();
        Self { store, kept: HashMap::new(), fresh: HashMap::new(), bytes: 0, pool }
    }

    /// Takes a company's state out for a run: a future that borrows nothing. `None`: as of [`read`](Self::read).
    pub fn take(&mut self, company: &Company) -> impl Future<Output = Option<ChainState>> + Send + use<> {
        let (kept, read) = (self.kept(company), self.read(company));
        async move { if kept.is_some() { kept } else { read.await } }
    }

    /// Takes a company's state out for a run, if it is kept.
    pub fn kept(&mut self, company: &Company) -> Option<ChainState> {
        let kept = self.kept.remove(company)?;
        self.bytes = self.bytes.saturating_sub(kept.bytes());
        Some(kept)
    }

    /// Reads one that is not kept: a future that borrows nothing. `None`: writes to it are on their way, or the store did not
    /// answer; the company's events wait.
    pub fn read(&self, company: &Company) -> impl Future<Output = Option<ChainState>> + Send + use<> {
        let fresh = self.fresh.contains_key(company);
        let (store, company) = (Arc::clone(&self.store), company.clone());
        async move { if fresh { None } else { read(store.as_ref(), &company).await } }
    }

    /// Puts it back after a run.
    pub fn put(&mut self, company: &Company, state: ChainState) {
        self.bytes += state.bytes();
        self.kept.insert(company.clone(), state);
    }

    /// A commit with writes of this company was planned.
    pub fn planned(&mut self, company: &Company, commit: u64) {
        self.fresh.insert(company.clone(), commit);
    }

    /// Commits up to this number are stored; what is more than may be kept goes.
    pub fn stored(&mut self, commit: u64) {
        self.fresh.retain(|_, number| *number > commit);
        if self.bytes > KEPT_BYTES {
            let fresh = &self.fresh;
            self.kept.retain(|company, _| fresh.contains_key(company));
            self.bytes = self.kept.values().map(ChainState::bytes).sum();
        }
    }

    /// What was kept of a company is not what will be stored: read it again.
    pub fn forget(&mut self, company: &Company) {
        self.pool.forget(company);
        if let Some(state) = self.kept.remove(company) {
            self.bytes = self.bytes.saturating_sub(state.bytes());
        }
    }
}

async fn read(store: &dyn Store, company: &Company) -> Option<ChainState> {
    match store.state(company).await {
        Ok(stored) => {
            let mut state = ChainState::new();
            for (filter, entries) in stored {
                for (key, value) in entries {
                    state.apply(StateWrite { filter: filter.clone(), key: key.as_ref().into(), value: Some(value) });
                }
            }
            Some(state)
        }
        Err(error) => {
            tracing::warn!(companyId = %company, error = %error, "a filter's state can't be read; its events wait");
            None
        }
    }
}
