//! Several hosts: one owns the partition, all serve any company and any cursor.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::history::{Expected, check, number, payload};
use tidegate_tests::host::Host;
use tidegate_tests::hosts::Hosts;
use tidegate_tests::modules::Modules;
use tidegate_tests::process::Kind;
use tidegate_tests::publish::Publisher;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;
use tidegate_tests::wait;

use crate::SUBJECT;

const LEASE: &str = "1s";

async fn send(publisher: &Publisher, company: &str, numbers: std::ops::Range<u64>) -> Result<()> {
    publisher.send_all(SUBJECT, numbers.map(|n| payload(company, n)).collect()).await
}

fn all(company: &str, count: u64) -> Expected<'_> {
    Expected { company, leaves_live: true, numbers: Some((0..count).collect()), ..Expected::default() }
}

async fn has(stream: &Recorder, last: u64) -> Result<()> {
    stream
        .until(&format!("event {last}"), |frames| frames.iter().rev().any(|frame| number(frame) == Some(last)))
        .await
        .map(drop)
}

/// Each host with a stream of a company.
async fn streams(hosts: &[Host], company: &str) -> Result<Vec<Recorder>> {
    let mut streams = Vec::new();
    for host in hosts {
        streams.push(Recorder::open(host, &Request::company(company)).await?);
    }
    Ok(streams)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_owner_commits_reaches_every_hosts_connections() -> Result<()> {
    let hosts = Hosts::start(3, LEASE).await?;
    hosts.owner().await?;
    let (a, b) = (streams(&hosts.hosts, "a").await?, streams(&hosts.hosts, "b").await?);
    let publisher = hosts.publisher().await?;
    for round in 0..10 {
        send(&publisher, "a", round * 20..round * 20 + 20).await?;
        send(&publisher, "b", round * 10..round * 10 + 10).await?;
    }
    for (streams, company, count) in [(&a, "a", 200), (&b, "b", 100)] {
        for stream in streams {
            has(stream, count - 1).await?;
            // Live all the way: announcements came in order, and nobody had to read pages.
            check(&stream.frames(), &Expected { leaves_live: false, ..all(company, count) })?;
        }
    }
    for host in &hosts.hosts {
        let health = host.json("/stream/health").await?;
        ensure!(health["status"] == "ok", "a stand-by is as healthy as the owner: {health}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_missed_announcements_reads_them_from_the_store() -> Result<()> {
    let hosts = Hosts::start(2, LEASE).await?;
    hosts.owner().await?;
    let streams = streams(&hosts.hosts, "a").await?;
    let publisher = hosts.publisher().await?;
    for round in 0..5 {
        send(&publisher, "a", round * 20..round * 20 + 20).await?;
        hosts.deafen().await?;
    }
    hosts.drop_slow_subscribers().await?;
    send(&publisher, "a", 100..200).await?;
    for stream in &streams {
        has(stream, 199).await?;
        check(&stream.frames(), &all("a", 200))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_owner_is_replaced_within_two_leases() -> Result<()> {
    let lease = Duration::from_secs(4);
    let mut hosts = Hosts::start(3, "4s").await?;
    let owner = hosts.owner().await?;
    let publisher = hosts.publisher().await?;
    let standby = Recorder::open(&hosts.hosts[(owner + 1) % 3], &Request::company("a")).await?;
    send(&publisher, "a", 0..10).await?;
    has(&standby, 9).await?;
    hosts.hosts[owner].kill()?;
    let killed = Instant::now();
    send(&publisher, "a", 10..20).await?;
    has(&standby, 19).await?;
    let took = killed.elapsed();
    ensure!(took < lease * 2, "the next event came after {took:?}, with a lease of {lease:?}");
    ensure!(hosts.other_owner(owner).await? != owner);
    check(&standby.frames(), &all("a", 20))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_slept_past_its_lease_wakes_as_a_stand_by() -> Result<()> {
    let hosts = Hosts::start(2, LEASE).await?;
    let sleeper = hosts.owner().await?;
    let streams = streams(&hosts.hosts, "a").await?;
    let publisher = hosts.publisher().await?;
    send(&publisher, "a", 0..50).await?;
    has(&streams[sleeper], 49).await?;
    hosts.hosts[sleeper].process()?.signal(Kind::SIGSTOP)?;
    hosts.is_owner(1 - sleeper, true).await?;
    send(&publisher, "a", 50..100).await?;
    has(&streams[1 - sleeper], 99).await?;
    hosts.hosts[sleeper].process()?.signal(Kind::SIGCONT)?;
    hosts.is_owner(sleeper, false).await?;
    send(&publisher, "a", 100..150).await?;
    for stream in &streams {
        has(stream, 149).await?;
        check(&stream.frames(), &all("a", 150))?;
    }
    ensure!(hosts.owner().await? == 1 - sleeper, "the sleeper took the partition back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_cut_off_from_redis_is_replaced_and_its_streams_go_on_afterwards() -> Result<()> {
    let hosts = Hosts::start(2, LEASE).await?;
    let cut = hosts.owner().await?;
    let streams = streams(&hosts.hosts, "a").await?;
    let publisher = hosts.publisher().await?;
    send(&publisher, "a", 0..50).await?;
    has(&streams[cut], 49).await?;
    hosts.proxies[cut].sever();
    send(&publisher, "a", 50..100).await?;
    has(&streams[1 - cut], 99).await?;
    ensure!(hosts.other_owner(cut).await? == 1 - cut);
    let health = hosts.hosts[cut].json("/stream/health").await?;
    ensure!(health["status"] == "degraded", "{health}");
    hosts.proxies[cut].mend();
    hosts.is_owner(cut, false).await?;
    send(&publisher, "a", 100..150).await?;
    for stream in &streams {
        has(stream, 149).await?;
        check(&stream.frames(), &all("a", 150))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_restart_hands_the_partition_over_at_once() -> Result<()> {
    // Longer than anything is waited for here: nobody gets it by waiting.
    let mut hosts = Hosts::start(2, "5m").await?;
    let owner = hosts.owner().await?;
    let publisher = hosts.publisher().await?;
    let stream = Recorder::open(&hosts.hosts[1 - owner], &Request::company("a")).await?;
    send(&publisher, "a", 0..50).await?;
    hosts.hosts[owner].terminate()?;
    ensure!(hosts.hosts[owner].end().await? == 0);
    hosts.is_owner(1 - owner, true).await?;
    send(&publisher, "a", 50..100).await?;
    has(&stream, 99).await?;
    check(&stream.frames(), &all("a", 100))?;
    // And back again.
    hosts.hosts[owner].start().await?;
    hosts.hosts[1 - owner].terminate()?;
    ensure!(hosts.hosts[1 - owner].end().await? == 0);
    hosts.is_owner(owner, true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stand_by_serves_any_cursor_also_one_that_is_newer_than_what_it_heard() -> Result<()> {
    let hosts = Hosts::start(2, LEASE).await?;
    let owner = hosts.owner().await?;
    let standby = &hosts.hosts[1 - owner];
    let publisher = hosts.publisher().await?;
    let live = Recorder::open(&hosts.hosts[owner], &Request::company("a")).await?;
    send(&publisher, "a", 0..100).await?;
    let events = live.events_reach(100).await?;
    let id = |n: usize| events[n].id.clone().unwrap_or_default();
    let base = || Request::company("a");
    for (request, from) in [
        (base().after(&id(49)), 50),
        (base().query("lastEventId", "earliest"), 0),
        (base().query("since", "2020-01-01T00:00:00Z"), 0),
        (base().after(&id(99)), 100),
    ] {
        let stream = Recorder::open(standby, &request).await?;
        stream.first("caught-up").await?;
        let numbers = Some((from..100).collect());
        check(&stream.frames(), &Expected { company: "a", cursor: true, numbers, ..Expected::default() })?;
    }
    // From the owner straight to a stand-by that hears nothing.
    hosts.drop_slow_subscribers().await?;
    for n in 100..110 {
        send(&publisher, "a", n..n + 1).await?;
        has(&live, n).await?;
        let newest = live.last_id().context("an id")?;
        let stream = Recorder::open(standby, &base().after(&newest)).await?;
        stream.first("caught-up").await?;
        check(
            &stream.frames(),
            &Expected { company: "a", cursor: true, numbers: Some(vec![]), ..Expected::default() },
        )?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stand_by_is_ready_once_it_reached_both_servers_and_somebody_owns() -> Result<()> {
    let mut hosts = Hosts::prepare(2, LEASE).await?;
    hosts.proxies[1].sever();
    hosts.hosts[0].start().await?;
    hosts.hosts[1].launch().await?;
    // While it still starts, it says just that.
    wait::until_ok("the stand-by says what it lacks", || async {
        let ready = hosts.hosts[1].get("/readyz").await?;
        ensure!(ready.status == 503 && ready.body.contains("never reached"), "{} {}", ready.status, ready.body);
        Ok(())
    })
    .await?;
    hosts.proxies[1].mend();
    hosts.hosts[1].ready().await?;
    hosts.is_owner(0, true).await?;
    hosts.is_owner(1, false).await?;
    // What it takes in goes to the stream, and from there to every host's connections.
    let stream = Recorder::open(&hosts.hosts[0], &Request::company("a")).await?;
    let taken = hosts.hosts[1].ingest(SUBJECT, "application/json", payload("a", 0)).await?;
    ensure!(taken.status == 202, "{} {}", taken.status, taken.body);
    has(&stream, 0).await?;
    // Cut off again it stays ready, since every other host may be, too, and says what is wrong.
    hosts.proxies[1].sever();
    wait::until_ok("health is degraded", || async {
        let health = hosts.hosts[1].json("/stream/health").await?;
        ensure!(health["status"] == "degraded", "{health}");
        Ok(())
    })
    .await?;
    ensure!(hosts.hosts[1].get("/readyz").await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_a_take_over_goes_on_and_tells_what_may_be_lost() -> Result<()> {
    let mut hosts = Hosts::over(false, 2, LEASE).await?;
    for host in &mut hosts.hosts {
        host.start().await?;
    }
    let owner = hosts.owner().await?;
    let stream = Recorder::open(&hosts.hosts[1 - owner], &Request::company("a")).await?;
    let publisher = hosts.publisher().await?;
    send(&publisher, "a", 0..50).await?;
    has(&stream, 49).await?;
    hosts.hosts[owner].kill()?;
    hosts.is_owner(1 - owner, true).await?;
    // The take-over's own commit says that nobody listened for a while; from then on somebody does.
    let gap = stream.first("gap").await?.json();
    ensure!(gap["reason"] == "source-lost" && gap["missed"].is_null(), "{gap}");
    hosts.hosts[1 - owner].ready().await?;
    publisher.insist(SUBJECT, &payload("a", 50)).await?;
    send(&publisher, "a", 51..100).await?;
    has(&stream, 99).await?;
    let seen: Vec<u64> = stream.events().iter().filter_map(number).collect();
    ensure!(seen.is_sorted_by(|a, b| a < b) && seen[..50] == (0..50).collect::<Vec<_>>(), "{seen:?}");
    check(&stream.frames(), &Expected { company: "a", gap: true, leaves_live: true, ..Expected::default() })
}

/// Publishes until a client of company `a` at this host is sent an event of this kind.
async fn runs(hosts: &Hosts, host: usize, publisher: &Publisher, n: &mut u64, kind: &str) -> Result<()> {
    let stream = Recorder::open(&hosts.hosts[host], &Request::company("a")).await?;
    wait::until_ok(&format!("chain {kind} runs"), || {
        *n += 1;
        let (stream, last) = (&stream, *n);
        async move {
            publisher.insist(SUBJECT, &payload("a", last)).await?;
            has(stream, last).await?;
            let newest = stream.events().into_iter().rev().find(|event| number(event) == Some(last));
            let newest = newest.context("the event")?;
            ensure!(newest.kind() == kind, "event {last} is a {}", newest.kind());
            Ok(())
        }
    })
    .await
}

/// Waits until what `tidegate modules` tells of a host's folder `a` is in this state.
async fn listed(host: &Host, state: &str) -> Result<()> {
    wait::until_ok(&format!("the folder is {state}"), || async {
        let listed = host.listed_modules().await?;
        let folder = listed["folders"].as_array().and_then(|all| all.iter().find(|one| one["folder"] == "a").cloned());
        let folder = folder.with_context(|| listed.to_string())?;
        ensure!(folder["state"] == state, "{folder}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chains_of_the_last_commit_run_on_whatever_older_folder_takes_over() -> Result<()> {
    let mut hosts = Hosts::prepare(2, LEASE).await?;
    for host in &hosts.hosts {
        Modules::of(&host.modules(), "a").rename_metrics("10-rename", "v1")?;
    }
    hosts.hosts[0].start().await?;
    hosts.hosts[1].start().await?;
    let (publisher, mut n) = (hosts.publisher().await?, 0);
    runs(&hosts, 1, &publisher, &mut n, "v1").await?;
    // The owner is upgraded; the other one has the older folder, says so, and runs the newer chain all the same.
    Modules::of(&hosts.hosts[0].modules(), "a").rename_metrics("10-rename", "v2")?;
    runs(&hosts, 1, &publisher, &mut n, "v2").await?;
    listed(&hosts.hosts[1], "differs").await?;
    let health = hosts.hosts[1].json("/stream/health").await?;
    ensure!(health["components"]["modules"].to_string().contains("the folder holds chain"), "{health}");
    hosts.hosts[0].kill()?;
    hosts.is_owner(1, true).await?;
    runs(&hosts, 1, &publisher, &mut n, "v2").await?;
    // An operator changes its folder: a swap.
    Modules::of(&hosts.hosts[1].modules(), "a").rename_metrics("10-rename", "v3")?;
    runs(&hosts, 1, &publisher, &mut n, "v3").await?;
    listed(&hosts.hosts[1], "active").await?;
    // Back comes the first one, with what it applied once.
    hosts.hosts[0].restart().await?;
    hosts.hosts[1].kill()?;
    hosts.is_owner(0, true).await?;
    runs(&hosts, 0, &publisher, &mut n, "v3").await?;
    // New hosts: one with a folder that ran before, one without, one with something new.
    for (kind, expected) in [(Some("v1"), "v3"), (None, "v3"), (Some("v4"), "v4")] {
        let new = hosts.add(LEASE).await?;
        if let Some(kind) = kind {
            Modules::of(&hosts.hosts[new].modules(), "a").rename_metrics("10-rename", kind)?;
        }
        hosts.hosts[new].start().await?;
        hosts.hosts[new - if new == 2 { 2 } else { 1 }].kill()?;
        hosts.is_owner(new, true).await?;
        runs(&hosts, new, &publisher, &mut n, expected).await.with_context(|| format!("a new host with {kind:?}"))?;
    }
    Ok(())
}
