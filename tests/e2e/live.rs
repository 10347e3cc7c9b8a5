//! What is published reaches who is connected, at once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidegate_core::cursor::parse_id;
use tidegate_tests::backend::World;
use tidegate_tests::history::{Expected, check, payload};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::SUBJECT;

on_each!(every_event_reaches_every_connection_of_its_company_once: embedded, jetstream, old_jetstream, core);

async fn every_event_reaches_every_connection_of_its_company_once(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let mut streams = Vec::new();
    for company in ["a", "a", "b"] {
        streams.push((company, Recorder::open(&world.host, &Request::company(company)).await?));
    }
    for n in 0..50 {
        for company in ["a", "b", "nobody"] {
            publisher.send(SUBJECT, payload(company, n)).await?;
        }
    }
    for (company, stream) in &streams {
        let events = stream.events_reach(50).await?;
        let expected = Expected { company, numbers: Some((0..50).collect()), ..Expected::default() };
        check(&stream.frames(), &expected)?;
        for (n, event) in (0..).zip(&events) {
            ensure!(event.kind() == "metric_updated", "{event:?}");
            ensure!(event.text() == payload(company, n), "the payload was changed: {event:?}");
            let id = event.id.as_deref().unwrap_or_default();
            ensure!(id.starts_with("metrics.calculated-") && parse_id(id).is_some(), "{id}");
        }
    }
    Ok(())
}

on_each!(the_subject_gives_the_type: embedded, jetstream, core);

async fn the_subject_gives_the_type(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    let types = [
        ("metrics.calculated", "metric_updated"),
        ("metrics.sroi", "sroi_updated"),
        ("metrics.sroi_total", "sroi_updated"),
        ("q2q.scored", "vis_updated"),
        ("journey.flagged", "journey_flag_updated"),
    ];
    for (number, (subject, kind)) in types.iter().enumerate() {
        publisher.send(subject, payload("a", number as u64)).await?;
        // One at a time: core NATS keeps order only within a subject.
        let events = stream.events_reach(number + 1).await?;
        ensure!(events[number].kind() == *kind, "{subject}: {:?}", events[number]);
    }
    Ok(())
}

on_each!(the_head_and_ready_leave_at_once: embedded);

async fn the_head_and_ready_leave_at_once(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    ensure!(stream.status == 200);
    let ready = stream.first("ready").await?;
    // The promise is 100 ms; the machine runs other tests, too.
    let waited = ready.at.duration_since(stream.asked);
    ensure!(waited < Duration::from_secs(1), "{waited:?}");
    let data = ready.json();
    ensure!(data["resumed"] == false && data["retentionMs"] == 86_400_000, "{data}");
    ensure!(data.get("head").is_some(), "{data}");
    ensure!(ready.id.as_deref().is_some_and(|id| id.starts_with("at-")), "{ready:?}");
    ensure!(stream.headers[0].0 == "content-type", "a browser needs the type first: {:?}", stream.headers);
    let header = |name: &str| stream.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    ensure!(header("content-type").is_some_and(|value| value.starts_with("text/event-stream")));
    for (name, value) in
        [("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no"), ("connection", "keep-alive")]
    {
        ensure!(header(name) == Some(value), "{name}: {:?}", header(name));
    }
    ensure!(header("content-length").is_none());
    Ok(())
}

on_each!(a_client_that_saw_the_head_has_ready_with_it: embedded);

async fn a_client_that_saw_the_head_has_ready_with_it(world: &mut World) -> Result<()> {
    world.host.start().await?;
    for _ in 0..50 {
        let mut socket = TcpStream::connect(world.host.http()?).await?;
        socket.write_all(b"GET /stream/updates?companyId=a HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        let mut bytes = vec![0; 4 << 10];
        let read = socket.read(&mut bytes).await?;
        let text = String::from_utf8_lossy(&bytes[..read]);
        ensure!(text.starts_with("HTTP/1.1 200") && text.contains("event: ready"), "in two writes: {text:?}");
    }
    Ok(())
}

on_each!(a_quiet_stream_has_heartbeats_that_move_the_cursor: embedded, jetstream);

async fn a_quiet_stream_has_heartbeats_that_move_the_cursor(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_HEARTBEAT", "1s");
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let stream = Recorder::open(&world.host, &Request::company("quiet")).await?;
    publisher.send_all(SUBJECT, (0..10).map(|n| payload("busy", n)).collect()).await?;
    let frames = stream
        .until("a heartbeat past the other company's events", |frames| {
            frames.iter().any(|frame| {
                let place = frame.id.as_deref().and_then(parse_id);
                frame.kind() == "heartbeat" && place.is_some_and(|place| place.sequence >= 10)
            })
        })
        .await?;
    let beat = frames.iter().find(|frame| frame.kind() == "heartbeat").expect("a heartbeat");
    ensure!(beat.comments == ["heartbeat"] && beat.json()["t"].is_u64(), "{beat:?}");
    // Cut before its first event and back with that cursor: nothing was missed, nothing is claimed.
    let cursor = stream.last_id().expect("a place");
    drop(stream);
    let back = Recorder::open(&world.host, &Request::company("quiet").after(&cursor)).await?;
    publisher.send(SUBJECT, payload("quiet", 0)).await?;
    back.events_reach(1).await?;
    check(&back.frames(), &Expected { company: "quiet", cursor: true, numbers: Some(vec![0]), ..Expected::default() })
}

on_each!(a_stream_begins_on_any_connection_that_http_1_allows: embedded);

/// What a connection is sent, until it holds this text.
async fn until(socket: &mut TcpStream, text: &str) -> Result<String> {
    let mut all = Vec::new();
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(text) {
        let read = tokio::time::timeout(Duration::from_secs(20), socket.read(&mut bytes))
            .await
            .with_context(|| format!("no {text:?} in {:?}", String::from_utf8_lossy(&all)))??;
        ensure!(read > 0, "closed before {text:?}: {:?}", String::from_utf8_lossy(&all));
        all.extend(&bytes[..read]);
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

async fn a_stream_begins_on_any_connection_that_http_1_allows(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let publisher = world.publisher().await?;
    let probe = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let stream = "GET /stream/updates?companyId=a HTTP/1.1\r\nHost: a\r\n\r\n";
    let old = "GET /stream/updates?companyId=a HTTP/1.0\r\n\r\n";
    let address = world.host.http()?;
    // Alone, after another request on the same connection, behind one that it did not wait for, and before one that is never
    // answered.
    let mut used = TcpStream::connect(address).await?;
    used.write_all(probe.as_bytes()).await?;
    until(&mut used, "200 OK").await?;
    used.write_all(stream.as_bytes()).await?;
    let mut open = vec![("used", used)];
    for (name, sent) in [
        ("alone", stream.to_owned()),
        ("pipelined", format!("{probe}{stream}")),
        ("surplus", format!("{stream}{probe}")),
        ("HTTP/1.0", old.to_owned()),
    ] {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(sent.as_bytes()).await?;
        open.push((name, socket));
    }
    for (name, socket) in &mut open {
        let head = until(socket, "event: ready").await?;
        ensure!(head.contains("transfer-encoding: chunked") == (*name != "HTTP/1.0"), "{name}: {head}");
        ensure!(head.contains("date: "), "{name}: {head}");
        ensure!(head.matches("200 OK").count() == 1 + usize::from(*name == "pipelined"), "{name}: {head}");
    }
    publisher.send(SUBJECT, payload("a", 7)).await?;
    for (name, socket) in &mut open {
        until(socket, &payload("a", 7)).await.with_context(|| (*name).to_owned())?;
    }
    // One that ends tells so, and is closed: nothing of it is cut.
    world.host.terminate()?;
    for (name, socket) in &mut open {
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest)).await??;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        ensure!(rest.contains("event: bye"), "{name}: {rest}");
        ensure!(*name == "HTTP/1.0" || rest.ends_with("\r\n0\r\n\r\n"), "{name}: {rest}");
    }
    Ok(())
}
