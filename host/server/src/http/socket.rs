//! A client's socket with a timer on it: one that takes no byte while bytes wait is closed.
//!
//! The timer sits here since the HTTP layer stops polling a body under backpressure. Its first bytes tell the version of
//! HTTP, and are read before the layer that speaks it is chosen.

use crate::stream::refusals::Refusals;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// What a client that knows that HTTP/2 is spoken sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/1.0.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

/// A socket that fails with `TimedOut` once a write was pending for `stall`.
#[derive(Debug)]
pub struct ClientSocket {
    stream: TcpStream,
    stall: Duration,
    refusals: Refusals,
    /// Armed while a write is pending.
    pending: Option<Pin<Box<Sleep>>>,
    /// Read already, and not handed on yet.
    ahead: Vec<u8>,
}

impl ClientSocket {
    /// Watches this socket, and counts how often it does not take what is written.
    #[must_use]
    pub fn new(stream: TcpStream, stall: Duration, refusals: Refusals) -> Self {
        Self { stream, stall, refusals, pending: None, ahead: Vec::new() }
    }

    /// Waits for the bytes that tell what the client speaks; `None` where it leaves before. Nothing of them is lost.
    ///
    /// # Errors
    /// The socket can't be read.
    pub async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        let mut first = [0; PREFACE.len()];
        let mut read = 0;
        let protocol = loop {
            match self.stream.read(&mut first[read..]).await? {
                0 => break None,
                more => read += more,
            }
            match PREFACE.starts_with(&first[..read]) {
                false => break Some(Protocol::Http1),
                true if read == PREFACE.len() => break Some(Protocol::Http2),
                true => {}
            }
        };
        self.ahead = first[..read].to_vec();
        Ok(protocol)
    }

    /// Is it another task's turn? A write would then be refused without having been tried, which says nothing of the client.
    fn gives_way(context: &Context<'_>) -> bool {
        let over = !tokio::task::coop::has_budget_remaining();
        if over {
            context.waker().wake_by_ref();
        }
        over
    }

    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.pending.take().is_some() {
                self.refusals.waits(false);
            }
            return written;
        }
        let stall = self.stall;
        if self.pending.is_none() {
            self.refusals.add();
            self.refusals.waits(true);
        }
        let timer = self.pending.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stall)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => {
                self.refusals.stall();
                let message = format!("the client took no byte for {} s", stall.as_secs());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let taken = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..taken]);
            self.ahead.drain(..taken);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if Self::gives_way(context) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if Self::gives_way(context) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// Both ends of a connection, and what counts the refusals of ours.
    async fn pair(stall: Duration) -> (TcpStream, ClientSocket, Refusals) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let refusals = Refusals::default();
        (client, ClientSocket::new(stream, stall, refusals.clone()), refusals)
    }

    #[tokio::test]
    async fn the_first_bytes_tell_the_protocol_and_are_not_lost() {
        let text = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore";
        for (sent, told) in [
            (text, Some(Protocol::Http2)),
            ("GET / HTTP/1.1\r\n\r\n", Some(Protocol::Http1)),
            ("PRI * HTTP/1.1\r\n\r\n", Some(Protocol::Http1)),
            ("P", None),
        ] {
            let (mut client, mut socket, _) = pair(Duration::from_secs(60)).await;
            let writing = async move {
                for byte in sent.bytes() {
                    client.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let reading = async {
                assert_eq!(socket.protocol().await.unwrap(), told, "{sent}");
                let mut all = Vec::new();
                socket.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, sent.as_bytes());
            };
            tokio::join!(writing, reading);
        }
    }

    #[tokio::test]
    async fn a_task_that_has_to_give_way_counts_no_refusal() {
        let (mut client, mut socket, refusals) = pair(Duration::from_secs(60)).await;
        // Far more writes than one turn has, and far fewer bytes than a socket takes.
        for _ in 0..1_000 {
            socket.write_all(b"x").await.unwrap();
        }
        drop(socket);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!((all.len(), refusals.count()), (1_000, 0));
    }

    #[tokio::test]
    async fn a_client_that_takes_no_byte_is_closed_after_the_stall_time() {
        let (_client, mut socket, refusals) = pair(Duration::from_millis(50)).await;
        let error = loop {
            if let Err(error) = socket.write_all(&[0; 65_536]).await {
                break error;
            }
        };
        assert_eq!((error.kind(), refusals.count()), (io::ErrorKind::TimedOut, 1));
    }
}
