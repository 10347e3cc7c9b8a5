//! Clocks that jump by an hour, either way.

use anyhow::{Result, ensure};

use super::flow::{Flow, health_is};
use super::pieces::Pieces;
use crate::backend::{Backend, World};
use crate::history::number;
use crate::recorder::Recorder;
use crate::sse::Frame;
use crate::stream::Request;
use crate::verdict::Verdict;
use crate::wait;
use crate::wallclock::WallClock;

const HOUR_S: i64 = 3_600;

async fn prepare(backend: Backend) -> Result<(World, WallClock)> {
    let clock = WallClock::new()?;
    let mut world = World::prepare(backend).await?;
    clock.give_to(&mut world.host);
    Ok((world, clock))
}

pub(super) async fn a_host_clock_that_jumps_under_load_changes_no_order() -> Result<Verdict> {
    jumps_under_load(Backend::JetStream).await
}

/// Here the events' own times jump with the host's.
pub(super) async fn a_host_clock_that_jumps_under_load_changes_no_order_of_the_embedded_log() -> Result<Verdict> {
    jumps_under_load(Backend::Embedded).await
}

async fn jumps_under_load(backend: Backend) -> Result<Verdict> {
    let (mut world, clock) = prepare(backend).await?;
    world.host.start().await?;
    let flow = Flow::begin(&world, 300).await?;
    for seconds in [HOUR_S, -HOUR_S, 0, -HOUR_S, HOUR_S] {
        flow.goes_on(100).await?;
        clock.set(seconds)?;
    }
    flow.goes_on(100).await?;
    let verdict = flow.end(false).await?;
    everything_can_be_read_again(&world).await?;
    Ok(verdict)
}

/// A newcomer gets all events from the first on, in their order, without a gap.
async fn everything_can_be_read_again(world: &World) -> Result<()> {
    let replay = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    replay.first("caught-up").await?;
    let frames = replay.frames();
    ensure!(!frames.iter().any(|frame: &Frame| frame.kind() == "gap"), "a gap");
    let numbers: Vec<u64> = frames.iter().filter(|frame| !frame.is_control()).filter_map(number).collect();
    ensure!(numbers.first() == Some(&0) && numbers.is_sorted(), "{numbers:?}");
    Ok(())
}

/// Clients that come back with ids from before and after each jump are told of no gap.
pub(super) async fn a_host_that_starts_an_hour_off_takes_its_cursors_as_they_are() -> Result<Verdict> {
    starts_an_hour_off(Backend::Embedded).await
}

pub(super) async fn a_host_that_starts_an_hour_off_takes_its_cursors_as_they_are_on_jetstream() -> Result<Verdict> {
    starts_an_hour_off(Backend::JetStream).await
}

async fn starts_an_hour_off(backend: Backend) -> Result<Verdict> {
    let (mut world, clock) = prepare(backend).await?;
    world.host.start().await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    for seconds in [-HOUR_S, HOUR_S, 0] {
        pieces.publish(60).await?;
        pieces.arrived().await?;
        world.host.kill()?;
        clock.set(seconds)?;
        world.host.restart().await?;
    }
    pieces.publish(60).await?;
    let verdict = pieces.end(&[]).await?;
    everything_can_be_read_again(&world).await?;
    Ok(verdict)
}

/// Numbers go by the clock there: they must not go back with it.
pub(super) async fn numbers_on_core_nats_do_not_go_back_with_the_clock() -> Result<Verdict> {
    let (mut world, clock) = prepare(Backend::Core).await?;
    clock.set(HOUR_S)?;
    world.host.start().await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    let mut gaps = Vec::new();
    for seconds in [0, -HOUR_S] {
        pieces.publish(60).await?;
        pieces.arrived().await?;
        clock.set(seconds)?;
        pieces.publish(60).await?;
        pieces.arrived().await?;
        world.host.kill()?;
        world.host.restart().await?;
        gaps.push("source-lost");
        pieces.told(gaps.len()).await?;
    }
    pieces.publish(60).await?;
    pieces.end(&gaps).await
}

/// By the host's clock everything is long past its retention, by the store's nothing: until they agree again nothing is
/// trimmed, and health says so.
pub(super) async fn nothing_is_trimmed_while_host_and_store_disagree_about_the_time() -> Result<Verdict> {
    let (mut world, clock) = prepare(Backend::JetStream).await?;
    world.host.set("replay.retention=20m");
    world.host.start().await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    for seconds in [HOUR_S, -HOUR_S] {
        pieces.publish(60).await?;
        pieces.arrived().await?;
        clock.set(seconds)?;
        wait::until_ok("health says that the clocks differ", || async {
            let health = world.host.json("/stream/health").await?;
            let reason = health["components"]["clock"]["reason"].as_str().unwrap_or_default();
            ensure!(health["status"] == "degraded" && reason.contains("nothing is trimmed"), "{health}");
            Ok(())
        })
        .await?;
        everything_can_be_read_again(&world).await?;
        clock.set(0)?;
        health_is(&world, "ok").await?;
    }
    let verdict = pieces.end(&[]).await?;
    everything_can_be_read_again(&world).await?;
    Ok(verdict)
}
