//! A nats-server of a test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use async_nats::Client;

use crate::folder::Folder;
use crate::process::{Process, free_address};
use crate::{tools, wait};

/// A nats-server on a port that stays the same over restarts.
#[derive(Debug)]
pub struct Nats {
    program: PathBuf,
    address: SocketAddr,
    jetstream: bool,
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
        Ok(Self { program, address, jetstream, folder: Folder::new("nats")?, process: None })
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
        self.process = Some(Process::start(&mut command, &self.folder.path().join("nats.log"))?);
        let client =
            wait::until_ok("nats-server answers", || async { Ok(async_nats::connect(self.url()).await?) }).await?;
        if self.jetstream {
            // Not by the client's own call, which can't read an old server's answer.
            wait::until_ok("JetStream answers", || async {
                let answer = client.request("$JS.API.INFO", "".into()).await?;
                let text = String::from_utf8_lossy(&answer.payload).into_owned();
                if text.contains("\"error\"") { bail!(text) } else { Ok(()) }
            })
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
