//! Each row of the table of cursors that takes more than a cursor: something was trimmed, made anew, lags or was emptied.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_core::cursor::parse_id;
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::sse::Frame;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

/// What a client is told of a gap.
#[derive(Debug, PartialEq)]
struct Told {
    from: Option<String>,
    missed: Option<u64>,
    reason: String,
}

impl Told {
    fn new(from: Option<&str>, missed: Option<u64>, reason: &str) -> Self {
        Self { from: from.map(ToOwned::to_owned), missed, reason: reason.to_owned() }
    }
}

/// Opens a stream, waits until it has caught up, and checks gaps and numbers; each gap must end where its id says.
async fn answers(
    world: &World,
    what: &str,
    request: Request,
    company: &str,
    gaps: &[Told],
    numbers: Vec<u64>,
) -> Result<Vec<Frame>> {
    let stream = Recorder::open(&world.host, &request).await.with_context(|| what.to_owned())?;
    stream.first("caught-up").await.with_context(|| what.to_owned())?;
    let frames = stream.frames();
    let mut told = Vec::new();
    for frame in frames.iter().filter(|frame| frame.kind() == "gap") {
        let data = frame.json();
        ensure!(data["to"].as_str() == frame.id.as_deref() && frame.id.is_some(), "{what}: {data} {:?}", frame.id);
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let reason = text(&data["reason"]).unwrap_or_default();
        told.push(Told { from: text(&data["from"]), missed: data["missed"].as_u64(), reason });
    }
    ensure!(told == gaps, "{what}: {told:?}, not {gaps:?}");
    let expected =
        Expected { company, cursor: true, numbers: Some(numbers), gap: !gaps.is_empty(), ..Expected::default() };
    check(&frames, &expected).with_context(|| what.to_owned())?;
    Ok(frames)
}

async fn has_cached(world: &World, company: &str, events: u64) -> Result<()> {
    wait::until_ok(&format!("{events} events of {company} are kept"), || async {
        let stats = world.host.json("/stream/stats").await?;
        ensure!(stats["replayCache"]["eventsByCompany"][company].as_u64().unwrap_or(0) == events, "{stats}");
        Ok(())
    })
    .await
}

fn id(frame: &Frame) -> &str {
    frame.id.as_deref().unwrap_or_default()
}

on_each!(what_was_trimmed_is_told_to_whom_it_concerns: embedded, jetstream);

async fn what_was_trimmed_is_told_to_whom_it_concerns(world: &mut World) -> Result<()> {
    const EVENTS: u64 = 200;
    const KEPT: u64 = 50;
    world.host.set(&format!("replay.max-events={KEPT}"));
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    let beginning = id(&a.first("ready").await?).to_owned();
    publisher.send_all(SUBJECT, (0..EVENTS / 2).map(|n| payload("a", n)).collect()).await?;
    let half = a.events_reach(usize::try_from(EVENTS / 2)?).await?;
    let before = id(half.last().context("an event")?).to_owned();
    let since = parse_id(&before).context("an id")?.time_ms;
    // The only event of this company lies behind a hundred others.
    publisher.send(SUBJECT, payload("b", 7)).await?;
    publisher.send_all(SUBJECT, (EVENTS / 2..EVENTS).map(|n| payload("a", n)).collect()).await?;
    let all = a.events_reach(usize::try_from(EVENTS)?).await?;
    has_cached(world, "a", KEPT).await?;
    let (at, base) = (|company: &str, cursor: &str| Request::company(company).after(cursor), || Request::company("a"));
    let kept: Vec<u64> = (EVENTS - KEPT..EVENTS).collect();
    let gone = id(&all[20]);
    let trimmed = |from: Option<&str>, missed| [Told::new(from, missed, "trimmed")];
    let frames = answers(world, "a trimmed id", at("a", gone), "a", &trimmed(Some(gone), None), kept.clone()).await?;
    let gap = frames.iter().find(|frame| frame.kind() == "gap").map(id).context("a gap")?;
    let last_gone = parse_id(id(&all[usize::try_from(EVENTS - KEPT)? - 1])).context("an id")?;
    ensure!(parse_id(gap).is_some_and(|to| to.sequence == last_gone.sequence), "{gap} is not the floor");
    answers(world, "where that gap ended", at("a", gap), "a", &[], kept.clone()).await?;
    let place = format!("at-{}-{:013}", parse_id(gone).context("an id")?.sequence, since);
    answers(world, "a trimmed place", at("a", &place), "a", &trimmed(Some(&place), None), kept.clone()).await?;
    // Before the first event there was nothing to count: what is gone is all there was.
    let counted = trimmed(Some(&beginning), Some(EVENTS - KEPT));
    answers(world, "the place before all events", at("a", &beginning), "a", &counted, kept.clone()).await?;
    answers(world, "earliest", base().query("lastEventId", "earliest"), "a", &[], kept.clone()).await?;
    answers(world, "a time before all", base().query("since", "1000"), "a", &trimmed(None, None), kept.clone()).await?;
    let last_kept = id(&all[usize::try_from(EVENTS - KEPT)?]);
    answers(world, "a kept id", at("a", last_kept), "a", &[], kept[1..].to_vec()).await?;
    answers(world, "the last trimmed id", at("a", id(&all[usize::try_from(EVENTS - KEPT)? - 1])), "a", &[], kept)
        .await?;
    answers(world, "another company's id, before its only event", at("b", gone), "b", &[], vec![7]).await?;
    answers(world, "the place before all, quiet company", at("b", &beginning), "b", &[], vec![7]).await?;
    answers(world, "a company without events", at("c", gone), "c", &[], vec![]).await.map(drop)
}

on_each!(a_stream_trimmed_to_nothing_is_told_and_a_quiet_one_is_not: embedded, jetstream);

async fn a_stream_trimmed_to_nothing_is_told_and_a_quiet_one_is_not(world: &mut World) -> Result<()> {
    world.host.set("replay.retention=2s");
    world.host.set("backlog.max-age=2s");
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let quiet = Recorder::open(&world.host, &Request::company("quiet")).await?;
    let old = id(&quiet.first("ready").await?).to_owned();
    publisher.send_all(SUBJECT, (0..10).map(|n| payload("a", n)).collect()).await?;
    let a = Recorder::open(&world.host, &Request::company("a").query("lastEventId", "earliest")).await?;
    let first = id(&a.events_reach(10).await?[0]).to_owned();
    // The stream's own retention is as short: it takes nothing from whom has it already.
    has_cached(world, "a", 0).await?;
    let at = |company: &str, cursor: &str| Request::company(company).after(cursor);
    let gap = [Told::new(Some(&first), None, "trimmed")];
    let frames = answers(world, "an id of what is all gone", at("a", &first), "a", &gap, vec![]).await?;
    let end = frames.iter().find(|frame| frame.kind() == "gap").map(id).context("a gap")?.to_owned();
    answers(world, "where that gap ended", at("a", &end), "a", &[], vec![]).await?;
    answers(world, "older than the retention, and quiet", at("quiet", &old), "quiet", &[], vec![]).await?;
    answers(world, "earliest", Request::company("a").query("lastEventId", "earliest"), "a", &[], vec![]).await?;
    // Whoever stays is told of nothing either: it had them.
    ensure!(a.frames().iter().all(|frame| frame.kind() != "gap"), "a live client was told of a gap");
    Ok(())
}

on_each!(a_cursor_ahead_of_a_store_that_lags_waits_without_a_gap: jetstream);

async fn a_cursor_ahead_of_a_store_that_lags_waits_without_a_gap(world: &mut World) -> Result<()> {
    world.host.set("live.heartbeat=1s");
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send_all(SUBJECT, (0..10).map(|n| payload("a", n)).collect()).await?;
    a.events_reach(10).await?;
    // It takes no commit, and answers everything else.
    world.redis()?.set("maxmemory", "1").await?;
    publisher.send_all(SUBJECT, (10..20).map(|n| payload("a", n)).collect()).await?;
    let stored = world.nats()?.ask("STREAM.MSG.GET.TIDEGATE", &json!({"seq": 15})).await?;
    let time = stored["message"]["time"].as_str().context("a message with a time")?;
    let time = time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339)?;
    let ahead = format!("{SUBJECT}-15-{}", time.unix_timestamp_nanos() / 1_000_000);
    let stream = Recorder::open(&world.host, &Request::company("a").after(&ahead)).await?;
    let beats = |frames: &[Frame]| frames.iter().filter(|frame| frame.kind() == "heartbeat").count() >= 3;
    let frames = stream.until("three heartbeats", beats).await?;
    ensure!(frames.iter().all(|frame| frame.id.is_none() && frame.kind() != "gap"), "{frames:?}");
    ensure!(frames[0].json()["resumed"] == true, "{}", frames[0].text());
    world.redis()?.set("maxmemory", "0").await?;
    stream.first("caught-up").await?;
    let numbers = Some((15..20).collect());
    check(&stream.frames(), &Expected { company: "a", cursor: true, numbers, ..Expected::default() })?;
    // The same sequence of another time is nobody's.
    let wrong = format!("{SUBJECT}-15-{}", time.unix_timestamp_nanos() / 1_000_000 + 3_600_000);
    let gap = [Told::new(Some(&wrong), None, "unknown-cursor")];
    answers(world, "right sequence, wrong time", Request::company("a").after(&wrong), "a", &gap, vec![]).await.map(drop)
}

/// Deletes the stream and makes one of the same name and subjects.
async fn make_anew(world: &World) -> Result<()> {
    let nats = world.nats()?;
    let config = nats.ask("STREAM.INFO.TIDEGATE", &Value::Null).await?["config"].take();
    nats.ask("STREAM.DELETE.TIDEGATE", &Value::Null).await?;
    nats.ask("STREAM.CREATE.TIDEGATE", &config).await.map(drop)
}

on_each!(a_cursor_of_an_older_stream_goes_on_from_there: jetstream, old_jetstream);

async fn a_cursor_of_an_older_stream_goes_on_from_there(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send_all(SUBJECT, (0..20).map(|n| payload("a", n)).collect()).await?;
    let old = a.events_reach(20).await?;
    make_anew(world).await?;
    // A new stream's times must differ from the old one's to tell them apart: they do, by more than the run of the test.
    a.first("gap").await?;
    publisher.send_all(SUBJECT, (20..30).map(|n| payload("a", n)).collect()).await?;
    a.until("the last event", |frames| frames.iter().any(|frame| number(frame) == Some(29))).await?;
    let cursor = id(&old[14]);
    let stream = Recorder::open(&world.host, &Request::company("a").after(cursor)).await?;
    stream.first("caught-up").await?;
    let frames = stream.frames();
    let gaps: Vec<Value> = frames.iter().filter(|frame| frame.kind() == "gap").map(Frame::json).collect();
    let [gap] = gaps.as_slice() else { anyhow::bail!("{gaps:?}") };
    ensure!(gap["reason"] == "source-lost" && gap["missed"].is_null(), "{gap}");
    ensure!(gap["from"].as_str() == Some(cursor), "{gap}");
    let numbers: Vec<u64> = frames.iter().filter_map(number).collect();
    ensure!(numbers == (20..30).collect::<Vec<_>>() || numbers == (15..30).collect::<Vec<_>>(), "{numbers:?}");
    Ok(())
}

on_each!(a_client_in_the_middle_of_a_replay_goes_on_after_the_cache_was_emptied: jetstream);

async fn a_client_in_the_middle_of_a_replay_goes_on_after_the_cache_was_emptied(world: &mut World) -> Result<()> {
    const EVENTS: u64 = 4_000;
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let a = Recorder::open(&world.host, &Request::company("a")).await?;
    publisher.send(SUBJECT, payload("a", 9_999)).await?;
    a.events_reach(1).await?;
    // The second life of the stream: an emptied cache counts it as its first.
    make_anew(world).await?;
    a.first("gap").await?;
    let wide = |n: u64| format!(r#"{{"companyId":"a","n":{n},"pad":"{}"}}"#, "x".repeat(1_000));
    publisher.send_all(SUBJECT, (0..EVENTS).map(wide).collect()).await?;
    let first = a.until("the first event", |frames| frames.iter().any(|frame| number(frame) == Some(0))).await?;
    let first = first.iter().find(|frame| number(frame) == Some(0)).map(id).context("an event")?;
    a.until("the last event", |frames| frames.iter().any(|frame| number(frame) == Some(EVENTS - 1))).await?;
    let request = Request { receive_buffer: Some(8 << 10), ..Request::company("a").after(first) };
    let slow = Recorder::open(&world.host, &request).await?;
    slow.pause();
    world.redis()?.flush().await?;
    wait::until_ok("the cache is filled again", || async {
        let (health, stats) = (world.host.json("/stream/health").await?, world.host.json("/stream/stats").await?);
        ensure!(health["components"]["store"]["state"] == "up", "{health}");
        ensure!(stats["replayCache"]["eventsByCompany"]["a"] == EVENTS, "{stats}");
        Ok(())
    })
    .await?;
    slow.resume();
    slow.until("the last event", |frames| frames.iter().any(|frame| number(frame) == Some(EVENTS - 1))).await?;
    publisher.send(SUBJECT, wide(EVENTS)).await?;
    slow.until("an event after it", |frames| frames.iter().any(|frame| number(frame) == Some(EVENTS))).await?;
    let numbers = Some((1..=EVENTS).collect());
    let expected = Expected { company: "a", cursor: true, numbers, leaves_live: true, ..Expected::default() };
    check(&slow.frames(), &expected)?;
    wait::holds(Duration::from_millis(500), "it is told of nothing else", || async {
        ensure!(slow.frames().iter().all(|frame| frame.kind() != "gap"), "a gap");
        Ok(())
    })
    .await
}
