//! What one guest thread holds: its instances, and the buffers that are filled anew for each call.

use crate::call::{Flat, Interner};
use crate::engine::Engine;
use crate::error::Interrupted;
use crate::filter::Filter;
use crate::instance::Instance;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_core::event::Company;

/// How many instances a worker keeps for the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Instances kept at most.
    pub instances_max: usize,
    /// Their linear memory together, in bytes.
    pub memory_bytes_max: usize,
    /// One that was not used for so long goes.
    pub idle: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self { instances_max: 512, memory_bytes_max: 1 << 30, idle: Duration::from_secs(60) }
    }
}

/// Runs batches through chains, on the thread that owns it. It blocks: not for an async thread. The thread needs the
/// usual 2 MiB of stack.
pub struct Worker {
    pub(crate) engine: Engine,
    pub(crate) instances: Instances,
    pub(crate) flat: Flat,
    pub(crate) names: Interner,
}

impl Worker {
    /// A worker without instances.
    #[must_use]
    pub fn new(engine: Engine, settings: WorkerSettings) -> Self {
        let instances = Instances { settings, kept: HashMap::new(), memory: 0, swept: Instant::now() };
        Self { engine, instances, flat: Flat::default(), names: Interner::default() }
    }

    /// Drops the instances of filters for which `in_use` says no. Without it they go after the idle time.
    pub fn retain(&mut self, in_use: impl Fn(&Filter) -> bool) {
        self.instances.retain(|kept| in_use(&kept.filter));
    }

    /// Drops a company's instances: its state was read anew, and what a guest keeps in memory may be another.
    pub fn forget(&mut self, company: &Company) {
        let same: Vec<_> =
            self.instances.kept.keys().filter(|key| key.company.as_ref() == Some(company)).cloned().collect();
        for key in same {
            self.instances.drop_key(&key);
        }
    }

    /// Starts an instance ahead of the first batch.
    ///
    /// # Errors
    /// As at the first batch: [`Interrupted::NotReady`].
    pub fn warm(&mut self, filter: &Arc<Filter>, company: Option<&Company>) -> Result<(), Interrupted> {
        let instance = self.instances.take(filter, company, None)?;
        self.instances.put(filter, company, instance);
        Ok(())
    }

    /// Instances it keeps.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances.kept.len()
    }

    /// Linear memory of the instances it keeps, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.instances.memory
    }
}

/// The instances between calls, bounded in number, memory and age. None is ever shared between companies.
pub(crate) struct Instances {
    settings: WorkerSettings,
    kept: HashMap<Key, Kept>,
    memory: usize,
    swept: Instant,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    company: Option<Company>,
    filter: Arc<str>,
}

struct Kept {
    filter: Arc<Filter>,
    instance: Instance,
    memory: usize,
    used: Instant,
}

impl Instances {
    /// The instance of this filter for this company, a fresh one if there is none.
    pub(crate) fn take(
        &mut self,
        filter: &Filter,
        company: Option<&Company>,
        budget: Option<Instant>,
    ) -> Result<Instance, Interrupted> {
        let key = Key { company: company.cloned(), filter: filter.instance_key().clone() };
        match self.drop_key(&key) {
            Some(kept) => Ok(kept.instance),
            None => Instance::start(filter, budget),
        }
    }

    /// Keeps it for the next call.
    pub(crate) fn put(&mut self, filter: &Arc<Filter>, company: Option<&Company>, instance: Instance) {
        let (memory, used) = (instance.memory(), Instant::now());
        let key = Key { company: company.cloned(), filter: filter.instance_key().clone() };
        self.drop_key(&key);
        self.memory += memory;
        self.kept.insert(key, Kept { filter: filter.clone(), instance, memory, used });
        self.bound(used);
    }

    /// Drops the instances of a filter for a company.
    pub(crate) fn forget(&mut self, filter: &Filter, company: &Company) {
        self.drop_key(&Key { company: Some(company.clone()), filter: filter.instance_key().clone() });
    }

    fn drop_key(&mut self, key: &Key) -> Option<Kept> {
        let kept = self.kept.remove(key)?;
        self.memory -= kept.memory;
        Some(kept)
    }

    fn retain(&mut self, keep: impl Fn(&Kept) -> bool) {
        self.kept.retain(|_, kept| keep(kept));
        self.memory = self.kept.values().map(|kept| kept.memory).sum();
    }

    fn bound(&mut self, now: Instant) {
        let idle = self.settings.idle;
        if now.duration_since(self.swept) >= idle {
            self.swept = now;
            self.retain(|kept| now.duration_since(kept.used) < idle);
        }
        while self.kept.len() > 1
            && (self.kept.len() > self.settings.instances_max || self.memory > self.settings.memory_bytes_max)
        {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.drop_key(&oldest);
            }
        }
    }
}
