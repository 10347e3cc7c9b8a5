//! What may become of a host among others.

use anyhow::{Context as _, Result, ensure};

use super::flow::Flow;
use crate::hosts::Hosts;
use crate::modules::{Modules, stateful};
use crate::process::Kind;
use crate::session::Session;
use crate::stream::Request;
use crate::verdict::Verdict;

const LEASE: &str = "1s";
const RATE: u32 = 300;

/// Events that flow past these hosts, with clients that begin at a stand-by.
async fn flow(hosts: &Hosts) -> Result<Flow> {
    let owner = hosts.owner().await?;
    Flow::over(hosts.addresses(owner + 1)?, hosts.publisher().await?, RATE).await
}

pub(super) async fn an_owner_that_is_killed_is_replaced_and_nothing_is_lost() -> Result<Verdict> {
    let mut hosts = Hosts::start(3, LEASE).await?;
    let flow = flow(&hosts).await?;
    for _ in 0..3 {
        let owner = hosts.owner().await?;
        flow.goes_on(100).await?;
        hosts.hosts[owner].kill()?;
        hosts.other_owner(owner).await?;
        flow.goes_on(100).await?;
        hosts.hosts[owner].restart().await?;
    }
    flow.end(false).await
}

pub(super) async fn an_owner_that_sleeps_past_its_lease_commits_nothing_more() -> Result<Verdict> {
    let hosts = Hosts::start(2, LEASE).await?;
    let owner = hosts.owner().await?;
    // Clients of the sleeper, too: they wait with it, or go on at the other host.
    let flow = Flow::over(hosts.addresses(owner)?, hosts.publisher().await?, RATE).await?;
    for _ in 0..2 {
        let owner = hosts.owner().await?;
        flow.goes_on(100).await?;
        hosts.hosts[owner].process()?.signal(Kind::SIGSTOP)?;
        let heir = 1 - owner;
        hosts.is_owner(heir, true).await?;
        flow.goes_on(300).await?;
        hosts.hosts[owner].process()?.signal(Kind::SIGCONT)?;
        hosts.is_owner(owner, false).await?;
        ensure!(hosts.owner().await? == heir, "the sleeper took the partition back");
    }
    flow.end(false).await
}

pub(super) async fn an_owner_cut_off_from_redis_is_replaced_and_stands_by() -> Result<Verdict> {
    let hosts = Hosts::start(2, LEASE).await?;
    let owner = hosts.owner().await?;
    let flow = Flow::over(hosts.addresses(owner)?, hosts.publisher().await?, RATE).await?;
    flow.goes_on(100).await?;
    hosts.proxies[owner].sever();
    hosts.other_owner(owner).await?;
    flow.goes_on(200).await?;
    hosts.proxies[owner].mend();
    hosts.is_owner(owner, false).await?;
    // The other way round, with a way that swallows everything instead of breaking.
    hosts.proxies[1 - owner].freeze();
    hosts.is_owner(owner, true).await?;
    flow.goes_on(200).await?;
    hosts.proxies[1 - owner].thaw();
    hosts.is_owner(1 - owner, false).await?;
    flow.goes_on(100).await?;
    flow.end(false).await
}

pub(super) async fn announcements_that_are_lost_are_made_up_for() -> Result<Verdict> {
    let hosts = Hosts::start(3, LEASE).await?;
    let flow = flow(&hosts).await?;
    for _ in 0..5 {
        flow.goes_on(150).await?;
        hosts.deafen().await?;
    }
    // None arrives any more: the comparison with the store alone carries the stand-by hosts.
    hosts.drop_slow_subscribers().await?;
    flow.goes_on(600).await?;
    flow.end(false).await
}

pub(super) async fn a_rolling_restart_loses_nothing() -> Result<Verdict> {
    let mut hosts = Hosts::start(3, "20s").await?;
    let flow = flow(&hosts).await?;
    for number in 0..3 {
        flow.goes_on(100).await?;
        hosts.hosts[number].terminate()?;
        let status = hosts.hosts[number].end().await?;
        ensure!(status == 0, "exit status {status}");
        // At once, and not when the lease has run out.
        hosts.owner().await?;
        hosts.hosts[number].restart().await?;
    }
    flow.end(false).await
}

/// Each by hosts of every past: the owner, one that was it, and one that never was.
pub(super) async fn a_flush_that_costs_filters_their_state_is_told_by_every_host() -> Result<Verdict> {
    let mut hosts = Hosts::prepare(3, LEASE).await?;
    for host in &mut hosts.hosts {
        Modules::of(&host.modules(), "_default").put("10-keeps.wasm", &stateful()?)?;
        host.start().await?;
    }
    let was = hosts.owner().await?;
    let flow = Flow::over(hosts.addresses(was)?, hosts.publisher().await?, RATE).await?;
    flow.goes_on(100).await?;
    hosts.hosts[was].terminate()?;
    hosts.hosts[was].end().await?;
    let owner = hosts.owner().await?;
    hosts.hosts[was].restart().await?;
    let sessions: Vec<Session> =
        hosts.addresses(0)?.into_iter().map(|address| Session::follow(vec![address], "a")).collect();
    for session in &sessions {
        session.until("an event", |frames| frames.iter().any(|frame| !frame.is_control())).await?;
    }
    let cursor = sessions[owner].frames().iter().rev().find_map(|frame| frame.id.clone()).context("an id")?;
    hosts.redis.flush().await?;
    let gaps = |session: &Session| session.frames().iter().filter(|frame| frame.kind() == "gap").count();
    for session in sessions.iter().chain(&flow.sessions) {
        session.until("a gap", |frames| frames.iter().any(|frame| frame.kind() == "gap")).await?;
    }
    flow.goes_on(300).await?;
    // Who comes back only now is told, too, wherever it comes.
    for (number, host) in hosts.hosts.iter().enumerate() {
        let mut late = host.open(&Request::company("a").after(&cursor)).await?;
        while let Some(frame) = late.next().await? {
            ensure!(frame.kind() != "caught-up", "host {number} tells no gap to a client that comes back");
            if frame.kind() == "gap" {
                ensure!(frame.json()["reason"] == "store-lost", "{}", frame.text());
                break;
            }
        }
    }
    ensure!(sessions.iter().chain(&flow.sessions).all(|session| gaps(session) == 1), "told more than once");
    flow.end(true).await
}
