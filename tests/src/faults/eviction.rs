//! A Redis that throws away what was kept.

use anyhow::{Context as _, Result, ensure};

use super::flow::{Flow, SUBJECT, health_is};
use crate::backend::{Backend, World};
use crate::history::{Expected, faults, number};
use crate::publish::Publisher;
use crate::recorder::Recorder;
use crate::sse::Frame;
use crate::stream::Request;
use crate::verdict::Verdict;
use crate::wait;

/// Companies that nobody asks for while the others are busy: Redis evicts what was used longest ago.
const QUIET: u64 = 40;
/// Events of each.
const EVENTS: u64 = 10;
/// Bytes of an event's filler.
const FILLER: usize = 4_000;

/// One event of each quiet company.
async fn publish(publisher: &Publisher, round: u64) -> Result<()> {
    let filler = "x".repeat(FILLER);
    let payload =
        |n| format!(r#"{{"companyId":"quiet-{n}","metricName":"score","value":0.5,"n":{round},"f":"{filler}"}}"#);
    publisher.send_all(SUBJECT, (0..QUIET).map(payload).collect()).await
}

/// A client of a quiet company that left: after its first event, or after a gap.
struct Away {
    company: String,
    id: String,
}

impl Away {
    async fn of(world: &World, n: u64) -> Result<Self> {
        let company = format!("quiet-{n}");
        let all = Request::company(&company).query("lastEventId", "earliest");
        let first = Recorder::open(&world.host, &all).await?.events_reach(1).await?.swap_remove(0);
        Ok(Self { company, id: first.id.context("an id")? })
    }

    /// Comes back, and is sent the rest of the events up to the last one, or told a gap.
    async fn back(&self, world: &World, last: u64) -> Result<Vec<Frame>> {
        let visitor = Recorder::open(&world.host, &Request::company(&self.company).after(&self.id)).await?;
        let ended = |frames: &[Frame]| {
            let reached = frames.iter().any(|frame| number(frame) == Some(last));
            let lost = frames.iter().any(|frame| frame.kind() == "gap");
            frames.iter().any(|frame| frame.kind() == "caught-up") && (reached || lost)
        };
        visitor.until("what is kept of a quiet company", ended).await
    }

    /// Comes back, and is told that it has all.
    async fn caught_up(&self, world: &World) -> Result<Vec<Frame>> {
        let visitor = Recorder::open(&world.host, &Request::company(&self.company).after(&self.id)).await?;
        visitor.until("the rest of a quiet company", |frames| frames.iter().any(|f| f.kind() == "caught-up")).await
    }
}

/// All of the rest, or a gap before what is left and nothing missing within. Gives the gap's id, if one was told.
fn judge(verdict: &mut Verdict, frames: &[Frame], company: &str, last: u64) -> Option<String> {
    let numbers: Vec<u64> = frames.iter().filter(|frame| !frame.is_control()).filter_map(number).collect();
    let gaps: Vec<&Frame> = frames.iter().filter(|frame| frame.kind() == "gap").collect();
    let expected = Expected { company, cursor: true, gap: true, ..Expected::default() };
    faults(frames, &expected).iter().for_each(|fault| verdict.blame(fault));
    let missing = last - numbers.len() as u64;
    (verdict.connections, verdict.events) = (verdict.connections + 1, verdict.events + numbers.len() as u64);
    if !numbers.iter().copied().eq(missing + 1..=last) {
        verdict.lost += 1;
        verdict.tell(format!("{company} got {numbers:?}"));
    }
    if missing > 0 && gaps.is_empty() {
        verdict.missing_gaps += 1;
        verdict.tell(format!("{missing} events of {company} are missing, and no gap says so"));
    }
    if gaps.len() > usize::from(missing > 0) {
        verdict.false_gaps += 1;
        verdict.tell(format!("{company} was told {} gaps, and misses {missing} events", gaps.len()));
    }
    for gap in &gaps {
        // Where the company's head is gone, too, nobody knows how many.
        let (reason, missed) = (&gap.json()["reason"], &gap.json()["missed"]);
        if reason != "store-lost" || !(missed.is_null() || *missed == missing) {
            verdict.disordered += 1;
            verdict.tell(format!("{company} misses {missing} events and was told {}", gap.text()));
        }
    }
    gaps.last().and_then(|gap| gap.id.clone())
}

/// Lets each client come back; gives how many were told a gap.
async fn judge_all(world: &World, verdict: &mut Verdict, clients: &[Away], last: u64) -> Result<u64> {
    let mut told = 0;
    for client in clients {
        let frames = client.back(world, last).await?;
        let Some(id) = judge(verdict, &frames, &client.company, last) else { continue };
        told += 1;
        // Whoever was told comes back with what it was told, and hears nothing of it again.
        let again = Away { company: client.company.clone(), id };
        let frames = again.caught_up(world).await?;
        let expected = Expected { company: &client.company, cursor: true, ..Expected::default() };
        faults(&frames, &expected).iter().for_each(|fault| verdict.blame(fault));
        verdict.connections += 1;
    }
    Ok(told)
}

pub(super) async fn what_redis_evicts_is_told_with_a_gap() -> Result<Verdict> {
    let mut world = World::start(Backend::JetStream).await?;
    let publisher = world.publisher().await?;
    for round in 0..EVENTS {
        publish(&publisher, round).await?;
    }
    let mut clients = Vec::new();
    for n in 0..QUIET {
        clients.push(Away::of(&world, n).await?);
    }
    let mut verdict = Verdict::default();
    let told_before = judge_all(&world, &mut verdict, &clients, EVENTS - 1).await?;
    ensure!(told_before == 0, "a gap before anything was evicted");
    let flow = Flow::begin(&world, 300).await?;
    // Long enough for Redis, whose clock for this has seconds, to see who is quiet.
    flow.goes_on(900).await?;
    let redis = world.redis()?;
    redis.set("maxmemory-samples", "64").await?;
    redis.set("maxmemory-policy", "allkeys-lru").await?;
    redis.set("maxmemory", &redis.figure("memory", "used_memory").await?.to_string()).await?;
    wait::until_ok("Redis evicts", || async {
        let evicted = redis.figure("stats", "evicted_keys").await?;
        ensure!(evicted >= 5, "{evicted} keys");
        Ok(())
    })
    .await?;
    redis.set("maxmemory", "0").await?;
    // A host that has them in memory misses nothing.
    world.host.kill()?;
    world.host.restart().await?;
    health_is(&world, "ok").await?;
    let told = judge_all(&world, &mut verdict, &clients, EVENTS - 1).await?;
    // Its bookkeeping is in use all the time: Redis takes none of it.
    let beginnings = world.host.log().matches("the store began empty").count();
    ensure!(beginnings == 1, "Redis evicted what is not quiet: the store began {beginnings} times");
    ensure!((1..QUIET).contains(&told), "{told} of {QUIET} companies were told a gap");
    // What comes later goes on above the gap.
    publish(&publisher, EVENTS).await?;
    flow.goes_on(300).await?;
    let again = judge_all(&world, &mut verdict, &clients, EVENTS).await?;
    ensure!(again == told, "{again} were told a gap, {told} before");
    verdict += flow.end(false).await?;
    Ok(verdict)
}
