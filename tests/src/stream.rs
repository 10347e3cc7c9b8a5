//! One stream over a bare socket: the head, the chunks, the frames, and when they came.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::sse::{Frame, Parser};

/// No head is longer; more is a mistake of the host's.
const HEAD_BYTES: usize = 16 << 10;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub target: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The size of the socket's receive buffer, for a client that is slow on purpose.
    pub receive_buffer: Option<u32>,
}

impl Request {
    /// The stream of a company, as an `EventSource` asks for it.
    #[must_use]
    pub fn company(company: &str) -> Self {
        Self::target(&format!("/stream/updates?companyId={company}"))
    }

    /// Any path and query, as an `EventSource` asks for it.
    #[must_use]
    pub fn target(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            headers: vec![("Accept".to_owned(), "text/event-stream".to_owned())],
            receive_buffer: None,
        }
    }

    /// With something more in the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.target = format!("{}&{name}={value}", self.target);
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the cursor in the header that browsers send when they come back.
    #[must_use]
    pub fn after(self, id: &str) -> Self {
        self.header("Last-Event-ID", id)
    }
}

/// An open stream.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    /// The status of the answer.
    pub status: u16,
    /// The head's headers, names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// When the request had been sent.
    pub asked: Instant,
    body: Body,
    parser: Parser,
    ready: VecDeque<Frame>,
    scratch: Vec<Frame>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects, asks and reads the head.
    ///
    /// # Errors
    /// No connection, or no head.
    pub async fn open(address: SocketAddr, request: &Request) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = request.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut socket = socket.connect(address).await.with_context(|| format!("connect to {address}"))?;
        socket.set_nodelay(true)?;
        let mut head = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n", request.target);
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes()).await?;
        let asked = Instant::now();
        let (status, headers, rest) = read_head(&mut socket).await?;
        let body = Body::of(&headers)?;
        let (parser, ready, scratch) = (Parser::default(), VecDeque::new(), Vec::new());
        let mut connection =
            Self { socket, status, headers, asked, body, parser, ready, scratch, buffer: vec![0; 64 << 10] };
        connection.take(&rest)?;
        Ok(connection)
    }

    /// A header's text, empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    /// The next block; none when the stream has ended. May be dropped while it waits.
    ///
    /// # Errors
    /// The connection breaks, or the bytes are no chunks.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            if self.body.is_ended() {
                return Ok(None);
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            if buffer.is_empty() {
                buffer = vec![0; 64 << 10];
            }
            let read = self.socket.read(&mut buffer).await;
            let taken = match read {
                Ok(0) if self.body.may_end() => {
                    self.buffer = buffer;
                    return Ok(None);
                }
                Ok(0) => Err(anyhow::anyhow!("the connection ended inside the answer")),
                Ok(bytes) => self.take(&buffer[..bytes]),
                Err(error) => Err(error.into()),
            };
            self.buffer = buffer;
            taken?;
        }
    }

    /// Whether the stream stopped inside a block.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.parser.is_inside()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let at = Instant::now();
        let (parser, scratch) = (&mut self.parser, &mut self.scratch);
        self.body.read(bytes, |part| parser.read(part, at, scratch))?;
        self.ready.extend(self.scratch.drain(..));
        Ok(())
    }
}

async fn read_head(socket: &mut TcpStream) -> Result<(u16, Vec<(String, String)>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if bytes.len() > HEAD_BYTES {
            bail!("the head of the answer doesn't end");
        }
        let read = socket.read(&mut buffer).await.context("read the head")?;
        if read == 0 {
            bail!("the connection ended before the head of the answer");
        }
        bytes.extend_from_slice(&buffer[..read]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| first.to_owned())?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((status, headers, bytes[end + 4..].to_vec()))
}

/// How the body is framed, and how far it is read.
#[derive(Debug)]
enum Body {
    Chunked { size: Vec<u8>, left: u64, state: Chunk },
    Length(u64),
    ToTheEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size,
    Data,
    Border,
    Trailer,
    Ended,
}

impl Body {
    fn of(headers: &[(String, String)]) -> Result<Self> {
        let header = |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Self::Chunked { size: Vec::new(), left: 0, state: Chunk::Size });
        }
        match header("content-length") {
            Some(length) => Ok(Self::Length(length.parse().context("content-length")?)),
            None => Ok(Self::ToTheEnd),
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self, Self::Chunked { state: Chunk::Ended, .. } | Self::Length(0))
    }

    /// Whether the end of the connection is the end of the body.
    fn may_end(&self) -> bool {
        self.is_ended() || matches!(self, Self::ToTheEnd)
    }

    fn read(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<()> {
        match self {
            Self::ToTheEnd => take(bytes),
            Self::Length(left) => {
                let part = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                take(&bytes[..part]);
                *left -= part as u64;
            }
            Self::Chunked { size, left, state } => {
                while !bytes.is_empty() {
                    let used = match state {
                        Chunk::Data => {
                            let part = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                            take(&bytes[..part]);
                            *left -= part as u64;
                            if *left == 0 {
                                *state = Chunk::Border;
                            }
                            part
                        }
                        Chunk::Ended => bail!("bytes after the last chunk"),
                        Chunk::Size | Chunk::Border | Chunk::Trailer => {
                            if bytes[0] == b'\n' {
                                let line = std::mem::take(size);
                                *state = after_line(*state, &line, left)?;
                            } else if bytes[0] != b'\r' {
                                size.push(bytes[0]);
                            }
                            1
                        }
                    };
                    bytes = &bytes[used..];
                }
            }
        }
        Ok(())
    }
}

fn after_line(state: Chunk, line: &[u8], left: &mut u64) -> Result<Chunk> {
    match state {
        Chunk::Border if line.is_empty() => Ok(Chunk::Size),
        Chunk::Border => bail!("no border between chunks"),
        Chunk::Trailer => Ok(if line.is_empty() { Chunk::Ended } else { Chunk::Trailer }),
        _ => {
            let text = std::str::from_utf8(line).context("a chunk's size")?;
            let digits = text.split(';').next().unwrap_or_default().trim();
            *left = u64::from_str_radix(digits, 16).with_context(|| format!("a chunk's size: {text:?}"))?;
            Ok(if *left == 0 { Chunk::Trailer } else { Chunk::Data })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_wherever_they_are_cut() {
        let bytes = b"5\r\ndata:\r\na\r\n 1\n\ndata: \r\n3;x=y\r\n2\n\n\r\n0\r\n\r\n";
        for cut in 0..bytes.len() {
            let mut body = Body::Chunked { size: Vec::new(), left: 0, state: Chunk::Size };
            let mut text = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                body.read(part, |data| text.extend_from_slice(data)).expect("chunks");
            }
            assert_eq!(text, b"data: 1\n\ndata: 2\n\n", "cut at {cut}");
            assert!(body.is_ended());
        }
    }
}
