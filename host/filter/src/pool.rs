//! The instances between calls, of all guest threads together: bounded in number, memory and age. None is ever shared
//! between companies.
//!
//! One pool for all threads, so that an instance that was started on one (a backlog's, outside of any batch's time; the
//! one that loads modules, before a switch) serves the next batch wherever it runs, and so that a thousand companies need
//! a thousand instances and not a thousand for each thread.

use crate::chain::Chain;
use crate::error::Interrupted;
use crate::filter::Filter;
use crate::instance::Instance;
use crate::log::LogWindow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_core::event::Company;

/// One that takes long to start is kept this many times longer without use.
const SLOW_IDLE: u32 = 15;

/// How many instances a pool keeps for the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Instances kept at most.
    pub instances_max: usize,
    /// Their linear memory together, in bytes.
    pub memory_bytes_max: usize,
    /// One that was not used for so long goes; one that starts slowly after fifteen times that.
    pub idle: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { instances_max: 4096, memory_bytes_max: 2 << 30, idle: Duration::from_secs(60) }
    }
}

/// The instances that wait for their next call. Clones are the same pool.
#[derive(Clone)]
pub struct InstancePool(Arc<Mutex<Kept>>);

impl std::fmt::Debug for InstancePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstancePool").field("instances", &self.instances()).finish_non_exhaustive()
    }
}

/// Whose instance: of this filter (by its number in this process), for this company.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    company: Option<Company>,
    filter: u64,
}

impl Key {
    fn new(filter: &Filter, company: Option<&Company>) -> Self {
        Self { company: company.cloned(), filter: filter.number() }
    }
}

struct Kept {
    settings: PoolSettings,
    /// A company's filter runs on one thread at a time and has one; a platform filter has one for each thread.
    idle: HashMap<Key, Vec<Idle>>,
    count: usize,
    memory: usize,
    swept: Instant,
    /// The filters that run; none: any may.
    current: Option<HashSet<u64>>,
    /// What each may still log. It outlives instances: one that fails at every call logs no more than others.
    windows: HashMap<Key, Arc<LogWindow>>,
}

struct Idle {
    filter: Arc<Filter>,
    instance: Instance,
    memory: usize,
    used: Instant,
}

impl Idle {
    /// May it keep something of a company's state in its memory?
    fn knows_state(&self) -> bool {
        self.filter.code().imports_state() && self.instance.was_called()
    }
}

impl InstancePool {
    /// A pool without instances.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            settings,
            idle: HashMap::new(),
            count: 0,
            memory: 0,
            swept: Instant::now(),
            current: None,
            windows: HashMap::new(),
        })))
    }

    /// Starts what is missing of `count` instances for each filter of a chain, under the limits of a start and outside of
    /// any batch's time.
    ///
    /// # Errors
    /// [`Interrupted::NotReady`] names the filter that could not be started.
    pub fn warm(&self, chain: &Chain, company: Option<&Company>, count: usize) -> Result<(), Interrupted> {
        for filter in chain.filters() {
            let key = Key::new(filter, company);
            let present = self.lock().idle.get(&key).map_or(0, Vec::len);
            for _ in present..count {
                let window = self.lock().window(&key, filter);
                let instance = Instance::start(filter, window, None)?;
                self.put(filter, company, instance);
            }
        }
        Ok(())
    }

    /// From now on only the filters of these chains run: instances of others go, those in use at the end of their call.
    pub fn keep_only<'a>(&self, chains: impl IntoIterator<Item = &'a Chain>) {
        let current = chains.into_iter().flat_map(Chain::filters).map(|filter| filter.number()).collect();
        let gone = {
            let mut kept = self.lock();
            kept.windows.retain(|key, _| HashSet::contains(&current, &key.filter));
            let gone = kept.drain(|key, _| !current.contains(&key.filter));
            kept.current = Some(current);
            gone
        };
        // Giving memory back takes time: not under the lock.
        drop(gone);
    }

    /// Companies that have an instance of a filter of this chain.
    #[must_use]
    pub fn companies(&self, chain: &Chain) -> HashSet<Company> {
        let filters: HashSet<u64> = chain.filters().iter().map(|filter| filter.number()).collect();
        let kept = self.lock();
        kept.idle.keys().filter(|key| filters.contains(&key.filter)).filter_map(|key| key.company.clone()).collect()
    }

    /// Drops a company's instances with state: it was read anew, and what a guest keeps of it in memory may be another.
    pub fn forget(&self, company: &Company) {
        let stale = |key: &Key, idle: &Idle| key.company.as_ref() == Some(company) && idle.knows_state();
        let gone = self.lock().drain(stale);
        drop(gone);
    }

    /// The same for every company.
    pub fn forget_states(&self) {
        let gone = self.lock().drain(|_, idle| idle.knows_state());
        drop(gone);
    }

    /// Drops what was not used for long. Without it that happens only as instances come back from calls.
    pub fn sweep(&self) {
        let now = Instant::now();
        let (gone, in_use) = {
            let mut kept = self.lock();
            let gone = kept.sweep(now);
            if gone.is_empty() {
                return;
            }
            let in_use: HashSet<_> = kept.idle.values().flatten().map(|idle| Arc::as_ptr(idle.filter.code())).collect();
            (gone, in_use)
        };
        let codes = gone.into_iter().map(|idle| Arc::clone(idle.filter.code()));
        let mut unused: HashMap<_, _> = codes.map(|code| (Arc::as_ptr(&code), code)).collect();
        unused.retain(|code, _| !in_use.contains(code));
        unused.values().for_each(|code| code.rest());
    }

    /// Is there room for another one without another's going?
    #[must_use]
    pub fn has_room(&self) -> bool {
        let kept = self.lock();
        // What comes is not known: half of the memory stays for it.
        kept.count < kept.settings.instances_max && kept.memory < kept.settings.memory_bytes_max / 2
    }

    /// Instances it keeps; those that are in a call are not here.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.lock().count
    }

    /// Linear memory of the instances it keeps, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.lock().memory
    }

    /// An instance of this filter for this company, a fresh one if none waits. Within a batch's time none is started of
    /// a filter that is known to take long.
    pub(crate) fn take(
        &self,
        filter: &Filter,
        company: Option<&Company>,
        budget: Option<Instant>,
    ) -> Result<Instance, Interrupted> {
        let key = Key::new(filter, company);
        let window = {
            let mut kept = self.lock();
            match kept.take(&key) {
                Some(idle) => return Ok(idle.instance),
                None => kept.window(&key, filter),
            }
        };
        if budget.is_some() && filter.starts_slowly() {
            return Err(Interrupted::Cold(filter.module().to_string()));
        }
        Instance::start(filter, window, budget)
    }

    /// Keeps it for the next call.
    pub(crate) fn put(&self, filter: &Arc<Filter>, company: Option<&Company>, instance: Instance) {
        let (memory, used) = (instance.memory(), Instant::now());
        let idle = Idle { filter: filter.clone(), instance, memory, used };
        let gone = self.lock().put(Key::new(filter, company), idle);
        drop(gone);
    }

    /// Drops the instances of a filter for a company.
    pub(crate) fn forget_filter(&self, filter: &Filter, company: &Company) {
        let gone = self.lock().take(&Key::new(filter, Some(company)));
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, key: &Key) -> Option<Idle> {
        let list = self.idle.get_mut(key)?;
        let idle = list.pop();
        if list.is_empty() {
            self.idle.remove(key);
        }
        let idle = idle?;
        self.count -= 1;
        self.memory -= idle.memory;
        Some(idle)
    }

    fn put(&mut self, key: Key, idle: Idle) -> Vec<Idle> {
        if self.current.as_ref().is_some_and(|current| !current.contains(&key.filter)) {
            return vec![idle];
        }
        let now = idle.used;
        let mut gone = Vec::new();
        if key.company.is_some() {
            gone.extend(self.take(&key));
        }
        self.count += 1;
        self.memory += idle.memory;
        self.idle.entry(key).or_default().push(idle);
        if now.duration_since(self.swept) >= self.settings.idle {
            gone.append(&mut self.sweep(now));
        }
        while self.count > 1
            && (self.count > self.settings.instances_max || self.memory > self.settings.memory_bytes_max)
        {
            let used = |list: &Vec<Idle>| list.iter().map(|idle| idle.used).min();
            let oldest = self.idle.iter().min_by_key(|(_, list)| used(list)).map(|(key, _)| key.clone());
            gone.extend(oldest.and_then(|oldest| self.take(&oldest)));
        }
        gone
    }

    fn sweep(&mut self, now: Instant) -> Vec<Idle> {
        self.swept = now;
        self.windows.retain(|_, window| Arc::strong_count(window) > 1 || !window.is_over(now));
        let idle = self.settings.idle;
        self.drain(|_, kept| {
            let most = if kept.filter.starts_slowly() { idle * SLOW_IDLE } else { idle };
            now.duration_since(kept.used) >= most
        })
    }

    fn drain(&mut self, go: impl Fn(&Key, &Idle) -> bool) -> Vec<Idle> {
        let mut gone = Vec::new();
        self.idle.retain(|key, list| {
            gone.extend(list.extract_if(.., |idle| go(key, idle)));
            !list.is_empty()
        });
        self.count -= gone.len();
        self.memory -= gone.iter().map(|idle| idle.memory).sum::<usize>();
        gone
    }

    fn window(&mut self, key: &Key, filter: &Filter) -> Arc<LogWindow> {
        if let Some(window) = self.windows.get(key) {
            return Arc::clone(window);
        }
        let now = Instant::now();
        if self.windows.len() > 2 * self.settings.instances_max {
            self.windows.retain(|_, window| Arc::strong_count(window) > 1 || !window.is_over(now));
        }
        let window = Arc::new(LogWindow::new(filter.limits().log_per_second, now));
        self.windows.insert(key.clone(), Arc::clone(&window));
        window
    }
}
