//! Message headers: between the NATS client's map, raw blocks as a server stores them, and the lines of an event.

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt::Write as _;

/// The map as lines `name: value`, each ended by a line feed.
#[must_use]
pub fn lines(map: Option<&HeaderMap>) -> Bytes {
    let Some(map) = map.filter(|map| !map.is_empty()) else {
        return Bytes::new();
    };
    let mut out = BytesMut::new();
    for (name, values) in map.iter() {
        for value in values {
            let name: &str = name.as_ref();
            put_line(&mut out, name.as_bytes(), value.as_str().as_bytes());
        }
    }
    out.freeze()
}

/// Lines `name: value` as the client's map; a line that the client does not take is left out.
#[must_use]
pub fn map(lines: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs(lines) {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let name = text(name).and_then(|name| name.parse::<HeaderName>().ok());
        if let (Some(name), Some(value)) = (name, text(value).and_then(|value| value.parse::<HeaderValue>().ok())) {
            map.append(name, value);
        }
    }
    map
}

/// A stored block (`NATS/1.0`, then lines ended by CR LF) as lines `name: value`, whatever it holds: for a dead letter.
#[must_use]
pub fn lines_of_block(block: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    for (at, line) in block.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || (at == 0 && line == b"NATS/1.0") {
            continue;
        }
        match line.iter().position(|byte| *byte == b':') {
            Some(colon) => put_line(&mut out, &line[..colon], line[colon + 1..].trim_ascii()),
            // A line without a colon is what made it odd: it is kept under a name that says so.
            None => put_line(&mut out, b"Tidegate-Odd-Line", line),
        }
    }
    out.freeze()
}

/// Why the NATS client can't hand a message with this stored header block on; `None`: it can.
#[must_use]
pub fn oddity(block: &[u8]) -> Option<&'static str> {
    if block.is_empty() {
        return None;
    }
    let Ok(text) = std::str::from_utf8(block) else {
        return Some("its headers are not UTF-8");
    };
    let mut lines = text.lines();
    match lines.next().and_then(|line| line.strip_prefix("NATS/1.0")) {
        None => return Some("its headers do not begin with NATS/1.0"),
        Some(rest) if !rest.trim().is_empty() => {
            return Some("its headers hold a status, as only a server's own messages do");
        }
        Some(_) => {}
    }
    let mut first = true;
    for line in lines.filter(|line| !line.is_empty()) {
        let folded = !first && line.starts_with(char::is_whitespace);
        first = false;
        if folded {
            continue;
        }
        match line.split_once(':') {
            None => return Some("a header line has no colon"),
            Some((name, _)) if !name.chars().all(|c| c.is_ascii_graphic()) => {
                return Some("a header name is not plain ASCII");
            }
            Some(_) => {}
        }
    }
    None
}

/// The lines again as pairs; a line without a separator is left out.
pub fn pairs(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// The text for a header value: CR, LF, other controls, `%` and what is not UTF-8 as `%XX`.
#[must_use]
pub fn escape_value(bytes: &[u8]) -> String {
    escape(bytes, |c| !c.is_control() && c != '%')
}

/// The text for a header name: anything but plain ASCII without `:` and `%` as `%XX`.
#[must_use]
pub fn escape_name(bytes: &[u8]) -> String {
    escape(bytes, |c| c.is_ascii_graphic() && c != ':' && c != '%')
}

/// The text for a subject: white space, controls, wildcards, `%`, empty tokens and what is not ASCII as `%XX`.
#[must_use]
pub fn escape_subject(bytes: &[u8]) -> String {
    let escaped = escape(bytes, |c| c.is_ascii_graphic() && !"*>%".contains(c));
    let tokens: Vec<&str> = escaped.split('.').map(|token| if token.is_empty() { "%" } else { token }).collect();
    tokens.join(".")
}

/// The bytes that [`escape_value`] and its like made a text of.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.filter(|_| *byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = &after[2..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

fn escape(bytes: &[u8], plain: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if plain(c) {
                out.push(c);
            } else {
                let mut buffer = [0; 4];
                hex(&mut out, c.encode_utf8(&mut buffer).as_bytes());
            }
        }
        hex(&mut out, chunk.invalid());
    }
    out
}

fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

fn put_line(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 3);
    out.put_slice(name);
    out.put_slice(b": ");
    for byte in value {
        out.put_u8(if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte });
    }
    out.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_header_blocks_are_told_from_good_ones() {
        assert_eq!(oddity(b""), None);
        assert_eq!(oddity(b"NATS/1.0\r\nA: b\r\nC: d\r\n folded\r\n\r\n"), None);
        for odd in [
            &b"NATS/1.0\r\nA\xff: b\r\n\r\n"[..],
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"HTTP/1.0\r\nA: b\r\n\r\n",
            b"NATS/1.0 abc\r\n\r\n",
            b"NATS/1.0 409\r\n\r\n",
            b"NATS/1.0 100\r\n\r\n",
            b"NATS/1.0\r\nA b: c\r\n\r\n",
        ] {
            assert!(oddity(odd).is_some(), "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn whatever_can_not_be_held_is_escaped_and_comes_back() {
        for bytes in [&b"plain"[..], b"a\r\nPUB x 1\r\n", b"\xff\xfe%", "grün".as_bytes(), b"100%41"] {
            for escaped in [escape_value(bytes), escape_name(bytes)] {
                assert!(!escaped.contains(['\r', '\n']));
                assert_eq!(unescape(&escaped), bytes, "{escaped}");
            }
        }
        assert_eq!(escape_subject(b"a b.*.x\xff.."), "a%20b.%2A.x%FF.%.%");
        assert_eq!(escape_value(b"a\nb"), "a%0Ab");
    }

    #[test]
    fn a_stored_block_becomes_lines() {
        let lines = lines_of_block(b"NATS/1.0\r\nA: b\r\nno colon\r\n\r\n");
        assert_eq!(&lines[..], b"A: b\nTidegate-Odd-Line: no colon\n");
        let back: Vec<_> = pairs(&lines).collect();
        assert_eq!(back[0], (&b"A"[..], &b"b"[..]));
    }
}
