//! What is up: for `/stream/health`, `/readyz` and metrics.

use crate::source::SourceError;
use crate::store::StoreError;
use crate::telemetry::Metrics;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_core::event::Company;
use tidegate_core::turns::PausedBy;

/// How long a break in the stream stays in the report: longer than anybody's checks are apart.
const STREAM_BROKE_SAID: Duration = Duration::from_secs(600);

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// `up`, `down` or `degraded`.
    pub state: &'static str,
    /// Why it is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Component {
    /// It works, but for these problems.
    fn degraded_by(problems: &[String]) -> Self {
        match problems.is_empty() {
            true => Self { state: "up", reason: None },
            false => Self { state: "degraded", reason: Some(problems.join("; ")) },
        }
    }
}

/// The state of everything the host depends on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Mutex<Inner>>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Inner {
    components: BTreeMap<&'static str, Component>,
    store_reached: bool,
    /// The store answered when it was asked last.
    store_reads: bool,
    /// Why the store takes no commit, for as long as it takes none; it may answer everything else.
    commits_fail: Option<String>,
    /// What the store's settings may cost.
    store_concerns: Vec<String>,
    /// Events that are still to be filled into a store that began empty.
    events_left: Option<u64>,
    source_reached: bool,
    owned: bool,
    /// No token can be checked before the key set was read.
    keys_missing: bool,
    keys_read: bool,
    draining: bool,
    modules: Vec<String>,
    paused: Vec<(Company, PausedBy)>,
    can_not_run: Vec<String>,
    stream_broke: Option<(Instant, String)>,
}

impl Health {
    /// Nothing was reached yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let health = Self { inner, metrics };
        for component in ["source", "store", "partition"] {
            health.set(component, Some("not reached yet".to_owned()));
        }
        health
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, component: &'static str, problem: Option<String>) {
        self.metrics.component_up(component, problem.is_none());
        let state = if problem.is_none() { "up" } else { "down" };
        self.lock().components.insert(component, Component { state, reason: problem });
    }

    /// The store answered.
    pub fn store_answers(&self) {
        let mut inner = self.lock();
        (inner.store_reached, inner.store_reads) = (true, true);
        let problem = inner.commits_fail.clone();
        drop(inner);
        self.set("store", problem);
    }

    /// The store took the latest commit, or why it did not: it may be full or a replica, and answer all the same.
    pub fn commits(&self, outcome: Result<(), &StoreError>) {
        let problem = outcome.err().map(|error| format!("it takes no commit: {error}"));
        self.lock().commits_fail.clone_from(&problem);
        match outcome {
            // No answer came: whether it can be read, the next question tells.
            Err(StoreError::Away(_)) => self.set("store", problem),
            Ok(()) | Err(_) => self.store_answers(),
        }
    }

    /// What the store's settings may cost, each in a sentence.
    pub fn store_concerns(&self, concerns: Vec<String>) {
        self.lock().store_concerns = concerns;
    }

    /// Did the store answer when it was asked last? It may take no commit, and answer all the same.
    #[must_use]
    pub fn store_reads(&self) -> bool {
        self.lock().store_reads
    }

    /// The store failed, and how.
    pub fn store_failed(&self, error: &StoreError) {
        self.lock().store_reads = false;
        self.set("store", Some(error.to_string()));
    }

    /// So many events are still to be filled into a store that began empty; `None`: it is as far as the source was.
    pub fn rebuilding(&self, events_left: Option<u64>) {
        self.lock().events_left = events_left;
    }

    /// The source is connected, or not.
    pub fn source(&self, up: bool) {
        self.lock().source_reached |= up;
        self.set("source", (!up).then(|| "not connected".to_owned()));
    }

    /// The source failed, and how.
    pub fn source_failed(&self, error: &SourceError) {
        self.set("source", Some(error.to_string()));
    }

    /// This host owns the partition, or no longer does.
    pub fn owner(&self, owns: bool) {
        self.lock().owned = owns;
        self.set("partition", (!owns).then(|| "nobody is known to own it".to_owned()));
    }

    /// Another host owns it.
    pub fn owned_elsewhere(&self) {
        self.lock().owned = true;
        self.set("partition", None);
    }

    /// Folders whose chain can't load, each with its reason.
    pub fn modules(&self, refused: Vec<String>) {
        let mut inner = self.lock();
        inner.modules = refused;
        self.note_modules(&inner);
    }

    /// Chains that fail again and again before any event of theirs is judged, each in a sentence.
    pub fn can_not_run(&self, chains: Vec<String>) {
        let mut inner = self.lock();
        inner.can_not_run = chains;
        self.note_modules(&inner);
    }

    fn note_modules(&self, inner: &Inner) {
        self.metrics.component_up("modules", inner.modules.is_empty() && inner.can_not_run.is_empty());
    }

    /// Host clock and store clock differ by so many milliseconds: nothing is trimmed. `None`: they agree.
    pub fn clocks_apart(&self, apart_ms: Option<u64>) {
        self.set(
            "clock",
            apart_ms.map(|ms| format!("host clock and store clock differ by {ms} ms; nothing is trimmed")),
        );
    }

    /// The stream is not what it was, and every client was told with a gap: said for ten minutes.
    pub fn stream_broke(&self, how: String) {
        self.lock().stream_broke = Some((Instant::now(), how));
    }

    /// A key set at an address is to be read; `alone`: no token can be checked before that.
    pub fn keys_awaited(&self, alone: bool) {
        self.lock().keys_missing = alone;
        self.set("keys", Some("the key set was not read yet".to_owned()));
    }

    /// The key set was read, or why not; then the keys read before stay.
    pub fn keys(&self, outcome: &Result<(), String>) {
        let mut inner = self.lock();
        inner.keys_missing &= outcome.is_err();
        inner.keys_read |= outcome.is_ok();
        let read = inner.keys_read;
        drop(inner);
        match outcome {
            Ok(()) => self.set("keys", None),
            Err(problem) if read => {
                self.metrics.component_up("keys", false);
                let stale = Component::degraded_by(&[format!("the key set is that of before: {problem}")]);
                self.lock().components.insert("keys", stale);
            }
            Err(problem) => self.set("keys", Some(format!("the key set was not read yet: {problem}"))),
        }
    }

    /// Companies whose events wait until they have another chain.
    pub fn paused(&self, companies: Vec<(Company, PausedBy)>) {
        self.lock().paused = companies;
    }

    /// Why this company's events wait for another chain, where they do.
    #[must_use]
    pub fn paused_company(&self, company: &str) -> Option<&'static str> {
        let inner = self.lock();
        let (_, by) = inner.paused.iter().find(|(paused, _)| paused.as_str() == company)?;
        Some(why(*by))
    }

    /// The host begins to stop.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// May traffic be sent here? Else why not.
    ///
    /// # Errors
    /// The reason, in a sentence.
    pub fn ready(&self) -> Result<(), &'static str> {
        let inner = self.lock();
        if inner.draining {
            return Err("the host drains");
        }
        if !inner.store_reached {
            return Err("the replay cache was never reached");
        }
        if !inner.source_reached {
            return Err("the source was never reached");
        }
        if !inner.owned {
            return Err("nobody owns the partition");
        }
        if inner.keys_missing {
            return Err("the key set was never read");
        }
        Ok(())
    }

    /// `ok`, `degraded` or `down`, and each component.
    #[must_use]
    pub fn report(&self) -> (&'static str, BTreeMap<&'static str, Component>) {
        let inner = self.lock();
        let mut problems = inner.modules.clone();
        problems.extend(inner.can_not_run.iter().cloned());
        problems.extend(inner.paused.iter().map(|(company, by)| format!("company {company} is paused: {}", why(*by))));
        inner.report(Component::degraded_by(&problems))
    }

    /// As [`Health::report`], but no company is named: for listeners where companies may not know of each other.
    #[must_use]
    pub fn report_without_companies(&self) -> (&'static str, BTreeMap<&'static str, Component>) {
        let inner = self.lock();
        let counts = [
            ("folders refused or other than what runs", inner.modules.len()),
            ("chains that can not be run", inner.can_not_run.len()),
            ("companies paused", inner.paused.len()),
        ];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let problems: Vec<String> = counts.map(|(what, count)| format!("{what}: {count}")).collect();
        inner.report(Component::degraded_by(&problems))
    }
}

impl Inner {
    fn report(&self, modules: Component) -> (&'static str, BTreeMap<&'static str, Component>) {
        let mut components = self.components.clone();
        components.insert("modules", modules);
        if let Some(store) = components.get_mut("store").filter(|store| store.state == "up") {
            let rebuild = self.events_left.map(|events| {
                format!("it began empty and is being filled again from the source: about {events} events to go")
            });
            let concerns: Vec<String> = rebuild.into_iter().chain(self.store_concerns.iter().cloned()).collect();
            *store = Component::degraded_by(&concerns);
        }
        if let Some((_, how)) = self.stream_broke.as_ref().filter(|(when, _)| when.elapsed() < STREAM_BROKE_SAID) {
            components.insert("stream", Component::degraded_by(std::slice::from_ref(how)));
        }
        let status = match components.values().all(|component| component.state == "up") {
            true => "ok",
            false if !self.store_reached && !self.source_reached => "down",
            false => "degraded",
        };
        (status, components)
    }
}

fn why(by: PausedBy) -> &'static str {
    match by {
        PausedBy::Filter => "a filter failed that is to pause it (on-error)",
        PausedBy::Budget => "its filters fail at nearly all of its events",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ready_once_everything_was_reached() {
        let health = Health::new(Metrics::new());
        assert_eq!(health.report().0, "down");
        health.store_answers();
        health.source(true);
        assert!(health.ready().is_err());
        health.owner(true);
        assert_eq!((health.ready(), health.report().0), (Ok(()), "ok"));
        health.store_failed(&StoreError::Away("gone".to_owned()));
        assert_eq!((health.ready(), health.report().0), (Ok(()), "degraded"), "slow to fail once it was reached");
        health.drain();
        assert!(health.ready().is_err());
    }

    #[test]
    fn a_key_set_that_nothing_can_be_checked_without_is_waited_for() {
        let health = Health::new(Metrics::new());
        health.source(true);
        health.owner(true);
        health.store_answers();
        assert!(!health.report().1.contains_key("keys"), "none is configured");
        health.keys_awaited(true);
        health.keys(&Err("refused".to_owned()));
        assert!(health.ready().is_err());
        let (status, components) = health.report();
        assert_eq!((status, components["keys"].state), ("degraded", "down"));
        assert!(components["keys"].reason.as_deref().is_some_and(|reason| reason.contains("refused")));
        health.keys(&Ok(()));
        assert_eq!((health.ready(), health.report().0), (Ok(()), "ok"));
        health.keys(&Err("refused".to_owned()));
        assert_eq!((health.ready(), health.report().1["keys"].state), (Ok(()), "degraded"), "the old keys stay");
        health.keys_awaited(false);
        assert_eq!(health.ready(), Ok(()), "there are other keys");
    }

    #[test]
    fn without_companies_problems_are_counted_and_nobody_is_named() {
        let health = Health::new(Metrics::new());
        health.modules(vec!["acme: 10-x.wasm: no module".to_owned(), "globex: differs".to_owned()]);
        health.paused(vec![(Company::new("initech").expect("a name"), PausedBy::Filter)]);
        let (_, components) = health.report_without_companies();
        assert_eq!(components["modules"].state, "degraded");
        assert_eq!(
            components["modules"].reason.as_deref(),
            Some("folders refused or other than what runs: 2; companies paused: 1")
        );
        assert!(health.report().1["modules"].reason.as_deref().is_some_and(|reason| reason.contains("initech")));
    }

    #[test]
    fn a_chain_that_can_not_be_run_is_told_until_it_can() {
        let health = Health::new(Metrics::new());
        health.can_not_run(vec!["the chain of company initech can not be run: no memory".to_owned()]);
        let up = |health: &Health| health.metrics.encode().contains("tidegate_component_up{component=\"modules\"} 1");
        assert_eq!((health.report().1["modules"].state, up(&health)), ("degraded", false));
        let reason = health.report_without_companies().1["modules"].reason.clone();
        assert_eq!(reason.as_deref(), Some("chains that can not be run: 1"));
        health.modules(Vec::new());
        assert!(!up(&health), "the folders are another question");
        health.can_not_run(Vec::new());
        assert_eq!((health.report().1["modules"].state, up(&health)), ("up", true));
    }

    #[test]
    fn a_store_that_takes_no_commit_is_down_whatever_else_it_answers() {
        let health = Health::new(Metrics::new());
        health.source(true);
        health.owner(true);
        health.commits(Err(&StoreError::Full("OOM".to_owned())));
        health.store_answers();
        let (status, components) = health.report();
        assert_eq!((status, components["store"].state), ("degraded", "down"));
        assert!(components["store"].reason.as_deref().is_some_and(|reason| reason.contains("OOM")));
        health.commits(Ok(()));
        assert_eq!(health.report().0, "ok");
    }

    #[test]
    fn a_store_that_is_filled_again_is_degraded_until_it_is_as_far_as_the_source_was() {
        let health = Health::new(Metrics::new());
        health.source(true);
        health.owner(true);
        health.store_answers();
        health.rebuilding(Some(1_234));
        let (status, components) = health.report();
        assert_eq!((status, components["store"].state), ("degraded", "degraded"));
        assert!(components["store"].reason.as_deref().is_some_and(|reason| reason.contains("1234 events")));
        health.rebuilding(None);
        assert_eq!(health.report().0, "ok");
    }

    #[test]
    fn what_the_stores_settings_may_cost_is_told_while_it_works() {
        let health = Health::new(Metrics::new());
        health.source(true);
        health.owner(true);
        health.store_answers();
        health.store_concerns(vec!["it evicts".to_owned()]);
        let (status, components) = health.report();
        assert_eq!((status, components["store"].state), ("degraded", "degraded"));
        health.store_failed(&StoreError::Away("gone".to_owned()));
        assert_eq!(health.report().1["store"].state, "down");
    }

    #[test]
    fn a_stream_that_broke_is_said_beside_what_is_up() {
        let health = Health::new(Metrics::new());
        health.store_answers();
        health.source(true);
        health.owner(true);
        health.stream_broke("made anew".into());
        let (status, components) = health.report();
        assert_eq!((status, components["stream"].state), ("degraded", "degraded"));
        assert_eq!(components["stream"].reason.as_deref(), Some("made anew"));
        assert_eq!(health.ready(), Ok(()));
    }
}
