//! Events published piece by piece, for faults that strike between two of them, with clients that follow.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::flow::{COMPANIES, SUBJECT};
use crate::backend::World;
use crate::history::{number, payload};
use crate::publish::Publisher;
use crate::session::Session;
use crate::sse::Frame;
use crate::verdict::Verdict;

/// Longer than the host waits for anything of its source.
const PATIENCE: Duration = Duration::from_secs(90);

/// Events numbered from 0, in turn for each of [`COMPANIES`], and a client of each that saw them from the first.
#[derive(Debug)]
pub(super) struct Pieces {
    publisher: Publisher,
    /// The clients.
    pub(super) sessions: Vec<Session>,
    sent: u64,
    /// Numbers that nobody may expect.
    never: HashSet<u64>,
}

/// The company of the n-th event.
fn company(n: u64) -> &'static str {
    COMPANIES[usize::try_from(n).unwrap_or(0) % COMPANIES.len()]
}

impl Pieces {
    /// Connects the clients and waits until each is live.
    ///
    /// # Errors
    /// A client gets no `ready`.
    pub(super) async fn begin(world: &World, publisher: Publisher) -> Result<Self> {
        let address = world.host.http()?;
        let sessions: Vec<Session> = COMPANIES.iter().map(|company| Session::follow(vec![address], company)).collect();
        for session in &sessions {
            session.until("ready", |frames| frames.iter().any(|frame| frame.kind() == "ready")).await?;
        }
        Ok(Self { publisher, sessions, sent: 0, never: HashSet::new() })
    }

    /// From now on by this publisher.
    pub(super) fn publish_by(&mut self, publisher: Publisher) {
        self.publisher = publisher;
    }

    /// Publishes so many more.
    ///
    /// # Errors
    /// One is not taken.
    pub(super) async fn publish(&mut self, count: u64) -> Result<()> {
        self.publish_wide(count, 0).await
    }

    /// Publishes so many more of at least so many bytes each.
    ///
    /// # Errors
    /// One is not taken.
    pub(super) async fn publish_wide(&mut self, count: u64, bytes: usize) -> Result<()> {
        let numbers = self.sent..self.sent + count;
        // Space around a JSON text means nothing.
        let wide = |n| format!("{:bytes$}", payload(company(n), n));
        self.publisher.send_all(SUBJECT, numbers.map(wide).collect()).await?;
        self.sent += count;
        Ok(())
    }

    /// How many were published.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// So many more were sent off, and nobody knows whether they were taken.
    pub(super) fn skip(&mut self, count: u64) {
        self.sent += count;
    }

    /// Nobody will get these.
    pub(super) fn never(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.never.extend(numbers);
    }

    /// Waits until each client has the last event of its company that it can get.
    ///
    /// # Errors
    /// Not by the deadline.
    pub(super) async fn arrived(&self) -> Result<()> {
        for session in &self.sessions {
            if let Some(last) = self.numbers(session).last().copied() {
                let here = |frames: &[Frame]| frames.iter().rev().any(|frame| number(frame) == Some(last));
                session.until_within(PATIENCE, &format!("event {last}"), here).await?;
            }
        }
        Ok(())
    }

    /// Waits until each client was told of so many gaps.
    ///
    /// # Errors
    /// Not by the deadline.
    pub(super) async fn told(&self, gaps: usize) -> Result<()> {
        for session in &self.sessions {
            let told = |frames: &[Frame]| frames.iter().filter(|frame| frame.kind() == "gap").count() >= gaps;
            session.until_within(PATIENCE, &format!("{gaps} gaps"), told).await?;
        }
        Ok(())
    }

    /// Judges the clients: each must have been told of gaps for these reasons, in this order, and of no others.
    pub(super) fn verdict(&self, gaps: &[&str]) -> Verdict {
        let mut verdict = Verdict::default();
        for session in &self.sessions {
            verdict += session.verdict(&self.numbers(session), !gaps.is_empty());
            let frames = session.frames();
            let told: Vec<_> = frames.iter().filter(|frame| frame.kind() == "gap").map(Frame::json).collect();
            let reasons: Vec<&str> = told.iter().filter_map(|gap| gap["reason"].as_str()).collect();
            if reasons != gaps {
                verdict.false_gaps += 1;
                verdict.tell(format!("the client of {} was told {told:?}, not {gaps:?}", session.company()));
            }
            if let Some(counted) = told.iter().find(|gap| gap["reason"] == "source-lost" && !gap["missed"].is_null()) {
                verdict.false_gaps += 1;
                verdict.tell(format!("nobody can know how much was missed: {counted}"));
            }
        }
        verdict
    }

    /// Waits for the last events, then judges.
    ///
    /// # Errors
    /// A client doesn't get to the end; what is wrong until then stands in the error.
    pub(super) async fn end(self, gaps: &[&str]) -> Result<Verdict> {
        let arrived = self.arrived().await;
        let verdict = self.verdict(gaps);
        arrived.with_context(|| verdict.to_string())?;
        Ok(verdict)
    }

    fn numbers(&self, session: &Session) -> Vec<u64> {
        (0..self.sent).filter(|n| company(*n) == session.company() && !self.never.contains(n)).collect()
    }
}
