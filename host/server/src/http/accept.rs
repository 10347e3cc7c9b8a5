//! Accepts connections, and ends them: within a bound when the host stops.

use super::respond::Answer;
use super::socket::{ClientSocket, Protocol};
use super::writer::StreamWriter;
use crate::stream::refusals::Refusals;
use crate::tasks::Tasks;
use futures_util::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::SockRef;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The first byte of a connection has to arrive within this, and each request's head within this after its own.
const HEAD: Duration = Duration::from_secs(10);
/// Time for a connection to end once every task is told to.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a connection that was closed takes what its client had not sent yet.
const LINGER: Duration = Duration::from_secs(2);
/// hyper's buffer for one connection, in bytes: a request's head fits.
const BUFFER: usize = 16 << 10;

/// Connections whose first request is answered at the same time, for each thread that serves them. Thousands that come back
/// at once would stand in a queue before everything else that is to be sent; beyond these they wait where they cost nothing.
const TURNS: usize = 4;
/// How long one of them keeps its turn at most: a slow one must not keep others out.
const TURN: Duration = Duration::from_millis(20);
/// How long one waits for its turn before it goes without.
const PATIENCE: Duration = Duration::from_secs(1);

/// How connections are treated.
#[derive(Debug, Clone, Copy)]
pub struct AcceptSettings {
    /// Connections at a time.
    pub connections_max: usize,
    /// Time without a byte taken while bytes wait.
    pub stall: Duration,
    /// Time in which the peer acknowledged nothing at all.
    pub idle: Duration,
}

/// What answers a request of a peer.
pub type Answers = Arc<dyn Fn(SocketAddr, Request<Incoming>) -> BoxFuture<'static, Response<Answer>> + Send + Sync>;

/// Accepts until `closing` or the host stops; each connection is a task of its own.
pub async fn serve(
    listener: TcpListener,
    settings: AcceptSettings,
    tasks: Tasks,
    closing: CancellationToken,
    answers: Answers,
) {
    let stop = tasks.token();
    let open = Arc::new(AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(2, NonZero::get);
    let turns = Arc::new(Semaphore::new(TURNS * threads));
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            () = closing.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Its client has left again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    // Out of descriptors, mostly: those in use come back.
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if open.load(Ordering::Relaxed) >= settings.connections_max.saturating_add(1_000) {
            // Beyond the streams' own bound, which answers politely, only closing is cheap enough.
            drop(stream);
            continue;
        }
        let guest = Guest {
            peer,
            settings,
            stop: stop.clone(),
            tasks: tasks.clone(),
            turns: Arc::clone(&turns),
            _open: Open::count(&open),
        };
        tasks.spawn("connection", guest.serve(stream, Arc::clone(&answers)));
        // Whoever stands in the queue has its turn before the next one is let in.
        tokio::task::yield_now().await;
    }
    // New connections are refused by the system from here on; the task itself ends with the host.
    drop(listener);
    stop.cancelled().await;
}

/// A place among the open connections.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to be among those whose first request is answered.
#[derive(Debug)]
struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    until: Instant,
}

impl Turn {
    /// Waits for one; where those who have one keep it for long, goes without.
    async fn next(turns: &Arc<Semaphore>) -> Self {
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(turns).acquire_owned()).await.ok().and_then(Result::ok);
        Self { permit, until: Instant::now() + TURN }
    }

    /// Gives it to the next one.
    fn end(&mut self) {
        self.permit = None;
    }

    /// Does something, and gives the turn away where that takes longer than it lasts.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout_at(self.until, work.as_mut()).await {
            return done;
        }
        self.end();
        work.await
    }
}

/// The answer is a stream, which hyper does not write.
#[derive(Debug, thiserror::Error)]
#[error("the stream is written elsewhere")]
struct Leaves;

/// One connection.
struct Guest {
    peer: SocketAddr,
    settings: AcceptSettings,
    stop: CancellationToken,
    tasks: Tasks,
    turns: Arc<Semaphore>,
    /// Given back when it ends.
    _open: Open,
}

impl Guest {
    async fn serve(self, stream: TcpStream, answers: Answers) {
        if let Err(error) = prepare(&stream, self.settings) {
            tracing::debug!(peer = %self.peer, error = %error, "socket options could not be set");
        }
        let refusals = Refusals::default();
        let mut socket = ClientSocket::new(stream, self.settings.stall, refusals.clone());
        let protocol = tokio::select! {
            protocol = tokio::time::timeout(HEAD, socket.protocol()) => protocol,
            () = self.stop.cancelled() => return,
        };
        match protocol {
            Ok(Ok(Some(Protocol::Http1))) => self.http1(socket, refusals, answers).await,
            Ok(Ok(Some(Protocol::Http2))) => self.http2(socket, refusals, answers).await,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => self.tell(&error),
            Err(_) => tracing::debug!(peer = %self.peer, "a connection without a request was closed"),
        }
    }

    async fn http1(self, socket: ClientSocket, refusals: Refusals, answers: Answers) {
        // Not before its first byte is there: who says nothing keeps nobody out.
        let mut turn = Turn::next(&self.turns).await;
        let peer = self.peer;
        let answered = Arc::new(Notify::new());
        let answers_first = Arc::clone(&answered);
        let (to, mut leaving) = oneshot::channel();
        let to = Arc::new(Mutex::new(Some(to)));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(refusals.clone());
            let chunked = request.version() == Version::HTTP_11 && request.method() == Method::GET;
            // What was answered before on this connection has to have left the buffers that end here.
            let may_leave = chunked && !refusals.is_waiting();
            let has_body = !request.body().is_end_stream();
            let (to, answered) = (Arc::clone(&to), Arc::clone(&answers_first));
            let answer = answers(peer, request);
            // On the heap: hyper keeps room for it as long as the connection lives.
            Box::pin(async move {
                let (mut parts, body) = answer.await.into_parts();
                if has_body && !parts.status.is_success() {
                    // Whoever refuses may not have read it to its end. hyper closes then, and does not say so itself.
                    parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                match body {
                    Answer::Stream(stream) if may_leave => {
                        let to = to.lock().unwrap_or_else(PoisonError::into_inner).take();
                        // Where nobody takes it, the connection has ended meanwhile.
                        to.map(|to| to.send((parts, stream)).ok());
                        Err(Leaves)
                    }
                    body => {
                        answered.notify_one();
                        Ok(Response::from_parts(parts, body))
                    }
                }
            })
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER).writev(true);
        let mut serving = builder.serve_connection(TokioIo::new(socket), service);
        let first = turn.during(async {
            tokio::select! {
                ended = &mut serving => Some(ended),
                () = answered.notified() => None,
                () = self.stop.cancelled() => None,
            }
        });
        let ended = match first.await {
            Some(ended) => ended,
            None => {
                turn.end();
                tokio::select! {
                    ended = &mut serving => ended,
                    () = self.stop.cancelled() => {
                        Pin::new(&mut serving).graceful_shutdown();
                        // The drain window is over by now: what is still open takes no bytes.
                        match tokio::time::timeout(LAST_WORDS, &mut serving).await {
                            Ok(ended) => ended,
                            Err(_) => return,
                        }
                    }
                }
            }
        };
        let socket = serving.into_parts().io.into_inner();
        if let Ok((parts, stream)) = leaving.try_recv() {
            let tasks = self.tasks.clone();
            tasks.spawn("stream", self.write(StreamWriter::new(socket, &parts, stream), turn));
            return;
        }
        turn.end();
        if let Err(error) = &ended {
            self.tell(error);
        }
        // A head that it can't read or that is too long hyper refuses by itself.
        if ended.err().is_none_or(|error| error.is_parse()) {
            self.linger(socket).await;
        }
    }

    /// Takes what the client still sends of a request that was answered before its end: to close with bytes unread resets the
    /// connection, and the answer may be lost with it (RFC 9112, section 9.6).
    async fn linger(&self, mut socket: ClientSocket) {
        let mut nowhere = tokio::io::sink();
        tokio::select! {
            _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut socket, &mut nowhere)) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Writes a stream to its end. All that is kept of its connection is in here.
    async fn write(self, mut writer: StreamWriter, mut turn: Turn) {
        let begun = poll_fn(|context| match Pin::new(&mut writer).poll(context) {
            // What it has to do from now on, others wait for: its client, or the next event.
            Poll::Pending if writer.is_through() => Poll::Ready(None),
            written => written.map(Some),
        });
        let ended = tokio::select! {
            begun = turn.during(begun) => begun,
            () = self.stop.cancelled() => None,
        };
        drop(turn);
        let ended = match ended {
            Some(ended) => ended,
            None => tokio::select! {
                ended = &mut writer => ended,
                () = self.stop.cancelled() => match tokio::time::timeout(LAST_WORDS, &mut writer).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                },
            },
        };
        if let Err(error) = ended {
            self.tell(&error);
        }
    }

    async fn http2(self, socket: ClientSocket, refusals: Refusals, answers: Answers) {
        let peer = self.peer;
        let asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&asked);
        let service = service_fn(move |mut request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(refusals.clone());
            let answer = answers(peer, request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(Duration::from_secs(20)))
            .keep_alive_timeout(self.settings.stall)
            .max_concurrent_streams(200);
        let serving = builder.serve_connection(TokioIo::new(socket), service);
        tokio::pin!(serving);
        let silent = async {
            tokio::time::sleep(HEAD).await;
            if asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = silent => {
                tracing::debug!(peer = %self.peer, "a connection without a request was closed");
                return;
            }
            () = self.stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                match tokio::time::timeout(LAST_WORDS, serving.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            self.tell(&error);
        }
    }

    fn tell(&self, error: &dyn std::fmt::Display) {
        tracing::debug!(peer = %self.peer, error = %error, "connection ended");
    }
}

fn prepare(stream: &TcpStream, settings: AcceptSettings) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(settings.idle))?;
    Ok(())
}
