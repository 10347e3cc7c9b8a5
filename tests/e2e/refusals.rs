//! What is refused for good keeps its status; what is refused for now doesn't close a browser's `EventSource`.

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::host::Answer;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait::DEADLINE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

on_each!(permanent_refusals_keep_their_status: embedded);

async fn permanent_refusals_keep_their_status(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let long = format!("/stream/updates?companyId={}", "a".repeat(129));
    for (target, status) in [
        ("/stream/updates", 400),
        ("/stream/updates?companyId=", 400),
        ("/stream/updates?companyId=a&companyId=a", 400),
        ("/stream/updates?companyId=a%20b", 400),
        ("/stream/updates?companyId=_platform", 400),
        ("/stream/updates?companyId=.hidden", 400),
        ("/stream/updates?companyId=a%2fb", 400),
        ("/stream/updates?companyId=%ff", 400),
        (&long, 400),
        ("/stream", 404),
        ("/nowhere", 404),
        ("/", 404),
    ] {
        for accept in ["text/event-stream", "*/*"] {
            let request = world.host.client().get(world.host.url(target)?).header("accept", accept);
            let answer = Answer::of(request).await?;
            ensure!(answer.status == status, "{target}: {} {}", answer.status, answer.body);
            let told = answer.json()?;
            ensure!(told["error"].is_string() && told["message"].is_string(), "{target}: {told}");
        }
    }
    let url = world.host.url("/stream/updates?companyId=a")?;
    let posted = Answer::of(world.host.client().post(&url)).await?;
    ensure!(posted.status == 405 && posted.json()?["error"].is_string(), "{}", posted.status);
    let picky = Answer::of(world.host.client().get(&url).header("accept", "application/json")).await?;
    ensure!(picky.status == 406 && picky.json()?["error"].is_string(), "{}", picky.status);
    Ok(())
}

on_each!(a_connection_that_asks_nothing_is_closed: embedded);

async fn a_connection_that_asks_nothing_is_closed(world: &mut World) -> Result<()> {
    world.host.start().await?;
    // Nothing at all, and what may yet become a request of either protocol.
    for said in ["", "P", "GET /livez HTTP/1.1\r\n"] {
        let mut socket = TcpStream::connect(world.host.http()?).await?;
        socket.write_all(said.as_bytes()).await?;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut rest)).await;
        ensure!(ended.is_ok(), "a connection that said {said:?} is still open");
    }
    Ok(())
}

on_each!(a_request_whose_head_is_too_long_is_told_so: embedded);

async fn a_request_whose_head_is_too_long_is_told_so(world: &mut World) -> Result<()> {
    world.host.start().await?;
    for _ in 0..10 {
        let mut socket = TcpStream::connect(world.host.http()?).await?;
        let head = format!("GET /stream/updates?companyId=a HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(256 << 10));
        socket.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await??;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
    }
    Ok(())
}

on_each!(a_disabled_stream_says_so_without_closing_a_browsers_for_good: embedded);

async fn a_disabled_stream_says_so_without_closing_a_browsers_for_good(world: &mut World) -> Result<()> {
    world.host.env("STREAMING_ENABLED", "false");
    world.host.start().await?;
    let stream = Recorder::attach(world.host.open(&Request::company("a")).await?);
    ensure!(stream.status == 200, "{}", stream.status);
    let bye = stream.first("bye").await?;
    ensure!(bye.json()["reason"] == "disabled" && bye.id.is_none(), "{bye:?}");
    ensure!(stream.frames().iter().any(|frame| frame.retry.is_some()), "no `retry`");
    ensure!(stream.ended().await?.is_ok());
    let url = world.host.url("/stream/updates?companyId=a")?;
    let plain = Answer::of(world.host.client().get(&url)).await?;
    let forced =
        Answer::of(world.host.client().get(format!("{url}&errors=http")).header("accept", "text/event-stream")).await?;
    for answer in [plain, forced] {
        ensure!(answer.status == 503 || answer.status == 429, "{}", answer.status);
        ensure!(!answer.header("retry-after").is_empty(), "{:?}", answer.headers);
        ensure!(answer.json()?["error"].is_string(), "{}", answer.body);
    }
    let health = world.host.json("/stream/health").await?;
    ensure!(health["streaming"]["enabled"] == false, "{health}");
    Ok(())
}

on_each!(too_many_connections_are_asked_to_come_later: embedded);

async fn too_many_connections_are_asked_to_come_later(world: &mut World) -> Result<()> {
    world.host.set("limits.connections=3");
    world.host.start().await?;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Recorder::open(&world.host, &Request::company("a")).await?);
    }
    match world.host.open(&Request::company("a")).await {
        // Told in the stream's own words, or not let in at all: never a status that closes a browser's for good.
        Ok(connection) => {
            let stream = Recorder::attach(connection);
            ensure!(stream.status == 200, "{}", stream.status);
            ensure!(stream.first("bye").await?.json()["reason"] == "overloaded");
        }
        Err(_) => ensure!(streams.iter().all(Recorder::is_open)),
    }
    Ok(())
}
