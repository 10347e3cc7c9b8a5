//! One stream: asked for, its head read, its events counted.

use std::io::{self, Read as _, Write as _};

use anyhow::{Result, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;

use super::Visit;
use super::body::Body;
use super::frames::Frames;

/// No head is longer; more is a mistake of the server's.
const HEAD_BYTES: usize = 8 << 10;

/// What one read brought.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes.
    pub(super) read: usize,
    /// The head of the answer ended in it.
    pub(super) opened: bool,
    /// Whole events.
    pub(super) events: u64,
    /// Number of the event that is due.
    pub(super) next: u64,
    /// The first thing that was wrong.
    pub(super) fault: Option<String>,
    /// Id of the last event, where ids are kept.
    pub(super) id: Option<String>,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    /// What is still to be sent; empty once the server was asked.
    request: Vec<u8>,
    /// The head so far; none once it has ended.
    head: Option<Vec<u8>>,
    body: Body,
    frames: Frames,
}

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// No socket is left.
    pub(super) fn begin(visit: &Visit, number: usize) -> io::Result<Self> {
        let target = visit.targets.get(number % visit.targets.len().max(1)).map_or("/", String::as_str);
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{}\r\n",
            visit.address, visit.header
        );
        Ok(Self {
            socket: TcpStream::connect(visit.address)?,
            request: request.into_bytes(),
            head: Some(Vec::new()),
            body: Body::Plain,
            frames: Frames::new(visit),
        })
    }

    /// For the poll.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Sends the request, once the connection stands.
    ///
    /// # Errors
    /// The connection was refused.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        if self.request.is_empty() {
            return Ok(());
        }
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.write(&self.request) {
            Ok(sent) => {
                self.request.drain(..sent);
                Ok(())
            }
            Err(error) if is_pending(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads once.
    ///
    /// # Errors
    /// The stream broke, ended or was refused.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Progress> {
        let mut progress = Progress::default();
        progress.read = match self.socket.read(buffer) {
            Ok(0) => bail!("the server ended the stream"),
            Ok(read) => read,
            Err(error) if is_pending(&error) => return Ok(progress),
            Err(error) => return Err(error.into()),
        };
        let bytes = &buffer[..progress.read];
        match self.head.take() {
            None => self.take(bytes, &mut progress)?,
            Some(mut head) => {
                head.extend_from_slice(bytes);
                match memmem::find(&head, b"\r\n\r\n") {
                    Some(end) => {
                        self.body = Body::of(&head[..end])?;
                        progress.opened = true;
                        self.take(&head[end + 4..], &mut progress)?;
                    }
                    None => {
                        ensure!(head.len() <= HEAD_BYTES, "the head of the answer doesn't end");
                        self.head = Some(head);
                    }
                }
            }
        }
        progress.next = self.frames.next();
        progress.fault = self.frames.fault();
        progress.id = self.frames.id().map(str::to_owned);
        Ok(progress)
    }

    fn take(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<()> {
        let Self { body, frames, .. } = self;
        body.read(bytes, |part| progress.events += frames.read(part))
    }
}

/// Nothing is wrong: it takes longer.
fn is_pending(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted)
}
