//! What may become of events on core NATS, which keeps none.

use anyhow::{Result, ensure};

use super::flow::{Flow, SUBJECT, health_is};
use super::pieces::Pieces;
use crate::backend::{Backend, World};
use crate::history::payload;
use crate::hosts::Hosts;
use crate::proxy::Proxy;
use crate::raw::{self, Odd};
use crate::session::Session;
use crate::sse::Frame;
use crate::verdict::Verdict;
use crate::wait;

/// More than a host holds for a reader that is slow.
const FLOOD: u64 = 60_000;
/// Payload bytes of each of a flood: so wide that the host's own queue is full, which counts what it loses, and the NATS
/// client's is not, which can't.
const FLOOD_BYTES: usize = 1_500;

pub(super) async fn a_disconnect_from_core_nats_is_a_gap() -> Result<Verdict> {
    let mut world = World::start(Backend::Core).await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.nats_mut()?.kill()?;
    health_is(&world, "degraded").await?;
    world.nats_mut()?.resume().await?;
    health_is(&world, "ok").await?;
    pieces.publish_by(world.publisher().await?);
    pieces.publish(300).await?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn what_came_over_core_nats_while_the_host_was_down_is_a_gap() -> Result<Verdict> {
    let mut world = World::start(Backend::Core).await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    pieces.publish(300).await?;
    world.host.restart().await?;
    pieces.told(1).await?;
    pieces.publish(300).await?;
    pieces.end(&["source-lost"]).await
}

/// The owner is killed while the stand-by has no way to NATS: it owns the partition before it can listen.
pub(super) async fn what_came_over_core_nats_before_a_new_owner_listened_is_a_gap() -> Result<Verdict> {
    let mut hosts = Hosts::over(false, 2, "1s").await?;
    let way = Proxy::to(hosts.nats.address()).await?;
    hosts.hosts[1].env("NATS_URL", &format!("nats://{}", way.address()));
    hosts.hosts[0].start().await?;
    hosts.is_owner(0, true).await?;
    hosts.hosts[1].start().await?;
    let (publisher, session) = (hosts.publisher().await?, Session::follow(vec![hosts.hosts[1].http()?], "a"));
    session.until("ready", |frames| frames.iter().any(|frame| frame.kind() == "ready")).await?;
    let publish = |numbers: std::ops::Range<u64>| {
        publisher.send_all(SUBJECT, numbers.map(|n| payload("a", n)).collect::<Vec<String>>())
    };
    publish(0..100).await?;
    session.reaches(99).await?;
    way.sever();
    hosts.hosts[0].kill()?;
    hosts.is_owner(1, true).await?;
    publish(100..150).await?;
    way.mend();
    session.until("a gap", |frames| frames.iter().any(|frame| frame.kind() == "gap")).await?;
    publish(150..200).await?;
    session.reaches(199).await?;
    Ok(session.verdict(&(0..200).collect::<Vec<_>>(), true))
}

pub(super) async fn an_odd_message_on_core_nats_is_at_most_a_gap() -> Result<Verdict> {
    let world = World::start(Backend::Core).await?;
    let server = world.nats()?.address();
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    for odd in Odd::ALL {
        pieces.publish(30).await?;
        pieces.arrived().await?;
        let before = (gaps(&pieces), dead_letters(&world).await?);
        raw::publish(server, &[odd.line()]).await?;
        // The client drops its connection, or the message is one without a company: either is told.
        wait::until_ok(&format!("{odd:?} is told"), || async {
            let now = (gaps(&pieces), dead_letters(&world).await?);
            ensure!(now.0 >= before.0 + pieces.sessions.len() || now.1 > before.1, "{now:?} after {before:?}");
            Ok(())
        })
        .await?;
        health_is(&world, "ok").await?;
    }
    pieces.publish(30).await?;
    pieces.arrived().await?;
    let told = gaps(&pieces) / pieces.sessions.len();
    ensure!(told >= 3, "only {told} gaps: the client took odd messages for good ones");
    pieces.end(&vec!["source-lost"; told]).await
}

fn gaps(pieces: &Pieces) -> usize {
    pieces.sessions.iter().flat_map(crate::session::Session::frames).filter(|frame| frame.kind() == "gap").count()
}

async fn dead_letters(world: &World) -> Result<f64> {
    Ok(world.host.metrics().await?.sum("dead_letters_total"))
}

pub(super) async fn odd_messages_in_a_flow_over_core_nats_take_nothing_silently() -> Result<Verdict> {
    let world = World::start(Backend::Core).await?;
    let server = world.nats()?.address();
    let flow = Flow::begin(&world, 1_000).await?;
    let all: Vec<Vec<u8>> = Odd::ALL.iter().map(|odd| odd.line()).collect();
    for line in &all {
        flow.goes_on(100).await?;
        raw::publish(server, std::slice::from_ref(line)).await?;
    }
    flow.goes_on(300).await?;
    raw::publish(server, &all).await?;
    flow.goes_on(100).await?;
    health_is(&world, "ok").await?;
    flow.goes_on(300).await?;
    flow.end(true).await
}

/// The store stands still while a flood comes: what the host can't hold is lost, counted exactly, and told where it was.
pub(super) async fn a_flood_that_a_slow_host_can_not_hold_is_counted_and_told() -> Result<Verdict> {
    let mut world = World::prepare(Backend::Core).await?;
    world.host.set("replay.max-events=1000000").set("replay.max-bytes=1GiB");
    world.host.start().await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    pieces.publish(30).await?;
    pieces.arrived().await?;
    world.redis()?.freeze()?;
    pieces.publish_wide(FLOOD, FLOOD_BYTES).await?;
    world.redis()?.thaw()?;
    pieces.told(1).await?;
    health_is(&world, "ok").await?;
    pieces.publish(30).await?;
    pieces.arrived().await?;
    let metrics = world.host.metrics().await?;
    let (lost, received) = (metrics.sum("source_lost_total"), metrics.sum("events_received_total"));
    ensure!(lost > 0.0, "the flood was no flood");
    ensure!(lost + received == pieces.sent() as f64, "{received} received and {lost} lost of {}", pieces.sent());
    let told = pieces.sessions[0].frames().iter().filter(|frame: &&Frame| frame.kind() == "gap").count();
    pieces.end(&vec!["source-lost"; told]).await
}
