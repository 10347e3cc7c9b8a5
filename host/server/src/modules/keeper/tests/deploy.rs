//! What is deployed to folders, on one host and on several.

use super::*;
use crate::modules::copy::Packer;
use crate::modules::keeper::{DeployError, Deployed, What, Wish};
use crate::modules::releases::Verb;
use tidegate_filter::{Chain, Filter, OnError, Role};

/// A version of the platform chain, and its copy.
fn chain(world: &World, version: u64) -> (Arc<Chain>, Bytes) {
    let limits = Limits { call_ms: 100 + version, ..Limits::default() };
    let code = world.engine.load(BUILTIN, Role::Platform, &limits).unwrap();
    let filter = Filter::new(&world.engine, "10-p", code, "{}", limits, OnError::DeadLetter).unwrap();
    let chain = Chain::new(vec![Arc::new(filter)], Role::Platform).unwrap();
    let packed = Packer::default().pack(&chain, &[BUILTIN]).unwrap();
    (Arc::new(chain), packed)
}

fn wish(what: What) -> Wish {
    Wish { folder: PLATFORM.to_owned(), what, by: "ann".to_owned(), message: "why".to_owned() }
}

fn push(world: &World, keeper: &mut Keeper, version: u64) -> Result<Deployed, DeployError> {
    let base = keeper.base(PLATFORM)?.map(|base| base.chain.digest().to_string());
    let (chain, packed) = chain(world, version);
    keeper.deploy(wish(What::Push { chain, packed, base, verb: Verb::Push, filter: "10-p".to_owned() }))
}

/// An owner of this host's folder, and what its first commit named.
fn owner(world: &World, host: &Host) -> (Keeper, Names) {
    let mut keeper = world.start(host);
    keeper.own(&Names::new()).unwrap();
    let named = commit(&mut keeper);
    (keeper, named)
}

#[test]
fn a_push_runs_at_once_whatever_the_files_are_and_goes_back_step_by_step_to_them() {
    let (world, a) = (World::new(), Host::new());
    a.put(1);
    let (mut owner, _) = owner(&world, &a);
    let pushed = push(&world, &mut owner, 2).unwrap();
    assert_eq!((pushed.release, pushed.runs, version(&owner)), (Some(1), true, 2));
    commit(&mut owner);
    a.put(3);
    owner.look(true);
    assert_eq!(version(&owner), 2, "the folder is not its files' now");
    assert!(states(&owner).iter().all(|(state, _)| *state == "active"), "{:?}", states(&owner));
    push(&world, &mut owner, 4).unwrap();
    commit(&mut owner);
    assert_eq!(owner.deploy(wish(What::Rollback(None))).unwrap().release, Some(1));
    assert_eq!(version(&owner), 2);
    commit(&mut owner);
    let back = owner.deploy(wish(What::Rollback(None))).unwrap();
    assert_eq!((back.release, version(&owner)), (None, 3));
    commit(&mut owner);
    assert_eq!(owner.deploy(wish(What::Rollback(Some(2)))).unwrap().release, Some(2));
    assert_eq!(version(&owner), 4);
    let missing = owner.deploy(wish(What::Rollback(Some(7)))).unwrap_err();
    assert!(missing.to_string().contains("kept: 1, 2"), "{missing}");
    owner.deploy(wish(What::GiveBack)).unwrap();
    assert_eq!(version(&owner), 3);
    assert!(matches!(owner.deploy(wish(What::GiveBack)), Err(DeployError::Conflict(_))));
}

#[test]
fn a_folder_is_not_given_back_to_files_that_make_no_chain() {
    let (world, a) = (World::new(), Host::new());
    a.put(1);
    let (mut owner, _) = owner(&world, &a);
    push(&world, &mut owner, 2).unwrap();
    commit(&mut owner);
    fs::write(a.modules().join(PLATFORM).join("10-p.wasm"), "no module").unwrap();
    for what in [What::GiveBack, What::Rollback(None)] {
        let refused = owner.deploy(wish(what)).unwrap_err();
        assert!(matches!(&refused, DeployError::Conflict(story) if story.contains("10-p")), "{refused}");
        assert_eq!(version(&owner), 2);
        assert_eq!(owner.listing().releases(PLATFORM).unwrap().log.len(), 1, "nothing was done");
    }
    assert!(states(&owner).iter().all(|(state, _)| *state == "active"), "{:?}", states(&owner));
    a.put(3);
    owner.deploy(wish(What::GiveBack)).unwrap();
    assert_eq!(version(&owner), 3, "as they are now");
}

#[test]
fn files_are_rolled_back_to_what_they_were_and_serve_again_once_they_are_changed() {
    let (world, a) = (World::new(), Host::new());
    a.put(1);
    let (mut owner, _) = owner(&world, &a);
    assert!(matches!(owner.deploy(wish(What::Rollback(None))), Err(DeployError::Nothing(_))), "nothing ran before");
    a.put(2);
    owner.look(true);
    commit(&mut owner);
    owner.deploy(wish(What::Rollback(None))).unwrap();
    assert_eq!(version(&owner), 1);
    let named = commit(&mut owner);
    // It stays so over a restart.
    let mut again = world.start(&a);
    again.own(&named).unwrap();
    assert_eq!(version(&again), 1);
    assert!(matches!(again.deploy(wish(What::Rollback(None))), Err(DeployError::Nothing(_))), "there is nothing older");
    a.put(3);
    again.look(true);
    assert_eq!(version(&again), 3);
}

#[test]
fn what_is_deployed_through_any_host_runs_on_every_owner() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    a.put(1);
    b.put(1);
    let (mut owner, named) = owner(&world, &a);
    let mut standby = world.start(&b);
    standby.stand_by(named);
    let pushed = push(&world, &mut standby, 2).unwrap();
    assert!(!pushed.runs);
    assert_eq!(version(&owner), 1);
    owner.listen();
    assert_eq!(version(&owner), 2, "the owner heard of it");
    let named = commit(&mut owner);
    standby.stand_by(named.clone());
    assert!(states(&standby).iter().all(|(state, _)| *state == "active"), "{:?}", states(&standby));
    // A new host, and one whose files are others, run it as well.
    for folder in [None, Some(1), Some(5)] {
        let host = Host::new();
        if let Some(version) = folder {
            host.put(version);
        }
        let mut keeper = world.start(&host);
        keeper.own(&named).unwrap();
        assert_eq!(version(&keeper), 2, "files: {folder:?}");
    }
    // Over an emptied store, too.
    let mut heir = world.start(&b);
    heir.own(&Names::new()).unwrap();
    assert_eq!(version(&heir), 2);
    // Given back by the stand-by, the owner's files run.
    standby.deploy(wish(What::GiveBack)).unwrap();
    owner.listen();
    assert_eq!(version(&owner), 1);
}

#[test]
fn of_two_pushes_at_once_one_is_told_to_look_again() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    let (mut owner, named) = owner(&world, &a);
    let mut standby = world.start(&b);
    standby.stand_by(named);
    let base = standby.base(PLATFORM).unwrap().map(|base| base.chain.digest().to_string());
    push(&world, &mut owner, 2).unwrap();
    let (chain, packed) = chain(&world, 3);
    let late = What::Push { chain, packed, base, verb: Verb::Push, filter: "10-p".to_owned() };
    assert!(matches!(standby.deploy(wish(late)), Err(DeployError::Conflict(_))));
    assert_eq!(push(&world, &mut standby, 3).unwrap().release, Some(2));
    let log = standby.listing().releases(PLATFORM).unwrap().log;
    assert_eq!(log.iter().map(|action| action.release).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn a_chain_that_spends_its_budget_soon_after_its_switch_is_rolled_back_by_the_owner() {
    let (world, a) = (World::new(), Host::new());
    a.put(1);
    let (mut owner, _) = owner(&world, &a);
    let running = |keeper: &Keeper| keeper.cell().load().platform().unwrap().digest().to_string();
    let first = running(&owner);
    let spent = |digest: &str| wish(What::Spent(digest.to_owned()));
    assert!(matches!(owner.deploy(spent(&first)), Err(DeployError::Conflict(_))), "it was found running");
    push(&world, &mut owner, 2).unwrap();
    commit(&mut owner);
    let second = running(&owner);
    assert!(matches!(owner.deploy(spent(&first)), Err(DeployError::Conflict(_))), "it does not run");
    let done = owner.deploy(spent(&second)).unwrap();
    assert_eq!((done.release, version(&owner)), (None, 1));
    let action = owner.listing().releases(PLATFORM).unwrap().log.pop().unwrap();
    assert_eq!((action.verb, action.by.as_str()), (Verb::RolledBackByItself, "tidegate"));
}

#[test]
fn a_release_whose_copy_is_gone_changes_nothing_and_says_so() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    a.put(1);
    let (mut owner, named) = owner(&world, &a);
    push(&world, &mut owner, 2).unwrap();
    world.shared.0.lock().unwrap().clear();
    let mut heir = world.start(&b);
    heir.own(&named).unwrap();
    let told = states(&heir);
    assert!(told.iter().any(|(state, reason)| *state == "refused" && reason.is_some()), "{told:?}");
}

#[test]
fn a_host_with_older_files_takes_nothing_back_by_a_push_or_a_rollback() {
    let (world, a, b) = (World::new(), Host::new(), Host::new());
    a.put(1);
    b.put(1);
    let (mut owner, named) = owner(&world, &a);
    let mut standby = world.start(&b);
    standby.stand_by(named);
    a.put(2);
    owner.look(true);
    standby.stand_by(commit(&mut owner));
    assert!(matches!(push(&world, &mut standby, 3), Err(DeployError::Conflict(_))));
    assert!(matches!(standby.deploy(wish(What::Rollback(None))), Err(DeployError::Conflict(_))));
    owner.listen();
    assert_eq!(version(&owner), 2);
    assert_eq!(push(&world, &mut owner, 3).unwrap().release, Some(1));
}

#[test]
fn nothing_goes_back_to_what_was_rolled_back_and_what_was_gone_back_to_stays() {
    let (world, a) = (World::new(), Host::new());
    a.put(1);
    let (mut owner, _) = owner(&world, &a);
    a.put(2);
    owner.look(true);
    commit(&mut owner);
    owner.deploy(wish(What::Rollback(None))).unwrap();
    assert_eq!(version(&owner), 1);
    commit(&mut owner);
    let running = owner.cell().load().platform().unwrap().digest().to_string();
    let spent = owner.deploy(wish(What::Spent(running)));
    assert!(matches!(spent, Err(DeployError::Conflict(_))), "whatever fails now failed before, too");
    a.put(3);
    owner.look(true);
    commit(&mut owner);
    assert_eq!(version(&owner), 3);
    owner.deploy(wish(What::Rollback(None))).unwrap();
    assert_eq!(version(&owner), 1, "and not the one that was rolled back");
}
