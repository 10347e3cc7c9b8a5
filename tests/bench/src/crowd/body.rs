//! The body of an answer: chunked, or plain bytes to the end.

use anyhow::{Result, bail, ensure};

/// How the body is framed, and how far it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Bytes to the end of the connection.
    Plain,
    /// Chunks.
    Chunked(Chunk),
}

/// Where in a chunk the next byte lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In its size, which is so much so far.
    Size(usize),
    /// In an extension, or at the end of the size's line.
    Line(usize),
    /// So many bytes of it are left.
    Data(usize),
    /// In the line break after it.
    Border,
}

impl Body {
    /// As the head of the answer says.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn of(head: &[u8]) -> Result<Self> {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let first = head.lines().next().unwrap_or_default();
        ensure!(first.split(' ').nth(1) == Some("200"), "the server answers {first:?}");
        let chunked = head.lines().any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"));
        Ok(if chunked { Self::Chunked(Chunk::Size(0)) } else { Self::Plain })
    }

    /// Hands on what these bytes hold of the content.
    ///
    /// # Errors
    /// They are no chunks, or the last one comes.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<()> {
        let Self::Chunked(state) = self else {
            take(bytes);
            return Ok(());
        };
        while let Some(&byte) = bytes.first() {
            let used = match *state {
                Chunk::Data(left) => {
                    let part = left.min(bytes.len());
                    take(&bytes[..part]);
                    *state = if part == left { Chunk::Border } else { Chunk::Data(left - part) };
                    part
                }
                Chunk::Size(size) => {
                    *state = match (byte as char).to_digit(16) {
                        Some(digit) => {
                            Chunk::Size(size.checked_mul(16).map_or(usize::MAX, |size| size + digit as usize))
                        }
                        None => Chunk::Line(size),
                    };
                    usize::from(*state != Chunk::Line(size))
                }
                Chunk::Line(0) if byte == b'\n' => bail!("the server ended the stream"),
                Chunk::Line(size) => {
                    if byte == b'\n' {
                        *state = Chunk::Data(size);
                    }
                    1
                }
                Chunk::Border => {
                    ensure!(matches!(byte, b'\r' | b'\n'), "no border between chunks");
                    if byte == b'\n' {
                        *state = Chunk::Size(0);
                    }
                    1
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_wherever_they_are_cut() {
        let bytes = b"5\r\ndata:\r\na\r\n 1\n\ndata: \r\n3;x=y\r\n2\n\n\r\n";
        for cut in 0..bytes.len() {
            let (mut body, mut text) = (Body::Chunked(Chunk::Size(0)), Vec::new());
            for part in [&bytes[..cut], &bytes[cut..]] {
                body.read(part, |data| text.extend_from_slice(data)).expect("chunks");
            }
            assert_eq!(text, b"data: 1\n\ndata: 2\n\n", "cut at {cut}");
        }
    }

    #[test]
    fn the_last_chunk_is_the_end() {
        assert!(Body::Chunked(Chunk::Size(0)).read(b"0\r\n\r\n", |_| ()).is_err());
        assert!(Body::of(b"HTTP/1.1 503 Service Unavailable\r\n").is_err());
    }
}
