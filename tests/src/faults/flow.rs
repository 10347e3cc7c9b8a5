//! Events that flow while a fault is brought about: numbered for each company, with clients that follow them.

use anyhow::{Result, ensure};

use crate::backend::World;
use crate::history::payload;
use crate::modules::commanded;
use crate::publish::{Publisher, Steady};
use crate::session::Session;
use crate::verdict::Verdict;
use crate::wait;

/// The subject of the rows' events.
pub(super) const SUBJECT: &str = "metrics.calculated";
/// The companies of a flow.
pub(super) const COMPANIES: [&str; 3] = ["a", "b", "c"];
/// Clients of each company.
const CLIENTS: usize = 2;

/// A steady flow of events over [`COMPANIES`], and clients of each that saw it from its first event.
#[derive(Debug)]
pub(super) struct Flow {
    steady: Steady,
    /// The clients.
    pub(super) sessions: Vec<Session>,
}

/// The company of the n-th event.
pub(super) fn company(n: u64) -> &'static str {
    COMPANIES[usize::try_from(n).unwrap_or(0) % COMPANIES.len()]
}

impl Flow {
    /// Connects the clients, waits until all are live, and begins to publish.
    ///
    /// # Errors
    /// A client gets no `ready`.
    pub(super) async fn begin(world: &World, per_second: u32) -> Result<Self> {
        let publisher = world.publisher().await?;
        Self::over(vec![world.host.http()?], publisher, per_second).await
    }

    /// As [`Flow::begin`], with clients that go from address to address.
    ///
    /// # Errors
    /// A client gets no `ready`.
    pub(super) async fn over(
        addresses: Vec<std::net::SocketAddr>,
        publisher: Publisher,
        per_second: u32,
    ) -> Result<Self> {
        Self::of(addresses, publisher, per_second, payload).await
    }

    /// As [`Flow::begin`], with events that tell the filter [`crate::modules::obedient`] of their company what to do.
    ///
    /// # Errors
    /// A client gets no `ready`.
    pub(super) async fn commanding(world: &World, per_second: u32, command: fn(u64) -> char) -> Result<Self> {
        let say = move |company: &str, n| commanded(command(n), company, n);
        Self::of(vec![world.host.http()?], world.publisher().await?, per_second, say).await
    }

    async fn of(
        addresses: Vec<std::net::SocketAddr>,
        publisher: Publisher,
        per_second: u32,
        say: impl Fn(&str, u64) -> String + Send + 'static,
    ) -> Result<Self> {
        let follow = |company: &&str| (0..CLIENTS).map(|_| Session::follow(addresses.clone(), company)).collect();
        let sessions: Vec<Session> = COMPANIES.iter().flat_map(|company| -> Vec<_> { follow(company) }).collect();
        for session in &sessions {
            session.until("ready", |frames| frames.iter().any(|frame| frame.kind() == "ready")).await?;
        }
        let steady = publisher.steady(per_second, u64::MAX, move |n| (SUBJECT.to_owned(), say(company(n), n)));
        Ok(Self { steady, sessions })
    }

    /// Waits until so many more events were published.
    ///
    /// # Errors
    /// Not by the deadline.
    pub(super) async fn goes_on(&self, events: u64) -> Result<()> {
        let until = self.steady.sent() + events;
        self.steady.reaches(until).await
    }

    /// Stops publishing, waits until every client has the last event of its company, and judges them. `gap` says
    /// whether something was really lost.
    ///
    /// # Errors
    /// An event was not taken, or a client does not get to the end.
    pub(super) async fn end(self, gap: bool) -> Result<Verdict> {
        self.end_without(gap, |_| false).await
    }

    /// As [`Flow::end`], where these events become dead letters.
    ///
    /// # Errors
    /// As [`Flow::end`].
    pub(super) async fn end_without(self, gap: bool, dead: impl Fn(u64) -> bool) -> Result<Verdict> {
        let sent = self.steady.stop().await?;
        ensure!(sent > COMPANIES.len() as u64, "only {sent} events were published");
        let mut verdict = Verdict::default();
        for session in &self.sessions {
            let numbers: Vec<u64> = (0..sent).filter(|n| company(*n) == session.company() && !dead(*n)).collect();
            if let Some(last) = numbers.last()
                && let Err(error) = session.reaches(*last).await
            {
                verdict.tell(format!("{error:#}"));
            }
            verdict += session.verdict(&numbers, gap);
        }
        Ok(verdict)
    }
}

/// Waits until health has this status.
///
/// # Errors
/// Not by the deadline; what it said last is in the error.
pub(super) async fn health_is(world: &World, status: &str) -> Result<()> {
    wait::until_ok(&format!("health is {status}"), || async {
        let health = world.host.json("/stream/health").await?;
        ensure!(health["status"] == status, "{health}");
        Ok(())
    })
    .await
}
