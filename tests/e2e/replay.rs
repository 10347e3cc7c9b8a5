//! Every form of cursor leads to the place it names.

use anyhow::{Context, Result, ensure};
use tidegate_core::cursor::parse_id;
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::sse::Frame;
use tidegate_tests::stream::Request;

use crate::SUBJECT;

const EVENTS: u64 = 20;
const BEFORE_EVERYTHING: &str = "since a day before everything";

/// Events of `a` and `b` in turn, as a live client of each saw them.
async fn history(world: &World) -> Result<(Vec<Frame>, Vec<Frame>)> {
    let publisher = world.publisher().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let b = Recorder::open(&world.host, &Request::company("b")).await?;
    for n in 0..EVENTS {
        publisher.send_all(SUBJECT, vec![payload("a", n), payload("b", n)]).await?;
    }
    let count = usize::try_from(EVENTS)?;
    Ok((a.events_reach(count).await?, b.events_reach(count).await?))
}

fn id(event: &Frame) -> &str {
    event.id.as_deref().unwrap_or_default()
}

/// Opens with a cursor and checks that exactly `numbers` are replayed, and that one more event follows live.
async fn replays(world: &World, what: &str, request: Request, mut numbers: Vec<u64>, next: u64) -> Result<()> {
    let stream = Recorder::open(&world.host, &request).await?;
    let caught_up = stream.first("caught-up").await.with_context(|| what.to_owned())?;
    ensure!(caught_up.json()["replayed"] == numbers.len(), "{what}: {}", caught_up.text());
    ensure!(stream.first("ready").await?.json()["resumed"].is_boolean(), "{what}");
    world.publisher().await?.send(SUBJECT, payload("a", next)).await?;
    numbers.push(next);
    stream
        .until("the event after the replay", |frames| frames.iter().any(|frame| number(frame) == Some(next)))
        .await
        .with_context(|| what.to_owned())?;
    // Nobody knows what came over core NATS before the host first listened: who asks from before that is told.
    let gap = world.backend == Backend::Core && what == BEFORE_EVERYTHING;
    let told = stream.frames().iter().filter(|frame| frame.kind() == "gap").count();
    ensure!(told == usize::from(gap), "{what}: {told} gaps");
    let expected = Expected { company: "a", cursor: true, numbers: Some(numbers), gap, ..Expected::default() };
    check(&stream.frames(), &expected).with_context(|| what.to_owned())
}

on_each!(every_form_of_cursor_goes_on_where_it_points: embedded, jetstream, old_jetstream, core);

async fn every_form_of_cursor_goes_on_where_it_points(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let (a, b) = history(world).await?;
    let base = || Request::company("a");
    let middle = id(&a[9]).to_owned();
    let cursor = parse_id(&middle).context("an id")?;
    let place = format!("at-{}-{:013}", cursor.sequence, cursor.time_ms);
    let ids = format!("{}, {middle}", id(&a[3]));
    let unreadable = "not a cursor";
    let forms = [
        ("the header", base().after(&middle)),
        ("lastEventId", base().query("lastEventId", &middle)),
        ("last_event_id", base().query("last_event_id", &middle)),
        ("a place", base().query("lastEventId", &place)),
        ("another company's id", base().after(id(&b[9]))),
        ("a stale query and a newer header", base().query("lastEventId", id(&a[2])).after(&middle)),
        ("a stale header and a newer query", base().query("lastEventId", &middle).after(id(&a[2]))),
        ("several ids in one header", base().after(&ids)),
        ("a readable one beside an unreadable one", base().query("lastEventId", &middle).after(unreadable)),
    ];
    let mut extra = Vec::new();
    let mut next = EVENTS;
    for (what, request) in forms {
        let numbers = (10..EVENTS).chain(extra.iter().copied()).collect();
        replays(world, what, request, numbers, next).await?;
        extra.push(next);
        next += 1;
    }
    let since = cursor.time_ms;
    let from: Vec<u64> = a
        .iter()
        .filter(|event| parse_id(id(event)).is_some_and(|id| id.time_ms >= since))
        .filter_map(number)
        .chain(extra.iter().copied())
        .collect();
    replays(world, "since in ms", base().query("since", &since.to_string()), from, next).await?;
    extra.push(next);
    next += 1;
    let all = (0..EVENTS).chain(extra.iter().copied()).collect();
    replays(world, "earliest", base().query("lastEventId", "earliest"), all, next).await?;
    extra.push(next);
    next += 1;
    let day = base().query("since", "2020-01-01T00%3A00%3A00Z");
    let all = (0..EVENTS).chain(extra.iter().copied()).collect();
    replays(world, BEFORE_EVERYTHING, day, all, next).await
}

on_each!(a_cursor_that_nobody_knows_is_told_and_goes_on_live: embedded, jetstream, core);

async fn a_cursor_that_nobody_knows_is_told_and_goes_on_live(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let (a, _) = history(world).await?;
    let last = parse_id(id(&a[19])).context("an id")?;
    let future = format!("metrics.calculated-{}-{}", last.sequence + 1_000_000_000, last.time_ms + 3_600_000);
    let wrong_time = format!("metrics.calculated-{}-{}", last.sequence - 5, last.time_ms + 7_200_000);
    let long = format!("metrics.calculated-1-1{}", "0".repeat(300));
    let publisher = world.publisher().await?;
    let cursors = [
        (future.as_str(), true),
        (wrong_time.as_str(), true),
        ("rubbish", false),
        ("a-b-c", false),
        ("-", false),
        (&long, false),
    ];
    for (next, (cursor, readable)) in (EVENTS..).zip(cursors) {
        let stream = Recorder::open(&world.host, &Request::company("a").after(cursor)).await?;
        let gap = stream.first("gap").await.with_context(|| cursor.to_owned())?;
        let data = gap.json();
        ensure!(data["reason"] == "unknown-cursor", "{cursor}: {data}");
        ensure!(data["from"].is_null() != readable, "{cursor}: {data}");
        ensure!(data["missed"].is_null(), "{cursor}: {data}");
        ensure!(gap.id.is_some(), "a gap always has the place where it ends: {gap:?}");
        stream.first("caught-up").await?;
        publisher.send(SUBJECT, payload("a", next)).await?;
        stream.events_reach(1).await.with_context(|| cursor.to_owned())?;
        let expected =
            Expected { company: "a", cursor: true, numbers: Some(vec![next]), gap: true, ..Expected::default() };
        check(&stream.frames(), &expected).with_context(|| cursor.to_owned())?;
    }
    Ok(())
}

on_each!(without_a_cursor_the_stream_is_live_from_now: embedded, jetstream, core);

async fn without_a_cursor_the_stream_is_live_from_now(world: &mut World) -> Result<()> {
    world.host.start().await?;
    history(world).await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    world.publisher().await?.send(SUBJECT, payload("a", 99)).await?;
    stream.events_reach(1).await?;
    check(&stream.frames(), &Expected { company: "a", numbers: Some(vec![99]), ..Expected::default() })
}
