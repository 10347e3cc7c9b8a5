//! Filters are pushed to folders of running hosts, and rolled back: nothing lost, doubled or reordered, on every host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidegate_tests::backend::World;
use tidegate_tests::folder::Folder;
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::host::{ADMIN_TOKEN, Host};
use tidegate_tests::hosts::Hosts;
use tidegate_tests::modules::{Modules, obedient};
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::tools;

use crate::SUBJECT;
use crate::swap::under_load;

/// Runs a command that talks to this host's admin API.
pub(crate) async fn admin(host: &Host, args: &[&str]) -> Result<Output> {
    let address = format!("http://{}", host.admin()?);
    let mut all = args.to_vec();
    all.extend(["--admin", &address, "--admin-token", ADMIN_TOKEN]);
    if ["push", "rollback"].contains(&args[0]) {
        all.extend(["--by", "ann"]);
    }
    host.run(&all).await
}

pub(crate) async fn done(host: &Host, args: &[&str]) -> Result<String> {
    let output = admin(host, args).await?;
    ensure!(output.status.success(), "{args:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The error of a command that fails with this status.
pub(crate) async fn refused(host: &Host, status: i32, args: &[&str]) -> Result<String> {
    let output = admin(host, args).await?;
    ensure!(output.status.code() == Some(status), "{args:?}: {output:?}");
    Ok(String::from_utf8(output.stderr)?)
}

/// A file of the shipped filter `rename`, set to give metrics this type.
pub(crate) fn rename(folder: &Path, kind: &str) -> Result<String> {
    let place = folder.join(kind);
    fs::create_dir_all(&place)?;
    let file = place.join("10-rename.wasm");
    fs::copy(tools::filter("rename")?, &file)?;
    fs::write(place.join("10-rename.toml"), format!("[config.types]\nmetric_updated = \"{kind}\"\n"))?;
    Ok(file.to_str().context("a path")?.to_owned())
}

pub(crate) async fn releases(host: &Host, folder: &str) -> Result<Value> {
    let url = format!("http://{}/admin/releases?folder={folder}", host.admin()?);
    Ok(host.client().get(url).bearer_auth(ADMIN_TOKEN).send().await?.error_for_status()?.json().await?)
}

on_each!(pushes_and_rollbacks_are_swaps_without_loss: embedded, jetstream, core);

async fn pushes_and_rollbacks_are_swaps_without_loss(world: &mut World) -> Result<()> {
    let folder = Folder::new("pushed")?;
    let files: Vec<String> =
        ["v1", "v2", "v3"].iter().map(|kind| rename(folder.path(), kind)).collect::<Result<_>>()?;
    world.host.start().await?;
    let kinds = ["metric_updated", "v1", "v2", "v1", "metric_updated", "v2"];
    let host = &world.host;
    let neighbour = under_load(world, &kinds, async |step| match step {
        1 => done(host, &["push", &files[0], "--company", "a", "-m", "first"]).await.map(drop),
        2 => done(host, &["push", &files[1], "--company", "a", "-m", "second"]).await.map(drop),
        3 | 4 => done(host, &["rollback", "--company", "a", "-m", "no good"]).await.map(drop),
        _ => done(host, &["rollback", "--company", "a", "--to", "2"]).await.map(drop),
    })
    .await?;
    ensure!(neighbour.events().iter().all(|event| event.kind() == "metric_updated"), "a neighbour's events changed");
    let told = releases(host, "a").await?;
    let log: Vec<String> = told["log"].as_array().context("a log")?.iter().map(summary).collect();
    let expected = [
        "push first ann 1",
        "push second ann 2",
        "rollback no good ann 1",
        "rollback no good ann null",
        "rollback  ann 2",
    ];
    ensure!(log == expected, "{log:?}");
    // Whatever the files are, and over a restart.
    Modules::of(&host.modules(), "a").rename_metrics("10-rename", "files")?;
    let stream = Recorder::open(host, &Request::company("a")).await?;
    world.publisher().await?.send(SUBJECT, payload("a", 1)).await?;
    ensure!(stream.first("v2").await?.kind() == "v2");
    world.host.kill()?;
    world.host.restart().await?;
    let stream = Recorder::open(&world.host, &Request::company("a")).await?;
    world.publisher().await?.send(SUBJECT, payload("a", 2)).await?;
    stream.first("v2").await?;
    let back = done(&world.host, &["rollback", "--company", "a", "--files"]).await?;
    ensure!(back.contains("what its files make"), "{back}");
    world.publisher().await?.send(SUBJECT, payload("a", 3)).await?;
    stream.first("files").await?;
    Ok(())
}

fn summary(action: &Value) -> String {
    let text = |name: &str| action[name].as_str().unwrap_or_default().to_owned();
    format!("{} {} {} {}", text("action"), text("message"), text("by"), action["release"])
}

on_each!(a_push_is_judged_as_check_judges_and_a_bad_one_changes_nothing: embedded);

async fn a_push_is_judged_as_check_judges_and_a_bad_one_changes_nothing(world: &mut World) -> Result<()> {
    let folder = Folder::new("pushed")?;
    let good = rename(folder.path(), "good")?;
    world.host.start().await?;
    let host = &world.host;
    let dry = done(host, &["push", &good, "--company", "a", "--dry-run"]).await?;
    ensure!(dry.contains("accepted 10-rename@") && dry.contains("a would run: 10-rename@"), "{dry}");
    ensure!(releases(host, "a").await?["releases"] == serde_json::json!([]), "a dry run changes nothing");
    let first = done(host, &["push", &good, "--company", "a"]).await?;
    ensure!(first.contains("release 1 of a runs: 10-rename@"), "{first}");
    let again = done(host, &["push", &good, "--company", "a"]).await?;
    ensure!(again.contains("nothing changes: a runs that already"), "{again}");

    // The same words as `check`, and nothing of it stays.
    let bad = write(folder.path(), "10-bad.wasm", b"no module")?;
    let verdict = String::from_utf8(host.run(&["check", &bad]).await?.stdout)?;
    let reason = verdict.split(": ").nth(2).context("a reason")?;
    let told = refused(host, 1, &["push", &bad, "--company", "a"]).await?;
    ensure!(
        told.contains(reason.split(" (").next().unwrap_or(reason)) && told.contains("10-bad"),
        "{told} / {verdict}"
    );
    let failing = rename(folder.path(), "failing")?;
    fs::write(
        folder.path().join("failing/10-rename.test.ndjson"),
        r#"{"event":{"subject":"metrics.a","type":"metric_updated","payload":1},"expect":{"drop":"never"}}"#,
    )?;
    let told = refused(host, 1, &["push", &failing, "--company", "a"]).await?;
    ensure!(told.contains("self-test, line 1 of 10-rename.test.ndjson"), "{told}");
    let wrong = write(folder.path(), "10-rename.wasm", &fs::read(tools::filter("rename")?)?)?;
    fs::write(folder.path().join("10-rename.toml"), "[limits]\nmemory-mib = 100000\n")?;
    let told = refused(host, 1, &["push", &wrong, "--company", "a"]).await?;
    ensure!(told.contains("memory-mib"), "{told}");
    for (status, args) in [
        (1, ["push", &good, "--company", "_mine"]),
        (2, ["push", &good, "--default", "--platform"]),
        (1, ["rollback", "--default", "--to", "3"]),
    ] {
        refused(host, status, &args).await?;
    }
    let told = releases(host, "a").await?;
    ensure!(told["log"].as_array().map(Vec::len) == Some(1), "{told}");

    // A second filter joins the first in the order of the names; taken out, the first is left.
    let second = write(folder.path(), "20-guest.wasm", &obedient()?)?;
    let told = done(host, &["push", &second, "--company", "a"]).await?;
    ensure!(told.contains("10-rename@") && told.contains(", 20-guest@"), "{told}");
    let told = done(host, &["push", "--remove", "20-guest", "--company", "a"]).await?;
    ensure!(told.contains("release 3 of a runs: 10-rename@") && !told.contains("20-guest"), "{told}");
    let told = refused(host, 1, &["push", "--remove", "20-guest", "--company", "a"]).await?;
    ensure!(told.contains("a has no filter 20-guest; it has: 10-rename"), "{told}");
    // Without the credential nobody deploys.
    let address = format!("http://{}", host.admin()?);
    let output = host.run(&["push", &good, "--company", "a", "--admin", &address, "--admin-token", "no"]).await?;
    ensure!(String::from_utf8_lossy(&output.stderr).contains("admin.token"), "{output:?}");
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<String> {
    let path: PathBuf = folder.join(name);
    fs::write(&path, bytes)?;
    Ok(path.to_str().context("a path")?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_through_a_host_that_stands_by_runs_on_the_owner_and_on_its_heirs() -> Result<()> {
    let folder = Folder::new("pushed")?;
    let (first, second) = (rename(folder.path(), "v1")?, rename(folder.path(), "v2")?);
    let mut hosts = Hosts::start(2, "1s").await?;
    let owner = hosts.owner().await?;
    let standby = 1 - owner;
    let stream = Recorder::open(&hosts.hosts[standby], &Request::company("a")).await?;
    let publisher = hosts.publisher().await?;
    let mut sent = 0;
    let mut reaches = async |kind: &str| {
        // Each event is seen before the next one is sent; the owner hears of a push within a second.
        for _ in 0..500 {
            publisher.send(SUBJECT, payload("a", sent)).await?;
            sent += 1;
            let events = stream.events_reach(usize::try_from(sent)?).await?;
            if events.last().is_some_and(|event| event.kind() == kind) {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        anyhow::bail!("no event of {kind} among {sent}")
    };
    reaches("metric_updated").await?;
    let told = done(&hosts.hosts[standby], &["push", &first, "--company", "a"]).await?;
    ensure!(told.contains("on the host that owns the partition"), "{told}");
    reaches("v1").await?;
    done(&hosts.hosts[owner], &["push", &second, "--company", "a"]).await?;
    reaches("v2").await?;
    hosts.hosts[owner].kill()?;
    hosts.other_owner(owner).await?;
    reaches("v2").await?;
    done(&hosts.hosts[standby], &["rollback", "--company", "a"]).await?;
    reaches("v1").await?;
    check(
        &stream.frames(),
        &Expected { company: "a", numbers: Some((0..sent).collect()), leaves_live: true, ..Expected::default() },
    )?;
    ensure!(stream.events().iter().filter_map(number).count() as u64 == sent);
    Ok(())
}
