//! Reads events, one per line, in batches that wait for nobody.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

/// Lines of a file or of standard input; empty ones are passed over.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Unpin + Send>,
    line: Vec<u8>,
    bytes_max: usize,
    number: u64,
    ended: bool,
    /// A line that did not fit into the last batch.
    left: Option<Bytes>,
}

impl Lines {
    pub(super) async fn open(path: Option<&Path>, bytes_max: usize) -> anyhow::Result<Self> {
        let reader: Box<dyn AsyncBufRead + Unpin + Send> = match path {
            Some(path) if path != Path::new("-") => {
                let file =
                    tokio::fs::File::open(path).await.with_context(|| format!("{} can not be read", path.display()))?;
                Box::new(BufReader::with_capacity(64 << 10, file))
            }
            _ => Box::new(BufReader::with_capacity(64 << 10, tokio::io::stdin())),
        };
        Ok(Self::new(reader, bytes_max))
    }

    fn new(reader: Box<dyn AsyncBufRead + Unpin + Send>, bytes_max: usize) -> Self {
        Self { reader, line: Vec::new(), bytes_max, number: 0, ended: false, left: None }
    }

    /// The next lines: as many as are there within `wait` of the first, up to the bounds. `None` at the end.
    pub(super) async fn batch(
        &mut self,
        lines_max: usize,
        bytes_max: usize,
        wait: Duration,
    ) -> anyhow::Result<Option<Vec<Bytes>>> {
        let first = match self.left.take() {
            Some(line) => line,
            None => match self.next().await? {
                Some(line) => line,
                None => return Ok(None),
            },
        };
        let mut bytes = first.len();
        let mut batch = vec![first];
        let deadline = tokio::time::Instant::now() + wait;
        while batch.len() < lines_max {
            // What `next` has read stays in `self`, so that nothing is lost when the time is over.
            match tokio::time::timeout_at(deadline, self.next()).await {
                Err(_elapsed) => break,
                Ok(line) => match line? {
                    None => break,
                    Some(line) if bytes + line.len() > bytes_max => {
                        self.left = Some(line);
                        break;
                    }
                    Some(line) => {
                        bytes += line.len();
                        batch.push(line);
                    }
                },
            }
        }
        Ok(Some(batch))
    }

    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        while !self.ended {
            let chunk = self.reader.fill_buf().await.context("events can not be read")?;
            let (taken, whole) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (chunk.len(), chunk.is_empty()),
            };
            self.ended = chunk.is_empty();
            self.line.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken);
            if self.line.len() > self.bytes_max.saturating_add(2) {
                bail!("line {} is longer than limits.event-bytes with {} bytes", self.number + 1, self.bytes_max);
            }
            if !whole {
                continue;
            }
            self.number += 1;
            let line = std::mem::take(&mut self.line);
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Ok(Some(Bytes::copy_from_slice(line)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    const LONG: Duration = Duration::from_secs(5);

    fn lines(text: &'static str, bytes_max: usize) -> Lines {
        Lines::new(Box::new(BufReader::with_capacity(3, text.as_bytes())), bytes_max)
    }

    #[tokio::test]
    async fn lines_come_in_batches_up_to_the_bounds() {
        let mut lines = lines("{\"a\":1}\r\n\n  2\n3333\n4", 100);
        let mut batches = Vec::new();
        while let Some(batch) = lines.batch(3, 9, LONG).await.expect("fine") {
            batches.push(batch.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>());
        }
        assert_eq!(batches, [vec!["{\"a\":1}", "2"], vec!["3333", "4"]]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_by_number() {
        let mut lines = lines("1\n0123456789", 5);
        let error = lines.batch(10, 100, LONG).await.expect_err("too long");
        assert!(error.to_string().starts_with("line 2 is longer"), "{error}");
    }

    #[tokio::test]
    async fn a_typed_line_does_not_wait_for_the_next() {
        let (mut typist, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(Box::new(BufReader::new(reader)), 100);
        typist.write_all(b"one\ntw").await.expect("typed");
        let first = lines.batch(10, 100, Duration::from_millis(1)).await.expect("fine").expect("a line");
        assert_eq!(first, ["one"]);
        typist.write_all(b"o\n").await.expect("typed");
        drop(typist);
        assert_eq!(lines.batch(10, 100, LONG).await.expect("fine").expect("a line"), ["two"]);
        assert!(lines.batch(10, 100, LONG).await.expect("fine").is_none());
    }
}
