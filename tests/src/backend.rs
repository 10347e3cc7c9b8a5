//! What a host stands on: the embedded parts, JetStream and Redis, or core NATS and Redis.

use anyhow::{Context, Result};
use async_nats::jetstream;

use crate::host::Host;
use crate::nats::Nats;
use crate::publish::Publisher;
use crate::redis::Redis;

/// The parts below a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Its own log and store.
    Embedded,
    /// A stream that the host makes over its subjects, and Redis.
    JetStream,
    /// The same on the distribution's nats-server (2.9), which lacks what came later.
    OldJetStream,
    /// NATS without a stream, and Redis.
    Core,
}

/// A host and the servers that it stands on, all of one test's own.
#[derive(Debug)]
pub struct World {
    /// The parts below.
    pub backend: Backend,
    /// The host.
    pub host: Host,
    /// NATS, but for the embedded parts.
    pub nats: Option<Nats>,
    /// Redis, but for the embedded parts.
    pub redis: Option<Redis>,
}

impl World {
    /// Starts the servers and the host, and waits until it is ready.
    ///
    /// # Errors
    /// Something doesn't start.
    pub async fn start(backend: Backend) -> Result<Self> {
        let mut world = Self::prepare(backend).await?;
        world.host.start().await?;
        Ok(world)
    }

    /// Starts the servers; the host is ready to be set up and started.
    ///
    /// # Errors
    /// Something doesn't start.
    pub async fn prepare(backend: Backend) -> Result<Self> {
        let (nats, redis) = match backend {
            Backend::Embedded => (None, None),
            Backend::JetStream => (Some(Nats::start(true).await?), Some(Redis::start().await?)),
            Backend::OldJetStream => (Some(Nats::start_old().await?), Some(Redis::start().await?)),
            Backend::Core => (Some(Nats::start(false).await?), Some(Redis::start().await?)),
        };
        Self::assemble(backend, nats, redis)
    }

    /// A host for servers that need not run yet.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn assemble(backend: Backend, nats: Option<Nats>, redis: Option<Redis>) -> Result<Self> {
        let mut host = Host::new()?;
        if let Some(nats) = &nats {
            host.env("NATS_URL", &nats.url());
        }
        if let Some(redis) = &redis {
            host.env("REDIS_URL", &redis.url());
        }
        if matches!(backend, Backend::JetStream | Backend::OldJetStream) {
            host.env("TIDEGATE_CAPTURE", "true");
        }
        Ok(Self { backend, host, nats, redis })
    }

    /// A publisher as this backend's users have it.
    ///
    /// # Errors
    /// The server doesn't answer.
    pub async fn publisher(&self) -> Result<Publisher> {
        match self.backend {
            Backend::Embedded => Ok(Publisher::Ingest(self.host.client().clone(), self.host.url("")?)),
            Backend::Core => Ok(Publisher::Core(self.nats()?.client().await?)),
            Backend::JetStream | Backend::OldJetStream => {
                Ok(Publisher::JetStream(jetstream::new(self.nats()?.client().await?)))
            }
        }
    }

    /// NATS.
    ///
    /// # Errors
    /// There is none.
    pub fn nats(&self) -> Result<&Nats> {
        self.nats.as_ref().context("a backend without NATS")
    }

    /// NATS, to kill and resume.
    ///
    /// # Errors
    /// There is none.
    pub fn nats_mut(&mut self) -> Result<&mut Nats> {
        self.nats.as_mut().context("a backend without NATS")
    }

    /// Redis.
    ///
    /// # Errors
    /// There is none.
    pub fn redis(&self) -> Result<&Redis> {
        self.redis.as_ref().context("a backend without Redis")
    }

    /// Redis, to kill and resume.
    ///
    /// # Errors
    /// There is none.
    pub fn redis_mut(&mut self) -> Result<&mut Redis> {
        self.redis.as_mut().context("a backend without Redis")
    }
}
