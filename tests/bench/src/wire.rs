//! A publisher over a bare socket: many events in one write, no answer waited for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

/// Where events go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// To a nats-server, all under one subject.
    Nats(SocketAddr),
    /// To nginx with nchan or the bare server: a request an event, one behind the other on one connection.
    Http(SocketAddr),
}

/// The subject of every event.
pub(crate) const SUBJECT: &str = "metrics.calculated";

/// An open connection to a target.
#[derive(Debug)]
pub(crate) struct Wire {
    target: Target,
    socket: TcpStream,
    out: Vec<u8>,
    /// What the server said, read by a thread of its own so that it never waits for us.
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// nats-server asked whether we are there.
    asked: AtomicBool,
    /// Answers that say no.
    refused: AtomicU64,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn connect(target: &Target) -> Result<Self> {
        let (Target::Nats(address) | Target::Http(address)) = target;
        let socket = TcpStream::connect(address).with_context(|| format!("publish to {address}"))?;
        socket.set_nodelay(true)?;
        let heard = Arc::new(Heard::default());
        let (reading, telling, kind) = (socket.try_clone()?, Arc::clone(&heard), target.clone());
        // It ends with the connection.
        std::thread::Builder::new().name("answers".to_owned()).spawn(move || listen(reading, &kind, &telling))?;
        let mut wire = Self { target: target.clone(), socket, out: Vec::new(), heard };
        if matches!(target, Target::Nats(_)) {
            wire.out.extend_from_slice(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
        }
        Ok(wire)
    }

    /// Adds an event of a company to the next write.
    pub(crate) fn add(&mut self, company: u32, payload: &[u8]) {
        let (out, length) = (&mut self.out, payload.len());
        // Writing to memory can't fail.
        let (_, end): (_, &[u8]) = match &self.target {
            Target::Nats(_) => (write!(out, "PUB {SUBJECT} {length}\r\n"), b"\r\n"),
            Target::Http(address) => (
                write!(
                    out,
                    "POST /pub/company-{company} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n"
                ),
                b"",
            ),
        };
        out.extend_from_slice(payload);
        out.extend_from_slice(end);
    }

    /// Sends what was added.
    ///
    /// # Errors
    /// The connection broke, or the server refused an event.
    pub(crate) fn send(&mut self) -> Result<()> {
        if self.heard.asked.swap(false, Ordering::Relaxed) {
            self.out.extend_from_slice(b"PONG\r\n");
        }
        self.socket.write_all(&self.out).context("publish")?;
        self.out.clear();
        let refused = self.heard.refused.load(Ordering::Relaxed);
        ensure!(refused == 0, "the server refused {refused} events");
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn listen(mut socket: TcpStream, target: &Target, heard: &Heard) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = socket.read(&mut buffer) {
        if read == 0 {
            return;
        }
        let has = |text: &[u8]| memchr::memmem::find(&buffer[..read], text).is_some();
        match target {
            Target::Nats(_) if has(b"PING") => heard.asked.store(true, Ordering::Relaxed),
            Target::Nats(_) if has(b"-ERR") => drop(heard.refused.fetch_add(1, Ordering::Relaxed)),
            Target::Http(_) if has(b"HTTP/1.1 4") || has(b"HTTP/1.1 5") => {
                heard.refused.fetch_add(1, Ordering::Relaxed);
            }
            Target::Nats(_) | Target::Http(_) => {}
        }
    }
}
