//! The host, from its first line of log to its end.

mod start;

use crate::admin::Admin;
use crate::clock::Clock;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::descriptors;
use crate::health::Health;
use crate::http::accept::{self, AcceptSettings, Answers};
use crate::http::cors::Cors;
use crate::http::identify::AccessState;
use crate::http::opening::{Opener, Opening};
use crate::http::{self, Site, updates};
use crate::pipeline::shown::Onlooker;
use crate::source::SourceError;
use crate::stream::Streams;
use crate::tasks::Tasks;
use crate::telemetry::{LogSetup, Metrics, start_logs};
use anyhow::Context as _;
use serde_json::json;
use start::Ground;
pub(crate) use start::wanted_stream;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Time for tasks to end once they are told to.
const SHUTDOWN: Duration = Duration::from_secs(4);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;

/// How a host is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Where the addresses are written as JSON once the host is ready.
    pub ready_file: Option<PathBuf>,
    /// With sample companies, filters, events and a page.
    pub demo: bool,
    /// Who is shown every verdict.
    pub onlooker: Onlooker,
}

/// Runs the host until it is told to stop (SIGTERM, SIGINT).
///
/// # Errors
/// What keeps it from starting, or what brought it down.
pub async fn run(config: Config, options: RunOptions) -> anyhow::Result<()> {
    start_logs(&LogSetup::new(&config.log));
    for warning in &config.warnings {
        tracing::warn!(warning, "configuration");
    }
    descriptors::raise(config.limits.connections);
    let (tasks, clock, metrics) = (Tasks::new(), Clock::system(), Metrics::new());
    let health = Health::new(metrics.clone());
    let access = AccessState::new(&config, clock.clone())?;
    // Before anybody is answered: until then the system ends the process at once, or, where it is a container's first, never.
    let mut signals = Signals::new()?;
    // Addresses are taken before anything slow: a port in use is told at once.
    let listener = bind(config.http.listen)
        .with_context(|| format!("http.host and http.port: {} (--port 0 takes a free one)", config.http.listen))?;
    let admin_listener = bind(config.admin.listen).with_context(|| {
        format!("admin.listen: {} (--admin-listen 127.0.0.1:0 takes a free one)", config.admin.listen)
    })?;
    let data = Arc::new(DataDir::lock(&config.data.dir)?);
    // From now on probes are answered, whatever the rest takes.
    let (http_address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let closing = CancellationToken::new();
    let (site_there, admin_there) = listen(&config, &tasks, &closing, listener, admin_listener);

    let ground = Ground { config, tasks, clock, metrics, health, access, data };
    let Ground { config, tasks, health, data, .. } = &ground;
    let started = tokio::select! {
        started = start::start(&ground, &options, site_there, admin_there) => Some(started),
        () = signals.received(tasks) => None,
    };
    let running = match started {
        Some(Ok(running)) => running,
        other => {
            closing.cancel();
            // Who waits for an answer gets one: what would have given it is gone.
            tasks.shutdown(SHUTDOWN).await;
            return other.map_or_else(|| end_of(tasks), |failed| failed.map(drop));
        }
    };
    let ready = tell_ready(health.clone(), options.ready_file.clone(), http_address, admin_address);
    tasks.spawn("ready", ready);
    tracing::info!(http = %http_address, admin = %admin_address, data = %data.path().display(), "tidegate listens");

    signals.received(tasks).await;
    closing.cancel();
    stop(config, tasks, &running.streams, health).await;
    // The threads of filters end before the process does; nothing waits for a compile that nobody needs.
    drop(running.modules);
    end_of(tasks)
}

/// How it ended: as it was told to, or because of a task.
fn end_of(tasks: &Tasks) -> anyhow::Result<()> {
    if let Some(story) = tasks.refusal() {
        return Err(SourceError::Refused(story).into());
    }
    match tasks.failure() {
        None => Ok(()),
        Some(failure) => anyhow::bail!(failure),
    }
}

/// Takes an address. Clients that come back all at once after a cut must find room: the system gives up to
/// `net.core.somaxconn`, and a connection that finds none is tried again by its client after a second.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Both listeners. What they answer with is given to them when it is there.
fn listen(
    config: &Config,
    tasks: &Tasks,
    closing: &CancellationToken,
    listener: TcpListener,
    admin_listener: TcpListener,
) -> (Opener<Site>, Opener<Admin>) {
    let accepting = accept_settings(config);
    let (site_there, site) = Opening::<Site>::new();
    let (admin_there, admin) = Opening::<Admin>::new();
    let cors = Arc::new(Cors::new(&config.http.cors_origins));
    let answers: Answers = Arc::new(move |peer, request| {
        let (site, cors) = (site.clone(), Arc::clone(&cors));
        Box::pin(async move {
            match site.of(request.uri().path()).await {
                Ok(site) => http::answer(site, peer, request).await,
                Err(answer) => {
                    let mut answer = updates::without_host(&request).unwrap_or(answer);
                    cors.mark(cors.origin(request.headers()), answer.headers_mut());
                    answer
                }
            }
        })
    });
    tasks.spawn_critical("http", accept::serve(listener, accepting, tasks.clone(), closing.clone(), answers));
    let answers: Answers = Arc::new(move |_, request| {
        let admin = admin.clone();
        Box::pin(async move {
            match admin.of(request.uri().path()).await {
                Ok(admin) => admin.answer(request).await,
                Err(answer) => answer,
            }
        })
    });
    let closing = CancellationToken::new();
    tasks.spawn_critical("admin", accept::serve(admin_listener, accepting, tasks.clone(), closing, answers));
    (site_there, admin_there)
}

fn accept_settings(config: &Config) -> AcceptSettings {
    AcceptSettings {
        connections_max: config.limits.connections,
        stall: config.live.stall_timeout,
        idle: config.live.idle_timeout,
    }
}

/// Writes the addresses once traffic may come.
async fn tell_ready(health: Health, file: Option<PathBuf>, http: SocketAddr, admin: SocketAddr) {
    // Without a bound: a server that is away at the start may come hours later.
    while health.ready().is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tracing::info!(http = %http, "tidegate is ready");
    if let Some(file) = file
        && let Err(error) = write_ready(&file, http, admin)
    {
        tracing::error!(file = %file.display(), error = %error, "the ready file can't be written");
    }
}

fn write_ready(file: &Path, http: SocketAddr, admin: SocketAddr) -> std::io::Result<()> {
    let text =
        json!({ "http": format!("http://{http}"), "admin": format!("http://{admin}"), "pid": std::process::id() })
            .to_string();
    let beside = file.with_extension("part");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, file)
}

/// The signals that end the host.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one, or until the host ends by itself.
    async fn received(&mut self, tasks: &Tasks) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = self.interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            () = tasks.stopped() => {}
        }
    }
}

/// Lets streams end within the drain window, then ends every task: commits are finished, the lease is given back.
async fn stop(config: &Config, tasks: &Tasks, streams: &Streams, health: &Health) {
    health.drain();
    streams.drain();
    let until = tokio::time::Instant::now() + config.live.drain;
    while !streams.connections.is_empty() && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tasks.shutdown(SHUTDOWN).await;
}
