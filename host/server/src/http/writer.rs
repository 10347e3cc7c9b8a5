//! Writes a stream of events to its socket, once hyper has read the request and its answer is known.
//!
//! hyper keeps buffers for reading and writing and room for its next request as long as a connection lives: about 25 KiB,
//! which a stream, whose bytes are shared with every other of its company, needs none of.

use super::socket::ClientSocket;
use crate::stream::EventStream;
use bytes::Bytes;
use http::response::Parts;
use http_body::Body as _;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead as _, AsyncWrite, ReadBuf};

/// What ends a chunk.
const CHUNK_END: &[u8] = b"\r\n";
/// What ends the body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Reads of bytes that nobody asked the client for, before its connection is closed.
const SURPLUS_READS: u8 = 16;

/// A stream and the socket it is written to. It ends when the stream or its client does.
pub struct StreamWriter {
    socket: ClientSocket,
    stream: Box<EventStream>,
    /// The answer's head until it goes before the stream's first bytes, in one write with them.
    head: Vec<u8>,
    piece: Piece,
    ended: bool,
    surplus_reads: u8,
}

/// What is being written: a head, bytes that are shared with others, and what ends them.
#[derive(Debug, Default)]
struct Piece {
    head: Vec<u8>,
    shared: Bytes,
    end: &'static [u8],
    written: usize,
}

impl Piece {
    /// A chunk, after what has to be written before it.
    fn chunk(mut head: Vec<u8>, shared: Bytes) -> Self {
        head.extend_from_slice(format!("{:x}\r\n", shared.len()).as_bytes());
        Self { head, shared, end: CHUNK_END, written: 0 }
    }

    /// What has not been written yet.
    fn rest(&self) -> [IoSlice<'_>; 3] {
        let mut skip = self.written;
        [&self.head[..], &self.shared[..], self.end].map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            IoSlice::new(&part[skipped..])
        })
    }

    fn is_written(&self) -> bool {
        self.written == self.head.len() + self.shared.len() + self.end.len()
    }
}

impl StreamWriter {
    /// Writes this answer, whose head is not written yet.
    #[must_use]
    pub fn new(socket: ClientSocket, parts: &Parts, stream: Box<EventStream>) -> Self {
        let head = head(parts, stream.now_ms());
        Self { socket, stream, head, piece: Piece::default(), ended: false, surplus_reads: 0 }
    }

    /// Does it wait for its client, or for the next event?
    #[must_use]
    pub fn is_through(&self) -> bool {
        !self.piece.is_written() || self.stream.is_live()
    }

    /// Has the client left, or does it send what nobody asked for and does not stop? Some of that is thrown away.
    fn poll_left(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        while self.surplus_reads < SURPLUS_READS {
            let mut bytes = [0; 256];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(context, &mut read) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Ok(true),
                Poll::Ready(Ok(())) => self.surplus_reads += 1,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.piece.is_written() {
            let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(context, &self.piece.rest()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.piece.written += written;
        }
        // What was shared is not held on to while there is nothing to write.
        self.piece = Piece::default();
        Poll::Ready(Ok(()))
    }
}

impl Future for StreamWriter {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.poll_left(context)? {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.poll_write(context))?;
            if this.ended {
                return Pin::new(&mut this.socket).poll_shutdown(context);
            }
            let next = Pin::new(&mut *this.stream).poll_frame(context);
            if next.is_pending() && this.head.is_empty() {
                return Poll::Pending;
            }
            let mut head = std::mem::take(&mut this.head);
            this.piece = match next {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Piece::chunk(head, bytes),
                    Err(_) => Piece { head, ..Piece::default() },
                },
                Poll::Ready(None) => {
                    this.ended = true;
                    head.extend_from_slice(LAST_CHUNK);
                    Piece { head, ..Piece::default() }
                }
                Poll::Ready(Some(Err(never))) => match never {},
                // A stream begins with `ready`; whatever it does, the head does not wait.
                Poll::Pending => Piece { head, ..Piece::default() },
            };
        }
    }
}

/// Status line and headers of a chunked answer over HTTP/1.1 (RFC 9112).
fn head(parts: &Parts, now_ms: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(320);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(parts.status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(parts.status.canonical_reason().unwrap_or("").as_bytes());
    head.extend_from_slice(CHUNK_END);
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, CHUNK_END] {
            head.extend_from_slice(part);
        }
    };
    for (name, value) in &parts.headers {
        line(name.as_ref(), value.as_bytes());
    }
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms));
    line(b"transfer-encoding", b"chunked");
    line(b"date", date.as_bytes());
    head.extend_from_slice(CHUNK_END);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(piece: &Piece) -> Vec<u8> {
        piece.rest().iter().flat_map(|part| part.to_vec()).collect()
    }

    #[test]
    fn a_chunk_is_its_length_its_bytes_and_a_line_end() {
        let chunk = format!("1a\r\n{}\r\n", "x".repeat(26));
        let bytes = Bytes::from(vec![b'x'; 26]);
        assert_eq!(all(&Piece::chunk(Vec::new(), bytes.clone())), chunk.as_bytes());
        assert_eq!(all(&Piece::chunk(b"head\r\n".to_vec(), bytes)), format!("head\r\n{chunk}").as_bytes());
    }

    #[test]
    fn what_is_left_of_a_piece_is_what_was_not_written_wherever_it_was_cut() {
        let mut piece = Piece::chunk(b"head\r\n".to_vec(), Bytes::from_static(b"data: 1\n\n"));
        let whole = all(&piece);
        for written in 0..=whole.len() {
            piece.written = written;
            assert_eq!(all(&piece), &whole[written..]);
            assert_eq!(piece.is_written(), written == whole.len());
        }
    }

    #[test]
    fn a_head_holds_the_headers_of_the_answer_and_says_that_it_is_chunked() {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.headers.insert("content-type", http::HeaderValue::from_static("text/event-stream"));
        let text = String::from_utf8(head(&parts, 784_111_777_000)).expect("is text");
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\
             date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        );
    }
}
