//! Reads single values: durations, sizes, addresses, subjects. A problem comes back as a phrase.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A value that must not be seen in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for those who have to send or check it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is the secret, in a time that does not tell how much of it was right.
    #[must_use]
    pub fn matches(&self, offered: &str) -> bool {
        // blake3 compares its hashes in constant time.
        blake3::hash(self.0.as_bytes()) == blake3::hash(offered.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A URL without the user and password in it, and without its query; for logs. Takes lists separated by commas, too.
#[must_use]
pub fn redact_url(urls: &str) -> String {
    // A comma may stand in a password: only what has a scheme begins another URL.
    let mut pieces: Vec<String> = Vec::new();
    for part in urls.split(',') {
        match pieces.last_mut() {
            Some(last) if !part.contains("://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => pieces.push(part.to_owned()),
        }
    }
    pieces.iter().map(|url| redact_one(url)).collect::<Vec<_>>().join(",")
}

fn redact_one(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // The last `@` comes first: a password may hold `@`, `?` and `/`.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, host)) => ("…@", host),
        None => ("", rest),
    };
    match rest.split_once('?') {
        Some((rest, _)) => format!("{scheme}{user}{rest}?…"),
        None => format!("{scheme}{user}{rest}"),
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

pub(super) fn count(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|error: std::num::ParseIntError| format!("not a whole number: {error}"))
}

pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|error: std::net::AddrParseError| error.to_string())
}

/// `1h30m`, `500ms`, `7d`; a bare number has no unit and is refused, unless it is 0.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or("a unit is missing: ms, s, m, h or d")?;
        let number: u64 = rest[..digits].parse().map_err(|_number| "not a number with a unit")?;
        rest = &rest[digits..];
        let unit = &rest[..rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len())];
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(format!("`{unit}` is no unit of time")),
        };
        total_ms = number
            .checked_mul(factor)
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .ok_or("longer than any duration")?;
        rest = &rest[unit.len()..];
    }
    if text.is_empty() { Err("empty".to_owned()) } else { Ok(Duration::from_millis(total_ms)) }
}

/// `64MiB`, `4kB`, `65536`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.replace('_', "");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_number| "not a number of bytes")?;
    let factor: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        unit => return Err(format!("`{unit}` is no unit of size")),
    };
    number.checked_mul(factor).ok_or_else(|| "more than can be counted".to_owned())
}

/// A subject to subscribe: tokens of printable ASCII, `*` for one token, `>` for the rest.
pub(super) fn subject(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 255 {
        return Err(format!("the subject has {} bytes; 1 to 255 are allowed", text.len()));
    }
    if text.starts_with('$') {
        return Err(format!("`{text}` is one of the server's own subjects"));
    }
    let tokens: Vec<&str> = text.split('.').collect();
    for (i, token) in tokens.iter().enumerate() {
        match *token {
            "" => return Err(format!("`{text}` has an empty token")),
            "*" => {}
            ">" if i + 1 == tokens.len() => {}
            _ if token.contains(['*', '>']) => {
                return Err(format!("`{text}`: `*` stands for one whole token, `>` for the rest at the end"));
            }
            _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(format!("`{text}` holds something else than printable ASCII"));
            }
            _ => {}
        }
    }
    if overlap(text, "tidegate.dlq.>") {
        return Err(format!("`{text}` reaches the dead letters in tidegate.dlq.>, which would come back as events"));
    }
    Ok(())
}

/// Whether one subject can match both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == "*" || b == "*" || a == b => {}
            _ => return false,
        }
    }
}

/// An origin as browsers send it: scheme, host, port, nothing more.
pub(super) fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err("`*` would let every page read the streams; name the origins".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']) => Ok(lower),
        Some(_) => Err(format!("`{text}` is more than scheme, host and port")),
        None => Err(format!("`{text}` does not begin with https:// or http://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "30", "s", "3x", "1h30", "-5s", "1 h", "99999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_count_in_both_systems() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("4 kB"), Ok(4_000));
        assert_eq!(bytes("65_536"), Ok(65_536));
        for wrong in ["", "MiB", "1.5MiB", "3 apples", "99999999TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn subjects_are_strict_tokens_outside_the_dead_letters() {
        for right in ["metrics.*", "orders.>", "a", "tidegate.events", "tidegate.*"] {
            assert_eq!(subject(right), Ok(()), "{right}");
        }
        for wrong in
            ["", ">", "a..b", "a.>.b", "a*", "$JS.API.>", "a b", "tidegate.>", "*.dlq.x", "tidegate.dlq.metrics.a", "ä"]
        {
            assert!(subject(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_overlap_where_a_subject_fits_both() {
        assert!(overlap("metrics.*", "metrics.a"));
        assert!(overlap("metrics.>", "*.a.b"));
        assert!(!overlap("metrics.*", "metrics.a.b"));
        assert!(!overlap("metrics.*", "journey.*"));
        assert!(!overlap("metrics", "metrics.>"));
    }

    #[test]
    fn a_redacted_url_keeps_the_host_alone() {
        assert_eq!(redact_url("redis://user:p@ss/w@cache:6379/2"), "redis://…@cache:6379/2");
        assert_eq!(redact_url("nats://a:1,nats://t@b:2"), "nats://a:1,nats://…@b:2");
        assert_eq!(redact_url("redis://u:p?w,x@cache/0"), "redis://…@cache/0");
        assert_eq!(redact_url("https://idp/keys?token=x"), "https://idp/keys?…");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://App.example.com:8443"), Ok("https://app.example.com:8443".to_owned()));
        for wrong in ["*", "app.example.com", "https://a/b", "https://", "null"] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_matches_itself_alone_and_is_not_shown() {
        let secret = Secret::new("correct horse");
        assert!(secret.matches("correct horse") && !secret.matches("correct hors"));
        assert!(!format!("{secret:?}").contains("horse"));
    }
}
