//! A TCP proxy between a client and a server of a test: it delays, freezes and cuts.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does to its connections.
#[derive(Debug)]
struct Weather {
    /// How long each piece of an answer is held back, in milliseconds.
    delay_ms: AtomicU64,
    /// Nothing passes; connections stay open.
    frozen: watch::Sender<bool>,
    /// New connections are closed at once.
    closed: AtomicBool,
    /// Answers are cut after so many bytes of a connection, drawn from these; none: never.
    cuts_between: Mutex<Option<Cuts>>,
    /// So many answers are thrown away, each with its connection.
    lost: AtomicU64,
    /// Raised to cut every connection.
    cuts: watch::Sender<u64>,
    /// Where new connections lead.
    server: Mutex<SocketAddr>,
}

/// A proxy on a port of its own, for as long as it lives.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: Arc<Weather>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// Passes everything on to `server`.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let weather = Arc::new(Weather {
            delay_ms: AtomicU64::new(0),
            frozen: watch::Sender::new(false),
            closed: AtomicBool::new(false),
            cuts_between: Mutex::new(None),
            lost: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
            server: Mutex::new(server),
        });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&weather)));
        Ok(Self { address, weather, _task: task })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds each piece of an answer back for so long.
    pub fn delay(&self, delay: Duration) {
        self.weather.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Lets nothing pass, either way; connections stay open.
    pub fn freeze(&self) {
        self.weather.frozen.send_replace(true);
    }

    /// Lets everything pass again.
    pub fn thaw(&self) {
        self.weather.frozen.send_replace(false);
    }

    /// Cuts every connection and accepts none until [`Proxy::mend`].
    pub fn sever(&self) {
        self.weather.closed.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Accepts again.
    pub fn mend(&self) {
        self.weather.closed.store(false, Ordering::Relaxed);
    }

    /// Cuts every connection once.
    pub fn cut(&self) {
        self.weather.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Leads to another server from now on; connections to the former one are cut.
    pub fn turn_to(&self, server: SocketAddr) {
        *self.weather.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
        self.cut();
    }

    /// Throws the next so many answers away and cuts their connections: the server did what it was asked, and nobody hears.
    pub fn lose_answers(&self, answers: u64) {
        self.weather.lost.store(answers, Ordering::Relaxed);
    }

    /// How many answers are still to be lost.
    #[must_use]
    pub fn to_lose(&self) -> u64 {
        self.weather.lost.load(Ordering::Relaxed)
    }

    /// Cuts the answer of each new connection after a number of bytes that this seed draws from these.
    pub fn cut_between(&self, seed: u64, bytes: Range<u64>) {
        *self.weather.cuts_between() = Some(Cuts { random: StdRng::seed_from_u64(seed), bytes });
    }

    /// Cuts new connections no longer.
    pub fn cut_no_more(&self) {
        *self.weather.cuts_between() = None;
    }
}

/// Where connections are cut.
#[derive(Debug)]
struct Cuts {
    random: StdRng,
    bytes: Range<u64>,
}

impl Weather {
    fn cuts_between(&self) -> MutexGuard<'_, Option<Cuts>> {
        self.cuts_between.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> u64 {
        self.cuts_between().as_mut().map_or(0, |cuts| cuts.random.random_range(cuts.bytes.clone()))
    }
}

async fn accept(listener: TcpListener, weather: Arc<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let server = *weather.server.lock().unwrap_or_else(PoisonError::into_inner);
        if !weather.closed.load(Ordering::Relaxed) {
            connections.spawn(pass(client, server, Arc::clone(&weather)));
        }
    }
}

async fn pass(client: TcpStream, server: SocketAddr, weather: Arc<Weather>) {
    let mut cuts = weather.cuts.subscribe();
    cuts.mark_unchanged();
    let Ok(server) = TcpStream::connect(server).await else { return };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let limit = weather.limit();
    // When one way has ended, or a cut comes, both sockets are dropped.
    tokio::select! {
        () = copy(from_client, to_server, &weather, 0, false) => {}
        () = copy(from_server, to_client, &weather, limit, true) => {}
        _ = cuts.changed() => {}
    }
}

/// Copies until an end; after `limit` bytes where that is not 0.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    weather: &Weather,
    limit: u64,
    answers: bool,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    let mut frozen = weather.frozen.subscribe();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let lost = |left: u64| left.checked_sub(1);
        if answers && weather.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lost).is_ok() {
            return;
        }
        let delay_ms = weather.delay_ms.load(Ordering::Relaxed);
        if answers && delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        if frozen.wait_for(|frozen| !*frozen).await.is_err() {
            return;
        }
        let mut allowed = read;
        if limit > 0 {
            allowed = allowed.min(usize::try_from(limit - passed).unwrap_or(read));
            // No server can mend a cut right after an `id:` line: some clients take the id before the event is whole.
            if ends_with_id_line(&buffer[..allowed]) && allowed < read {
                allowed += 1;
            }
        }
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return;
        }
        passed += allowed as u64;
        if limit > 0 && passed >= limit {
            return;
        }
    }
}

/// Does it end in the middle of a block, with a whole `id:` line?
fn ends_with_id_line(piece: &[u8]) -> bool {
    let Some(line) = piece.strip_suffix(b"\n") else { return false };
    let start = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    line[start..].starts_with(b"id:")
}
