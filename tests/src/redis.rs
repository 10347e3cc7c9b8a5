//! A redis-server of a test's own.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use crate::folder::Folder;
use crate::process::{Kind, Process, free_address};
use crate::{tools, wait};

/// Every write is on disk before it is answered, and a busy machine's disk may take its time.
const PATIENCE: Duration = Duration::from_secs(15);

/// A redis-server on a port that stays the same over restarts, with every write on disk before it is answered.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    folder: Folder,
    process: Option<Process>,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// It isn't installed or doesn't start.
    pub async fn start() -> Result<Self> {
        let mut redis = Self::stopped()?;
        redis.resume().await?;
        Ok(redis)
    }

    /// One that has its port, but doesn't run yet.
    ///
    /// # Errors
    /// No port is free.
    pub fn stopped() -> Result<Self> {
        Ok(Self { address: free_address()?, folder: Folder::new("redis")?, process: None })
    }

    /// Starts it (again), with the data it had, and waits until it answers.
    ///
    /// # Errors
    /// It doesn't start.
    pub async fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(tools::redis_server()?);
        command
            .args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir"])
            .arg(self.folder.path());
        self.process = Some(Process::start(&mut command, &self.folder.path().join("redis.log"))?);
        wait::until_ok("redis-server answers", || async {
            let mut connection = self.connect().await?;
            // While it loads its data it answers nothing but this.
            let answer: String = redis::cmd("PING").query_async(&mut connection).await?;
            if answer == "PONG" { Ok(()) } else { bail!("{answer}") }
        })
        .await
    }

    /// Kills it; the data stays.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("redis-server doesn't run")?.kill()
    }

    /// Freezes it: connections stay open, nothing answers.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("redis-server doesn't run")?.signal(Kind::SIGSTOP)
    }

    /// Lets it go on after [`Redis::freeze`].
    ///
    /// # Errors
    /// It doesn't run.
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().context("redis-server doesn't run")?.signal(Kind::SIGCONT)
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// It doesn't answer.
    pub async fn flush(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.context("flush redis")
    }

    /// Starts it again without the data it had.
    ///
    /// # Errors
    /// The data can't be removed, or it doesn't start.
    pub async fn resume_empty(&mut self) -> Result<()> {
        let data = self.folder.path().join("appendonlydir");
        std::fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))?;
        self.resume().await
    }

    /// Changes a setting while it runs.
    ///
    /// # Errors
    /// It doesn't know it.
    pub async fn set(&self, setting: &str, value: &str) -> Result<()> {
        self.ask::<()>(redis::cmd("CONFIG").arg("SET").arg(setting).arg(value)).await
    }

    /// Makes it a copy of another one and waits until it has all of it.
    ///
    /// # Errors
    /// It doesn't get there by the deadline.
    pub async fn follow(&self, primary: &Self) -> Result<()> {
        let at = primary.address;
        self.ask::<()>(redis::cmd("REPLICAOF").arg(at.ip().to_string()).arg(at.port())).await?;
        wait::until_ok("the replica is in step", || async {
            let told = self.info("replication").await?;
            if told.contains("master_link_status:up") { Ok(()) } else { bail!("{told}") }
        })
        .await
    }

    /// Waits until it has everything that a primary has that takes no more writes.
    ///
    /// # Errors
    /// Not by the deadline.
    pub async fn caught_up_with(&self, primary: &Self) -> Result<()> {
        const OFFSET: &str = "master_repl_offset";
        wait::until_ok("the replica has everything", || async {
            let here = self.figure("replication", OFFSET).await?;
            let there = primary.figure("replication", OFFSET).await?;
            if here == there { Ok(()) } else { bail!("the replica is at {here}, its primary at {there}") }
        })
        .await
    }

    /// Makes it a primary with what it has.
    ///
    /// # Errors
    /// It doesn't answer.
    pub async fn promote(&self) -> Result<()> {
        self.ask::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await
    }

    /// A figure that it tells of itself, by the section of `INFO` and its name there.
    ///
    /// # Errors
    /// It doesn't answer, or tells no such figure.
    pub async fn figure(&self, section: &str, name: &str) -> Result<u64> {
        let told = self.info(section).await?;
        let value = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no {name} in:\n{told}"))
    }

    async fn info(&self, section: &str) -> Result<String> {
        self.ask(redis::cmd("INFO").arg(section)).await
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        let mut connection = self.connect().await?;
        command.query_async(&mut connection).await.with_context(|| format!("ask redis: {command:?}"))
    }

    /// What it printed since it was started, and how its process is.
    #[must_use]
    pub fn log(&self) -> String {
        let Some(process) = &self.process else { return "it does not run\n".to_owned() };
        let about = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", process.id())).unwrap_or_default();
        format!("{}\n{}\n{}", process.log(), about("status"), about("wchan"))
    }

    /// Its process.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("redis-server doesn't run")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// A new connection.
    ///
    /// # Errors
    /// It doesn't answer.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let patient =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(self.url())?;
        client.get_multiplexed_async_connection_with_config(&patient).await.context("connect to redis-server")
    }
}
