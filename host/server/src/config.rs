//! The configuration: every key of the host, from defaults, `tidegate.toml`, the environment and flags, in that order.
//!
//! It is read whole and checked whole before a port is bound or a server asked. Keys, defaults and environment
//! variables stand in one table, `config/keys.rs`.

mod error;
mod keys;
mod layers;
mod listing;
mod read;
pub(crate) mod values;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, ConfigFault, Mistake, Origin};
pub use layers::Sources;
pub use listing::Setting;
pub use values::{Secret, redact_url};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tidegate_core::event::Company;

/// The whole configuration, read and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `streaming.*`
    pub streaming: Streaming,
    /// `http.*`
    pub http: Http,
    /// `admin.*`
    pub admin: Admin,
    /// `ingest.*`
    pub ingest: Ingest,
    /// `source.*`
    pub source: Source,
    /// `nats.*`
    pub nats: Nats,
    /// `redis.*`
    pub redis: Redis,
    /// `data.*`
    pub data: Data,
    /// `filters.*`
    pub filters: Filters,
    /// `replay.*`
    pub replay: Replay,
    /// `owner.*`
    pub owner: Owner,
    /// `backlog.*`
    pub backlog: Backlog,
    /// `limits.*`
    pub limits: Limits,
    /// `live.*`
    pub live: Live,
    /// `access.*`
    pub access: Access,
    /// `flags.*`
    pub flags: Flags,
    /// `log.*`
    pub log: Log,
    /// What is allowed but probably not meant; logged at start.
    pub warnings: Vec<String>,
    settings: Vec<Setting>,
}

/// `streaming.*`
#[derive(Debug, Clone)]
pub struct Streaming {
    /// `streaming.enabled`: without it streams are refused, while intake and cache go on.
    pub enabled: bool,
}

/// `http.*`
#[derive(Debug, Clone)]
pub struct Http {
    /// `http.host` and `http.port`; port 0 picks a free one.
    pub listen: SocketAddr,
    /// `http.cors-origins`: exact origins in lower case.
    pub cors_origins: Vec<String>,
}

/// `admin.*`
#[derive(Debug, Clone)]
pub struct Admin {
    /// `admin.listen`; port 0 picks a free one.
    pub listen: SocketAddr,
    /// `admin.token`: without it the admin API answers 401 to all but `modules` and health.
    pub token: Option<Secret>,
}

/// `ingest.*`
#[derive(Debug, Clone)]
pub struct Ingest {
    /// `ingest.token`: without it `/ingest` answers 404.
    pub token: Option<Secret>,
}

/// `source.*`
#[derive(Debug, Clone)]
pub struct Source {
    /// `source.subjects`: at least one; no two overlap, none reaches the dead letters.
    pub subjects: Vec<String>,
}

/// `nats.*`
#[derive(Debug, Clone)]
pub struct Nats {
    /// `nats.url`: one or several addresses separated by commas; unset: the embedded log.
    pub url: Option<Secret>,
    /// `nats.creds`: a credentials file that was readable at start.
    pub creds: Option<PathBuf>,
    /// `nats.stream`: unset: the stream that holds the subjects, if there is one.
    pub stream: Option<String>,
    /// `nats.capture`: make a stream where none holds the subjects.
    pub capture: bool,
}

/// `redis.*`
#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis.url`; unset: the embedded store.
    pub url: Option<Secret>,
    /// `redis.wait-replicas`: how many replicas must have a commit before it counts.
    pub wait_replicas: u32,
}

/// `data.*`
#[derive(Debug, Clone)]
pub struct Data {
    /// `data.dir`: identity, embedded log and store, compiled modules.
    pub dir: PathBuf,
}

/// `filters.*`
#[derive(Debug, Clone)]
pub struct Filters {
    /// `filters.dir`: the folder with `_platform`, `_default` and the companies' own.
    pub dir: PathBuf,
    /// `filters.limits`: what a filter has whose own file says nothing.
    pub limits: tidegate_filter::Limits,
    /// `filters.limits-max`: what no filter's own file can pass.
    pub limits_max: tidegate_filter::Limits,
    /// `filters.compile-timeout`: the longest that compiling one module may take.
    pub compile_timeout: Duration,
    /// `filters.error-budget`: at more of its events, in percent, a new chain must not fail.
    pub error_budget: u32,
}

/// `replay.*`
#[derive(Debug, Clone)]
pub struct Replay {
    /// `replay.retention`
    pub retention: Duration,
    /// `replay.max-events`, for each company.
    pub max_events: u64,
    /// `replay.max-bytes`, for each company.
    pub max_bytes: u64,
    /// `replay.rebuild`: how far back an emptied store is rebuilt from the source.
    pub rebuild: Duration,
}

/// `owner.*`
#[derive(Debug, Clone)]
pub struct Owner {
    /// `owner.lease`: how long a silent owner keeps the partition.
    pub lease: Duration,
}

/// `backlog.*`
#[derive(Debug, Clone)]
pub struct Backlog {
    /// `backlog.max-bytes`, for each company.
    pub max_bytes: u64,
    /// `backlog.max-age`
    pub max_age: Duration,
}

/// `limits.*`
#[derive(Debug, Clone)]
pub struct Limits {
    /// `limits.event-bytes`: the largest payload.
    pub event_bytes: usize,
    /// `limits.frame-bytes`: the largest event on the wire.
    pub frame_bytes: usize,
    /// `limits.connections`: streams open at a time.
    pub connections: usize,
}

/// `live.*`
#[derive(Debug, Clone)]
pub struct Live {
    /// `live.buffer`: events that a client may lag under [`SlowClient::DropOldest`] and [`SlowClient::Disconnect`].
    pub buffer: usize,
    /// `live.slow-client`
    pub slow_client: SlowClient,
    /// `live.ring-bytes`: shared by a company's connections.
    pub ring_bytes: usize,
    /// `live.drain`: the window over which streams are ended at shutdown.
    pub drain: Duration,
    /// `live.rotate`: the longest life of a stream; unset: none.
    pub rotate: Option<Duration>,
    /// `live.heartbeat`: the longest silence on a stream.
    pub heartbeat: Duration,
    /// `live.stall-timeout`: how long a socket may take no byte while bytes wait.
    pub stall_timeout: Duration,
    /// `live.idle-timeout`: how long the peer may acknowledge nothing at all.
    pub idle_timeout: Duration,
}

/// What happens to a connection that reads more slowly than its company's events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClient {
    /// It reads on from the replay cache and comes back.
    CatchUp,
    /// It jumps to the newest `live.buffer` events, told by `gap`.
    DropOldest,
    /// It is ended.
    Disconnect,
}

/// `access.*`
#[derive(Debug, Clone)]
pub struct Access {
    /// `access.mode`
    pub mode: AccessMode,
    /// `access.jwt.*`
    pub jwt: Jwt,
}

/// Who may open a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// Everybody, every company.
    Open,
    /// Who shows a token, the companies in it.
    Jwt,
}

/// `access.jwt.*`
#[derive(Debug, Clone)]
pub struct Jwt {
    /// `access.jwt.secret`: for HS256 and its sisters.
    pub secret: Option<Secret>,
    /// `access.jwt.public-key`: the file and what it held at start.
    pub public_key: Option<PublicKeyFile>,
    /// `access.jwt.jwks`
    pub jwks: Option<KeySet>,
    /// `access.jwt.algorithms`: the only ones that count, whatever a token says. Empty in mode `open` alone.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// `access.jwt.company-claim`: dots lead into objects.
    pub company_claim: String,
    /// `access.jwt.issuer`: empty: not checked.
    pub issuers: Vec<String>,
    /// `access.jwt.audience`: empty: not checked.
    pub audiences: Vec<String>,
    /// `access.jwt.cookie`
    pub cookie: String,
    /// `access.jwt.leeway`: how far the clocks of issuer and host may differ.
    pub leeway: Duration,
}

/// A PEM file.
#[derive(Debug, Clone)]
pub struct PublicKeyFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text at start.
    pub pem: String,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySet {
    /// A file, read again from time to time.
    File(PathBuf),
    /// An `http(s)` address, fetched again from time to time.
    Address(String),
}

/// `flags.*`
#[derive(Debug, Clone)]
pub struct Flags {
    /// `flags.database`
    pub database: Option<Secret>,
    /// `[flags]`: companies that are named; who is not streams.
    pub companies: BTreeMap<Company, bool>,
}

impl Flags {
    /// Whether this company may stream.
    #[must_use]
    pub fn streams(&self, company: &Company) -> bool {
        self.companies.get(company).copied().unwrap_or(true)
    }
}

/// `log.*`
#[derive(Debug, Clone)]
pub struct Log {
    /// `log.level`: a level, or directives.
    pub level: String,
    /// `log.format`; unset: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// The first thing that is wrong, with key, value, origin and what is accepted.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        read::read(layers::Layers::lay(sources)?)
    }

    /// Defaults and these keys; nothing from files or the environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let flags =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), format!("--set {key}"))).collect();
        Self::load(&Sources { flags, ..Sources::default() })
    }

    /// Every key with its value and origin, secrets hidden.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// An error about the value of a key that only its user could find: the key set that holds no key, say.
    #[must_use]
    pub fn complain(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        listing::complain(&self.settings, ConfigFault::BadValue, key, problem.into())
    }

    /// The URL under which this host is reached by a client on the same machine.
    #[must_use]
    pub fn local_url(&self) -> String {
        local_url(self.http.listen)
    }

    /// As [`Config::local_url`], for the admin API.
    #[must_use]
    pub fn local_admin_url(&self) -> String {
        local_url(self.admin.listen)
    }
}

fn local_url(listen: SocketAddr) -> String {
    let address = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], listen.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, listen.port())),
        _ => listen,
    };
    format!("http://{address}")
}

/// The environment of this process; what is not UTF-8 is no setting.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
