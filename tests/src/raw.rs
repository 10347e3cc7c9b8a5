//! A publisher over a bare socket: it sends what no client library would.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The ways a message may be odd to a NATS client: it can't parse it, or takes it for a word of the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// A subject that isn't UTF-8.
    Subject,
    /// A header value that isn't UTF-8.
    Header,
    /// A header line without a colon.
    NoColon,
    /// A header block that doesn't begin with its version.
    NoVersion,
    /// A status that isn't a number.
    NoNumber,
    /// A space in a header's name.
    SpacedName,
    /// The status by which a server says that a consumer is gone.
    Conflict,
    /// The status by which a server keeps a consumer alive.
    Idle,
}

impl Odd {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Subject,
        Self::Header,
        Self::NoColon,
        Self::NoVersion,
        Self::NoNumber,
        Self::SpacedName,
        Self::Conflict,
        Self::Idle,
    ];

    /// The message as a publisher's line, with `{}` for a payload.
    #[must_use]
    pub fn line(self) -> Vec<u8> {
        let block: &[u8] = match self {
            Self::Subject => return b"PUB metrics.odd\xff 2\r\n{}\r\n".to_vec(),
            Self::Header => b"NATS/1.0\r\nTrace: \xff\r\n\r\n",
            Self::NoColon => b"NATS/1.0\r\nno colon\r\n\r\n",
            Self::NoVersion => b"HTTP/1.1 nonsense\r\n\r\n",
            Self::NoNumber => b"NATS/1.0 abc\r\n\r\n",
            Self::SpacedName => b"NATS/1.0\r\nTwo words: x\r\n\r\n",
            Self::Conflict => b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
            Self::Idle => b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
        };
        let mut line = format!("HPUB metrics.odd {} {}\r\n", block.len(), block.len() + 2).into_bytes();
        line.extend(block);
        line.extend(b"{}\r\n");
        line
    }
}

/// Publishes these lines in one go, and waits until the server has taken them.
///
/// # Errors
/// It doesn't answer, or refuses one.
pub async fn publish(server: SocketAddr, lines: &[Vec<u8>]) -> Result<()> {
    let mut socket = TcpStream::connect(server).await?;
    let mut text = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n".to_vec();
    text.extend(lines.concat());
    text.extend(b"PING\r\n");
    socket.write_all(&text).await?;
    let mut answer = Vec::new();
    loop {
        let told = String::from_utf8_lossy(&answer).into_owned();
        if told.contains("-ERR") {
            bail!("nats-server refuses an odd message: {told}");
        }
        if told.contains("PONG") {
            return Ok(());
        }
        if socket.read_buf(&mut answer).await? == 0 {
            bail!("nats-server closed the connection of an odd message: {told}");
        }
    }
}
