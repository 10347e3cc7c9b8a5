//! A nats-server of a test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use async_nats::Client;
use serde_json::Value;

use crate::folder::Folder;
use crate::process::{Process, free_address};
use crate::{tools, wait};

/// A nats-server on a port that stays the same over restarts.
#[derive(Debug)]
pub struct Nats {
    program: PathBuf,
    address: SocketAddr,
    jetstream: bool,
    /// Further arguments, as of a member of a cluster.
    args: Vec<String>,
    folder: Folder,
    process: Option<Process>,
}

impl Nats {
    /// Starts one of today, with JetStream (its files are kept over restarts) or without.
    ///
    /// # Errors
    /// It isn't installed or doesn't start.
    pub async fn start(jetstream: bool) -> Result<Self> {
        let mut nats = Self::stopped(jetstream)?;
        nats.resume().await?;
        Ok(nats)
    }

    /// Starts the old one (2.9), with JetStream.
    ///
    /// # Errors
    /// It isn't installed or doesn't start.
    pub async fn start_old() -> Result<Self> {
        let mut nats = Self { program: tools::old_nats_server()?, ..Self::stopped(true)? };
        nats.resume().await?;
        Ok(nats)
    }

    /// One that has its port, but doesn't run yet.
    ///
    /// # Errors
    /// It isn't installed.
    pub fn stopped(jetstream: bool) -> Result<Self> {
        let (program, address) = (tools::nats_server()?, free_address()?);
        Ok(Self { program, address, jetstream, args: Vec::new(), folder: Folder::new("nats")?, process: None })
    }

    /// Starts it (again), with the files it had, and waits until it answers.
    ///
    /// # Errors
    /// It doesn't start.
    pub async fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1", "--port", &self.address.port().to_string()]);
        if self.jetstream {
            command.arg("--jetstream").arg("--store_dir").arg(self.folder.path());
        }
        command.args(&self.args);
        self.process = Some(Process::start(&mut command, &self.folder.path().join("nats.log"))?);
        let client =
            wait::until_ok("nats-server answers", || async { Ok(async_nats::connect(self.url()).await?) }).await?;
        if self.jetstream {
            // Not by the client's own call, which can't read an old server's answer.
            wait::until_ok("JetStream answers", || async { ask(&client, "INFO", &Value::Null).await.map(drop) })
                .await?;
        }
        Ok(())
    }

    /// Kills it; the files stay.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("nats-server doesn't run")?.kill()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("nats-server doesn't run")
    }

    /// Asks JetStream's API.
    ///
    /// # Errors
    /// No answer, or it says no.
    pub async fn ask(&self, verb: &str, body: &Value) -> Result<Value> {
        ask(&self.client().await?, verb, body).await
    }

    /// Its address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// A new client.
    ///
    /// # Errors
    /// It doesn't answer.
    pub async fn client(&self) -> Result<Client> {
        async_nats::connect(self.url()).await.context("connect to nats-server")
    }
}

/// Asks JetStream's API by hand: the client's own calls can't read an old server's answers.
async fn ask(client: &Client, verb: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.request(format!("$JS.API.{verb}"), body.into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload).context("an answer of JetStream")?;
    match answer.get("error") {
        Some(error) => bail!("{verb}: {error}"),
        None => Ok(answer),
    }
}

/// Three nats-servers that keep each stream together.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Nats>,
}

impl Cluster {
    /// Starts three of today, and waits until they have found each other.
    ///
    /// # Errors
    /// They aren't installed, or don't come together.
    pub async fn start() -> Result<Self> {
        let mut nodes = (0..3).map(|_| Nats::stopped(true)).collect::<Result<Vec<_>>>()?;
        let routes = nodes.iter().map(|_| free_address()).collect::<Result<Vec<_>>>()?;
        let list: Vec<String> = routes.iter().map(|route| format!("nats://{route}")).collect();
        for (number, (node, route)) in nodes.iter_mut().zip(&routes).enumerate() {
            let name = format!("node-{number}");
            let args = ["--name", &name, "--cluster_name", "tests", "--cluster", &format!("nats://{route}")];
            node.args =
                args.iter().map(|arg| (*arg).to_owned()).chain(["--routes".to_owned(), list.join(",")]).collect();
        }
        // None answers for JetStream before two are there.
        futures_util::future::try_join_all(nodes.iter_mut().map(Nats::resume)).await?;
        Ok(Self { nodes })
    }

    /// The addresses of all, for clients.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.iter().map(Nats::url).collect::<Vec<_>>().join(",")
    }

    /// A client that goes from one to the next.
    ///
    /// # Errors
    /// None answers.
    pub async fn client(&self) -> Result<Client> {
        let addresses: Vec<async_nats::ServerAddr> =
            self.nodes.iter().map(|node| node.url().parse()).collect::<Result<_, _>>()?;
        async_nats::connect(addresses).await.context("connect to the cluster")
    }

    /// Asks JetStream's API, at whichever node is there.
    ///
    /// # Errors
    /// No answer, or it says no.
    pub async fn ask(&self, verb: &str, body: &Value) -> Result<Value> {
        ask(&self.client().await?, verb, body).await
    }

    /// Kills the node that leads a stream; gives its number.
    ///
    /// # Errors
    /// Nobody leads it by the deadline.
    pub async fn kill_leader(&mut self, stream: &str) -> Result<usize> {
        let verb = format!("STREAM.INFO.{stream}");
        let leader = wait::until_ok("the stream has a leader", || async {
            let info = self.ask(&verb, &Value::Null).await?;
            let name = info["cluster"]["leader"].as_str().context("nobody leads the stream")?;
            name.trim_start_matches("node-").parse::<usize>().with_context(|| name.to_owned())
        })
        .await?;
        self.nodes.get_mut(leader).context("a node of another cluster")?.kill()?;
        Ok(leader)
    }

    /// Starts a node again.
    ///
    /// # Errors
    /// It doesn't come back.
    pub async fn resume(&mut self, node: usize) -> Result<()> {
        self.nodes.get_mut(node).context("no such node")?.resume().await
    }
}
