//! The limit: a bare hyper server with one shared ring a company, whose connections take all that lies before them in one
//! write. It is published to as nchan is; it parses nothing, keeps nothing and commits nothing.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Poller, Poll, Waker};

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What one write takes.
const WRITE_BYTES: usize = 64 << 10;
/// What a ring keeps; who falls further behind is cut off.
const RING_BYTES: usize = 16 << 20;
/// Threads, as nginx has workers.
const WORKERS: usize = 2;
/// Connections that the system holds until they are accepted.
const WAITING: u32 = 4096;

/// The frames of one company.
#[derive(Debug, Default)]
struct Ring {
    pieces: VecDeque<Bytes>,
    /// Number of the first piece that is kept.
    first: u64,
    bytes: usize,
    waiting: Vec<Waker>,
}

type Shared = Arc<Mutex<Ring>>;
type Rings = Arc<Mutex<HashMap<String, Shared>>>;

/// Serves until it is killed, and tells its address first.
///
/// # Errors
/// No port is free.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(WAITING)?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        let (rings, mut tasks) = (Rings::default(), JoinSet::new());
        loop {
            tasks.spawn(connection(listener.accept().await?.0, Arc::clone(&rings)));
            while tasks.try_join_next().is_some() {}
        }
    })
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ring(rings: &Rings, company: &str) -> Shared {
    Arc::clone(lock(rings).entry(company.to_owned()).or_default())
}

async fn connection(socket: TcpStream, rings: Rings) {
    let _ = socket.set_nodelay(true);
    let sequence = AtomicU64::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let (rings, sequence) = (Arc::clone(&rings), &sequence);
        async move {
            if request.method() == http::Method::POST {
                return publish(request, rings, sequence).await;
            }
            let ring = ring(&rings, request.uri().path());
            let next = lock(&ring).end();
            let ready = Some(Bytes::from_static(b"event: ready\ndata: {}\n\n"));
            let mut answer = Response::new(Either::Stream(Reading { ring, next, ready }));
            answer.headers_mut().insert("content-type", http::HeaderValue::from_static("text/event-stream"));
            Ok(answer)
        }
    });
    // A client that leaves is no error.
    let _ = http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(socket), service).await;
}

/// Takes one event: `POST /pub/COMPANY`.
async fn publish(
    request: Request<Incoming>,
    rings: Rings,
    sequence: &AtomicU64,
) -> Result<Response<Either>, hyper::Error> {
    let (head, mut body) = request.into_parts();
    let mut frame = BytesMut::from(&b"event: metric_updated\ndata: "[..]);
    while let Some(part) = std::future::poll_fn(|poller| Pin::new(&mut body).poll_frame(poller)).await {
        if let Ok(bytes) = part?.into_data() {
            frame.extend_from_slice(&bytes);
        }
    }
    let n = sequence.fetch_add(1, Ordering::Relaxed);
    frame.extend_from_slice(format!("\nid: metrics.calculated-{n}-1700000000000\n\n").as_bytes());
    let ring = ring(&rings, head.uri.path().trim_start_matches("/pub"));
    let waiting = lock(&ring).push(frame.freeze());
    waiting.into_iter().for_each(Waker::wake);
    Ok(Response::new(Either::Taken))
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    fn push(&mut self, piece: Bytes) -> Vec<Waker> {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
        while self.bytes > RING_BYTES
            && let Some(oldest) = self.pieces.pop_front()
        {
            self.bytes -= oldest.len();
            self.first += 1;
        }
        std::mem::take(&mut self.waiting)
    }

    /// All from this piece on that one write takes, and how many pieces that is.
    fn take(&self, from: u64) -> Option<(Bytes, u64)> {
        let index = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let (first, mut size, mut count) = (self.pieces.get(index)?, 0, 0);
        for piece in self.pieces.range(index..) {
            if count > 0 && size + piece.len() > WRITE_BYTES {
                break;
            }
            (size, count) = (size + piece.len(), count + 1);
        }
        if count == 1 {
            return Some((first.clone(), 1));
        }
        let mut whole = BytesMut::with_capacity(size);
        self.pieces.range(index..index + count).for_each(|piece| whole.extend_from_slice(piece));
        Some((whole.freeze(), count as u64))
    }
}

/// The body of an answer.
enum Either {
    /// An event was taken.
    Taken,
    /// A stream.
    Stream(Reading),
}

impl Body for Either {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Taken => Poll::Ready(None),
            Self::Stream(reading) => reading.poll(poller).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Taken)
    }
}

/// A place in a ring.
struct Reading {
    ring: Shared,
    next: u64,
    ready: Option<Bytes>,
}

impl Reading {
    fn poll(&mut self, poller: &mut Poller<'_>) -> Poll<Option<Bytes>> {
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(Some(ready));
        }
        let mut ring = lock(&self.ring);
        if self.next < ring.first {
            return Poll::Ready(None);
        }
        match ring.take(self.next) {
            Some((bytes, count)) => {
                self.next += count;
                Poll::Ready(Some(bytes))
            }
            None => {
                ring.waiting.push(poller.waker().clone());
                Poll::Pending
            }
        }
    }
}
