//! Accepts connections, and ends them: within a bound when the host stops.

use super::respond::Answer;
use super::socket::ClientSocket;
use crate::stream::refusals::Refusals;
use crate::tasks::Tasks;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::SockRef;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A request's head has to arrive within this, the first one of a connection all of it.
const HEAD: Duration = Duration::from_secs(10);
/// Time for a connection to end once every task is told to.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// hyper's buffer for one connection, in bytes: a request's head fits, and an idle stream stays small.
const BUFFER: usize = 16 << 10;

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

/// Accepts until `closing` or the host stops; each connection is a task of its own.
pub async fn serve<F, R>(
    listener: TcpListener,
    settings: AcceptSettings,
    tasks: Tasks,
    closing: CancellationToken,
    answer: F,
) where
    F: Fn(SocketAddr, Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Answer>> + Send + 'static,
{
    let stop = tasks.token();
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            () = closing.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
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
        open.fetch_add(1, Ordering::Relaxed);
        let (open, answer, stop) = (Arc::clone(&open), answer.clone(), stop.clone());
        tasks.spawn("connection", async move {
            connection(stream, peer, settings, stop, answer).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    // New connections are refused by the system from here on; the task itself ends with the host.
    drop(listener);
    stop.cancelled().await;
}

async fn connection<F, R>(
    stream: TcpStream,
    peer: SocketAddr,
    settings: AcceptSettings,
    stop: CancellationToken,
    answer: F,
) where
    F: Fn(SocketAddr, Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Answer>> + Send + 'static,
{
    if let Err(error) = prepare(&stream, settings) {
        tracing::debug!(peer = %peer, error = %error, "socket options could not be set");
    }
    let refusals = Refusals::default();
    let told = refusals.clone();
    let asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(told.clone());
        // On the heap: hyper keeps room for it as long as the connection lives, and a stream needs it for its head only.
        let answer = Box::pin(answer(peer, request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER).writev(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(settings.stall)
        .max_concurrent_streams(200);
    let io = TokioIo::new(ClientSocket::new(stream, settings.stall, refusals));
    let serving = builder.serve_connection(io, service);
    tokio::pin!(serving);
    // Before the first request hyper does not know yet which protocol it is, and keeps no time.
    let silent = async {
        tokio::time::sleep(HEAD).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = silent => {
            tracing::debug!(peer = %peer, "a connection without a request was closed");
            return;
        }
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            // The drain window is over by now: what is still open takes no bytes.
            match tokio::time::timeout(LAST_WORDS, serving.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer, error = %error, "connection ended");
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
