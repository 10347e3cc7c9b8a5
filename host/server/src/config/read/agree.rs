//! Checks that the values fit each other, and says what is allowed but probably not meant.

use super::Reader;
use crate::config::keys;
use crate::config::{AccessMode, Config, ConfigError, KeySet};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use tidegate_filter::Limits as FilterLimits;

pub(super) fn check(config: &mut Config, reader: &Reader<'_>) -> Result<(), ConfigError> {
    sizes(config, reader)?;
    filter_limits(&config.filters.limits, &config.filters.limits_max, reader)?;
    access(config, reader)?;
    warn(config, reader);
    Ok(())
}

fn sizes(config: &Config, reader: &Reader<'_>) -> Result<(), ConfigError> {
    let Config { limits, live, backlog, replay, .. } = config;
    let smaller =
        |name, than: &str, bytes: u64| Err(reader.conflict(name, format!("smaller than {than} with {bytes} bytes")));
    if limits.frame_bytes < limits.event_bytes {
        return smaller("limits.frame-bytes", "limits.event-bytes", limits.event_bytes as u64);
    }
    if live.ring_bytes < limits.frame_bytes {
        return smaller("live.ring-bytes", "limits.frame-bytes", limits.frame_bytes as u64);
    }
    if backlog.max_bytes < limits.event_bytes as u64 {
        return smaller("backlog.max-bytes", "limits.event-bytes", limits.event_bytes as u64);
    }
    if replay.max_bytes < limits.frame_bytes as u64 {
        return smaller("replay.max-bytes", "limits.frame-bytes", limits.frame_bytes as u64);
    }
    if backlog.max_age > replay.retention {
        return Err(reader.conflict(
            "backlog.max-age",
            "longer than replay.retention: its events would be gone before they are kept",
        ));
    }
    Ok(())
}

fn filter_limits(limits: &FilterLimits, most: &FilterLimits, reader: &Reader<'_>) -> Result<(), ConfigError> {
    let Err(error) = limits.within(most) else { return Ok(()) };
    let name = keys::find(&format!("filters.limits.{}", error.key)).map_or("filters.limits.call-ms", |key| key.name);
    Err(reader.conflict(name, "above its ceiling in filters.limits-max"))
}

fn access(config: &mut Config, reader: &Reader<'_>) -> Result<(), ConfigError> {
    if config.access.mode == AccessMode::Open {
        if !config.http.listen.ip().is_loopback() && !reader.is_set("access.mode") {
            return Err(reader.conflict(
                "http.host",
                "anyone who reaches this address could read every company's stream: set access.mode = \"jwt\", or \"open\" \
                 where something in front of the host checks",
            ));
        }
        return Ok(());
    }
    let jwt = &mut config.access.jwt;
    let shared = jwt.secret.is_some();
    let public = jwt.public_key.is_some() || jwt.jwks.is_some();
    if !shared && !public {
        return Err(reader.conflict(
            "access.mode",
            "no key to check tokens with: set access.jwt.secret, access.jwt.public-key or access.jwt.jwks",
        ));
    }
    if jwt.algorithms.is_empty() {
        if shared {
            jwt.algorithms.push(Algorithm::HS256);
        }
        if public {
            jwt.algorithms.extend([Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
        }
    }
    for algorithm in &jwt.algorithms {
        let (there, needs) = match algorithm.family() {
            AlgorithmFamily::Hmac => (shared, "access.jwt.secret"),
            AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed => {
                (public, "access.jwt.public-key or access.jwt.jwks")
            }
        };
        if !there {
            return Err(reader.conflict("access.jwt.algorithms", format!("{algorithm:?} needs {needs}")));
        }
    }
    Ok(())
}

fn warn(config: &mut Config, reader: &Reader<'_>) {
    let mut warnings = Vec::new();
    match config.access.mode {
        AccessMode::Jwt => {
            let jwt = &config.access.jwt;
            if jwt.issuers.is_empty() || jwt.audiences.is_empty() {
                warnings.push(
                    "access.jwt.issuer and access.jwt.audience are not both set: a token made for another service is accepted here".to_owned(),
                );
            }
            if matches!(&jwt.jwks, Some(KeySet::Address(address)) if address.starts_with("http://")) {
                warnings.push(
                    "access.jwt.jwks is fetched over plain http: whoever is in between can replace the keys".to_owned(),
                );
            }
            if jwt.secret.as_ref().is_some_and(|secret| secret.expose().len() < 32) {
                warnings.push(
                    "access.jwt.secret is shorter than 32 bytes: it can be guessed from a single token".to_owned(),
                );
            }
        }
        AccessMode::Open => {
            if ["access.jwt.secret", "access.jwt.public-key", "access.jwt.jwks"].iter().any(|name| reader.is_set(name))
            {
                warnings
                    .push("a key for tokens is set, but access.mode is `open`: nobody's token is checked".to_owned());
            }
            if !config.http.listen.ip().is_loopback() {
                warnings.push(format!(
                    "access.mode is `open` on {}: whoever reaches it reads every company's stream",
                    config.http.listen
                ));
            }
        }
    }
    if config.nats.url.is_none() {
        for name in ["nats.capture", "nats.stream", "nats.creds"] {
            if reader.is_set(name) {
                warnings.push(format!("{name} is set, but nats.url is not: events come from the embedded log"));
            }
        }
    }
    if config.redis.url.is_none() && config.redis.wait_replicas > 0 {
        warnings
            .push("redis.wait-replicas is set, but redis.url is not: the embedded store has no replicas".to_owned());
    }
    if config.flags.database.is_some() {
        warnings.push(
            "flags.database is set, but this version reads companies' flags from [flags] in the file alone".to_owned(),
        );
    }
    config.warnings.append(&mut warnings);
}
