//! What may become of Redis.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::flow::{Flow, health_is};
use crate::backend::{Backend, World};
use crate::modules::{Modules, stateful};
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::session::Session;
use crate::verdict::Verdict;
use crate::wait;

/// Events a second of each row.
const PER_SECOND: u32 = 300;

/// A host whose way to Redis leads through a proxy.
async fn through_a_proxy() -> Result<(World, Proxy)> {
    let mut world = World::prepare(Backend::JetStream).await?;
    let proxy = Proxy::to(world.redis()?.address()).await?;
    world.host.env("REDIS_URL", &format!("redis://{}/0", proxy.address()));
    world.host.start().await?;
    Ok((world, proxy))
}

/// Waits until health gives this reason for the state of the store.
async fn store_says(world: &World, state: &str, reason: &str) -> Result<()> {
    wait::until_ok(&format!("health says {reason} of the store"), || async {
        let health = world.host.json("/stream/health").await?;
        let store = &health["components"]["store"];
        let told = store["reason"].as_str().unwrap_or_default();
        ensure!(health["status"] == "degraded" && store["state"] == state && told.contains(reason), "{health}");
        Ok(())
    })
    .await
}

pub(super) async fn a_redis_that_restarts_loses_nothing() -> Result<Verdict> {
    let mut world = World::start(Backend::JetStream).await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    for _ in 0..2 {
        flow.goes_on(100).await?;
        world.redis_mut()?.kill()?;
        health_is(&world, "degraded").await?;
        flow.goes_on(100).await?;
        world.redis_mut()?.resume().await?;
        health_is(&world, "ok").await?;
    }
    flow.end(false).await
}

pub(super) async fn a_redis_killed_again_and_again_under_load_loses_nothing() -> Result<Verdict> {
    let mut world = World::start(Backend::JetStream).await?;
    let flow = Flow::begin(&world, 1_000).await?;
    for round in 0..8 {
        // In the middle of whatever it does.
        flow.goes_on(200 + round * 37).await?;
        world.redis_mut()?.kill()?;
        world.redis_mut()?.resume().await?;
    }
    flow.end(false).await
}

pub(super) async fn a_flushed_redis_is_filled_again_and_nobody_misses_anything() -> Result<Verdict> {
    let world = World::start(Backend::JetStream).await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    for _ in 0..3 {
        flow.goes_on(200).await?;
        world.redis()?.flush().await?;
    }
    flow.goes_on(200).await?;
    flow.end(false).await
}

pub(super) async fn a_flushed_redis_costs_filters_their_state_and_each_client_is_told() -> Result<Verdict> {
    let mut world = World::prepare(Backend::JetStream).await?;
    Modules::of(&world.host.modules(), "_default").put("10-keeps.wasm", &stateful()?)?;
    world.host.start().await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    flow.goes_on(300).await?;
    world.redis()?.flush().await?;
    for session in &flow.sessions {
        session.until("a gap", |frames| frames.iter().any(|frame| frame.kind() == "gap")).await?;
    }
    flow.goes_on(300).await?;
    let told = |session: &Session| session.frames().iter().filter(|frame| frame.kind() == "gap").count();
    ensure!(flow.sessions.iter().all(|session| told(session) == 1), "told more than once");
    flow.end(true).await
}

pub(super) async fn a_flushed_redis_without_a_stream_behind_it_is_told_as_a_loss() -> Result<Verdict> {
    let world = World::start(Backend::Core).await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    flow.goes_on(300).await?;
    world.redis()?.flush().await?;
    for session in &flow.sessions {
        session.until("a gap", |frames| frames.iter().any(|frame| frame.kind() == "gap")).await?;
    }
    health_is(&world, "ok").await?;
    flow.goes_on(300).await?;
    flow.end(true).await
}

pub(super) async fn a_redis_that_restarts_empty_is_filled_again() -> Result<Verdict> {
    let mut world = World::start(Backend::JetStream).await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    for _ in 0..2 {
        flow.goes_on(200).await?;
        world.redis_mut()?.kill()?;
        health_is(&world, "degraded").await?;
        world.redis_mut()?.resume_empty().await?;
        health_is(&world, "ok").await?;
    }
    flow.end(false).await
}

pub(super) async fn a_redis_without_memory_refuses_whole_commits_and_goes_on_when_there_is_some() -> Result<Verdict> {
    let world = World::start(Backend::JetStream).await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    let redis = world.redis()?;
    redis.set("maxmemory-policy", "noeviction").await?;
    for _ in 0..3 {
        flow.goes_on(100).await?;
        redis.set("maxmemory", "1").await?;
        store_says(&world, "down", "OOM").await?;
        flow.goes_on(100).await?;
        redis.set("maxmemory", "0").await?;
        health_is(&world, "ok").await?;
    }
    flow.end(false).await
}

pub(super) async fn a_redis_that_may_evict_is_told_of() -> Result<Verdict> {
    let world = World::prepare(Backend::JetStream).await?;
    let redis = world.redis()?;
    redis.set("maxmemory", "100mb").await?;
    redis.set("maxmemory-policy", "allkeys-lru").await?;
    let mut world = world;
    world.host.start().await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    store_says(&world, "degraded", "allkeys-lru").await?;
    let doctor = world.host.run(&["doctor"]).await?;
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(told.contains("allkeys-lru"), "{told}");
    flow.goes_on(200).await?;
    flow.end(false).await
}

pub(super) async fn a_redis_that_becomes_a_read_only_replica_is_waited_for() -> Result<Verdict> {
    let world = World::start(Backend::JetStream).await?;
    let other = Redis::start().await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    let redis = world.redis()?;
    for _ in 0..2 {
        flow.goes_on(100).await?;
        // In step, so that making it a copy of its copy takes nothing away.
        other.follow(redis).await?;
        redis.set("min-replicas-to-write", "5").await?;
        other.caught_up_with(redis).await?;
        other.promote().await?;
        redis.set("min-replicas-to-write", "0").await?;
        redis.follow(&other).await?;
        store_says(&world, "down", "read only").await?;
        flow.goes_on(100).await?;
        redis.promote().await?;
        health_is(&world, "ok").await?;
    }
    flow.end(false).await
}

pub(super) async fn a_failover_that_lost_writes_is_found_out_and_filled_in() -> Result<Verdict> {
    let (world, proxy) = through_a_proxy().await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    let mut spares = vec![Redis::start().await?, Redis::start().await?, Redis::start().await?];
    let mut primaries: Vec<Redis> = Vec::new();
    while let Some(spare) = spares.pop() {
        let primary = match primaries.last() {
            Some(primary) => primary,
            None => world.redis()?,
        };
        spare.follow(primary).await?;
        flow.goes_on(100).await?;
        // From here on the replica hears of nothing any more; the primary goes on for a while, seen by every client.
        spare.promote().await?;
        flow.goes_on(150).await?;
        primary.freeze()?;
        flow.goes_on(50).await?;
        proxy.turn_to(spare.address());
        primaries.push(spare);
        wait::until("the host finds out", || async {
            let log = world.host.log();
            let found = log.matches("a commit was refused").count() + log.matches("the store went back").count();
            (found >= primaries.len()).then_some(())
        })
        .await?;
        health_is(&world, "ok").await?;
    }
    flow.end(false).await
}

pub(super) async fn a_slow_redis_delays_and_ends_nothing() -> Result<Verdict> {
    let (world, proxy) = through_a_proxy().await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    flow.goes_on(100).await?;
    proxy.delay(Duration::from_millis(500));
    let before = flow.sessions.iter().map(|session| session.numbers().len()).min().unwrap_or(0);
    flow.goes_on(1_500).await?;
    let slowest = flow.sessions.first().context("a client")?;
    // While it is slow, and not afterwards.
    slowest.until("live delivery goes on", |frames| frames.len() > before + 200).await?;
    ensure!(flow.sessions.iter().all(|session| session.connections() == 1), "a stream was ended");
    proxy.delay(Duration::ZERO);
    flow.end(false).await
}

pub(super) async fn a_commit_whose_answer_was_lost_is_not_made_twice() -> Result<Verdict> {
    let (world, proxy) = through_a_proxy().await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    for _ in 0..20 {
        flow.goes_on(40).await?;
        proxy.lose_answers(2);
        wait::until("the answers are lost", || async { (proxy.to_lose() == 0).then_some(()) }).await?;
    }
    flow.end(false).await
}

pub(super) async fn a_redis_that_freezes_delays_and_doubles_nothing() -> Result<Verdict> {
    let world = World::start(Backend::JetStream).await?;
    let flow = Flow::begin(&world, PER_SECOND).await?;
    for _ in 0..2 {
        flow.goes_on(100).await?;
        world.redis()?.freeze()?;
        // Longer than any answer is waited for: commits are in doubt, and some of them take effect at the thaw.
        health_is(&world, "degraded").await?;
        flow.goes_on(300).await?;
        world.redis()?.thaw()?;
        health_is(&world, "ok").await?;
    }
    flow.end(false).await
}
