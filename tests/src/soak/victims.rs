//! Hosts, servers and ways, as strikes find them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::Value;

use super::doors::Doors;
use super::flow::COMPANIES;
use super::strike::Strike;
use crate::host::Host;
use crate::hosts::Hosts;
use crate::modules::Modules;
use crate::process::Kind;
use crate::proxy::Proxy;

/// The stream that hosts make over their subjects.
const STREAM: &str = "TIDEGATE";
/// The types that a swapped filter gives to metrics.
const KINDS: [&str; 3] = ["metric_updated", "metric_changed", "metric_renamed"];
/// Answers that are lost at a time.
const LOST: std::ops::Range<u64> = 1..6;

/// Everything that can be struck.
#[derive(Debug)]
pub(super) struct Victims {
    pub(super) hosts: Hosts,
    /// A way for clients to each host.
    ways: Vec<Proxy>,
    doors: Arc<Doors>,
    random: StdRng,
}

/// What was brought about and is to be taken back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struck {
    pub(super) strike: Strike,
    /// The host that it hit, where it hit one.
    pub(super) host: usize,
}

impl Victims {
    /// Hosts that run.
    ///
    /// # Errors
    /// No port is free.
    pub(super) async fn of(hosts: Hosts, doors: Arc<Doors>, random: StdRng) -> Result<Self> {
        let mut ways = Vec::new();
        for host in &hosts.hosts {
            ways.push(Proxy::to(host.http()?).await?);
        }
        let victims = Self { hosts, ways, doors, random };
        victims.open_doors()?;
        Ok(victims)
    }

    /// Each host has two doors: its own, and one with a proxy in the way.
    fn open_doors(&self) -> Result<()> {
        let own: Vec<SocketAddr> = self.hosts.hosts.iter().map(Host::http).collect::<Result<_>>()?;
        for (way, host) in self.ways.iter().zip(&own) {
            way.turn_to(*host);
        }
        self.doors.are(self.ways.iter().map(Proxy::address).chain(own).collect());
        Ok(())
    }

    /// Brings a fault about.
    ///
    /// # Errors
    /// It can't be.
    pub(super) async fn strike(&mut self, strike: Strike) -> Result<Struck> {
        let count = self.hosts.hosts.len();
        let host = match strike {
            // The first one lives through it all, so that its memory can be watched.
            Strike::KillHost | Strike::RestartHost => self.random.random_range(1..count.max(2)),
            _ => self.random.random_range(0..count),
        };
        let struck = Struck { strike, host };
        self.bring_about(struck).await.with_context(|| format!("bring about: {}", strike.name()))?;
        Ok(struck)
    }

    async fn bring_about(&mut self, Struck { strike, host }: Struck) -> Result<()> {
        match strike {
            Strike::KillHost => self.host(host)?.kill(),
            Strike::RestartHost => {
                let host = self.host(host)?;
                host.terminate()?;
                let status = host.end().await?;
                ensure!(status == 0, "it ended with {status}");
                Ok(())
            }
            Strike::StopHost => self.host(host)?.process()?.signal(Kind::SIGSTOP),
            Strike::CutWay => self.way(host).map(Proxy::sever),
            Strike::FreezeWay => self.way(host).map(Proxy::freeze),
            Strike::SlowWay => self.way(host).map(|way| way.delay(Duration::from_millis(500))),
            Strike::LoseAnswers => {
                let answers = self.random.random_range(LOST);
                self.way(host).map(|way| way.lose_answers(answers))
            }
            Strike::Deafen => self.hosts.deafen().await,
            Strike::KillRedis => self.hosts.redis.kill(),
            Strike::FreezeRedis => self.hosts.redis.freeze(),
            Strike::FillRedis => self.hosts.redis.set("maxmemory", "1").await,
            Strike::FlushRedis => self.hosts.redis.flush().await,
            Strike::KillNats => self.hosts.nats.kill(),
            Strike::DeleteConsumers => self.delete_consumers().await,
            Strike::CutClients => {
                self.ways.iter().for_each(Proxy::cut);
                Ok(())
            }
            Strike::MangleClients => {
                for way in &self.ways {
                    way.cut_between(self.random.random(), 60..6_000);
                    way.cut();
                }
                Ok(())
            }
            Strike::Swap => self.swap(),
        }
    }

    /// Takes a fault back.
    ///
    /// # Errors
    /// It can't be: something does not come back.
    pub(super) async fn heal(&mut self, Struck { strike, host }: Struck) -> Result<()> {
        let healed = match strike {
            Strike::KillHost | Strike::RestartHost => {
                // On another port, so that nothing else can have taken it.
                self.host(host)?.start().await?;
                self.open_doors()
            }
            Strike::StopHost => self.host(host)?.process()?.signal(Kind::SIGCONT),
            Strike::CutWay => self.way(host).map(Proxy::mend),
            Strike::FreezeWay => self.way(host).map(Proxy::thaw),
            Strike::SlowWay => self.way(host).map(|way| way.delay(Duration::ZERO)),
            Strike::LoseAnswers => self.way(host).map(|way| way.lose_answers(0)),
            Strike::KillRedis => self.hosts.redis.resume().await,
            Strike::FreezeRedis => self.hosts.redis.thaw(),
            Strike::FillRedis => self.hosts.redis.set("maxmemory", "0").await,
            Strike::KillNats => self.hosts.nats.resume().await,
            Strike::MangleClients => {
                for way in &self.ways {
                    way.cut_no_more();
                    way.cut();
                }
                Ok(())
            }
            Strike::Deafen | Strike::FlushRedis | Strike::DeleteConsumers | Strike::CutClients | Strike::Swap => Ok(()),
        };
        healed.with_context(|| format!("take back: {}", strike.name()))
    }

    fn host(&mut self, number: usize) -> Result<&mut Host> {
        self.hosts.hosts.get_mut(number).context("no such host")
    }

    fn way(&self, number: usize) -> Result<&Proxy> {
        self.hosts.proxies.get(number).context("no such host")
    }

    async fn delete_consumers(&self) -> Result<()> {
        let nats = &self.hosts.nats;
        let answer = nats.ask(&format!("CONSUMER.NAMES.{STREAM}"), &Value::Null).await?;
        for name in answer["consumers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            // One that is gone by now is as good.
            let _ = nats.ask(&format!("CONSUMER.DELETE.{STREAM}.{name}"), &Value::Null).await;
        }
        Ok(())
    }

    /// In one host's folder after the other's, as by a tool that copies.
    fn swap(&mut self) -> Result<()> {
        let company = COMPANIES[self.random.random_range(0..COMPANIES.len())];
        let kind = KINDS.get(self.random.random_range(0..=KINDS.len()));
        for host in &self.hosts.hosts {
            let modules = Modules::of(&host.modules(), company);
            match kind {
                Some(kind) => modules.rename_metrics("10-kind", kind)?,
                None => {
                    for name in ["10-kind.wasm", "10-kind.toml"] {
                        // There may be none yet.
                        let _ = modules.remove(name);
                    }
                }
            }
        }
        Ok(())
    }
}
