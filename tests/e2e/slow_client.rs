//! A client that doesn't read holds nobody up, and reads on from the cache.

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, number};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

const EVENTS: u64 = 12_000;

/// A small ring, and what must not pass it: so that a client is soon behind it.
const SETTINGS: [&str; 3] = ["live.ring-bytes=256KiB", "limits.frame-bytes=256KiB", "limits.event-bytes=64KiB"];

/// About a kilobyte: what socket buffers hold is soon full.
fn wide(n: u64) -> String {
    format!(r#"{{"companyId":"a","n":{n},"pad":"{}"}}"#, "x".repeat(1_000))
}

on_each!(a_slow_client_catches_up_without_a_gap: embedded, jetstream);

async fn a_slow_client_catches_up_without_a_gap(world: &mut World) -> Result<()> {
    for setting in SETTINGS {
        world.host.set(setting);
    }
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let fast = Recorder::open(&world.host, &Request::company("a")).await?;
    let request = Request { receive_buffer: Some(8 << 10), ..Request::company("a") };
    let slow = Recorder::open(&world.host, &request).await?;
    slow.pause();
    for from in (0..EVENTS).step_by(250) {
        publisher.send_all(SUBJECT, (from..from + 250).map(wide).collect()).await?;
    }
    fast.events_reach(usize::try_from(EVENTS)?).await?;
    let (_, peak) = world.host.process()?.usage()?;
    slow.resume();
    slow.until("the last event", |frames| frames.iter().rev().any(|frame| number(frame) == Some(EVENTS - 1))).await?;
    for stream in [&fast, &slow] {
        let numbers = Some((0..EVENTS).collect());
        // With this small a ring the fast one may fall behind for a moment, too.
        check(&stream.frames(), &Expected { company: "a", numbers, leaves_live: true, ..Expected::default() })?;
    }
    ensure!(slow.frames().iter().any(|frame| frame.kind() == "caught-up"), "it never left the ring");
    // Generous for a debug build with compiled filters; an unbounded queue for each client would show.
    ensure!(peak < 600 << 20, "{} MiB at the peak", peak >> 20);
    Ok(())
}

on_each!(a_client_that_takes_nothing_is_let_go: embedded);

async fn a_client_that_takes_nothing_is_let_go(world: &mut World) -> Result<()> {
    for setting in SETTINGS {
        world.host.set(setting);
    }
    world.host.set("live.stall-timeout=2s");
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let request = Request { receive_buffer: Some(8 << 10), ..Request::company("a") };
    let stalled = Recorder::open(&world.host, &request).await?;
    stalled.pause();
    for from in (0..EVENTS).step_by(250) {
        publisher.send_all(SUBJECT, (from..from + 250).map(wide).collect()).await?;
    }
    tidegate_tests::wait::until_ok("the connection is gone", || async {
        let stats = world.host.json("/stream/stats").await?;
        ensure!(stats["connections"]["totalConnections"] == 0, "{stats}");
        Ok(())
    })
    .await?;
    // The host closed it, not the client, and says so.
    let metrics = world.host.metrics().await?;
    ensure!(metrics.labelled("connection_errors_total", "reason=\"stalled\"") > 0.5);
    ensure!(metrics.labelled("connections_closed_total", "reason=\"stalled\"") > 0.5);
    Ok(())
}
