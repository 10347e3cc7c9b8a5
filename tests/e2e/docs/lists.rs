//! The lists of the README against what the host has.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::World;
use tidegate_tests::host::{ADMIN_TOKEN, Answer, Host};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::tools;

use super::blocks::{quoted, table};
use super::{PROTOCOL, README};
use crate::SUBJECT;

/// What the host says of each key, with these variables.
fn settings(environment: &[(&str, &str)]) -> Result<Vec<Value>> {
    let host = Host::new()?;
    let mut command = host.command(&["run", "--print-config", "--json"])?;
    command.env_clear().envs(environment.iter().copied());
    let done = command.output()?;
    ensure!(done.status.success(), "{environment:?}: {}", String::from_utf8_lossy(&done.stderr));
    let told: Value = serde_json::from_slice(&done.stdout)?;
    told["settings"].as_array().cloned().context("settings")
}

#[test]
fn the_table_of_keys_is_the_hosts() {
    let rows = table(README, "## Configuration").expect("a table");
    let settings = settings(&[]).expect("settings");
    let names: Vec<String> = rows.iter().map(|row| quoted(&row[0]).concat()).collect();
    let known: Vec<&str> = settings.iter().map(|setting| setting["key"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, known);
    for (row, setting) in rows.iter().zip(&settings) {
        let shown = quoted(&row[2]).first().cloned();
        assert_eq!(shown.as_deref(), setting["value"].as_str(), "the default of {}", row[0]);
    }
}

/// A value that a variable takes.
fn sample(key: &str, default: Option<&str>) -> &'static str {
    match key {
        "http.host" => "127.0.0.1",
        "http.port" => "4000",
        "http.cors-origins" => "https://a.example",
        "admin.listen" => "127.0.0.1:4001",
        "nats.url" => "nats://127.0.0.1:4222",
        "nats.creds" | "access.jwt.public-key" | "access.jwt.jwks" => "/dev/null",
        "redis.url" => "redis://127.0.0.1",
        "flags.database" => "postgres://127.0.0.1/a",
        "source.subjects" => "a.*",
        "access.mode" => "open",
        "access.jwt.algorithms" => "HS256",
        "log.format" => "json",
        "log.level" => "debug",
        "replay.retention" | "live.heartbeat" => "10s",
        _ if default.is_some_and(|default| default == "true" || default == "false") => "true",
        _ => "a-text-of-some-length",
    }
}

#[test]
fn every_variable_sets_its_key() {
    let mut told = BTreeSet::new();
    for row in table(README, "## Configuration").expect("a table") {
        let key = quoted(&row[0]).concat();
        let Some(variable) = quoted(&row[1]).first().cloned() else { continue };
        let environment = [(variable.as_str(), sample(&key, quoted(&row[2]).first().map(String::as_str)))];
        let settings = settings(&environment).expect("settings");
        let origin =
            settings.iter().find(|setting| setting["key"] == key.as_str()).map(|setting| setting["origin"].to_string());
        assert!(origin.as_ref().is_some_and(|origin| origin.contains(&variable)), "{key}: {origin:?}");
        told.insert(variable);
    }
    // And there is no other.
    let source = fs::read_to_string(tools::root().join("host/server/src/config/keys.rs")).expect("the keys");
    let upper = |word: &&str| word.len() > 4 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let known: BTreeSet<String> = source.split('"').skip(1).step_by(2).filter(upper).map(str::to_owned).collect();
    assert_eq!(told, known);
}

#[test]
fn the_table_of_commands_is_the_programs() {
    let host = Host::new().expect("a folder");
    let done = host.command(&["--help"]).expect("the host").output().expect("it runs");
    let help = String::from_utf8_lossy(&done.stdout).into_owned();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let known: BTreeSet<String> = commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect();
    let rows = table(README, "## Commands").expect("a table");
    let told: BTreeSet<String> =
        rows.iter().filter_map(|row| quoted(&row[0]).concat().split_whitespace().nth(1).map(str::to_owned)).collect();
    assert_eq!(told, known);
    // Each flag that the table names is one of its command's.
    for row in &rows {
        let verb = quoted(&row[0]).concat().split_whitespace().nth(1).unwrap_or_default().to_owned();
        let done = host.command(&[&verb, "--help"]).expect("the host").output().expect("it runs");
        let help = String::from_utf8_lossy(&done.stdout).into_owned();
        for flag in
            row.join(" ").split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.starts_with("--"))
        {
            assert!(help.contains(flag), "tidegate {verb} has no {flag}");
        }
    }
}

#[test]
fn the_jobs_of_xtask_are_listed() {
    let source = fs::read_to_string(tools::root().join("xtask/src/main.rs")).expect("xtask");
    let jobs = source.split("enum Job {").nth(1).and_then(|rest| rest.split("\n}\n").next()).expect("the jobs");
    let known: BTreeSet<String> = jobs
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split(|c: char| !c.is_ascii_alphanumeric()).next())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(kebab)
        .collect();
    let rows = table(super::CONTRIBUTING, "## Jobs").expect("a table");
    let told: BTreeSet<String> =
        rows.iter().filter_map(|row| quoted(&row[0]).concat().split_whitespace().nth(2).map(str::to_owned)).collect();
    assert_eq!(told, known);
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

on_each!(the_tables_of_endpoints_metrics_and_logs_are_the_hosts: embedded);

async fn the_tables_of_endpoints_metrics_and_logs_are_the_hosts(world: &mut World) -> Result<()> {
    world.host.env("TIDEGATE_LOG", "debug");
    world.host.start().await?;
    let host = &world.host;
    let stream = Recorder::open(host, &Request::target("/stream/updates?companyId=a")).await?;
    ensure!(host.ingest(SUBJECT, "application/json", r#"{"companyId":"a"}"#).await?.status == 202);
    stream.events_reach(1).await?;
    drop(stream);

    let text = host.get("/metrics").await?.body;
    let known: BTreeSet<String> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    let told: BTreeSet<String> = table(README, "## Metrics")?
        .iter()
        .map(|row| quoted(&row[0]).concat())
        // The type line of a counter leaves `_total` out.
        .map(|name| {
            name.split('{').next().unwrap_or_default().trim_end_matches("_total").trim_end_matches("_info").to_owned()
        })
        .collect();
    ensure!(
        told == known,
        "told, but not there: {:?}; there, but not told: {:?}",
        told.difference(&known),
        known.difference(&told)
    );

    tidegate_tests::wait::until_ok("the log has every line that the README names", || async {
        let log = host.log();
        for row in table(README, "## Logs")? {
            let message = quoted(&row[0]).concat();
            let line = log.lines().find(|line| line.contains(&format!("\"message\":\"{message}\"")));
            let line = line.with_context(|| format!("no line {message:?}"))?;
            for field in quoted(&row[2]) {
                ensure!(line.contains(&format!("\"{field}\":")), "{message}: no {field} in {line}");
            }
        }
        Ok(())
    })
    .await?;

    for row in table(PROTOCOL, "## Endpoints")? {
        let endpoint = quoted(&row[0]).concat();
        let (method, path) = endpoint.split_once(' ').context("a method and a path")?;
        let path = path.split('?').next().unwrap_or_default().replace("{subject}", SUBJECT).replace("{place}", "1");
        let answer = match (method, path.starts_with("/admin")) {
            ("POST", false) => host.ingest(SUBJECT, "application/json", "1").await?.status,
            (_, true) => {
                let url = format!("http://{}{path}", host.admin()?);
                let request = match method {
                    "POST" => host.client().post(url).body(r#"{"places":[]}"#),
                    _ => host.client().get(url),
                };
                Answer::of(request.bearer_auth(ADMIN_TOKEN)).await?.status
            }
            (_, false) => host.get(&path).await?.status,
        };
        const TOLD: [&str; 7] = [
            "/stream/updates",
            "/admin/explain",
            "/admin/events",
            "/admin/releases",
            "/admin/push",
            "/admin/shadow",
            "/admin/rollback",
        ];
        let expected = if TOLD.contains(&path.as_str()) {
            // None does anything without being told of whom.
            400
        } else if path.starts_with("/ingest") {
            202
        } else if path.ends_with("/1") && answer != 200 {
            // What was ingested above has no company: whether it is a letter yet is a matter of time.
            404
        } else {
            200
        };
        ensure!(answer == expected, "{endpoint}: {answer}");
    }
    Ok(())
}
