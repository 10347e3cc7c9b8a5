//! The host under test: started, spoken to, frozen, killed and started again on its data.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::folder::Folder;
use crate::metrics::Metrics;
use crate::process::{Kind, Process, free_address};
use crate::stream::{Connection, Request};
use crate::{tools, wait};

/// The credential of `/ingest` in tests.
pub const INGEST_TOKEN: &str = "ingest-token-of-the-tests";
/// The credential of the admin API in tests.
pub const ADMIN_TOKEN: &str = "admin-token-of-the-tests";

/// A host and the folder that holds all it needs.
#[derive(Debug)]
pub struct Host {
    folder: Folder,
    environment: BTreeMap<String, String>,
    settings: Vec<String>,
    launcher: Vec<String>,
    process: Option<Process>,
    http: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    client: reqwest::Client,
}

impl Host {
    /// A host that doesn't run yet, on embedded parts, with an empty folder for modules.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub fn new() -> Result<Self> {
        let folder = Folder::new("host")?;
        fs::create_dir_all(folder.path().join("modules"))?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build()?;
        let mut host = Self {
            folder,
            environment: BTreeMap::new(),
            settings: Vec::new(),
            launcher: Vec::new(),
            process: None,
            http: None,
            admin: None,
            client,
        };
        for (name, value) in [
            ("PORT_ANALYTICS", "0"),
            ("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0"),
            ("TIDEGATE_ADMIN_TOKEN", ADMIN_TOKEN),
            ("TIDEGATE_INGEST_TOKEN", INGEST_TOKEN),
            ("TIDEGATE_LOG_FORMAT", "json"),
        ] {
            host.env(name, value);
        }
        host.env("TIDEGATE_DATA", &host.folder.path().join("data").display().to_string());
        host.env("TIDEGATE_MODULES", &host.modules().display().to_string());
        Ok(host)
    }

    /// Sets a variable for the next start.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes a variable for the next start.
    pub fn without(&mut self, name: &str) -> &mut Self {
        self.environment.remove(name);
        self
    }

    /// Sets a key for the next start, as `live.drain=2s`.
    pub fn set(&mut self, setting: &str) -> &mut Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Starts it through another program, which is given the host's command line as arguments.
    pub fn through(&mut self, launcher: &[&str]) -> &mut Self {
        self.launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The folder of modules.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.path().join("modules")
    }

    /// The folder that holds everything of this host.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command line of the host, with this host's environment and nothing of ours.
    ///
    /// # Errors
    /// The host isn't built.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let program = tools::tidegate()?;
        let mut command = match self.launcher.split_first() {
            Some((launcher, words)) => {
                let mut command = Command::new(launcher);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.env_clear().envs(&self.environment).current_dir(self.folder.path()).args(args);
        for name in ["PATH", "HOME", "LANG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        Ok(command)
    }

    /// Starts it and waits until it tells its addresses, which it does once it is ready.
    ///
    /// # Errors
    /// It doesn't become ready; what it printed is in the error.
    pub async fn start(&mut self) -> Result<()> {
        let ready = self.folder.path().join("ready.json");
        let _ = fs::remove_file(&ready);
        let mut process = self.spawn(&ready)?;
        let found = wait::until("the host tells its addresses", || {
            let ended = process.ended().ok().flatten();
            let read = fs::read(&ready).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            async move { read.map(Ok).or_else(|| ended.map(Err)) }
        })
        .await;
        let told = match found {
            Ok(Ok(told)) => told,
            Ok(Err(status)) => bail!("the host ended with {status}:\n{}", process.log()),
            Err(error) => bail!("{error:#}:\n{}", process.log()),
        };
        let address = |key: &str| -> Result<SocketAddr> {
            let text = told.get(key).and_then(Value::as_str).with_context(|| format!("no `{key}` in {told}"))?;
            text.trim_start_matches("http://").trim_end_matches('/').parse().with_context(|| format!("{key}: {text}"))
        };
        (self.http, self.admin) = (Some(address("http")?), Some(address("admin")?));
        self.process = Some(process);
        self.ready().await
    }

    /// Starts it on a port chosen here and waits until it is alive, ready or not.
    ///
    /// # Errors
    /// It isn't; what it printed is in the error.
    pub async fn launch(&mut self) -> Result<()> {
        let address = self.http.map_or_else(free_address, Ok)?;
        self.http = Some(address);
        self.keep_port();
        self.process = Some(self.spawn(&self.folder.path().join("ready.json"))?);
        wait::until_ok("the host is alive", || async {
            let answer = self.get("/livez").await?;
            if answer.status == 200 { Ok(()) } else { bail!("{} {}", answer.status, answer.body) }
        })
        .await
        .with_context(|| self.log())
    }

    fn spawn(&self, ready: &Path) -> Result<Process> {
        let mut command = self.command(&["run", "--ready-file"])?;
        command.arg(ready);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        Process::start(&mut command, &self.folder.path().join("host.log"))
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Errors
    /// It doesn't; the answer and what the host printed are in the error.
    pub async fn ready(&self) -> Result<()> {
        wait::until_ok("the host is ready", || async {
            let answer = self.get("/readyz").await?;
            if answer.status == 200 { Ok(()) } else { bail!("{} {}", answer.status, answer.body) }
        })
        .await
        .with_context(|| self.log())
    }

    /// Starts it again on the port that it had.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.keep_port();
        self.start().await
    }

    /// The next start will use the port of the last one.
    pub fn keep_port(&mut self) {
        if let Some(http) = self.http {
            self.env("PORT_ANALYTICS", &http.port().to_string());
        }
    }

    /// Kills it: no chance to tidy up.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the host doesn't run")?.kill()
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn terminate(&self) -> Result<()> {
        self.process()?.signal(Kind::SIGTERM)
    }

    /// Its process.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the host doesn't run")
    }

    /// Waits until it ends by itself; gives the exit code.
    ///
    /// # Errors
    /// It runs on, or was ended by a signal.
    pub async fn end(&mut self) -> Result<i32> {
        let status = self.process.as_mut().context("the host doesn't run")?.end().await?;
        self.process = None;
        status.code().with_context(|| format!("{status}"))
    }

    /// What it printed so far, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("host.log")).unwrap_or_default()).into_owned()
    }

    /// Where it serves streams.
    ///
    /// # Errors
    /// It never ran.
    pub fn http(&self) -> Result<SocketAddr> {
        self.http.context("the host has no address yet")
    }

    /// Where its admin API is.
    ///
    /// # Errors
    /// It never ran.
    pub fn admin(&self) -> Result<SocketAddr> {
        self.admin.context("the host has no admin address yet")
    }

    /// The client for everything that isn't a stream.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The address of a path.
    ///
    /// # Errors
    /// It never ran.
    pub fn url(&self, path: &str) -> Result<String> {
        Ok(format!("http://{}{path}", self.http()?))
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        Answer::of(self.client.get(self.url(path)?)).await
    }

    /// Asks for a path that answers JSON.
    ///
    /// # Errors
    /// No answer, or no JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        self.get(path).await?.json()
    }

    /// Its metrics.
    ///
    /// # Errors
    /// No answer, or a line that can't be read.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.get("/metrics").await?.body)
    }

    /// Posts to `/ingest/{subject}` with the tests' credential.
    ///
    /// # Errors
    /// No answer.
    pub async fn ingest(&self, subject: &str, kind: &str, body: impl Into<reqwest::Body>) -> Result<Answer> {
        let request = self.client.post(self.url(&format!("/ingest/{subject}"))?).bearer_auth(INGEST_TOKEN);
        Answer::of(request.header("content-type", kind).body(body)).await
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// It can't connect, or there is no head.
    pub async fn open(&self, request: &Request) -> Result<Connection> {
        Connection::open(self.http()?, request).await
    }

    /// Runs `tidegate` with this host's environment and admin address to its end.
    ///
    /// # Errors
    /// It can't be run.
    pub async fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.command(args)?;
        if let Some(admin) = self.admin {
            command.env("TIDEGATE_ADMIN_URL", format!("http://{admin}"));
        }
        if let Some(http) = self.http {
            command.env("TIDEGATE_URL", format!("http://{http}"));
        }
        tokio::process::Command::from(command).output().await.context("run tidegate")
    }

    /// What `tidegate modules --json` tells.
    ///
    /// # Errors
    /// It fails, or prints no JSON.
    pub async fn listed_modules(&self) -> Result<Value> {
        let done = self.run(&["modules", "--json"]).await?;
        if !done.status.success() {
            bail!("tidegate modules: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
        }
        serde_json::from_slice(&done.stdout).context("tidegate modules --json prints no JSON")
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its head.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// No answer.
    pub async fn of(request: reqwest::RequestBuilder) -> Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.text().await? })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It isn't JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{} is no JSON: {:?}", self.status, self.body))
    }

    /// A header's text, empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
