//! What may become of the log in the host's own folder.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::flow::SUBJECT;
use super::pieces::Pieces;
use crate::backend::{Backend, World};
use crate::disk::Disk;
use crate::history::number;
use crate::sse::Frame;
use crate::stream::Request;
use crate::verdict::Verdict;
use crate::{recorder, wait};

pub(super) async fn a_full_disk_refuses_ingest_and_takes_on_by_itself() -> Result<Verdict> {
    full_disk(Disk::new()?).await
}

pub(super) async fn files_that_may_not_grow_refuse_ingest_and_take_on_by_themselves() -> Result<Verdict> {
    full_disk(Disk::limited()?).await
}

async fn full_disk(disk: Disk) -> Result<Verdict> {
    let mut world = World::prepare(Backend::Embedded).await?;
    world.host.env("TIDEGATE_DATA", &disk.path().join("data").display().to_string());
    world.host.through(disk.launcher());
    world.host.start().await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    for _ in 0..2 {
        pieces.publish(300).await?;
        pieces.arrived().await?;
        disk.fill(world.host.process()?)?;
        // What is in the system's blocks already may still fit; then nothing does.
        let large = format!(r#"{{"companyId":"a","pad":"{}"}}"#, "x".repeat(100_000));
        wait::until_ok("ingest is refused", || async {
            let answer = world.host.ingest(SUBJECT, "application/json", large.clone()).await?;
            ensure!(answer.status == 507, "{} {}", answer.status, answer.body);
            Ok(())
        })
        .await?;
        // Reads go on: live streams stand, and a newcomer gets everything.
        ensure!(pieces.sessions.iter().all(|session| session.connections() == 1), "a stream was closed");
        let replay =
            recorder::Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
        replay.first("caught-up").await?;
        let read = replay.frames().iter().filter(|frame: &&Frame| number(frame).is_some()).count() as u64;
        ensure!(read == pieces.sent().div_ceil(3), "{read} of the events of a can be read");
        disk.empty(world.host.process()?)?;
        wait::until_ok("ingest is taken again", || async {
            let answer = world.host.ingest(SUBJECT, "application/json", r#"{"companyId":"a"}"#).await?;
            ensure!(answer.status == 202, "{} {}", answer.status, answer.body);
            Ok(())
        })
        .await?;
    }
    pieces.publish(300).await?;
    let verdict = pieces.end(&[]).await;
    // Before its disk goes.
    world.host.kill()?;
    verdict
}

/// Requests that the kill leaves unanswered are there whole or not at all; all that was acknowledged is there.
pub(super) async fn kills_while_events_are_taken_in_leave_each_request_whole_or_out() -> Result<Verdict> {
    const REQUEST: u64 = 30;
    let mut world = World::start(Backend::Embedded).await?;
    let mut pieces = Pieces::begin(&world, world.publisher().await?).await?;
    let mut doubtful = Vec::new();
    for round in 0..8_u64 {
        for _ in 0..3 {
            pieces.publish(REQUEST).await?;
        }
        let first = pieces.sent();
        let taken = {
            let sending = pieces.publish(REQUEST);
            tokio::pin!(sending);
            // Another moment each time: before it is read, while it is written, after it was committed.
            tokio::select! {
                taken = &mut sending => taken.is_ok(),
                () = tokio::time::sleep(Duration::from_micros(300 * round)) => false,
            }
        };
        world.host.kill()?;
        if !taken {
            pieces.skip(REQUEST);
            doubtful.push(first);
        }
        world.host.restart().await?;
    }
    pieces.publish(REQUEST).await?;
    for session in &pieces.sessions {
        let last = pieces.sent() - REQUEST;
        session.until("what came last", |frames| frames.iter().any(|f| number(f).is_some_and(|n| n >= last))).await?;
    }
    let seen: std::collections::HashSet<u64> = pieces.sessions.iter().flat_map(|session| session.numbers()).collect();
    for first in doubtful {
        let here = (first..first + REQUEST).filter(|n| seen.contains(n)).count() as u64;
        ensure!(here == 0 || here == REQUEST, "{here} of the {REQUEST} events of one request are there");
        if here == 0 {
            pieces.never(first..first + REQUEST);
        }
    }
    pieces.end(&[]).await
}
