//! Wrong configuration ends at the start, with exit status 2, naming key, value, origin and what is accepted.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use tidegate_tests::backend::World;

on_each!(a_wrong_value_is_named_with_its_key_and_origin: embedded);

async fn a_wrong_value_is_named_with_its_key_and_origin(world: &mut World) -> Result<()> {
    for (variable, value, words) in [
        ("PORT_ANALYTICS", "70000", &["http.port", "70000", "PORT_ANALYTICS"][..]),
        ("STREAMING_ENABLED", "perhaps", &["streaming.enabled", "perhaps", "STREAMING_ENABLED", "true"]),
        ("TIDEGATE_RETENTION", "one day", &["replay.retention", "one day", "TIDEGATE_RETENTION", "24h"]),
        ("NATS_URL", "http://127.0.0.1", &["nats.url", "NATS_URL", "nats://"]),
        ("REDIS_URL", "127.0.0.1", &["redis.url", "REDIS_URL", "redis://"]),
        ("TIDEGATE_SUBJECTS", "metrics.*,tidegate.dlq.>", &["source.subjects", "tidegate.dlq", "TIDEGATE_SUBJECTS"]),
        ("TIDEGATE_HEARTBEAT", "-1s", &["live.heartbeat", "-1s", "TIDEGATE_HEARTBEAT"]),
    ] {
        let before = world
            .host
            .command(&[])?
            .get_envs()
            .find(|(name, _)| *name == variable)
            .map(|(_, v)| v.map(|v| v.to_owned()));
        world.host.env(variable, value);
        refuses(world, &["run"], words).await?;
        match before.flatten().and_then(|value| value.into_string().ok()) {
            Some(before) => world.host.env(variable, &before),
            None => world.host.without(variable),
        };
    }
    Ok(())
}

async fn refuses(world: &World, args: &[&str], words: &[&str]) -> Result<()> {
    let done = tokio::time::timeout(std::time::Duration::from_secs(30), world.host.run(args)).await??;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.code() == Some(2), "{args:?} {words:?}: {:?}\n{told}", done.status);
    for word in words {
        ensure!(told.contains(word), "no {word:?} in {told:?}");
    }
    Ok(())
}

on_each!(a_wrong_file_is_named_with_what_is_wrong_in_it: embedded);

async fn a_wrong_file_is_named_with_what_is_wrong_in_it(world: &mut World) -> Result<()> {
    let path = world.host.folder().join("wrong.toml");
    let name = path.display().to_string();
    for (text, words) in [
        ("[http]\nprot = 1\n", &["http.prot", "wrong.toml"][..]),
        ("[replay]\nretention = \"x\"\n", &["replay.retention", "x", "wrong.toml"]),
        ("[http\n", &["wrong.toml"]),
        ("colour = \"red\"\n", &["colour", "wrong.toml"]),
        ("[live]\nbuffer = -1\n", &["live.buffer", "-1", "wrong.toml"]),
    ] {
        fs::write(&path, text)?;
        refuses(world, &["run", "--config", &name], words).await?;
    }
    refuses(world, &["run", "--config", "/nowhere/tidegate.toml"], &["/nowhere/tidegate.toml"]).await?;
    refuses(world, &["run", "--set", "live.drain=soon"], &["live.drain", "soon"]).await?;
    refuses(world, &["run", "--colour"], &["--colour"]).await
}

on_each!(the_strongest_layer_wins_and_is_named: embedded);

async fn the_strongest_layer_wins_and_is_named(world: &mut World) -> Result<()> {
    let path = world.host.folder().join("tidegate.toml");
    fs::write(&path, "[live]\ndrain = \"7s\"\nbuffer = 50\n[replay]\nretention = \"2h\"\n")?;
    world.host.env("TIDEGATE_RETENTION", "3h");
    let done = world.host.run(&["run", "--print-config", "--json", "--set", "live.buffer=60"]).await?;
    ensure!(done.status.success(), "{done:?}");
    let printed: serde_json::Value = serde_json::from_slice(&done.stdout)?;
    let settings = printed["settings"].as_array().cloned().unwrap_or_default();
    for (key, value, origin) in [
        ("live.drain", "7s", "tidegate.toml"),
        ("replay.retention", "3h", "TIDEGATE_RETENTION"),
        ("live.buffer", "60", "--set"),
    ] {
        let setting = settings.iter().find(|setting| setting["key"] == key).cloned().unwrap_or_default();
        ensure!(setting["value"] == value, "{setting}");
        ensure!(setting["origin"].as_str().is_some_and(|text| text.contains(origin)), "{setting}");
    }
    ensure!(!String::from_utf8_lossy(&done.stdout).contains(tidegate_tests::host::ADMIN_TOKEN), "a secret is printed");
    Ok(())
}

on_each!(a_stream_that_can_not_be_a_log_is_refused_with_the_way_out: jetstream);

async fn a_stream_that_can_not_be_a_log_is_refused_with_the_way_out(world: &mut World) -> Result<()> {
    let context = async_nats::jetstream::new(world.nats()?.client().await?);
    let config = async_nats::jetstream::stream::Config {
        name: "JOBS".to_owned(),
        subjects: ["metrics.*", "journey.*", "q2q.*"].map(str::to_owned).to_vec(),
        retention: async_nats::jetstream::stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    context.create_stream(config).await?;
    refuses(world, &["run"], &["JOBS", "workqueue"]).await
}

on_each!(the_doctors_verdict_over_streams_is_the_hosts: jetstream);

async fn the_doctors_verdict_over_streams_is_the_hosts(world: &mut World) -> Result<()> {
    let context = async_nats::jetstream::new(world.nats()?.client().await?);
    let config = async_nats::jetstream::stream::Config {
        name: "METRICS".to_owned(),
        subjects: vec!["metrics.*".to_owned()],
        ..Default::default()
    };
    context.create_stream(config).await?;

    world.host.env("TIDEGATE_CAPTURE", "false").env("TIDEGATE_STREAM", "METRICS");
    let (code, told) = doctor(world).await?;
    ensure!(code == Some(1) && told["state"] == "wrong", "{told}");
    ensure!(told["found"].as_str().is_some_and(|found| found.contains("does not hold `journey.*`")), "{told}");
    let done = world.host.run(&["run"]).await?;
    ensure!(!done.status.success(), "the host takes what its doctor refuses: {done:?}");

    world.host.env("TIDEGATE_CAPTURE", "true").without("TIDEGATE_STREAM");
    let (code, told) = doctor(world).await?;
    ensure!(code == Some(0) && told["state"] == "ok", "{told}");
    ensure!(told["found"].as_str().is_some_and(|found| found.contains("metrics.* from METRICS")), "{told}");
    ensure!(context.get_stream("TIDEGATE").await.is_err(), "looking makes no stream");
    world.host.start().await?;
    let (code, told) = doctor(world).await?;
    ensure!(code == Some(0) && told["state"] == "ok", "{told}");
    Ok(())
}

/// The exit status, and what was found of the stream first.
async fn doctor(world: &World) -> Result<(Option<i32>, serde_json::Value)> {
    let done = world.host.run(&["doctor", "--json"]).await?;
    let lines = String::from_utf8_lossy(&done.stdout).into_owned();
    let findings = lines.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
    let stream = findings.into_iter().find(|finding| finding["check"] == "stream");
    Ok((done.status.code(), stream.with_context(|| format!("nothing about the stream: {lines}"))?))
}
