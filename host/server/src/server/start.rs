//! Puts the host's parts together, in the order in which an event passes them.

use super::RunOptions;
use crate::admin::Admin;
use crate::capture::Capture;
use crate::clock::Clock;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::demo::Demo;
use crate::health::Health;
use crate::http::Site;
use crate::http::cors::Cors;
use crate::http::counts::Counts;
use crate::http::identify::AccessState;
use crate::http::opening::Opener;
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
use crate::pipeline::{self, Parts, PipelineSettings};
use crate::shadow::Shadows;
use crate::source::Source;
use crate::source::chosen::Chosen;
use crate::source::embedded::{DeadLog, Embedded, Log, LogOptions};
use crate::source::jetstream::Wanted;
use crate::source::nats::{Nats, NatsOptions};
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::store::redis::{RedisOptions, RedisStore};
use crate::stream::{StreamSettings, Streams};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use anyhow::Context as _;
use std::sync::Arc;
use tidegate_core::backlog::Caps;
use tidegate_core::budget::BudgetSettings;
use tidegate_core::owner::OwnerSettings;
use tidegate_filter::{Engine, EngineSettings, InstancePool, PoolSettings};
use tokio::sync::Notify;

/// What is there before anything slow.
pub(super) struct Ground {
    pub(super) config: Config,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
    pub(super) access: AccessState,
    pub(super) data: Arc<DataDir>,
}

/// What is needed of the parts to end them.
pub(super) struct Running {
    pub(super) streams: Arc<Streams>,
    pub(super) modules: ModuleWatch,
}

/// Starts everything, and lets requests in. Where this is dropped before, nothing goes on but a compile at work.
pub(super) async fn start(
    ground: &Ground,
    options: &RunOptions,
    site_there: Opener<Site>,
    admin_there: Opener<Admin>,
) -> anyhow::Result<Running> {
    let Ground { config, tasks, clock, metrics, health, access, data } = ground;
    let source = source(config, data, clock).await?;
    let store = store(config, data, clock, metrics)?;
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
    let folder = open_folder(config, &engine, &copies, metrics, clock).await?;
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
        settings: pipeline_settings(config),
        tasks: tasks.clone(),
    });
    let streams = Arc::new(Streams::new(
        hub,
        Arc::clone(&store),
        Arc::clone(&source),
        chains.clone(),
        metrics.clone(),
        clock.clone(),
        stream_settings(config),
    ));
    let site = Arc::new(site(config, &streams, &source, access.clone(), health, demo.as_ref()));
    let (letters, token) = (Arc::new(Letters::of(&site)), config.admin.token.clone());
    let host = data.identity().to_owned();
    let capture = Arc::new(Capture::new(Arc::clone(&streams), Arc::clone(&backlog_guests), tasks.clone()));
    let pusher = Pusher::new(engine, folder_settings(config), modules.line());
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
    access.keep_fresh(tasks, health);
    tasks.spawn_critical("pipeline", pipeline::run(parts));
    site_there.send_replace(Some(site));
    admin_there.send_replace(Some(Arc::new(admin)));
    if options.demo {
        Demo::run(source, clock.clone(), tasks);
    }
    Ok(Running { streams, modules })
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
