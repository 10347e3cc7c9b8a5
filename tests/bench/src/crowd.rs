//! Many streams, read by one thread with as little work as can be: the client of every measurement.
//!
//! Each event carries a number, and each connection must get the next one: whatever is lost, doubled or out of order is
//! counted where it is read.

mod body;
mod connection;
mod frames;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token};

use crate::clock::Clock;
use crate::usage::thread_micros;
use connection::{Connection, Progress};

/// What one read may take: as much as a socket of the loopback device holds in the worst case of interest.
const READ_BYTES: usize = 256 << 10;
/// How long the thread sleeps at most before it looks whether it is to stop.
const PAUSE: Duration = Duration::from_millis(50);
/// Faults that are kept in words; all are counted.
const TOLD: usize = 5;
/// What isn't open or has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who connects, and to what.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The server.
    pub(crate) address: SocketAddr,
    /// Paths with their queries; the connections take them in turn.
    pub(crate) targets: Vec<String>,
    /// A header line more, such as `Last-Event-ID: 1`, with its line break; empty where there is none.
    pub(crate) header: String,
    /// How many connections.
    pub(crate) connections: u32,
    /// Connections that may be on their way to being open at the same time.
    pub(crate) opening: u32,
    /// Number of the first event that each gets.
    pub(crate) first: u64,
    /// Numbers begin at zero again after so many; [`u64::MAX`]: never.
    pub(crate) wrap: u64,
    /// Whether the last id is kept, which takes time.
    pub(crate) ids: bool,
}

/// What the reading thread tells others.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Whole events that came, over all connections.
    pub(crate) deliveries: AtomicU64,
    /// Bytes that were read.
    pub(crate) bytes: AtomicU64,
    open: AtomicU64,
    faults: AtomicU64,
    /// Microseconds of CPU that the reading thread has used.
    cpu_us: AtomicU64,
    told: Mutex<Vec<String>>,
    id: Mutex<String>,
    stop: AtomicBool,
    /// When events were sent, where latencies are wanted.
    pub(crate) clock: Option<Arc<Clock>>,
}

impl Seen {
    fn fault(&self, what: &str) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(what.to_owned());
        }
    }
}

/// The streams and the thread that reads them; dropped, it closes all.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// What came so far.
    pub(crate) seen: Arc<Seen>,
    connections: u64,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Crowd {
    /// Begins to open the streams.
    ///
    /// # Errors
    /// No thread or no poll.
    pub(crate) fn open(visit: Visit, clock: Option<Arc<Clock>>) -> Result<Self> {
        let zero = || AtomicU64::new(0);
        let seen = Arc::new(Seen {
            deliveries: zero(),
            bytes: zero(),
            open: zero(),
            faults: zero(),
            cpu_us: zero(),
            told: Mutex::default(),
            id: Mutex::default(),
            stop: AtomicBool::new(false),
            clock,
        });
        let (poll, watched, connections) = (Poll::new()?, Arc::clone(&seen), u64::from(visit.connections));
        let thread = std::thread::Builder::new()
            .name("crowd".to_owned())
            .spawn(move || Reader::new(poll, visit, watched).run())
            .context("start the reading thread")?;
        Ok(Self { seen, connections, thread: Some(thread) })
    }

    /// Waits until every stream is open.
    ///
    /// # Errors
    /// One isn't by the deadline.
    pub(crate) fn all_open(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let open = self.seen.open.load(Ordering::Relaxed);
            if open >= self.connections {
                return self.check();
            }
            ensure!(
                Instant::now() < until && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()),
                "{open} of {} streams are open; {:?}",
                self.connections,
                self.seen.told
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until so many events have come over all streams together.
    ///
    /// # Errors
    /// They don't by the deadline, or something was lost, doubled or out of order.
    pub(crate) fn all_came(&self, deliveries: u64) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.deliveries() < deliveries {
            self.check()?;
            ensure!(Instant::now() < until, "{} of {deliveries} events came", self.deliveries());
            std::thread::sleep(Duration::from_micros(200));
        }
        ensure!(self.deliveries() == deliveries, "{} events came, not {deliveries}", self.deliveries());
        self.check()
    }

    /// Events that came so far.
    pub(crate) fn deliveries(&self) -> u64 {
        self.seen.deliveries.load(Ordering::Relaxed)
    }

    /// Id of the event that came last, where ids are kept.
    pub(crate) fn id(&self) -> String {
        self.seen.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many streams.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// Seconds of CPU that reading took so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.seen.cpu_us.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Whether all that came was right.
    ///
    /// # Errors
    /// The first faults, in words.
    pub(crate) fn check(&self) -> Result<()> {
        match self.seen.faults.load(Ordering::Relaxed) {
            0 => Ok(()),
            faults => {
                let told = self.seen.told.lock().unwrap_or_else(PoisonError::into_inner);
                bail!("{faults} faults in what the streams brought: {}", told.join("; "))
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The reading thread.
struct Reader {
    poll: Poll,
    visit: Visit,
    seen: Arc<Seen>,
    connections: Vec<Connection>,
    /// Connections that have not got the head of their answer yet.
    opening: u32,
    buffer: Vec<u8>,
}

impl Reader {
    fn new(poll: Poll, visit: Visit, seen: Arc<Seen>) -> Self {
        let connections = Vec::with_capacity(visit.connections as usize);
        Self { poll, visit, seen, connections, opening: 0, buffer: vec![0; READ_BYTES] }
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut told = Instant::now();
        while !self.seen.stop.load(Ordering::Relaxed) {
            self.connect()?;
            if let Err(error) = self.poll.poll(&mut events, Some(PAUSE))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            let now = Instant::now();
            for event in &events {
                self.step(event.token().0, event.is_writable(), now);
            }
            if now.saturating_duration_since(told) > PAUSE / 5 {
                told = now;
                self.seen.cpu_us.store(thread_micros(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Opens as many as may be on their way.
    fn connect(&mut self) -> io::Result<()> {
        while self.opening < self.visit.opening && self.connections.len() < self.visit.connections as usize {
            let number = self.connections.len();
            let mut connection = Connection::begin(&self.visit, number)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(connection.socket(), Token(number), both)?;
            self.connections.push(connection);
            self.opening += 1;
        }
        Ok(())
    }

    fn step(&mut self, number: usize, writable: bool, now: Instant) {
        let mut ask = writable;
        while let Some(connection) = self.connections.get_mut(number) {
            let asked = if std::mem::take(&mut ask) { connection.ask() } else { Ok(()) };
            match asked.map_err(anyhow::Error::from).and_then(|()| connection.read(&mut self.buffer)) {
                Ok(progress) => {
                    self.tell(&progress, now);
                    // Readiness is told once; a read that did not fill the buffer took all there was.
                    if progress.read < READ_BYTES {
                        return;
                    }
                }
                Err(error) => return self.seen.fault(&format!("connection {number}: {error:#}")),
            }
        }
    }

    fn tell(&mut self, progress: &Progress, now: Instant) {
        if progress.opened {
            self.opening = self.opening.saturating_sub(1);
            self.seen.open.fetch_add(1, Ordering::Relaxed);
        }
        self.seen.bytes.fetch_add(progress.read as u64, Ordering::Relaxed);
        if let Some(fault) = &progress.fault {
            self.seen.fault(fault);
        }
        if let Some(id) = &progress.id {
            self.seen.id.lock().unwrap_or_else(PoisonError::into_inner).clone_from(id);
        }
        if progress.events > 0 {
            self.seen.deliveries.fetch_add(progress.events, Ordering::Relaxed);
            if let Some(clock) = &self.seen.clock {
                for n in progress.next.saturating_sub(progress.events)..progress.next {
                    clock.came(n, now);
                }
            }
        }
    }
}
