//! Reads the written values into the typed configuration, key by key.

use super::error::{ConfigError, ConfigFault, Mistake};
use super::keys::{self, Key};
use super::layers::{Layers, Raw, Written, bad_value};
use super::{
    Access, AccessMode, Admin, Backlog, Config, Data, Filters, Flags, Http, Ingest, Jwt, KeySet, Limits, Live, Log,
    LogFormat, Nats, Owner, PublicKeyFile, Redis, Replay, Secret, SlowClient, Source, Streaming, listing, values,
};
use jsonwebtoken::Algorithm;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tidegate_core::event::Company;
use tidegate_filter::Limits as FilterLimits;

mod agree;

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(86_400);
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn read(layers: Layers) -> Result<Config, ConfigError> {
    let reader = Reader { layers: &layers };
    let mut config = Config {
        streaming: Streaming { enabled: reader.need("streaming.enabled", values::boolean)? },
        http: reader.http()?,
        admin: Admin { listen: reader.need("admin.listen", address)?, token: reader.get("admin.token", token)? },
        ingest: Ingest { token: reader.get("ingest.token", token)? },
        source: reader.source()?,
        nats: reader.nats()?,
        redis: Redis {
            url: reader.get("redis.url", |text| url(text, &["redis://", "rediss://"]))?,
            wait_replicas: reader.need("redis.wait-replicas", |text| within(text, 0, 16).map(|n| n as u32))?,
        },
        data: Data { dir: reader.need("data.dir", folder)? },
        filters: Filters {
            dir: reader.need("filters.dir", folder)?,
            limits: reader.filter_limits("filters.limits")?,
            limits_max: reader.filter_limits("filters.limits-max")?,
            compile_timeout: reader.span(
                "filters.compile-timeout",
                Duration::from_secs(1),
                Duration::from_secs(3_600),
            )?,
            error_budget: reader.count("filters.error-budget", 1, 100)? as u32,
        },
        replay: reader.replay()?,
        owner: Owner { lease: reader.span("owner.lease", Duration::from_secs(1), Duration::from_secs(300))? },
        backlog: Backlog {
            max_bytes: reader.size("backlog.max-bytes", 1 << 10, 1 << 40)?,
            max_age: reader.span("backlog.max-age", Duration::from_secs(1), DAY * 3_650)?,
        },
        limits: Limits {
            event_bytes: reader.size("limits.event-bytes", 64, 64 * MIB)? as usize,
            frame_bytes: reader.size("limits.frame-bytes", 1 << 10, 256 * MIB)? as usize,
            connections: reader.need("limits.connections", |text| within(text, 1, 10_000_000))? as usize,
        },
        live: reader.live()?,
        access: reader.access()?,
        flags: reader.flags()?,
        log: reader.log()?,
        warnings: layers.warnings.clone(),
        settings: listing::settings(&layers),
    };
    agree::check(&mut config, &reader)?;
    Ok(config)
}

struct Reader<'a> {
    layers: &'a Layers,
}

impl Reader<'_> {
    fn written(&self, name: &'static str) -> Option<(&'static Key, Written)> {
        let key = keys::find(name)?;
        Some((key, self.layers.written(key)?))
    }

    /// Whether somebody set the key.
    fn is_set(&self, name: &'static str) -> bool {
        self.written(name).is_some_and(|(_, written)| written.origin != super::Origin::Default)
    }

    /// Every layer's word has to be right, also one that a stronger layer overrides: it counts as soon as that one goes.
    fn get<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
        let Some((key, written)) = self.written(name) else { return Ok(None) };
        let read = |written: &Written| {
            let text = written.value.text();
            parse(text.trim()).map_err(|problem| bad_value(key, &text, &written.origin, &problem))
        };
        for below in self.layers.overridden(key) {
            read(below)?;
        }
        read(&written).map(Some)
    }

    fn need<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        self.get(name, parse)?.ok_or_else(|| self.conflict(name, "it has no value"))
    }

    fn list<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, ConfigError> {
        let Some((key, written)) = self.written(name) else { return Ok(Vec::new()) };
        let read = |written: &Written| -> Result<Vec<T>, ConfigError> {
            let items = match &written.value {
                Raw::Text(text) => {
                    text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
                }
                Raw::List(list) => list.clone(),
            };
            let read: Result<Vec<T>, String> = items.iter().map(|item| parse(item.trim())).collect();
            read.map_err(|problem| bad_value(key, &written.value.text(), &written.origin, &problem))
        };
        for below in self.layers.overridden(key) {
            read(below)?;
        }
        read(&written)
    }

    fn span(&self, name: &'static str, least: Duration, most: Duration) -> Result<Duration, ConfigError> {
        self.need(name, |text| bounded(text, least, most))
    }

    fn size(&self, name: &'static str, least: u64, most: u64) -> Result<u64, ConfigError> {
        self.need(name, |text| {
            let bytes = values::bytes(text)?;
            if (least..=most).contains(&bytes) { Ok(bytes) } else { Err(format!("outside of {least} to {most} bytes")) }
        })
    }

    fn count(&self, name: &'static str, least: u64, most: u64) -> Result<u64, ConfigError> {
        self.need(name, |text| within(text, least, most))
    }

    /// An error about a value that is fine by itself.
    fn conflict(&self, name: &'static str, problem: impl Into<String>) -> ConfigError {
        listing::complain(&listing::settings(self.layers), ConfigFault::Conflict, name, problem.into())
    }

    fn http(&self) -> Result<Http, ConfigError> {
        let host = self.need("http.host", values::host)?;
        let port = self.need("http.port", |text| within(text, 0, 65_535).map(|port| port as u16))?;
        Ok(Http { listen: SocketAddr::new(host, port), cors_origins: self.list("http.cors-origins", values::origin)? })
    }

    fn source(&self) -> Result<Source, ConfigError> {
        let subjects = self.list("source.subjects", |text| values::subject(text).map(|()| text.to_owned()))?;
        if subjects.is_empty() {
            return Err(self.conflict("source.subjects", "no subject is named"));
        }
        for (i, one) in subjects.iter().enumerate() {
            if let Some(other) = subjects[i + 1..].iter().find(|other| values::overlap(one, other)) {
                return Err(self.conflict("source.subjects", format!("`{one}` and `{other}` match the same subjects")));
            }
        }
        Ok(Source { subjects })
    }

    fn nats(&self) -> Result<Nats, ConfigError> {
        const SCHEMES: [&str; 4] = ["nats://", "tls://", "ws://", "wss://"];
        let stream_name = |text: &str| {
            if text.is_empty() || text.len() > 255 || text.contains(|c: char| c.is_whitespace() || ".*>/\\".contains(c))
            {
                return Err("not a stream's name".to_owned());
            }
            Ok(text.to_owned())
        };
        Ok(Nats {
            url: self.get("nats.url", |text| {
                for part in text.split(',') {
                    url(part.trim(), &SCHEMES)?;
                }
                Ok(Secret::new(text))
            })?,
            creds: self.get("nats.creds", |text| readable(text).map(|_| PathBuf::from(text)))?,
            stream: self.get("nats.stream", stream_name)?,
            capture: self.need("nats.capture", values::boolean)?,
        })
    }

    fn filter_limits(&self, table: &'static str) -> Result<FilterLimits, ConfigError> {
        let name = |last: &str| {
            let full = format!("{table}.{last}");
            keys::find(&full).map_or(table, |key| key.name)
        };
        Ok(FilterLimits {
            call_ms: self.count(name("call-ms"), 1, 60_000)?,
            memory_mib: self.count(name("memory-mib"), 1, 4_096)? as u32,
            output_bytes: self.size(name("output-bytes"), 64, 256 * MIB)?,
            outputs: self.count(name("outputs"), 1, 100_000)? as u32,
            log_per_second: self.count(name("log-per-second"), 0, 1_000_000)? as u32,
            state_bytes: self.size(name("state-bytes"), 0, 1 << 30)?,
            module_mib: self.count(name("module-mib"), 1, 1_024)? as u32,
        })
    }

    fn replay(&self) -> Result<Replay, ConfigError> {
        Ok(Replay {
            retention: self.span("replay.retention", Duration::from_secs(1), DAY * 3_650)?,
            max_events: self.count("replay.max-events", 1, u64::from(u32::MAX))?,
            max_bytes: self.size("replay.max-bytes", 1 << 10, 1 << 44)?,
            rebuild: self.span("replay.rebuild", Duration::ZERO, DAY * 3_650)?,
        })
    }

    fn live(&self) -> Result<Live, ConfigError> {
        const LONGEST: Duration = Duration::from_secs(86_400);
        let tenth = Duration::from_millis(100);
        let slow_client = |text: &str| match text {
            "catch-up" => Ok(SlowClient::CatchUp),
            "drop-oldest" => Ok(SlowClient::DropOldest),
            "disconnect" => Ok(SlowClient::Disconnect),
            _ => Err("no such policy".to_owned()),
        };
        Ok(Live {
            buffer: self.count("live.buffer", 1, 100_000)? as usize,
            slow_client: self.need("live.slow-client", slow_client)?,
            ring_bytes: self.size("live.ring-bytes", 4 << 10, 1 << 34)? as usize,
            drain: self.span("live.drain", Duration::ZERO, Duration::from_secs(3_600))?,
            rotate: self.get("live.rotate", |text| bounded(text, Duration::from_secs(1), DAY * 30))?,
            // Clients and proxies are promised a sign of life within 30 s.
            heartbeat: self.span("live.heartbeat", tenth, Duration::from_secs(30))?,
            stall_timeout: self.span("live.stall-timeout", tenth, LONGEST)?,
            idle_timeout: self.span("live.idle-timeout", Duration::from_secs(1), LONGEST)?,
        })
    }

    fn access(&self) -> Result<Access, ConfigError> {
        let mode = self.get("access.mode", |text| match text {
            "open" => Ok(AccessMode::Open),
            "jwt" => Ok(AccessMode::Jwt),
            _ => Err("no such mode".to_owned()),
        })?;
        let word = |text: &str| {
            if text.is_empty() || text.contains(|c: char| !c.is_ascii_graphic() || ";,=\"".contains(c)) {
                return Err("not a cookie's name".to_owned());
            }
            Ok(text.to_owned())
        };
        let jwt = Jwt {
            secret: self.get("access.jwt.secret", |text| Ok(Secret::new(text)))?,
            public_key: self.get("access.jwt.public-key", |text| {
                Ok(PublicKeyFile { path: PathBuf::from(text), pem: readable(text)? })
            })?,
            jwks: self.get("access.jwt.jwks", key_set)?,
            algorithms: self.list("access.jwt.algorithms", algorithm)?,
            company_claim: self.need("access.jwt.company-claim", filled)?,
            issuers: self.list("access.jwt.issuer", filled)?,
            audiences: self.list("access.jwt.audience", filled)?,
            cookie: self.need("access.jwt.cookie", word)?,
            leeway: self.span("access.jwt.leeway", Duration::ZERO, Duration::from_secs(300))?,
        };
        Ok(Access { mode: mode.unwrap_or(AccessMode::Open), jwt })
    }

    fn flags(&self) -> Result<Flags, ConfigError> {
        let mut flags = Flags {
            database: self.get("flags.database", |text| url(text, &["postgres://", "postgresql://"]))?,
            companies: std::collections::BTreeMap::new(),
        };
        for (name, (on, origin)) in &self.layers.companies {
            let company = Company::new(name).map_err(|problem| Mistake {
                fault: ConfigFault::BadValue,
                key: format!("flags.{name}"),
                value: on.to_string(),
                origin: origin.clone(),
                problem: problem.to_string(),
                accepts: "a company's name: 1 to 128 of A-Z a-z 0-9 . _ -, not starting with _ or .".to_owned(),
            })?;
            flags.companies.insert(company, *on);
        }
        Ok(flags)
    }

    fn log(&self) -> Result<Log, ConfigError> {
        let format = |text: &str| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("no such format".to_owned()),
        };
        Ok(Log { level: self.need("log.level", log_level)?, format: self.get("log.format", format)? })
    }
}

/// A word alone is a target to the filter, which then shuts everything else up: `inof` would be a host without a log.
fn log_level(text: &str) -> Result<String, String> {
    for directive in text.split(',') {
        let is_level = LEVELS.iter().any(|level| directive.eq_ignore_ascii_case(level));
        if !is_level && !directive.contains(['=', '[']) {
            return Err(format!("`{directive}` is no level"));
        }
    }
    text.parse::<tracing_subscriber::EnvFilter>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn within(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = values::count(text)?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(format!("outside of {least} to {most}")) }
}

fn bounded(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let span = values::duration(text)?;
    if (least..=most).contains(&span) { Ok(span) } else { Err(format!("outside of {least:?} to {most:?}")) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text.rsplit_once(':').ok_or("no port")?;
    let port: u16 = port.parse().map_err(|error| format!("port: {error}"))?;
    Ok(SocketAddr::new(values::host(host)?, port))
}

fn token(text: &str) -> Result<Secret, String> {
    if text.len() < 16 {
        return Err(format!("it has {} characters", text.len()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it holds something else than printable ASCII".to_owned());
    }
    Ok(Secret::new(text))
}

fn url(text: &str, schemes: &[&str]) -> Result<Secret, String> {
    match schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some("") => Err("no host".to_owned()),
        Some(_) if text.contains(char::is_whitespace) => Err("it holds a space".to_owned()),
        Some(_) => Ok(Secret::new(text)),
        None => Err(format!("it does not begin with {}", schemes.join(" or "))),
    }
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn filled(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn readable(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("not readable: {error}"))
}

fn key_set(text: &str) -> Result<KeySet, String> {
    if text.starts_with("https://") || text.starts_with("http://") {
        return Ok(KeySet::Address(text.to_owned()));
    }
    if text.contains("://") {
        return Err("neither a file nor an http(s) address".to_owned());
    }
    readable(text).map(|_| KeySet::File(PathBuf::from(text)))
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse().map_err(|_unknown| format!("`{text}` is no algorithm for tokens"))
}
