//! A commit that the store refuses costs nothing of what the host has received.

use anyhow::{Context as _, Result, ensure};
use redis::cmd;
use tidegate_tests::backend::World;
use tidegate_tests::history::{number, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

/// Events that the host holds when the commit is refused.
const HELD: u64 = 600;

on_each!(what_a_refused_commit_held_is_not_lost: jetstream, core);

async fn what_a_refused_commit_held_is_not_lost(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send(SUBJECT, payload("a", 0)).await?;
    stream.events_reach(1).await?;
    // Nothing is written for a second. Then the head of the company is gone, and a commit with events of it is refused.
    let mut redis = world.redis()?.connect().await?;
    cmd("CLIENT").arg("PAUSE").arg(1_000).arg("WRITE").exec_async(&mut redis).await.context("CLIENT PAUSE")?;
    publisher.send_all(SUBJECT, (1..=HELD).map(|n| payload("a", n)).collect()).await?;
    cmd("DEL").arg("tidegate:{p0}:c:a").exec_async(&mut redis).await.context("DEL")?;
    // On core NATS nobody listens for a moment, and that is told; but nothing was published then.
    let last = |frames: &[tidegate_tests::sse::Frame]| frames.iter().any(|frame| number(frame) == Some(HELD));
    let frames = stream.until("the last event", last).await?;
    let numbers: Vec<u64> = frames.iter().filter(|frame| !frame.is_control()).filter_map(number).collect();
    ensure!(numbers.iter().copied().eq(0..=HELD), "{numbers:?}");
    ensure!(world.host.log().contains("a commit was refused"), "no commit was refused");
    Ok(())
}
