//! A server that sends prepared bytes: what the client can take at most.

use std::io::{self, Read as _, Write as _};

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::payload::Payload;

/// Events until the bytes begin again.
pub(crate) const EVENTS: u64 = 4096;
/// Events in one chunk: what a server with a full ring writes at once.
const CHUNK: u64 = 200;
/// What one write is offered.
const WRITE_BYTES: usize = 256 << 10;
const LISTENER: Token = Token(usize::MAX);

/// One client: how far it is in the prepared bytes; none until it has asked.
struct Client {
    socket: TcpStream,
    at: Option<usize>,
}

/// Serves until it is killed, and tells its address first.
///
/// # Errors
/// No port is free.
pub(crate) fn serve() -> Result<()> {
    let (bytes, mut poll) = (prepared(), Poll::new()?);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut clients, mut events): (Vec<Client>, _) = (Vec::new(), Events::with_capacity(1024));
    // Those that take more: the readiness of a socket is told once.
    let mut willing: Vec<usize> = Vec::new();
    loop {
        let wait = if willing.is_empty() { None } else { Some(std::time::Duration::ZERO) };
        poll.poll(&mut events, wait)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut clients)?;
            } else if let Some(client) = clients.get_mut(event.token().0) {
                client.hear();
                if event.is_writable() || event.is_readable() {
                    willing.push(event.token().0);
                }
            }
        }
        willing.sort_unstable();
        willing.dedup();
        willing.retain(|number| clients.get_mut(*number).is_some_and(|client| client.write(&bytes)));
    }
}

fn accept(listener: &TcpListener, poll: &Poll, clients: &mut Vec<Client>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut socket, _)) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut socket, Token(clients.len()), both)?;
                clients.push(Client { socket, at: None });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl Client {
    fn hear(&mut self) {
        let mut buffer = [0; 1024];
        if self.at.is_none() && self.socket.read(&mut buffer).is_ok_and(|read| read > 0) {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            if self.socket.write(head).is_ok() {
                self.at = Some(0);
            }
        }
    }

    /// Writes once; whether it may take more.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(at) = self.at else { return false };
        let end = (at + WRITE_BYTES).min(bytes.len());
        match self.socket.write(&bytes[at..end]) {
            Ok(written) => {
                self.at = Some((at + written) % bytes.len());
                true
            }
            Err(_) => false,
        }
    }
}

fn prepared() -> Vec<u8> {
    let payload = Payload::of("company-0");
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    for n in 0..EVENTS {
        frames.extend_from_slice(b"event: metric_updated\ndata: ");
        payload.write(&mut frames, n);
        frames.extend_from_slice(format!("\nid: metrics.calculated-{n}-1700000000000\n\n").as_bytes());
        if (n + 1) % CHUNK == 0 || n + 1 == EVENTS {
            bytes.extend_from_slice(format!("{:x}\r\n", frames.len()).as_bytes());
            bytes.append(&mut frames);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}
