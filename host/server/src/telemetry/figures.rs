//! What each filter did since this process runs it, for `tidegate modules`: too much for metrics, where a thousand
//! companies would be a thousand labels each.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_filter::FilterTiming;

/// What a filter did in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figure {
    /// Events it was given; one that was run again counts again.
    pub events: u64,
    /// Events it failed at: each became a dead letter.
    pub failed: u64,
    /// Time of the clock of all its calls, in microseconds.
    pub micros: u64,
    /// The most linear memory that one of its instances held after a call, in bytes.
    pub memory_bytes: usize,
}

type Modules = HashMap<Arc<str>, Figure>;

/// The figures of all filters that run, by folder and module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Figures(Arc<Mutex<HashMap<Arc<str>, Modules>>>);

impl Figures {
    /// A filter of this folder was run.
    pub fn ran(&self, folder: &str, timing: &FilterTiming) {
        let micros: u128 = timing.calls.iter().map(std::time::Duration::as_micros).sum();
        self.with(folder, &timing.module, |figure| {
            figure.events += timing.events as u64;
            figure.micros += u64::try_from(micros).unwrap_or(u64::MAX);
            figure.memory_bytes = figure.memory_bytes.max(timing.memory_bytes);
        });
    }

    /// A filter of this folder, by `name@digest`, failed at an event.
    pub fn failed(&self, folder: &str, module: &Arc<str>) {
        self.with(folder, module, |figure| figure.failed += 1);
    }

    /// What a filter of this folder, by `name@digest`, did.
    #[must_use]
    pub fn of(&self, folder: &str, module: &str) -> Option<Figure> {
        self.lock().get(folder)?.get(module).copied()
    }

    /// Drops all but these, by folder and `name@digest`.
    pub fn keep_only<'a>(&self, running: impl Iterator<Item = (&'a str, &'a str)>) {
        let running: HashSet<(&str, &str)> = running.collect();
        let mut folders = self.lock();
        for (folder, modules) in folders.iter_mut() {
            modules.retain(|module, _| running.contains(&(&**folder, &**module)));
        }
        folders.retain(|_, modules| !modules.is_empty());
    }

    fn with(&self, folder: &str, module: &Arc<str>, note: impl FnOnce(&mut Figure)) {
        let mut folders = self.lock();
        if !folders.contains_key(folder) {
            folders.insert(folder.into(), Modules::new());
        }
        if let Some(modules) = folders.get_mut(folder) {
            note(modules.entry(Arc::clone(module)).or_default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Modules>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_a_filter_did_is_summed_by_folder_until_it_no_longer_runs() {
        let figures = Figures::default();
        let module: Arc<str> = "10-f@1".into();
        let timing = FilterTiming {
            filter: "10-f".into(),
            module: Arc::clone(&module),
            events: 3,
            failed: 1,
            calls: vec![Duration::from_micros(40), Duration::from_micros(60)],
            instructions: 0,
            memory_bytes: 1 << 16,
        };
        figures.ran("acme", &timing);
        figures.ran("acme", &FilterTiming { memory_bytes: 1, ..timing.clone() });
        figures.ran("globex", &timing);
        figures.failed("acme", &module);
        let figure = Figure { events: 6, failed: 1, micros: 200, memory_bytes: 1 << 16 };
        assert_eq!(figures.of("acme", "10-f@1"), Some(figure));
        figures.keep_only([("globex", "10-f@1")].into_iter());
        assert!(figures.of("acme", "10-f@1").is_none() && figures.of("globex", "10-f@1").is_some());
    }
}
