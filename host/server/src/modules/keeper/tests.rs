//! Hosts with folders of their own, and what runs after each take-over. Versions of the platform chain differ in a limit.

use super::{Keeper, Means, Names, places};
use crate::clock::Clock;
use crate::health::Health;
use crate::modules::copy::Copies;
use crate::modules::folder::{Folder, FolderSettings, PLATFORM};
use crate::modules::notes::Notes;
use crate::modules::registry::Registry;
use crate::modules::warm::Warmer;
use crate::modules::{BUILTIN, Listed};
use crate::source::feed::Feed;
use crate::source::letter::StoredLetter;
use crate::source::letter_ids::LetterIds;
use crate::source::{Publish, Published, Record, Records, Source, SourceError};
use crate::store::contract::server::Folder as Place;
use crate::telemetry::Metrics;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::SourceEvent;
use tidegate_core::generation::StreamFacts;
use tidegate_filter::{Engine, EngineSettings, InstancePool, Limits, PoolSettings};
use tokio::runtime::Runtime;

#[path = "tests/deploy.rs"]
mod deploy;

/// What hosts share, and nothing else of a source.
#[derive(Default)]
struct Shared(Mutex<BTreeMap<String, Bytes>>, Mutex<Records>);

fn away<T: Send + 'static>() -> BoxFuture<'static, Result<T, SourceError>> {
    Box::pin(async { Err(SourceError::Away("not here".to_owned())) })
}

impl Source for Shared {
    fn kind(&self) -> &'static str {
        "jetstream"
    }
    fn facts(&self, _: u64) -> BoxFuture<'_, Result<StreamFacts, SourceError>> {
        away()
    }
    fn read(&self, _: u64, _: Feed) -> BoxFuture<'_, Result<(), SourceError>> {
        away()
    }
    fn next_stored(&self, _: u64) -> BoxFuture<'_, Result<Option<(u64, u64)>, SourceError>> {
        away()
    }
    fn fetch(&self, _: u64) -> BoxFuture<'_, Result<Option<SourceEvent>, SourceError>> {
        away()
    }
    fn publish<'a>(&'a self, _: &'a [Publish]) -> BoxFuture<'a, Result<Published, (Published, SourceError)>> {
        Box::pin(async { Err((Published::default(), SourceError::Away("not here".to_owned()))) })
    }
    fn publish_dead<'a>(&'a self, _: &'a DeadLetter) -> BoxFuture<'a, Result<(), SourceError>> {
        away()
    }
    fn dead_places(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        unreachable!("no dead letters are looked at here")
    }

    fn retried(&self, _: u64) -> BoxFuture<'_, Result<Vec<crate::source::letter::Retried>, SourceError>> {
        unreachable!("no dead letters are looked at here")
    }

    fn dead_letters(&self, _: u64, _: usize) -> BoxFuture<'_, Result<Vec<StoredLetter>, SourceError>> {
        away()
    }
    fn dead_ids(&self) -> BoxFuture<'_, Result<LetterIds, SourceError>> {
        away()
    }
    fn connected(&self) -> bool {
        true
    }
    fn last(&self) -> BoxFuture<'_, Result<(u64, u64), SourceError>> {
        away()
    }
    fn shared<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, SourceError>> {
        let found = self.0.lock().unwrap().get(name).cloned();
        Box::pin(async { Ok(found) })
    }
    fn shared_names(&self) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        let names = self.0.lock().unwrap().keys().cloned().collect();
        Box::pin(async { Ok(names) })
    }
    fn share<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), SourceError>> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes);
        Box::pin(async { Ok(()) })
    }
    fn records(&self, after: u64) -> BoxFuture<'_, Result<Records, SourceError>> {
        let mut records = self.1.lock().unwrap().clone();
        records.changed.retain(|record| record.revision > after);
        Box::pin(async { Ok(records) })
    }
    fn put_record<'a>(
        &'a self,
        name: &'a str,
        bytes: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, SourceError>> {
        let mut records = self.1.lock().unwrap();
        let last = records.changed.iter().find(|record| record.name == name).map_or(0, |record| record.revision);
        if last != revision {
            return Box::pin(async { Ok(None) });
        }
        records.last += 1;
        records.changed.retain(|record| record.name != name);
        let record = Record { name: name.to_owned(), revision: records.last, bytes };
        records.changed.push(record);
        let revision = records.last;
        Box::pin(async move { Ok(Some(revision)) })
    }
    fn unshare<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        self.0.lock().unwrap().remove(name);
        Box::pin(async { Ok(()) })
    }
}

/// Everything that several hosts have in common.
struct World {
    engine: Engine,
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// One host's folders.
struct Host(Place);

impl World {
    fn new() -> Self {
        let engine = Engine::new(EngineSettings::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { engine, shared: Arc::default(), runtime }
    }

    fn start(&self, host: &Host) -> Keeper {
        let (copies, notes, releases) = places(&host.0.0);
        let (copies, metrics, clock) = (Arc::new(Copies::new(copies)), Metrics::new(), Clock::system());
        let dir = host.modules();
        let settings = FolderSettings { dir, limits: Limits::default(), limits_max: Limits::ceiling() };
        let kept = Some(Arc::clone(&copies));
        let folder = Folder::open(self.engine.clone(), settings, kept, metrics.clone(), clock.clone()).unwrap();
        let means = Means {
            warmer: Warmer::new(InstancePool::new(PoolSettings::default()), 1),
            notes: Notes::open(notes),
            registry: Registry::new(releases),
            copies,
            source: Arc::clone(&self.shared) as Arc<dyn Source>,
            health: Health::new(metrics.clone()),
            metrics,
            clock,
            runtime: self.runtime.handle().clone(),
        };
        Keeper::new(folder, means).unwrap()
    }
}

impl Host {
    fn new() -> Self {
        Self(Place::new("keeper"))
    }

    fn modules(&self) -> PathBuf {
        self.0.0.join("filters")
    }

    /// Puts a version of the platform chain in place.
    fn put(&self, version: u64) {
        let folder = self.modules().join(PLATFORM);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("10-p.toml"), format!("[limits]\ncall-ms = {}\n", 100 + version)).unwrap();
        fs::write(folder.join("10-p.wasm"), BUILTIN).unwrap();
    }
}

/// Which version of the platform chain runs.
fn version(keeper: &Keeper) -> u64 {
    let chain = keeper.cell().load().platform().expect("a platform chain");
    chain.filters()[0].limits().call_ms - 100
}

/// What a commit of this moment names, once it is stored.
fn commit(keeper: &mut Keeper) -> Names {
    let names = keeper.cell().load().names();
    keeper.committed(names.clone());
    names
}

fn states(keeper: &Keeper) -> Vec<(&'static str, Option<String>)> {
    keeper.listing().all().into_iter().map(|Listed { state, reason, .. }| (state, reason)).collect()
}

#[test]
fn a_host_with_an_older_folder_runs_what_the_last_commit_names_until_its_folder_is_changed() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    a.put(1);
    b.put(1);
    let (mut first, mut second) = (world.start(&a), world.start(&b));
    first.own(&Names::new()).unwrap();
    second.stand_by(commit(&mut first));
    assert_eq!(version(&second), 1, "a host that never owned knows what runs, too");
    a.put(2);
    first.look(true);
    assert_eq!(version(&first), 2, "a change of the owner's folder is a swap");
    let named = commit(&mut first);
    second.stand_by(named.clone());
    assert_eq!(version(&second), 2, "from the copy, while it stands by");
    let told = states(&second);
    assert!(told.iter().any(|(state, reason)| *state == "differs" && reason.is_some()), "{told:?}");
    let (_, components) = second.means.health.report();
    assert!(components["modules"].reason.as_ref().is_some_and(|reason| reason.contains(PLATFORM)), "{components:?}");
    second.own(&named).unwrap();
    assert_eq!(version(&second), 2, "from the copy");
    assert!(states(&second).iter().any(|(state, _)| *state == "differs"));
    assert_eq!(commit(&mut second), named);
    b.put(3);
    second.look(true);
    assert_eq!(version(&second), 3);
    assert!(states(&second).iter().all(|(state, _)| *state == "active"));
    // The first one comes back with what it applied: that is no word against version 3.
    let named = commit(&mut second);
    let mut again = world.start(&a);
    again.own(&named).unwrap();
    assert_eq!(version(&again), 3);
    // Changed while it did not run: an operator's word.
    a.put(4);
    let mut again = world.start(&a);
    again.own(&named).unwrap();
    assert_eq!(version(&again), 4);
}

#[test]
fn a_folder_changed_on_a_stand_by_is_a_swap_when_it_takes_over_unless_the_owner_had_it_since() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    a.put(1);
    b.put(1);
    let (mut owner, mut standby) = (world.start(&a), world.start(&b));
    owner.own(&Names::new()).unwrap();
    let named = commit(&mut owner);
    standby.stand_by(named.clone());
    b.put(2);
    standby.look(true);
    // It is killed and started again before it takes over.
    let mut standby = world.start(&b);
    standby.stand_by(named.clone());
    let mut taken = world.start(&b);
    taken.own(&named).unwrap();
    assert_eq!(version(&taken), 2);
    // The owner applies the same, and then something newer: the stand-by's folder is the older one.
    a.put(2);
    owner.look(true);
    standby.stand_by(commit(&mut owner));
    a.put(3);
    owner.look(true);
    let named = commit(&mut owner);
    standby.stand_by(named.clone());
    standby.own(&named).unwrap();
    assert_eq!(version(&standby), 3);
}

#[test]
fn a_new_host_swaps_only_to_what_never_ran() {
    let (world, a) = (World::new(), Host::new());
    a.put(1);
    let mut owner = world.start(&a);
    owner.own(&Names::new()).unwrap();
    commit(&mut owner);
    a.put(2);
    owner.look(true);
    let named = commit(&mut owner);
    for (folder, runs) in [(Some(1), 2), (None, 2), (Some(3), 3), (None, 2)] {
        let new = Host::new();
        if let Some(version) = folder {
            new.put(version);
        }
        let mut keeper = world.start(&new);
        keeper.stand_by(named.clone());
        keeper.own(&named).unwrap();
        assert_eq!(version(&keeper), runs, "a new host with version {folder:?}");
    }
}

#[test]
fn who_takes_over_tells_which_chains_ran_where_the_owner_died_before_it_did() {
    let (world, a, b, new) = (World::new(), Host::new(), Host::new(), Host::new());
    a.put(1);
    b.put(1);
    let mut owner = world.start(&a);
    owner.own(&Names::new()).unwrap();
    commit(&mut owner);
    a.put(2);
    owner.look(true);
    // It dies before it hears that the commit which names version 2 is stored.
    let named = owner.cell().load().names();
    drop(owner);
    let mut heir = world.start(&b);
    heir.own(&named).unwrap();
    assert_eq!(version(&heir), 2);
    b.put(3);
    heir.look(true);
    let named = commit(&mut heir);
    new.put(2);
    let mut newest = world.start(&new);
    newest.own(&named).unwrap();
    assert_eq!(version(&newest), 3, "what its folder holds ran before");
}

#[test]
fn copies_are_dropped_once_nothing_can_go_back_to_them() {
    let (world, a) = (World::new(), Host::new());
    a.put(1);
    let mut owner = world.start(&a);
    owner.own(&Names::new()).unwrap();
    for version in 2..6 {
        a.put(version);
        owner.look(true);
        commit(&mut owner);
    }
    let shared: Vec<String> = world.shared.0.lock().unwrap().keys().cloned().collect();
    let running = owner.cell().load().platform().unwrap().digest().to_string();
    assert!(shared.len() == 3 && shared.contains(&running) && shared.contains(&"ran".to_owned()), "{shared:?}");
    let kept = fs::read_dir(places(&a.0.0).0).unwrap().count();
    assert_eq!(kept, 3, "what runs, what ran before it, and the built-in one");
}

#[test]
fn a_folder_that_makes_no_chain_leaves_what_is_named_in_place() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    a.put(1);
    let mut owner = world.start(&a);
    owner.own(&Names::new()).unwrap();
    let named = commit(&mut owner);
    fs::create_dir_all(b.modules().join(PLATFORM)).unwrap();
    fs::write(b.modules().join(PLATFORM).join("10-p.wasm"), b"no module").unwrap();
    let mut heir = world.start(&b);
    heir.own(&named).unwrap();
    assert_eq!(version(&heir), 1);
    assert!(states(&heir).iter().any(|(state, _)| *state == "refused"));
    // Without any commit nobody knows what ran: nothing passes.
    let mut fresh = world.start(&b);
    fresh.own(&Names::new()).unwrap();
    assert!(fresh.cell().load().platform().is_none());
    assert_eq!(&*fresh.cell().load().names()[0].1, "", "named as one that waits");
}

#[test]
fn an_emptied_store_changes_nothing_and_a_lost_copy_is_made_up_for_by_the_folder() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    a.put(1);
    b.put(1);
    let (mut owner, mut heir) = (world.start(&a), world.start(&b));
    owner.own(&Names::new()).unwrap();
    heir.stand_by(commit(&mut owner));
    a.put(2);
    owner.look(true);
    let named = commit(&mut owner);
    heir.stand_by(named.clone());
    heir.own(&Names::new()).unwrap();
    assert_eq!(version(&heir), 2, "what was named last, as far as it was told");
    world.shared.0.lock().unwrap().clear();
    let mut heir = world.start(&b);
    fs::remove_dir_all(places(&b.0.0).0).unwrap();
    heir.own(&named).unwrap();
    assert_eq!(version(&heir), 1, "there is nothing better");
}
