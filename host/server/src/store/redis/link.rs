//! The connection: made at first use and again whenever it is lost, with a bound on calls and on waiting.

use super::reply::Reply;
use super::scripts::{Form, Pair, Scripts};
use super::{REPLICA_WAIT, RedisOptions};
use crate::store::StoreError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, ErrorKind, IntoConnectionInfo as _, RedisError, ServerErrorKind, Value, cmd};
use socket2::TcpKeepalive;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long a silent peer is believed in: a host that vanished without a word is noticed within about half a minute
/// even where no call is under way.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How long it stays said that the server gives no usable answer, at least.
const FLAPPING: Duration = Duration::from_secs(10);

/// The way to the server.
pub(super) struct Link {
    client: Client,
    manager: ConnectionManager,
    /// For commits alone: they wait behind nobody's pages, and nobody waits while they wait for replicas.
    commits: ConnectionManager,
    /// Where it is, without user and password.
    address: String,
    /// When it was said that it gives no usable answer, until it is said that it does.
    outage: Mutex<Option<Instant>>,
    wait_replicas: u32,
    pub(super) calls: Semaphore,
    patience: Duration,
    pub(super) scripts: Scripts,
    /// The server knows scripts with flags.
    flags: AtomicBool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("flags", &self.flags).finish_non_exhaustive()
    }
}

/// Keys and arguments of one script call.
#[derive(Debug, Default)]
pub(super) struct Call {
    keys: Vec<String>,
    arguments: Vec<Argument>,
}

#[derive(Debug)]
enum Argument {
    Text(String),
    Bytes(bytes::Bytes),
}

impl Call {
    pub(super) fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.push(text);
        self
    }

    pub(super) fn push(&mut self, text: impl Into<String>) {
        self.arguments.push(Argument::Text(text.into()));
    }

    pub(super) fn push_bytes(&mut self, bytes: bytes::Bytes) {
        self.arguments.push(Argument::Bytes(bytes));
    }

    pub(super) fn push_key(&mut self, key: String) {
        self.keys.push(key);
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key);
        }
        for argument in &self.arguments {
            match argument {
                Argument::Text(text) => command.arg(text),
                Argument::Bytes(bytes) => command.arg(&bytes[..]),
            };
        }
        command
    }
}

impl Link {
    pub(super) fn new(url: &str, options: &RedisOptions) -> Result<Self, StoreError> {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = url.into_connection_info().map_err(|error| refusal(&error))?.set_tcp_settings(tcp);
        let address = info.addr().to_string();
        let client = Client::open(info).map_err(|error| refusal(&error))?;
        // No tries behind our back: each call tries once, and whoever calls decides when to call again.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout));
        let connect = |client, config| {
            ConnectionManager::new_lazy_with_config(client, config).map_err(|error: RedisError| refusal(&error))
        };
        Ok(Self {
            manager: connect(client.clone(), config.clone())?,
            commits: connect(client.clone(), config)?,
            client,
            address,
            outage: Mutex::new(None),
            wait_replicas: options.wait_replicas,
            calls: Semaphore::new(options.calls.get()),
            patience: options.connect_timeout + options.response_timeout * 2,
            scripts: Scripts::new(),
            flags: AtomicBool::new(options.flags),
        })
    }

    /// Runs a script, telling the server its text where it doesn't know it.
    pub(super) async fn run(&self, pair: &Pair, call: Call) -> Result<Reply, StoreError> {
        let result = self.script(pair, &call, |command| async move { self.send(&command).await }).await;
        self.noted(result.map(Reply::new))
    }

    /// Runs the script of a commit, and says whether as many replicas have it as were wished for. One commit is on its way at
    /// a time: of several, one whose script the server didn't know would be overtaken by the next.
    pub(super) async fn commit(&self, pair: &Pair, call: Call) -> Result<(Reply, bool), StoreError> {
        let result = self.script(pair, &call, |command| self.confirmed(command)).await;
        self.noted(result.map(|(reply, confirmed)| (Reply::new(reply), confirmed)))
    }

    /// Runs a script in the form that the server knows.
    async fn script<T, F>(&self, pair: &Pair, call: &Call, send: impl Fn(Cmd) -> F) -> Result<T, RedisError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        if self.flags.load(Ordering::Relaxed) {
            match by_name(&pair.flagged, call, &send).await {
                Err(error) if speaks_no_flags(&error) => {
                    tracing::warn!("this Redis is older than 7: a full memory may be noticed in the middle of a step");
                    self.flags.store(false, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        by_name(&pair.plain, call, &send).await
    }

    async fn confirmed(&self, command: Cmd) -> Result<(Value, bool), RedisError> {
        let mut connection = self.commits.clone();
        if self.wait_replicas == 0 {
            let answer = self.timely(command.query_async(&mut connection)).await?;
            return Ok((answer, true));
        }
        // In one piece: on another connection WAIT would ask about that one's writes.
        let mut both = redis::pipe();
        both.add_command(command).cmd("WAIT").arg(self.wait_replicas).arg(REPLICA_WAIT.as_millis() as u64);
        both.ignore_errors();
        let answers: Vec<Result<Value, RedisError>> = self.timely(both.query_async(&mut connection)).await?;
        let mut answers = answers.into_iter();
        let missing = || RedisError::from((ErrorKind::UnexpectedReturnType, "an answer of two is missing"));
        let answer = answers.next().ok_or_else(missing)??;
        let replicas = match answers.next().ok_or_else(missing)?? {
            Value::Int(replicas) => replicas,
            _ => 0,
        };
        Ok((answer, replicas >= i64::from(self.wait_replicas)))
    }

    /// Sends a single command.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Reply, StoreError> {
        let answer = self.send(command).await;
        self.noted(answer.map(Reply::new))
    }

    /// A connection of its own, on which everything told on this channel arrives from now on.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<PubSub, StoreError> {
        let subscribe = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(channel).await.map(|()| connection)
        };
        let timely = tokio::time::timeout(self.patience, subscribe).await;
        let late = || Err((ErrorKind::Io, "no answer to a subscription in time").into());
        self.noted(timely.unwrap_or_else(|_| late()))
    }

    /// What came of a call; the log is told once that the server can't be used, and that it can again.
    fn noted<T>(&self, result: Result<T, RedisError>) -> Result<T, StoreError> {
        let result = result.map_err(|error| failure(&error));
        let begins = |outage: &mut Option<Instant>| {
            let begins = outage.is_none();
            outage.get_or_insert_with(Instant::now);
            begins
        };
        match &result {
            // One of its connections may hold while another doesn't.
            Ok(_) if self.outage().take_if(|told| told.elapsed() >= FLAPPING).is_some() => {
                tracing::info!(server = self.address, "Redis answers again");
            }
            Err(StoreError::Away(story)) if begins(&mut self.outage()) => {
                tracing::warn!(server = self.address, error = story, "Redis gives no usable answer; trying again");
            }
            Ok(_) | Err(_) => {}
        }
        result
    }

    fn outage(&self) -> MutexGuard<'_, Option<Instant>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        self.timely(async {
            // The semaphore is never closed.
            let _turn = self.calls.acquire().await;
            let mut connection = self.manager.clone();
            command.query_async(&mut connection).await
        })
        .await
    }

    async fn timely<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
        let timely = tokio::time::timeout(self.patience, call).await;
        timely.unwrap_or_else(|_| Err((ErrorKind::Io, "no answer in time").into()))
    }
}

/// Names a script, and sends its text where the server doesn't know it.
async fn by_name<T, F>(form: &Form, call: &Call, send: impl Fn(Cmd) -> F) -> Result<T, RedisError>
where
    F: Future<Output = Result<T, RedisError>>,
{
    match send(call.command("EVALSHA", &form.hash)).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {}
        result => return result,
    }
    send(call.command("EVAL", &form.text)).await
}

fn refusal(error: &RedisError) -> StoreError {
    StoreError::Away(format!("redis.url: {error}"))
}

/// An older server takes the first line of a script with flags for Lua.
fn speaks_no_flags(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.to_string().contains("compiling script")
        && error.to_string().contains("'#'")
}

/// What an error of the client library means to us.
pub(super) fn failure(error: &RedisError) -> StoreError {
    let story = error.to_string();
    match error.code() {
        // Memory is full, or the disk under it.
        Some("OOM" | "MISCONF") => return StoreError::Full(story),
        Some("WRONGTYPE") => return StoreError::Corrupt(story),
        _ => {}
    }
    match error.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Corrupt(story),
        ErrorKind::Server(ServerErrorKind::ResponseError) if story.contains("OOM command not allowed") => {
            StoreError::Full(story)
        }
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => StoreError::Corrupt(story),
        _ => StoreError::Away(story),
    }
}
