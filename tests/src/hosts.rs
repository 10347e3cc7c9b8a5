//! Several hosts on one NATS and one Redis: one owns the partition, all serve.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;

use crate::host::Host;
use crate::nats::Nats;
use crate::proxy::Proxy;
use crate::publish::Publisher;
use crate::redis::Redis;
use crate::wait;

/// Hosts and the servers that they share. Each reaches Redis over a proxy of its own.
#[derive(Debug)]
pub struct Hosts {
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Each host's way to Redis.
    pub proxies: Vec<Proxy>,
    /// NATS.
    pub nats: Nats,
    /// NATS has JetStream.
    jetstream: bool,
    /// Redis.
    pub redis: Redis,
}

impl Hosts {
    /// So many hosts that may be set up before they are started.
    ///
    /// # Errors
    /// A server doesn't start.
    pub async fn prepare(count: usize, lease: &str) -> Result<Self> {
        Self::over(true, count, lease).await
    }

    /// As [`Hosts::prepare`], with JetStream or without.
    ///
    /// # Errors
    /// A server doesn't start.
    pub async fn over(jetstream: bool, count: usize, lease: &str) -> Result<Self> {
        let (nats, redis) = (Nats::start(jetstream).await?, Redis::start().await?);
        let mut hosts = Self { hosts: Vec::new(), proxies: Vec::new(), nats, jetstream, redis };
        for _ in 0..count {
            hosts.add(lease).await?;
        }
        Ok(hosts)
    }

    /// So many hosts, all ready.
    ///
    /// # Errors
    /// Something doesn't start.
    pub async fn start(count: usize, lease: &str) -> Result<Self> {
        let mut hosts = Self::prepare(count, lease).await?;
        for host in &mut hosts.hosts {
            host.start().await?;
        }
        Ok(hosts)
    }

    /// One more host, which doesn't run yet.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub async fn add(&mut self, lease: &str) -> Result<usize> {
        let url = self.redis.url();
        let server = url.trim_start_matches("redis://").split('/').next().unwrap_or_default();
        let proxy = Proxy::to(server.parse().with_context(|| url.clone())?).await?;
        let mut host = Host::new()?;
        host.env("NATS_URL", &self.nats.url())
            .env("REDIS_URL", &format!("redis://{}/0", proxy.address()))
            .env("TIDEGATE_CAPTURE", &self.jetstream.to_string())
            .set(&format!("owner.lease={lease}"))
            .set("live.drain=500ms");
        self.hosts.push(host);
        self.proxies.push(proxy);
        Ok(self.hosts.len() - 1)
    }

    /// Waits until exactly one host that runs says that it owns the partition, and gives its number.
    ///
    /// # Errors
    /// None or several do by the deadline.
    pub async fn owner(&self) -> Result<usize> {
        wait::until_ok("one host owns the partition", || async {
            let mut owners = Vec::new();
            for (number, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.process().is_ok()) {
                if self.owns(host).await? {
                    owners.push(number);
                }
            }
            ensure!(owners.len() == 1, "owners: {owners:?}");
            owners.first().copied().context("an owner")
        })
        .await
    }

    /// Waits until another host than this one owns the partition, whatever this one believes.
    ///
    /// # Errors
    /// None does by the deadline.
    pub async fn other_owner(&self, than: usize) -> Result<usize> {
        wait::until_ok("another host owns the partition", || async {
            for (number, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.process().is_ok()) {
                if number != than && self.owns(host).await? {
                    return Ok(number);
                }
            }
            anyhow::bail!("nobody but {than} does")
        })
        .await
    }

    /// Waits until this host says whether it owns the partition.
    ///
    /// # Errors
    /// It says otherwise at the deadline.
    pub async fn is_owner(&self, number: usize, owner: bool) -> Result<()> {
        let host = self.hosts.get(number).context("no such host")?;
        wait::until_ok("a host owns the partition, or no longer", || async {
            ensure!(self.owns(host).await? == owner, "host {number}: owner is not {owner}");
            Ok(())
        })
        .await
    }

    async fn owns(&self, host: &Host) -> Result<bool> {
        Ok(host.metrics().await?.sum("owner") > 0.0)
    }

    /// The hosts' addresses, beginning with this one's.
    ///
    /// # Errors
    /// One never ran.
    pub fn addresses(&self, first: usize) -> Result<Vec<SocketAddr>> {
        let mut addresses: Vec<SocketAddr> = self.hosts.iter().map(Host::http).collect::<Result<_>>()?;
        let length = addresses.len();
        addresses.rotate_left(first % length.max(1));
        Ok(addresses)
    }

    /// A publisher into the stream, or where there is none to whoever listens.
    ///
    /// # Errors
    /// NATS doesn't answer.
    pub async fn publisher(&self) -> Result<Publisher> {
        let client = self.nats.client().await?;
        Ok(if self.jetstream { Publisher::JetStream(jetstream::new(client)) } else { Publisher::Core(client) })
    }

    /// Cuts every connection on which hosts hear announcements; the others stay.
    ///
    /// # Errors
    /// Redis doesn't answer.
    pub async fn deafen(&self) -> Result<()> {
        let mut connection = self.redis.connect().await?;
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query_async::<i64>(&mut connection).await?;
        Ok(())
    }

    /// From now on Redis drops each subscriber at whatever it is told, as one that reads too slowly.
    ///
    /// # Errors
    /// Redis doesn't answer.
    pub async fn drop_slow_subscribers(&self) -> Result<()> {
        let mut connection = self.redis.connect().await?;
        let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 1 1"];
        redis::cmd(limit[0]).arg(&limit[1..]).query_async::<()>(&mut connection).await?;
        Ok(())
    }
}
