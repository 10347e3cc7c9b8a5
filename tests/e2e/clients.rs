//! Client libraries as their users have them, over kills of the host and cuts at random bytes: nothing lost, nothing
//! doubled. The programs are in `tests/clients/`.
//!
//! Two cuts that no server can mend are left out: right after an `id:` line (some clients take an id before its event is
//! whole), and within the head of the answer (a native `EventSource` is then closed for good).

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::history::payload;
use tidegate_tests::process::{Process, free_address};
use tidegate_tests::proxy::Proxy;
use tidegate_tests::{tools, wait};

use crate::SUBJECT;

/// Events that each client has to get.
const EVENTS: u64 = 1_000;
/// Published in pieces of so many, a kill between some of them.
const PIECE: u64 = 100;
/// Longer than any head with the `ready` that leaves in the same write, so that each connection brings something.
const CUT_BYTES: std::ops::Range<u64> = 1_500..40_000;

macro_rules! clients {
    ($($test:ident: $program:expr),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let mut world = World::prepare(Backend::JetStream).await.expect("servers");
                if let Err(error) = follow(&mut world, $program).await {
                    panic!("{error:#}");
                }
            }
        )+
    };
}

clients! {
    npm_eventsource_misses_nothing: Program::NewNode("eventsource.mjs"),
    npm_fetch_event_source_misses_nothing: Program::NewNode("fetch-event-source.mjs"),
    npm_eventsource_client_misses_nothing: Program::NewNode("eventsource-client.mjs"),
    curl_misses_nothing: Program::NewNode("curl.mjs"),
    a_browsers_own_event_source_misses_nothing: Program::Browser("chromium.mjs"),
    pypi_httpx_sse_misses_nothing: Program::Python("httpx_sse_client.py"),
    pypi_aiohttp_sse_client_misses_nothing: Program::Python("aiohttp_sse_client_client.py"),
}

/// What runs a client.
#[derive(Clone, Copy, Debug)]
enum Program {
    /// The Node that npm brings: one library needs a newer one than Debian's.
    NewNode(&'static str),
    /// The machine's Node, with a Chromium and a page whose origin the host has to allow.
    Browser(&'static str),
    /// Python with the libraries of `requirements.txt`.
    Python(&'static str),
}

impl Program {
    fn command(self) -> Result<Command> {
        let folder = tools::root().join("tests/clients");
        let (program, script) = match self {
            Self::NewNode(script) => (folder.join("node_modules/.bin/node"), script),
            Self::Browser(script) => (PathBuf::from("node"), script),
            Self::Python(script) => (tools::python_with_clients()?, script),
        };
        let mut command = Command::new(program);
        command.arg(folder.join(script));
        Ok(command)
    }
}

async fn follow(world: &mut World, program: Program) -> Result<()> {
    let page = free_address()?;
    world.host.env("TIDEGATE_CORS", &format!("http://{page}"));
    world.host.start().await?;
    world.host.keep_port();
    let proxy = Proxy::to(world.host.http()?).await?;
    let address = format!("http://{}/stream/updates?companyId=a", proxy.address());
    let log = world.host.folder().join("client.log");
    let mut command = program.command()?;
    command.arg(&address).env("TIDEGATE_TEST_PAGE_PORT", page.port().to_string());
    let client = Process::start(&mut command, &log)?;
    wait::until_ok("the client is connected", || async {
        let stats = world.host.json("/stream/stats").await?;
        ensure!(stats["connections"]["totalConnections"] == 1, "{stats}; {}", client.log());
        Ok(())
    })
    .await?;
    let publisher = world.publisher().await?;
    let seed = rand::random();
    for from in (0..EVENTS).step_by(usize::try_from(PIECE)?) {
        publisher.send_all(SUBJECT, (from..from + PIECE).map(|n| payload("a", n)).collect()).await?;
        match from / PIECE {
            // It has a first event: from now on it knows where it stands.
            0 => {
                reaches(&client, PIECE - 1).await?;
                proxy.cut_between(seed, CUT_BYTES);
                proxy.cut();
            }
            3 | 6 => {
                reaches(&client, from / 2).await?;
                world.host.kill()?;
                world.host.start().await?;
            }
            _ => {}
        }
    }
    reaches(&client, EVENTS - 1).await.with_context(|| format!("cuts of seed {seed}"))?;
    let events = events(&client.log());
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["n"].as_u64()).collect();
    let first = numbers.iter().zip(0..).position(|(n, wanted)| *n != wanted);
    ensure!(
        numbers == (0..EVENTS).collect::<Vec<_>>(),
        "{} events, the first difference at {first:?}; cuts of seed {seed}",
        numbers.len()
    );
    let ids: HashSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    ensure!(ids.len() == events.len(), "{} ids for {} events", ids.len(), events.len());
    client.signal(tidegate_tests::process::Kind::SIGTERM)
}

async fn reaches(client: &Process, wanted: u64) -> Result<()> {
    wait::until_ok("the client gets an event", || async {
        let log = client.log();
        let last = events(&log).iter().filter_map(|event| event["n"].as_u64()).max();
        ensure!(last >= Some(wanted), "the client is at {last:?}, not yet at {wanted}; it says: {}", other_lines(&log));
        Ok(())
    })
    .await
}

/// What the client reported.
fn events(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(|event: &Value| event["n"].is_u64()).collect()
}

fn other_lines(log: &str) -> String {
    log.lines().filter(|line| !line.starts_with('{')).take(20).collect::<Vec<_>>().join("\n")
}
