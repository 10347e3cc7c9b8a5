//! Killed at any moment, the host goes on where it was: no loss, no event twice.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::sse::Frame;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

/// What a client sees that comes back with its last id after each cut.
struct Session {
    seen: Vec<Frame>,
}

impl Session {
    /// Adds what one connection saw, each checked for itself.
    fn add(&mut self, stream: &Recorder, cursor: bool) -> Result<()> {
        let frames = stream.frames();
        check(&frames, &Expected { company: "a", cursor, ..Expected::default() })?;
        self.seen.extend(frames.into_iter().filter(|frame| frame.id.is_some() || !frame.is_control()));
        Ok(())
    }

    fn request(&self) -> Request {
        let request = Request::company("a");
        match self.seen.iter().rev().find_map(|frame| frame.id.as_deref()) {
            Some(id) => request.after(id),
            None => request,
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.seen.iter().filter(|frame| !frame.is_control()).filter_map(number).collect()
    }
}

on_each!(a_killed_host_goes_on_where_it_was: embedded, jetstream);

async fn a_killed_host_goes_on_where_it_was(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let mut session = Session { seen: Vec::new() };
    let mut sent = 0;
    for round in 0..4 {
        let stream = Recorder::open(&world.host, &session.request()).await?;
        let publisher = world.publisher().await?;
        for _ in 0..5 {
            publisher.send_all(SUBJECT, (sent..sent + 100).map(|n| payload("a", n)).collect()).await?;
            sent += 100;
        }
        if round == 3 {
            stream
                .until("the last event", |frames| frames.iter().rev().any(|frame| number(frame) == Some(sent - 1)))
                .await?;
            // The replay may hold all of them.
            stream.first("caught-up").await?;
            session.add(&stream, true)?;
            break;
        }
        // Right after the last acknowledgement: the host is in the middle of its work.
        world.host.kill()?;
        let _ = stream.ended().await?;
        // It may have been killed while the replay was still under way.
        let through = stream.frames().iter().any(|frame| frame.kind() == "caught-up");
        session.add(&stream, round > 0 && through)?;
        world.host.restart().await?;
    }
    ensure!(session.numbers() == (0..sent).collect::<Vec<_>>(), "after {} of {sent} events", session.numbers().len());
    let all = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    all.first("caught-up").await?;
    let numbers = Some((0..sent).collect());
    check(&all.frames(), &Expected { company: "a", cursor: true, numbers, ..Expected::default() })
}

on_each!(kills_under_load_lose_and_double_nothing: jetstream);

async fn kills_under_load_lose_and_double_nothing(world: &mut World) -> Result<()> {
    ensure!(world.backend == Backend::JetStream);
    world.host.start().await?;
    let flow = world.publisher().await?.steady(1_000, 6_000, |n| (SUBJECT.to_owned(), payload("a", n)));
    let mut session = Session { seen: Vec::new() };
    for round in 0..4_u64 {
        let stream = Recorder::open(&world.host, &session.request()).await?;
        // Not at a border of anything: in the middle of whatever the host does after so many events.
        let target = session.numbers().len() + 300 + usize::try_from(round)? * 37;
        stream
            .until("some events", |frames| {
                session.numbers().len() + frames.iter().filter(|frame| !frame.is_control()).count() >= target
            })
            .await?;
        world.host.kill()?;
        let _ = stream.ended().await?;
        // The first connection had no cursor; one that was cut before it caught up never tells so.
        session.seen.extend(stream.frames().into_iter().filter(|frame| frame.id.is_some()));
        world.host.restart().await?;
    }
    let sent = flow.finish().await?;
    let stream = Recorder::open(&world.host, &session.request()).await?;
    stream.until("the last event", |frames| frames.iter().rev().any(|frame| number(frame) == Some(sent - 1))).await?;
    session.seen.extend(stream.frames().into_iter().filter(|frame| frame.id.is_some()));
    let seen = session.numbers();
    let first = seen.first().copied().unwrap_or_default();
    ensure!(seen == (first..sent).collect::<Vec<_>>(), "{} events from {first} on, of {sent}", seen.len());
    let all = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    all.first("caught-up").await?;
    let numbers = Some((0..sent).collect());
    check(&all.frames(), &Expected { company: "a", cursor: true, numbers, ..Expected::default() })
}

on_each!(a_second_host_on_the_same_data_ends_and_says_why: embedded);

async fn a_second_host_on_the_same_data_ends_and_says_why(world: &mut World) -> Result<()> {
    world.host.start().await?;
    world.host.env("PORT_ANALYTICS", "0");
    let done = tokio::time::timeout(Duration::from_secs(30), world.host.run(&["run"])).await??;
    ensure!(done.status.code() == Some(1), "{done:?}");
    let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(told.contains("data"), "{told}");
    ensure!(world.host.get("/readyz").await?.status == 200, "the first one is disturbed");
    Ok(())
}
