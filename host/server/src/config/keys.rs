//! The table of configuration keys: names, environment, defaults and what is accepted. Defaults live nowhere else.

/// One key of the configuration.
#[derive(Debug)]
pub(super) struct Key {
    /// As in `tidegate.toml`, with dots for tables.
    pub(super) name: &'static str,
    /// The environment variable that sets it.
    pub(super) environment: Option<&'static str>,
    /// The default as text; `@name` takes the value of another key.
    pub(super) default: Option<&'static str>,
    /// What may be shown of its value.
    pub(super) show: Show,
    /// What is accepted, for people.
    pub(super) accepts: &'static str,
}

/// How a value may be shown in logs, listings and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Plain,
    /// Without the user and password in it.
    Url,
    /// Not at all.
    Secret,
}

const DURATION: &str = "a duration such as 500ms, 30s, 15m, 24h or 7d";
const BYTES: &str = "a size in bytes such as 65536, 64KiB, 4MiB or 1GiB";
const COUNT: &str = "a whole number";
const BOOLEAN: &str = "true or false";
const TOKEN: &str = "a secret of at least 16 characters without spaces";

const fn key(name: &'static str, environment: &'static str, default: &'static str, accepts: &'static str) -> Key {
    Key {
        name,
        environment: if environment.is_empty() { None } else { Some(environment) },
        default: if default.is_empty() { None } else { Some(default) },
        show: Show::Plain,
        accepts,
    }
}

const fn shown(mut key: Key, show: Show) -> Key {
    key.show = show;
    key
}

/// Every key, in the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    key("streaming.enabled", "STREAMING_ENABLED", "true", BOOLEAN),
    key("http.host", "TIDEGATE_HOST", "127.0.0.1", "an IP address or `localhost`"),
    key("http.port", "PORT_ANALYTICS", "3007", "a port from 0 to 65535; 0 picks a free one"),
    key("http.cors-origins", "TIDEGATE_CORS", "", "origins such as https://app.example.com, separated by commas"),
    key(
        "admin.listen",
        "TIDEGATE_ADMIN_LISTEN",
        "127.0.0.1:3008",
        "an address with a port such as 127.0.0.1:3008; port 0 picks a free one",
    ),
    shown(key("admin.token", "TIDEGATE_ADMIN_TOKEN", "", TOKEN), Show::Secret),
    shown(key("ingest.token", "TIDEGATE_INGEST_TOKEN", "", TOKEN), Show::Secret),
    key(
        "source.subjects",
        "TIDEGATE_SUBJECTS",
        "metrics.*,journey.*,q2q.*",
        "NATS subjects separated by commas, such as metrics.*,orders.>; none may start with $, reach tidegate.dlq.> or overlap another",
    ),
    shown(
        key("nats.url", "NATS_URL", "", "nats://host:port, tls://host:port or ws(s)://…, several separated by commas"),
        Show::Url,
    ),
    key("nats.creds", "NATS_CREDS", "", "a readable credentials file"),
    key(
        "nats.stream",
        "TIDEGATE_STREAM",
        "",
        "the name of a JetStream stream, without spaces, dots, wildcards and slashes",
    ),
    key("nats.capture", "TIDEGATE_CAPTURE", "false", BOOLEAN),
    shown(key("redis.url", "REDIS_URL", "", "redis://host:port/db or rediss://…"), Show::Url),
    key("redis.wait-replicas", "", "0", "a whole number from 0 to 16"),
    key("data.dir", "TIDEGATE_DATA", "./tidegate-data", "a folder"),
    key("filters.dir", "TIDEGATE_MODULES", "./modules", "a folder"),
    key("filters.limits.call-ms", "", "100", COUNT),
    key("filters.limits.memory-mib", "", "64", COUNT),
    key("filters.limits.output-bytes", "", "1MiB", BYTES),
    key("filters.limits.outputs", "", "100", COUNT),
    key("filters.limits.log-per-second", "", "100", COUNT),
    key("filters.limits.state-bytes", "", "16MiB", BYTES),
    key("filters.limits.module-mib", "", "32", COUNT),
    key("filters.limits-max.call-ms", "", "1000", COUNT),
    key("filters.limits-max.memory-mib", "", "640", COUNT),
    key("filters.limits-max.output-bytes", "", "10MiB", BYTES),
    key("filters.limits-max.outputs", "", "1000", COUNT),
    key("filters.limits-max.log-per-second", "", "1000", COUNT),
    key("filters.limits-max.state-bytes", "", "160MiB", BYTES),
    key("filters.limits-max.module-mib", "", "320", COUNT),
    key("filters.compile-timeout", "", "2m", DURATION),
    key("filters.error-budget", "", "50", "percent from 1 to 100; at 100 nothing is rolled back by itself"),
    key("replay.retention", "TIDEGATE_RETENTION", "24h", DURATION),
    key("replay.max-events", "", "1000000", COUNT),
    key("replay.max-bytes", "", "1GiB", BYTES),
    key("replay.rebuild", "", "@replay.retention", DURATION),
    key("owner.lease", "", "5s", DURATION),
    key("backlog.max-bytes", "", "64MiB", BYTES),
    key("backlog.max-age", "", "@replay.retention", DURATION),
    key("limits.event-bytes", "", "1MiB", BYTES),
    key("limits.frame-bytes", "", "4MiB", BYTES),
    key("limits.connections", "", "100000", COUNT),
    key("live.buffer", "", "100", COUNT),
    key("live.slow-client", "", "catch-up", "catch-up, drop-oldest or disconnect"),
    key("live.ring-bytes", "", "4MiB", BYTES),
    key("live.drain", "", "10s", DURATION),
    key("live.rotate", "", "", DURATION),
    key("live.heartbeat", "TIDEGATE_HEARTBEAT", "30s", DURATION),
    key("live.stall-timeout", "", "30s", DURATION),
    key("live.idle-timeout", "", "15m", DURATION),
    key("access.mode", "TIDEGATE_ACCESS", "", "open or jwt"),
    shown(
        key("access.jwt.secret", "TIDEGATE_JWT_SECRET", "", "the secret that signs HS256, HS384 and HS512 tokens"),
        Show::Secret,
    ),
    key("access.jwt.public-key", "TIDEGATE_JWT_PUBLIC_KEY", "", "a PEM file with an RSA, EC or Ed25519 public key"),
    shown(
        key("access.jwt.jwks", "TIDEGATE_JWKS", "", "the http(s) address or the file of a JSON Web Key Set"),
        Show::Url,
    ),
    key(
        "access.jwt.algorithms",
        "TIDEGATE_JWT_ALGORITHMS",
        "",
        "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, separated by commas",
    ),
    key(
        "access.jwt.company-claim",
        "TIDEGATE_JWT_COMPANY_CLAIM",
        "companyId",
        "the name of a claim; dots lead into objects",
    ),
    key("access.jwt.issuer", "TIDEGATE_JWT_ISSUER", "", "issuers, separated by commas"),
    key("access.jwt.audience", "TIDEGATE_JWT_AUDIENCE", "", "audiences, separated by commas"),
    key("access.jwt.cookie", "TIDEGATE_JWT_COOKIE", "tidegate_token", "the name of a cookie"),
    key("access.jwt.leeway", "", "30s", "a duration of at most 5m"),
    shown(key("flags.database", "DATABASE_URL", "", "postgres://host/database"), Show::Url),
    key(
        "log.level",
        "TIDEGATE_LOG",
        "info",
        "off, error, warn, info, debug, trace, or directives such as info,tidegate=debug",
    ),
    key("log.format", "TIDEGATE_LOG_FORMAT", "", "text or json"),
];

/// Looks a key up.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The nearest known name, where one is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|known| (distance(name, known), known))
        .min_by_key(|(far, _)| *far)
        .filter(|(far, known)| *far <= 1 + known.len() / 5)
        .map(|(_, known)| known)
}

/// How many letters have to be put in, taken out or changed.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let change = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_variable_is_there_once_and_references_lead_somewhere() {
        for (i, key) in KEYS.iter().enumerate() {
            for other in &KEYS[i + 1..] {
                assert_ne!(key.name, other.name);
                assert!(key.environment.is_none() || key.environment != other.environment, "{}", key.name);
            }
            if let Some(name) = key.default.and_then(|text| text.strip_prefix('@')) {
                assert!(find(name).is_some_and(|other| other.default.is_some()), "{name}");
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_key_that_was_meant() {
        let names = || KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("http.prot", names()), Some("http.port"));
        assert_eq!(nearest("replay.retenton", names()), Some("replay.retention"));
        assert_eq!(nearest("colour", names()), None);
    }
}
