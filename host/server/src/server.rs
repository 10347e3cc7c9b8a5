//! The host: its parts, put together in the order in which an event passes them.

use crate::admin::Admin;
use crate::capture::Capture;
use crate::clock::Clock;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::demo::Demo;
use crate::descriptors;
use crate::health::Health;
use crate::http::accept::{self, AcceptSettings, Answers};
use crate::http::cors::Cors;
use crate::http::counts::Counts;
use crate::http::identify::AccessState;
use crate::http::opening::{Opener, Opening};
use crate::http::{self, Site};
use crate::hub::Hub;
use crate::letters::Letters;
use crate::modules::copy::Copies;
use crate::modules::folder::{Folder, FolderSettings};
use crate::modules::keeper::{self, Keeper, Means};
use crate::modules::notes::Notes;
use crate::modules::push::Pusher;
use crate::modules::registry::Registry;
use crate::modules::warm::Warmer;
use crate::modules::watch::ModuleWatch;
use crate::pipeline::guests::Guests;
use crate::pipeline::shown::Onlooker;
use crate::pipeline::{self, Parts, PipelineSettings};
use crate::shadow::Shadows;
use crate::source::chosen::Chosen;
use crate::source::embedded::{DeadLog, Embedded, Log, LogOptions};
use crate::source::jetstream::Wanted;
use crate::source::nats::{Nats, NatsOptions};
use crate::source::{Source, SourceError};
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::store::redis::{RedisOptions, RedisStore};
use crate::stream::{StreamSettings, Streams};
use crate::tasks::Tasks;
use crate::telemetry::{LogSetup, Metrics, start_logs};
use anyhow::Context as _;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::backlog::Caps;
use tidegate_core::budget::BudgetSettings;
use tidegate_core::owner::OwnerSettings;
use tidegate_filter::{Engine, EngineSettings, InstancePool, PoolSettings};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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
    // Addresses are taken before anything slow: a port in use is told at once.
    let listener =
        bind(config.http.listen).with_context(|| format!("http.host and http.port: {}", config.http.listen))?;
    let admin_listener = bind(config.admin.listen).with_context(|| format!("admin.listen: {}", config.admin.listen))?;
    let data = Arc::new(DataDir::lock(&config.data.dir)?);
    // From now on probes are answered, whatever the rest takes.
    let (http_address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let closing = CancellationToken::new();
    let (site_there, admin_there) = listen(&config, &tasks, &closing, listener, admin_listener);

    let source = source(&config, &data, &clock).await?;
    let store = store(&config, &data, &clock, &metrics)?;
    let demo = match options.demo {
        true => Some(Arc::new(
            Demo::prepare(&config.filters.dir).with_context(|| format!("{}", config.filters.dir.display()))?,
        )),
        false => None,
    };
    let engine = Engine::new(EngineSettings {
        cache_dir: Some(data.path().join("compiled")),
        compile_time_max: Some(config.filters.compile_timeout),
        ..EngineSettings::default()
    })?;
    let (copies, notes, releases) = keeper::places(data.path());
    let copies = Arc::new(Copies::new(copies));
    let folder = open_folder(&config, &engine, &copies, &metrics, &clock).await?;
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let pool = InstancePool::new(PoolSettings::default());
    let means = Means {
        warmer: Warmer::new(pool.clone(), cores),
        notes: Notes::open(notes),
        registry: Registry::new(releases),
        copies,
        source: Arc::clone(&source),
        health: health.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    let keeper = Keeper::new(folder, means)?;
    let (chains, listing) = (keeper.cell(), keeper.listing());
    let modules = ModuleWatch::start(keeper, &config.filters.dir)?;
    let guests = Arc::new(Guests::start(&engine, &pool, "guest", cores, false)?);
    let backlog_guests = Arc::new(Guests::start(&engine, &pool, "backlog", cores.div_ceil(4), true)?);

    let hub = Arc::new(Hub::new(config.live.ring_bytes));
    let parts = Arc::new(Parts {
        store: Arc::clone(&store),
        source: Arc::clone(&source),
        hub: Arc::clone(&hub),
        chains: chains.clone(),
        modules: modules.line(),
        guests,
        backlog_guests: Arc::clone(&backlog_guests),
        pool,
        metrics: metrics.clone(),
        onlooker: options.onlooker.clone(),
        health: health.clone(),
        clock: clock.clone(),
        host: data.identity().to_owned(),
        letters: Notify::new(),
        settings: pipeline_settings(&config),
        tasks: tasks.clone(),
    });
    let streams = Arc::new(Streams::new(
        hub,
        Arc::clone(&store),
        Arc::clone(&source),
        chains.clone(),
        metrics.clone(),
        clock.clone(),
        stream_settings(&config),
    ));
    let site = Arc::new(site(&config, &streams, &source, access.clone(), &health, demo.as_ref()));
    let (letters, token) = (Arc::new(Letters::of(&site)), config.admin.token.clone());
    let host = data.identity().to_owned();
    let capture = Arc::new(Capture::new(Arc::clone(&streams), Arc::clone(&backlog_guests), tasks.clone()));
    let pusher = Pusher::new(engine, folder_settings(&config), modules.line());
    let shadows = Shadows::new(Arc::clone(&capture), pusher.clone(), Arc::clone(&streams), backlog_guests);
    let admin = Admin {
        listing,
        letters,
        capture,
        pusher,
        shadows,
        tasks: tasks.clone(),
        site: Arc::clone(&site),
        token,
        host,
    };
    access.keep_fresh(&tasks, &health);
    tasks.spawn_critical("pipeline", pipeline::run(parts));
    site_there.send_replace(Some(site));
    admin_there.send_replace(Some(Arc::new(admin)));
    if options.demo {
        Demo::run(source, clock, &tasks);
    }
    let ready = tell_ready(health.clone(), options.ready_file.clone(), http_address, admin_address);
    tasks.spawn("ready", ready);
    tracing::info!(http = %http_address, admin = %admin_address, data = %data.path().display(), "tidegate listens");

    wait_for_end(&tasks).await?;
    closing.cancel();
    stop(&config, &tasks, &streams, &health).await;
    // The threads of filters end before the process does; nothing waits for a compile that nobody needs.
    drop(modules);
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
    let answers: Answers = Arc::new(move |peer, request| {
        let site = site.clone();
        Box::pin(async move {
            match site.of(request.uri().path()).await {
                Ok(site) => http::answer(site, peer, request).await,
                Err(answer) => answer,
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

/// The source: JetStream or core NATS, or the log in `data.dir`.
async fn source(config: &Config, data: &Arc<DataDir>, clock: &Clock) -> anyhow::Result<Arc<dyn Source>> {
    let dead = Arc::new(DeadLog::open(data.path().join("dlq"), clock.clone()).await?);
    let Some(url) = &config.nats.url else {
        let options = LogOptions::new(data.path().join("log"), config.replay.retention);
        let log_clock = clock.clone();
        let log = tokio::task::spawn_blocking(move || Log::open(&options, log_clock)).await??;
        return Ok(Arc::new(Embedded::new(log, dead)));
    };
    let options = NatsOptions {
        url: url.expose().to_owned(),
        creds: config.nats.creds.clone(),
        name: format!("tidegate {}", data.identity()),
    };
    let nats = Nats::connect(&options).await?;
    Ok(Arc::new(Chosen::new(nats, wanted_stream(config), clock.clone(), Some(dead))))
}

/// What is asked of NATS' streams.
pub(crate) fn wanted_stream(config: &Config) -> Wanted {
    Wanted {
        subjects: config.source.subjects.clone(),
        stream: config.nats.stream.clone(),
        capture: config.nats.capture,
        retention: config.replay.retention,
    }
}

/// The replay cache: Redis, or a database in `data.dir`.
fn store(config: &Config, data: &Arc<DataDir>, clock: &Clock, metrics: &Metrics) -> anyhow::Result<Arc<dyn Store>> {
    let wait_replicas = config.redis.wait_replicas;
    let options = RedisOptions { wait_replicas, metrics: metrics.clone(), ..RedisOptions::default() };
    Ok(match &config.redis.url {
        Some(url) => Arc::new(RedisStore::connect(url.expose(), &options)?),
        None => Arc::new(EmbeddedStore::open(data, clock.clone())?),
    })
}

/// Loads every module before the host is ready: compiling blocks, so it does that on a thread for blocking work.
async fn open_folder(
    config: &Config,
    engine: &Engine,
    copies: &Arc<Copies>,
    metrics: &Metrics,
    clock: &Clock,
) -> anyhow::Result<Folder> {
    let settings = folder_settings(config);
    let (engine, copies, metrics, clock) = (engine.clone(), Arc::clone(copies), metrics.clone(), clock.clone());
    Ok(tokio::task::spawn_blocking(move || Folder::open(engine, settings, Some(copies), metrics, clock)).await??)
}

fn folder_settings(config: &Config) -> FolderSettings {
    FolderSettings {
        dir: config.filters.dir.clone(),
        limits: config.filters.limits,
        limits_max: config.filters.limits_max,
    }
}

fn pipeline_settings(config: &Config) -> PipelineSettings {
    let age_ms_max = u64::try_from(config.backlog.max_age.as_millis()).unwrap_or(u64::MAX);
    let backlog = Caps { bytes_max: config.backlog.max_bytes, age_ms_max };
    PipelineSettings {
        lease: config.owner.lease,
        owner: OwnerSettings { backlog, frame_bytes_max: config.limits.frame_bytes },
        retention: config.replay.retention,
        entries_max: config.replay.max_events,
        bytes_max: config.replay.max_bytes,
        rebuild: config.replay.rebuild,
        event_bytes_max: config.limits.event_bytes,
        budget: BudgetSettings { errors: f64::from(config.filters.error_budget) / 100.0, ..BudgetSettings::default() },
    }
}

fn stream_settings(config: &Config) -> StreamSettings {
    StreamSettings {
        buffer: config.live.buffer,
        slow_client: config.live.slow_client,
        heartbeat: config.live.heartbeat,
        rotate: config.live.rotate,
        drain: config.live.drain,
        retention_ms: u64::try_from(config.replay.retention.as_millis()).unwrap_or(u64::MAX),
    }
}

fn accept_settings(config: &Config) -> AcceptSettings {
    AcceptSettings {
        connections_max: config.limits.connections,
        stall: config.live.stall_timeout,
        idle: config.live.idle_timeout,
    }
}

fn site(
    config: &Config,
    streams: &Arc<Streams>,
    source: &Arc<dyn Source>,
    access: AccessState,
    health: &Health,
    demo: Option<&Arc<Demo>>,
) -> Site {
    let flags = config.flags.clone();
    Site {
        counts: Counts::new(Arc::clone(&streams.store)),
        source: Arc::clone(source),
        access,
        cors: Cors::new(&config.http.cors_origins),
        health: health.clone(),
        metrics: streams.metrics.clone(),
        clock: streams.clock.clone(),
        flags: Arc::new(move |company| flags.streams(company)),
        streaming: config.streaming.enabled,
        ingest: config.ingest.token.clone(),
        subjects: config.source.subjects.clone(),
        event_bytes_max: config.limits.event_bytes,
        connections_max: config.limits.connections,
        demo: demo.map(Arc::clone),
        streams: Arc::clone(streams),
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

async fn wait_for_end(tasks: &Tasks) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
        () = tasks.stopped() => {}
    }
    Ok(())
}

/// Lets streams end within the drain window, then ends every task: commits are finished, the lease is given back.
async fn stop(config: &Config, tasks: &Tasks, streams: &Streams, health: &Health) {
    health.drain();
    streams.drain();
    let until = tokio::time::Instant::now() + config.live.drain;
    while !streams.connections.is_empty() && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tasks.shutdown(Duration::from_secs(4)).await;
}
