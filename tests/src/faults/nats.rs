//! What may become of a stream, its consumer and its servers.

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use serde_json::{Value, json};

use super::flow::Flow;
use super::pieces::Pieces;
use crate::backend::{Backend, World};
use crate::nats::{Cluster, Nats};
use crate::process::Kind;
use crate::publish::Publisher;
use crate::raw::{self, Odd};
use crate::redis::Redis;
use crate::verdict::Verdict;
use crate::wait;

/// The stream that the host makes over its subjects.
const STREAM: &str = "TIDEGATE";
/// Where its dead letters go.
const LETTERS: &str = "TIDEGATE_DLQ";

async fn ask(world: &World, verb: &str, body: Value) -> Result<Value> {
    world.nats()?.ask(&format!("{verb}.{STREAM}"), &body).await
}

async fn info(world: &World) -> Result<Value> {
    ask(world, "STREAM.INFO", Value::Null).await
}

async fn begin(backend: Backend) -> Result<(World, Pieces)> {
    let world = World::start(backend).await?;
    let pieces = Pieces::begin(&world, world.publisher().await?).await?;
    Ok((world, pieces))
}

/// Sets limits of the stream while everything else of it stays.
async fn limit(world: &World, key: &str, value: u64) -> Result<()> {
    let mut config = info(world).await?["config"].take();
    config[key] = json!(value);
    ask(world, "STREAM.UPDATE", config).await.map(drop)
}

/// Deletes the stream and makes one of the same name and subjects.
async fn make_anew(world: &World) -> Result<()> {
    let config = info(world).await?["config"].take();
    ask(world, "STREAM.DELETE", Value::Null).await?;
    ask(world, "STREAM.CREATE", config).await.map(drop)
}

async fn health_tells_of_the_stream(world: &World) -> Result<()> {
    wait::until_ok("health tells of the stream", || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["status"] == "degraded" && health["components"]["stream"]["reason"].is_string(), "{health}");
        Ok(())
    })
    .await
}

pub(super) async fn a_purge_while_the_host_is_down_is_a_gap() -> Result<Verdict> {
    purged_while_down(Backend::JetStream).await
}

pub(super) async fn a_purge_while_the_host_is_down_is_a_gap_on_an_old_server() -> Result<Verdict> {
    purged_while_down(Backend::OldJetStream).await
}

async fn purged_while_down(backend: Backend) -> Result<Verdict> {
    let (mut world, mut pieces) = begin(backend).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    pieces.publish(300).await?;
    ask(&world, "STREAM.PURGE", Value::Null).await?;
    pieces.publish(300).await?;
    world.host.restart().await?;
    pieces.arrived().await?;
    health_tells_of_the_stream(&world).await?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn a_purge_to_the_last_event_while_the_host_is_down_is_a_gap() -> Result<Verdict> {
    let (mut world, mut pieces) = begin(Backend::JetStream).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    pieces.publish(300).await?;
    ask(&world, "STREAM.PURGE", Value::Null).await?;
    world.host.restart().await?;
    // Told without any event that follows.
    pieces.told(1).await?;
    pieces.publish(30).await?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn a_purge_of_what_was_read_takes_nothing_back() -> Result<Verdict> {
    let (world, mut pieces) = begin(Backend::JetStream).await?;
    for _ in 0..3 {
        pieces.publish(300).await?;
        pieces.arrived().await?;
        ask(&world, "STREAM.PURGE", Value::Null).await?;
    }
    pieces.publish(300).await?;
    pieces.end(&[]).await
}

pub(super) async fn a_purge_that_passes_a_sleeping_host_is_a_gap() -> Result<Verdict> {
    passed_while_asleep(Some(1_200)).await
}

pub(super) async fn a_purge_to_the_end_that_passes_a_sleeping_host_is_a_gap() -> Result<Verdict> {
    passed_while_asleep(None).await
}

/// The host sleeps while 1,500 events come and all below a sequence go: more than it asks a server for at a time.
async fn passed_while_asleep(below: Option<u64>) -> Result<Verdict> {
    let (world, mut pieces) = begin(Backend::JetStream).await?;
    pieces.publish(30).await?;
    pieces.arrived().await?;
    world.host.process()?.signal(Kind::SIGSTOP)?;
    pieces.publish(1_500).await?;
    ask(&world, "STREAM.PURGE", below.map_or(Value::Null, |sequence| json!({ "seq": sequence }))).await?;
    world.host.process()?.signal(Kind::SIGCONT)?;
    if below.is_none() {
        pieces.told(1).await?;
    }
    pieces.publish(30).await?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn a_retention_that_passes_a_host_that_is_down_is_a_gap() -> Result<Verdict> {
    let (mut world, mut pieces) = begin(Backend::JetStream).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    limit(&world, "max_msgs", 100).await?;
    pieces.publish(300).await?;
    world.host.restart().await?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn a_retention_right_behind_the_checkpoint_is_no_gap() -> Result<Verdict> {
    let (mut world, mut pieces) = begin(Backend::JetStream).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    limit(&world, "max_msgs", 90).await?;
    pieces.publish(90).await?;
    world.host.restart().await?;
    pieces.end(&[]).await
}

pub(super) async fn messages_deleted_in_the_middle_are_counted_and_no_gap() -> Result<Verdict> {
    let (mut world, mut pieces) = begin(Backend::JetStream).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    pieces.publish(300).await?;
    let deleted = [301, 350, 351, 352, 599];
    for sequence in deleted {
        ask(&world, "STREAM.MSG.DELETE", json!({ "seq": sequence })).await?;
    }
    pieces.never(deleted.map(|sequence| sequence - 1));
    world.host.restart().await?;
    pieces.arrived().await?;
    wait::until_ok("the deleted messages are counted", || async {
        let counted = world.host.metrics().await?.sum("source_deleted_total");
        ensure!(counted == deleted.len() as f64, "{counted} of {}", deleted.len());
        Ok(())
    })
    .await?;
    pieces.end(&[]).await
}

pub(super) async fn a_stream_deleted_under_the_host_is_made_again_with_a_gap() -> Result<Verdict> {
    let (world, mut pieces) = begin(Backend::JetStream).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    ask(&world, "STREAM.DELETE", Value::Null).await?;
    wait::until_ok("the host makes the stream again", || async { info(&world).await.map(drop) }).await?;
    pieces.publish(600).await?;
    pieces.arrived().await?;
    health_tells_of_the_stream(&world).await?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn a_shorter_stream_made_anew_is_a_new_generation() -> Result<Verdict> {
    made_anew_while_down(Backend::JetStream, 150).await
}

pub(super) async fn a_longer_stream_made_anew_is_a_new_generation() -> Result<Verdict> {
    made_anew_while_down(Backend::JetStream, 900).await
}

pub(super) async fn a_longer_stream_made_anew_is_a_new_generation_on_an_old_server() -> Result<Verdict> {
    made_anew_while_down(Backend::OldJetStream, 900).await
}

/// While the host is down, its stream is made anew and gets so many events; 300 were there before.
async fn made_anew_while_down(backend: Backend, events: u64) -> Result<Verdict> {
    let (mut world, mut pieces) = begin(backend).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    make_anew(&world).await?;
    pieces.publish(events).await?;
    world.host.restart().await?;
    pieces.arrived().await?;
    health_tells_of_the_stream(&world).await?;
    pieces.publish(300).await?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn a_stream_made_anew_under_a_sleeping_host_is_a_new_generation() -> Result<Verdict> {
    let (world, mut pieces) = begin(Backend::JetStream).await?;
    pieces.publish(300).await?;
    pieces.arrived().await?;
    world.host.process()?.signal(Kind::SIGSTOP)?;
    make_anew(&world).await?;
    pieces.publish(900).await?;
    world.host.process()?.signal(Kind::SIGCONT)?;
    pieces.end(&["source-lost"]).await
}

pub(super) async fn a_consumer_that_an_operator_deletes_loses_nothing() -> Result<Verdict> {
    consumers_deleted(Backend::JetStream).await
}

pub(super) async fn a_consumer_that_an_operator_deletes_loses_nothing_on_an_old_server() -> Result<Verdict> {
    consumers_deleted(Backend::OldJetStream).await
}

async fn consumers_deleted(backend: Backend) -> Result<Verdict> {
    let world = World::start(backend).await?;
    let flow = Flow::begin(&world, 500).await?;
    for _ in 0..4 {
        flow.goes_on(150).await?;
        wait::until_ok("a consumer is there to be deleted", || async {
            let answer = ask(&world, "CONSUMER.NAMES", Value::Null).await?;
            let name = answer["consumers"][0].as_str().context("no consumer")?.to_owned();
            world.nats()?.ask(&format!("CONSUMER.DELETE.{STREAM}.{name}"), &Value::Null).await.map(drop)
        })
        .await?;
    }
    flow.goes_on(150).await?;
    flow.end(false).await
}

pub(super) async fn a_nats_server_killed_under_load_loses_and_doubles_nothing() -> Result<Verdict> {
    killed_under_load(Backend::JetStream).await
}

pub(super) async fn a_nats_server_killed_under_load_loses_and_doubles_nothing_on_an_old_server() -> Result<Verdict> {
    killed_under_load(Backend::OldJetStream).await
}

async fn killed_under_load(backend: Backend) -> Result<Verdict> {
    let mut world = World::start(backend).await?;
    let publisher = Publisher::Insisting(jetstream::new(world.nats()?.client().await?));
    let flow = Flow::over(vec![world.host.http()?], publisher, 400).await?;
    for _ in 0..3 {
        flow.goes_on(150).await?;
        world.nats_mut()?.kill()?;
        world.nats_mut()?.resume().await?;
    }
    flow.goes_on(150).await?;
    flow.end(false).await
}

pub(super) async fn a_cluster_that_loses_its_leader_under_load_loses_and_doubles_nothing() -> Result<Verdict> {
    let mut cluster = Cluster::start().await?;
    let config = json!({
        "name": "EVENTS", "subjects": ["metrics.*", "journey.*", "q2q.*"], "retention": "limits", "storage": "file",
        "num_replicas": 3, "max_age": 3_600_000_000_000_u64, "duplicate_window": 120_000_000_000_u64,
    });
    wait::until_ok("the cluster makes a stream", || cluster.ask("STREAM.CREATE.EVENTS", &config)).await?;
    let mut world = World::assemble(Backend::Core, None, Some(Redis::start().await?))?;
    world.host.env("NATS_URL", &cluster.url());
    world.host.start().await?;
    let publisher = Publisher::Insisting(jetstream::new(cluster.client().await?));
    let flow = Flow::over(vec![world.host.http()?], publisher, 100).await?;
    for _ in 0..3 {
        flow.goes_on(100).await?;
        let leader = cluster.kill_leader("EVENTS").await?;
        flow.goes_on(100).await?;
        cluster.resume(leader).await?;
    }
    flow.goes_on(100).await?;
    flow.end(false).await
}

pub(super) async fn odd_messages_are_dead_letters_wherever_they_stand() -> Result<Verdict> {
    odd_messages(Backend::JetStream).await
}

pub(super) async fn odd_messages_are_dead_letters_wherever_they_stand_on_an_old_server() -> Result<Verdict> {
    odd_messages(Backend::OldJetStream).await
}

/// First, one by one between good ones, several in a row, and last; with the host there, and while it is down.
async fn odd_messages(backend: Backend) -> Result<Verdict> {
    let (mut world, mut pieces) = begin(backend).await?;
    let server = world.nats()?.address();
    // Two of them are swallowed without a word, and found by the look that an idle partition takes each second.
    let all: Vec<Vec<u8>> = Odd::ALL.iter().map(|odd| odd.line()).collect();
    let mut odd = 0;
    raw::publish(server, &all[..1]).await?;
    odd += 1;
    for line in &all {
        pieces.publish(6).await?;
        raw::publish(server, std::slice::from_ref(line)).await?;
        odd += 1;
    }
    pieces.publish(6).await?;
    raw::publish(server, &all).await?;
    odd += all.len();
    pieces.publish(6).await?;
    pieces.arrived().await?;
    world.host.kill()?;
    raw::publish(server, &all[..4]).await?;
    pieces.publish(6).await?;
    raw::publish(server, &all[4..]).await?;
    odd += all.len();
    world.host.restart().await?;
    // The last ones of all: nothing that follows brings them to light.
    let kept = || async {
        let info = world.nats()?.ask(&format!("STREAM.INFO.{LETTERS}"), &Value::Null).await?;
        let kept = info["state"]["messages"].as_u64().unwrap_or(0);
        ensure!(kept == odd as u64, "{kept} dead letters of {odd}");
        Ok(())
    };
    wait::until_ok("every odd message is a dead letter", kept).await?;
    pieces.publish(6).await?;
    pieces.arrived().await?;
    kept().await?;
    each_letter_is_of_an_odd_message(world.nats()?, odd).await?;
    pieces.end(&[]).await
}

/// Each letter tells another sequence, and the message there is the odd one.
async fn each_letter_is_of_an_odd_message(nats: &Nats, letters: usize) -> Result<()> {
    let mut sequences = std::collections::BTreeSet::new();
    for number in 1..=letters {
        let letter = nats.ask(&format!("STREAM.MSG.GET.{LETTERS}"), &json!({ "seq": number })).await?;
        let subject = letter["message"]["subject"].as_str().unwrap_or_default().to_owned();
        ensure!(subject.starts_with("tidegate.dlq.metrics.odd"), "a letter of {subject}");
        ensure!(letter["message"]["data"] == "e30=", "the payload is not the original's: {letter}");
        let headers = letter["message"]["hdrs"].as_str().unwrap_or_default();
        ensure!(sequences.insert(headers.to_owned()), "two letters of one message: {letter}");
    }
    Ok(())
}
