//! What clients may do to a host: come back all at once, never read, be cut anywhere.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::flow::{COMPANIES, Flow, SUBJECT};
use crate::backend::{Backend, World};
use crate::history::{number, payload};
use crate::proxy::Proxy;
use crate::session::Session;
use crate::sse::Frame;
use crate::stream::{Connection, Request};
use crate::verdict::Verdict;
use crate::wait;

/// The company whose clients are all cut at once, beside those of a flow.
const STORMED: &str = "stormed";
/// Its clients.
const CLIENTS: usize = 500;
/// Events behind which they come back.
const BEHIND: u64 = 500;

/// Clients that never read.
const SILENT: usize = 1_000;
/// Bytes that a connection may hold for itself: what it takes from the ring or a page at a time, hyper's buffers for
/// reading and writing, its task, and what notes about it take.
const CONNECTION_BYTES: u64 = (64 + 16 + 16 + 16) << 10;
/// The companies' rings, of which there are two, and pages that are kept: the settings below and a bound of the host.
const SHARED_BYTES: u64 = 2 * (4 << 20) + (64 << 20);
/// What a debug build's allocator may keep beyond that.
const SLACK_BYTES: u64 = 48 << 20;

fn numbers_of(numbers: impl Iterator<Item = u64>) -> Vec<String> {
    numbers.map(|n| payload(STORMED, n)).collect()
}

pub(super) async fn a_storm_of_replays_reads_each_page_once() -> Result<Verdict> {
    storm(Backend::JetStream).await
}

pub(super) async fn a_storm_of_replays_reads_each_page_once_on_embedded_parts() -> Result<Verdict> {
    storm(Backend::Embedded).await
}

/// All clients of a company are cut, miss some events, and come back at once; other companies' streams go on.
async fn storm(backend: Backend) -> Result<Verdict> {
    let world = World::start(backend).await?;
    let publisher = world.publisher().await?;
    let proxy = Proxy::to(world.host.http()?).await?;
    let sessions: Vec<Session> = (0..CLIENTS).map(|_| Session::follow(vec![proxy.address()], STORMED)).collect();
    for session in &sessions {
        session.until("ready", |frames| frames.iter().any(|frame| frame.kind() == "ready")).await?;
    }
    let flow = Flow::begin(&world, 200).await?;
    publisher.send_all(SUBJECT, numbers_of(0..20)).await?;
    for (client, session) in sessions.iter().enumerate() {
        // Cut at different events, as by a network that goes away bit by bit.
        session.reaches(client as u64 % 20).await?;
    }
    proxy.sever();
    publisher.send_all(SUBJECT, numbers_of(20..20 + BEHIND)).await?;
    let published = 20 + BEHIND;
    wait::until_ok("the events are in the replay cache", || async {
        let stats = world.host.json("/stream/stats").await?;
        ensure!(stats["replayCache"]["eventsByCompany"][STORMED] == published, "{stats}");
        Ok(())
    })
    .await?;
    let before = world.host.metrics().await?;
    proxy.mend();
    for session in &sessions {
        session.reaches(published - 1).await?;
    }
    let after = world.host.metrics().await?;
    let grown = |name: &str| after.sum(name) - before.sum(name);
    let (read, shared) = (grown("replay_pages_read_total"), grown("replay_pages_shared_total"));
    let mut verdict = flow.end(false).await?;
    // Every tenth of the clients would do. What a commit wrote is read in one page, here more than half of the events.
    ensure!(read <= CLIENTS as f64 / 10.0, "{read} pages were read for {CLIENTS} clients");
    ensure!(
        read + shared >= CLIENTS as f64 * 2.0,
        "{read} and {shared} pages can't have brought {CLIENTS} clients {BEHIND} events"
    );
    let numbers: Vec<u64> = (0..published).collect();
    for session in &sessions {
        verdict += session.verdict(&numbers, false);
    }
    Ok(verdict)
}

/// A thousand clients that never read, half of them live and half in the middle of a replay.
pub(super) async fn clients_that_never_read_cost_no_memory_and_delay_nobody() -> Result<Verdict> {
    silent(Backend::Embedded).await
}

pub(super) async fn clients_that_never_read_cost_no_memory_and_delay_nobody_on_jetstream() -> Result<Verdict> {
    silent(Backend::JetStream).await
}

async fn silent(backend: Backend) -> Result<Verdict> {
    const EVENTS: u64 = 6_000;
    let mut world = World::prepare(backend).await?;
    for setting in ["live.stall-timeout=10m", "live.ring-bytes=4MiB"] {
        world.host.set(setting);
    }
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let readers: Vec<Session> = (0..3)
        .map(|_| Session::follow(vec![world.host.http().unwrap_or(([127, 0, 0, 1], 0).into())], STORMED))
        .collect();
    let flow = Flow::begin(&world, 100).await?;
    for reader in &readers {
        reader.until("ready", |frames| frames.iter().any(|frame| frame.kind() == "ready")).await?;
    }
    let wide = |n: u64| format!(r#"{{"companyId":"{STORMED}","n":{n},"pad":"{}"}}"#, "x".repeat(1_000));
    let request = Request { receive_buffer: Some(4 << 10), ..Request::company(STORMED) };
    let mut silent = Vec::new();
    for _ in 0..SILENT / 2 {
        silent.push(world.host.open(&request).await?);
    }
    let (_, begun) = world.host.process()?.usage()?;
    for from in (0..EVENTS / 2).step_by(250) {
        publisher.send_all(SUBJECT, (from..from + 250).map(wide).collect()).await?;
    }
    let earliest = request.clone().query("lastEventId", "earliest");
    for client in 0..SILENT / 2 {
        let mut connection = world.host.open(&earliest).await?;
        // Each stops somewhere else.
        read_some(&mut connection, client % 50).await?;
        silent.push(connection);
    }
    for from in (EVENTS / 2..EVENTS).step_by(250) {
        publisher.send_all(SUBJECT, (from..from + 250).map(wide).collect()).await?;
    }
    let mut verdict = Verdict::default();
    for reader in &readers {
        reader.reaches(EVENTS - 1).await?;
        verdict += reader.verdict(&(0..EVENTS).collect::<Vec<_>>(), false);
    }
    verdict += flow.end(false).await?;
    let (_, peak) = world.host.process()?.usage()?;
    let allowed = SILENT as u64 * CONNECTION_BYTES + SHARED_BYTES + SLACK_BYTES;
    ensure!(
        peak.saturating_sub(begun) <= allowed,
        "{SILENT} clients that never read made {} MiB of {} MiB; {} MiB more are allowed",
        peak >> 20,
        begun >> 20,
        allowed >> 20
    );
    let connected = world.host.json("/stream/stats").await?["connections"]["totalConnections"].as_u64();
    ensure!(connected.is_some_and(|all| all >= SILENT as u64), "{connected:?} are connected");
    verdict.connections += silent.len() as u64;
    Ok(verdict)
}

async fn read_some(connection: &mut Connection, events: usize) -> Result<()> {
    let mut read = 0;
    while read < events {
        let frame = connection.next().await?.context("the stream has ended")?;
        read += usize::from(!frame.is_control());
    }
    Ok(())
}

pub(super) async fn clients_cut_at_random_bytes_lose_and_double_nothing() -> Result<Verdict> {
    cut(Backend::Embedded).await
}

pub(super) async fn clients_cut_at_random_bytes_lose_and_double_nothing_on_jetstream() -> Result<Verdict> {
    cut(Backend::JetStream).await
}

async fn cut(backend: Backend) -> Result<Verdict> {
    let world = World::start(backend).await?;
    let proxy = Proxy::to(world.host.http()?).await?;
    let flow = Flow::over(vec![proxy.address()], world.publisher().await?, 500).await?;
    // From within the head to some frames.
    proxy.cut_between(0x5eed, 60..6_000);
    proxy.cut();
    flow.goes_on(1_500).await?;
    proxy.cut_no_more();
    proxy.cut();
    let cuts: usize = flow.sessions.iter().map(Session::connections).sum();
    ensure!(cuts >= COMPANIES.len() * 10, "only {cuts} connections");
    flow.end(false).await
}

/// Clients of three kinds: one that reads, one that reads slowly, one that stops; a host that drops the oldest.
pub(super) async fn drop_oldest_drops_for_slow_clients_alone_and_counts() -> Result<Verdict> {
    slow(Backend::Embedded, "drop-oldest").await
}

pub(super) async fn disconnect_ends_the_streams_of_slow_clients_alone() -> Result<Verdict> {
    slow(Backend::Embedded, "disconnect").await
}

async fn slow(backend: Backend, policy: &str) -> Result<Verdict> {
    /// More than `live.buffer` at once, so that one commit alone is more than a client may lag; what is left of it after
    /// one full write is less, so that a quick client on a busy machine is not taken for a slow one.
    const AT_ONCE: u64 = 200;
    const EVENTS: u64 = 60 * AT_ONCE;
    let mut world = World::prepare(backend).await?;
    world.host.set(&format!("live.slow-client={policy}"));
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let quick = Session::follow(vec![world.host.http()?], STORMED);
    quick.until("ready", |frames| frames.iter().any(|frame| frame.kind() == "ready")).await?;
    let mut slow = world.host.open(&Request { receive_buffer: Some(4 << 10), ..Request::company(STORMED) }).await?;
    let wide = |n: u64| format!(r#"{{"companyId":"{STORMED}","n":{n},"pad":"{}"}}"#, "x".repeat(300));
    for from in (0..EVENTS).step_by(usize::try_from(AT_ONCE)?) {
        publisher.send_all(SUBJECT, (from..from + AT_ONCE).map(wide).collect()).await?;
        quick.reaches(from + AT_ONCE - 1).await?;
    }
    ensure!(quick.connections() == 1, "the quick client was sent away {} times", quick.connections() - 1);
    let verdict = quick.verdict(&(0..EVENTS).collect::<Vec<_>>(), false);
    let mut frames = Vec::new();
    let mut told: Vec<Frame> = Vec::new();
    loop {
        let frame =
            tokio::time::timeout(Duration::from_secs(30), slow.next()).await.context("the slow client waits")??;
        let Some(frame) = frame else { break };
        let last = number(&frame) == Some(EVENTS - 1);
        if matches!(frame.kind(), "gap" | "bye") {
            told.push(frame.clone());
        }
        frames.push(frame);
        if last {
            break;
        }
    }
    let numbers: Vec<u64> = frames.iter().filter_map(number).collect();
    ensure!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "the slow client's events are out of order");
    if policy == "disconnect" {
        let bye = told.iter().find(|frame| frame.kind() == "bye").context("no `bye`")?;
        ensure!(told.len() == 1 && bye.json()["reason"] == "overloaded", "{told:?}");
        ensure!(numbers.iter().copied().eq(0..numbers.len() as u64), "until then it missed nothing");
    } else {
        ensure!(!told.is_empty() && told.iter().all(|gap| gap.json()["reason"] == "overflow"), "{told:?}");
        let missed: Option<u64> = told.iter().map(|gap| gap.json()["missed"].as_u64()).sum();
        ensure!(missed == Some(EVENTS - numbers.len() as u64), "{missed:?} are told as missed, {} came", numbers.len());
    }
    Ok(verdict)
}
