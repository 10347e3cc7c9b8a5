//! Looks at Redis: reachable, version, what it does when memory is full, persistence, clock.

use super::Finding;
use crate::clock::Clock;
use crate::config::{Config, redact_url};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use std::collections::HashMap;
use std::time::Duration;

/// From here on the difference is told.
const SKEW_MS_TOLD: u64 = 1_000;
/// From here on the host stops trimming.
const SKEW_MS_MAX: u64 = 60_000;

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let Some(url) = &config.redis.url else {
        return vec![Finding::ok("redis", "not configured: results are kept in the embedded store in data.dir")];
    };
    let at = redact_url(url.expose());
    let mut connection = match connect(url.expose()).await {
        Ok(connection) => connection,
        Err(error) => {
            return vec![Finding::wrong(
                "redis",
                format!("no connection to {at}: {error}"),
                "start redis-server there, or mend REDIS_URL",
            )];
        }
    };
    let info: String = match redis::cmd("INFO").query_async(&mut connection).await {
        Ok(info) => info,
        Err(error) => {
            return vec![Finding::wrong(
                "redis",
                format!("{at} answers, but not to INFO: {error}"),
                "let the user run INFO, TIME and the scripts",
            )];
        }
    };
    let mut findings = judge(&at, &fields(&info));
    let before_ms = Clock::system().now_ms();
    let told: Result<(u64, u64), _> = redis::cmd("TIME").query_async(&mut connection).await;
    let after_ms = Clock::system().now_ms();
    findings.push(match told {
        Ok((seconds, micros)) => skew(before_ms, after_ms, seconds * 1_000 + micros / 1_000),
        Err(error) => Finding::wrong("redis clock", format!("TIME is refused: {error}"), "let the user run TIME"),
    });
    findings
}

async fn connect(url: &str) -> Result<MultiplexedConnection, redis::RedisError> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(5)))
        .set_response_timeout(Some(Duration::from_secs(5)));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&settings).await
}

fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

fn judge(at: &str, info: &HashMap<&str, &str>) -> Vec<Finding> {
    let get = |name: &str| info.get(name).copied().unwrap_or("");
    let version = get("redis_version");
    let mut findings = vec![Finding::ok("redis", format!("{at} answers: version {version}"))];
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (6, 2) {
        findings.push(Finding::wrong(
            "redis",
            format!("version {version} lacks commands the store needs"),
            "use Redis 7 or later",
        ));
    }
    if get("role") == "slave" {
        findings.push(Finding::wrong(
            "redis",
            "it is a replica: commits would be refused",
            "name the primary in REDIS_URL",
        ));
    }
    let policy = get("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        findings.push(Finding::warning(
            "redis memory",
            format!("maxmemory-policy is {policy}: Redis may throw a whole company's events away"),
            "CONFIG SET maxmemory-policy noeviction",
        ));
    } else {
        let limit = get("maxmemory_human");
        let limit = if get("maxmemory") == "0" { "no limit" } else { limit };
        findings.push(Finding::ok(
            "redis memory",
            format!("noeviction, {} in use, maxmemory {limit}", get("used_memory_human")),
        ));
    }
    if get("aof_enabled") == "1" {
        findings.push(Finding::ok("redis disk", "every write goes to the append-only file"));
    } else {
        findings.push(Finding::warning(
            "redis disk",
            "no append-only file: after a restart what came since the last snapshot is rebuilt from the source, or told as lost",
            "appendonly yes",
        ));
    }
    findings
}

fn skew(before_ms: u64, after_ms: u64, redis_ms: u64) -> Finding {
    let off_ms = before_ms.saturating_sub(redis_ms).max(redis_ms.saturating_sub(after_ms));
    let what = format!("{off_ms} ms from this machine's");
    if off_ms > SKEW_MS_MAX {
        Finding::wrong(
            "redis clock",
            format!("{what}: the host trims nothing while they differ by over a minute"),
            "keep both with NTP",
        )
    } else if off_ms > SKEW_MS_TOLD {
        Finding::warning("redis clock", what, "keep both with NTP")
    } else {
        Finding::ok("redis clock", what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    fn states(info: &str) -> Vec<(&'static str, State)> {
        judge("redis://x", &fields(info)).into_iter().map(|finding| (finding.subject, finding.state)).collect()
    }

    #[test]
    fn a_durable_primary_that_evicts_nothing_is_fine() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n";
        assert!(states(info).iter().all(|(_, state)| *state == State::Ok), "{:?}", states(info));
    }

    #[test]
    fn eviction_replicas_and_old_versions_are_told() {
        let info = "redis_version:6.0.16\r\nrole:slave\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n";
        assert_eq!(
            states(info),
            [
                ("redis", State::Ok),
                ("redis", State::Wrong),
                ("redis", State::Wrong),
                ("redis memory", State::Warning),
                ("redis disk", State::Warning)
            ]
        );
    }

    #[test]
    fn the_clocks_may_differ_by_the_time_of_the_question() {
        assert_eq!(skew(1_000, 1_200, 1_100).state, State::Ok);
        assert_eq!(skew(10_000, 10_000, 8_000).state, State::Warning);
        assert_eq!(skew(10_000, 10_000, 80_000).state, State::Wrong);
    }
}
