//! What filters remember for one company, and how a call or a run is undone.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

/// What an entry costs against the quota beyond key and value, so that empty values are bounded, too.
const ENTRY_BYTES: u64 = 32;
/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// The state of one filter for one company.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterState {
    entries: BTreeMap<Box<str>, Bytes>,
    bytes: u64,
}

/// One key that changed in a run, to be committed with its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Whose state: [`crate::Filter::state_name`].
    pub filter: Arc<str>,
    /// The key.
    pub key: Box<str>,
    /// Its new value; none when it was deleted.
    pub value: Option<Bytes>,
}

/// The state of a company's filters, as committed and with the writes of runs that are not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainState {
    filters: BTreeMap<Arc<str>, FilterState>,
}

/// What stood under each key before its first write. A filter may write as often as its time allows: of what it replaces
/// itself nothing is kept, so that a journal never holds more than the state did before and does now.
#[derive(Debug, Default)]
pub(crate) struct Journal(BTreeMap<Box<str>, Option<Bytes>>);

impl FilterState {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.entries.get(key)
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// What it weighs against `state-bytes`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn scan<'a>(&'a self, prefix: &'a str, limit: u32) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .take(limit as usize)
            .map(|(key, value)| (&**key, value))
    }

    pub(crate) fn set(&mut self, key: String, value: Bytes, quota: u64, journal: &mut Journal) -> Result<(), String> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(format!("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {}", key.len()));
        }
        let before = self.entries.get(key.as_str()).map_or(0, |old| weight(&key, old));
        let after = self.bytes - before + weight(&key, &value);
        if after > quota {
            return Err(format!("the state would take {after} bytes; `state-bytes` allows {quota}"));
        }
        let key = key.into_boxed_str();
        let old = self.put(key.clone(), Some(value));
        journal.note(key, old, self);
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: String, journal: &mut Journal) {
        if self.entries.contains_key(key.as_str()) {
            let key = key.into_boxed_str();
            let old = self.put(key.clone(), None);
            journal.note(key, old, self);
        }
    }

    /// Takes back what the journal tells.
    pub(crate) fn undo(&mut self, journal: &mut Journal) {
        for (key, old) in std::mem::take(&mut journal.0) {
            self.put(key, old);
        }
    }

    fn put(&mut self, key: Box<str>, value: Option<Bytes>) -> Option<Bytes> {
        if let Some(value) = &value {
            self.bytes += weight(&key, value);
        }
        let old = match value {
            Some(value) => self.entries.insert(key.clone(), value),
            None => self.entries.remove(&key),
        };
        if let Some(old) = &old {
            self.bytes -= weight(&key, old);
        }
        old
    }
}

fn weight(key: &str, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64 + ENTRY_BYTES
}

impl Journal {
    /// Puts the writes of a call that counted behind those of the run; `state` has them.
    pub(crate) fn append(&mut self, call: &mut Self, state: &FilterState) {
        for (key, old) in std::mem::take(&mut call.0) {
            self.note(key, old, state);
        }
    }

    /// A key was written in `state`, under which `old` stood until then.
    fn note(&mut self, key: Box<str>, old: Option<Bytes>, state: &FilterState) {
        match self.0.entry(key) {
            Entry::Vacant(place) => {
                place.insert(old);
            }
            // It was not there, and is gone again.
            Entry::Occupied(first) if first.get().is_none() && state.get(first.key()).is_none() => {
                first.remove();
            }
            Entry::Occupied(_) => {}
        }
    }

    /// The keys whose value is another than before the first write, with the value they have now.
    pub(crate) fn writes(&self, filter: &Arc<str>, state: &FilterState) -> Vec<StateWrite> {
        let changed = self.0.iter().filter(|(key, old)| state.get(key) != old.as_ref());
        changed
            .map(|(key, _)| StateWrite { filter: filter.clone(), key: key.clone(), value: state.get(key).cloned() })
            .collect()
    }
}

impl ChainState {
    /// Nothing remembered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts in what the store holds, or what another run committed.
    pub fn apply(&mut self, write: StateWrite) {
        let state = self.filters.entry(write.filter).or_default();
        state.put(write.key, write.value);
    }

    /// The state of one filter, by [`crate::Filter::state_name`].
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<&FilterState> {
        self.filters.get(name)
    }

    /// What all of it weighs, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.filters.values().map(FilterState::bytes).sum()
    }

    /// Takes a filter's state out for a call.
    pub(crate) fn take(&mut self, name: &Arc<str>) -> FilterState {
        self.filters.get_mut(name).map(std::mem::take).unwrap_or_default()
    }

    /// Puts it back.
    pub(crate) fn put_back(&mut self, name: &Arc<str>, state: FilterState) {
        if state.entries.is_empty() {
            self.filters.remove(name);
        } else {
            self.filters.insert(name.clone(), state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_brings_back_exactly_what_was() {
        let mut state = FilterState::default();
        let mut setup = Journal::default();
        state.set("a".into(), Bytes::from_static(b"1"), 1000, &mut setup).expect("fits");
        let before = state.clone();
        let mut call = Journal::default();
        state.set("a".into(), Bytes::from_static(b"22"), 1000, &mut call).expect("fits");
        state.set("b".into(), Bytes::from_static(b"3"), 1000, &mut call).expect("fits");
        state.delete("a".into(), &mut call);
        state.delete("absent".into(), &mut call);
        state.undo(&mut call);
        assert_eq!(state, before);
    }

    #[test]
    fn the_quota_counts_what_is_replaced_and_a_refused_write_changes_nothing() {
        let mut state = FilterState::default();
        let mut journal = Journal::default();
        state.set("k".into(), Bytes::from(vec![0; 60]), 100, &mut journal).expect("fits");
        state.set("k".into(), Bytes::from(vec![1; 67]), 100, &mut journal).expect("replaces");
        let before = state.clone();
        assert!(state.set("k".into(), Bytes::from(vec![1; 68]), 100, &mut journal).is_err());
        assert!(state.set(String::new(), Bytes::new(), 100, &mut journal).is_err());
        assert_eq!((&state, state.bytes()), (&before, 100));
    }

    #[test]
    fn writes_tell_only_what_is_different_at_the_end() {
        let name: Arc<str> = "f@0".into();
        let mut state = FilterState::default();
        let mut journal = Journal::default();
        state.set("gone".into(), Bytes::from_static(b"1"), 1000, &mut journal).expect("fits");
        state.delete("gone".into(), &mut journal);
        state.set("kept".into(), Bytes::from_static(b"1"), 1000, &mut journal).expect("fits");
        state.set("kept".into(), Bytes::from_static(b"2"), 1000, &mut journal).expect("fits");
        let writes = journal.writes(&name, &state);
        assert_eq!(writes, [StateWrite { filter: name, key: "kept".into(), value: Some(Bytes::from_static(b"2")) }]);
    }

    #[test]
    fn a_journal_holds_no_more_than_the_state_did_before_and_does_now() {
        let (mut state, mut run) = (FilterState::default(), Journal::default());
        for n in 0..1000 {
            let mut call = Journal::default();
            for _ in 0..10 {
                state.set("same".into(), Bytes::from(vec![0; 100]), 1000, &mut call).expect("fits");
            }
            state.set(format!("other/{n}"), Bytes::new(), 1000, &mut call).expect("fits");
            if n % 2 == 0 {
                state.delete(format!("other/{n}"), &mut call);
            }
            assert!(call.0.len() <= 2);
            run.append(&mut call, &state);
            let mut call = Journal::default();
            state.delete(format!("other/{n}"), &mut call);
            run.append(&mut call, &state);
            assert_eq!(run.0.len(), 1);
        }
        state.undo(&mut run);
        assert_eq!((state, run.0.len()), (FilterState::default(), 0));
    }

    #[test]
    fn a_scan_is_ordered_and_bounded() {
        let mut state = FilterState::default();
        let mut journal = Journal::default();
        for key in ["b/2", "a/1", "b/1", "c", "b/3"] {
            state.set(key.into(), Bytes::new(), 1000, &mut journal).expect("fits");
        }
        let keys: Vec<_> = state.scan("b/", 2).map(|(key, _)| key).collect();
        assert_eq!(keys, ["b/1", "b/2"]);
    }
}
