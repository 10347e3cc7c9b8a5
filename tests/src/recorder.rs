//! A client that notes everything it gets, with the time, until its stream ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::host::Host;
use crate::sse::Frame;
use crate::stream::{Connection, Request};
use crate::wait::DEADLINE;

/// What was noted so far.
#[derive(Debug, Default)]
struct Notes {
    frames: Vec<Frame>,
    ended: Option<Result<(), String>>,
}

/// A stream that is read all the time. Closed when dropped.
#[derive(Debug)]
pub struct Recorder {
    notes: Arc<Mutex<Notes>>,
    changed: watch::Receiver<()>,
    /// Whether it reads; a slow client doesn't.
    reads: watch::Sender<bool>,
    _task: JoinSet<()>,
    /// The head's headers.
    pub headers: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
    /// When the request had been sent.
    pub asked: std::time::Instant,
}

impl Recorder {
    /// Opens a stream and begins to read; returns when `ready` has come, so that what is published from now on is live.
    ///
    /// # Errors
    /// No connection, or no `ready`.
    pub async fn open(host: &Host, request: &Request) -> Result<Self> {
        let recorder = Self::attach(host.open(request).await?);
        recorder.until("ready", |frames| frames.iter().any(|frame| frame.kind() == "ready")).await?;
        Ok(recorder)
    }

    /// Reads an open stream.
    #[must_use]
    pub fn attach(mut connection: Connection) -> Self {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (tell, changed) = watch::channel(());
        let (reads, mut may_read) = watch::channel(true);
        let (headers, status, asked) = (connection.headers.clone(), connection.status, connection.asked);
        let mut task = JoinSet::new();
        let written = Arc::clone(&notes);
        task.spawn(async move {
            loop {
                if may_read.wait_for(|reads| *reads).await.is_err() {
                    return;
                }
                let next = tokio::select! {
                    next = connection.next() => next,
                    changed = may_read.changed() => if changed.is_ok() { continue } else { return },
                };
                let mut notes = written.lock().unwrap_or_else(PoisonError::into_inner);
                match next {
                    Ok(Some(frame)) => notes.frames.push(frame),
                    Ok(None) => notes.ended = Some(Ok(())),
                    Err(error) => notes.ended = Some(Err(format!("{error:#}"))),
                }
                let ended = notes.ended.is_some();
                drop(notes);
                let _ = tell.send(());
                if ended {
                    return;
                }
            }
        });
        Self { notes, changed, reads, _task: task, headers, status, asked }
    }

    /// Stops reading: the socket fills up.
    pub fn pause(&self) {
        self.reads.send_replace(false);
    }

    /// Reads on.
    pub fn resume(&self) {
        self.reads.send_replace(true);
    }

    /// Everything so far.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        self.notes().frames.clone()
    }

    /// The companies' events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Frame> {
        self.notes().frames.iter().filter(|frame| !frame.is_control()).cloned().collect()
    }

    /// The last id that a browser would know.
    #[must_use]
    pub fn last_id(&self) -> Option<String> {
        self.notes().frames.iter().rev().find_map(|frame| frame.id.clone())
    }

    /// Waits until the notes satisfy `enough`, and gives them.
    ///
    /// # Errors
    /// They don't by the deadline, or the stream has ended before.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Frame]) -> bool) -> Result<Vec<Frame>> {
        let mut changed = self.changed.clone();
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            changed.mark_unchanged();
            {
                let notes = self.notes();
                if enough(&notes.frames) {
                    return Ok(notes.frames.clone());
                }
                if let Some(ended) = &notes.ended {
                    bail!("the stream ended ({ended:?}) before: {what}; last of it:\n{}", tail(&notes.frames));
                }
            }
            if tokio::time::timeout_at(end, changed.changed()).await.is_err() {
                bail!("waited {DEADLINE:?} in vain: {what}; last of the stream:\n{}", tail(&self.notes().frames));
            }
        }
    }

    /// Waits for so many events.
    ///
    /// # Errors
    /// As [`Recorder::until`].
    pub async fn events_reach(&self, count: usize) -> Result<Vec<Frame>> {
        let what = format!("{count} events");
        let frames =
            self.until(&what, |frames| frames.iter().filter(|frame| !frame.is_control()).count() >= count).await?;
        Ok(frames.into_iter().filter(|frame| !frame.is_control()).collect())
    }

    /// Waits for the first frame of a kind.
    ///
    /// # Errors
    /// As [`Recorder::until`].
    pub async fn first(&self, kind: &str) -> Result<Frame> {
        let frames = self.until(kind, |frames| frames.iter().any(|frame| frame.kind() == kind)).await?;
        frames.into_iter().find(|frame| frame.kind() == kind).ok_or_else(|| anyhow::anyhow!("no {kind}"))
    }

    /// Waits until the host ends the stream, cleanly or not.
    ///
    /// # Errors
    /// It stays open.
    pub async fn ended(&self) -> Result<Result<(), String>> {
        let mut changed = self.changed.clone();
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            changed.mark_unchanged();
            if let Some(ended) = &self.notes().ended {
                return Ok(ended.clone());
            }
            if tokio::time::timeout_at(end, changed.changed()).await.is_err() {
                bail!("the stream is still open after {DEADLINE:?}");
            }
        }
    }

    /// Whether the stream is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.notes().ended.is_none()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tail(frames: &[Frame]) -> String {
    let lines: Vec<String> = frames[frames.len().saturating_sub(8)..]
        .iter()
        .map(|frame| format!("  {} {} {:?}", frame.kind(), frame.text(), frame.id))
        .collect();
    format!("{} frames\n{}", frames.len(), lines.join("\n"))
}
