//! The load test: many streams of one company, a steady rate, and every delivery judged.

pub mod beside;
pub mod judge;
pub mod report;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::backend::{Backend, World};
use crate::load::judge::{Clock, Judge};
use crate::load::report::Report;
use crate::stream::{Connection, Request};

/// The company of the load test.
const COMPANY: &str = "load-test";
const SUBJECT: &str = "metrics.calculated";
/// What comes later than this after the last event was published doesn't come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Open streams, all of one company.
    pub connections: u32,
    /// Events a second.
    pub rate: u32,
    /// Seconds of load.
    pub seconds: u32,
}

/// Runs the load against a host that was started for it.
///
/// # Errors
/// Something doesn't start; what goes wrong under the load is in the report.
pub async fn run(backend: Backend, load: Load) -> Result<Report> {
    let world = World::prepare(backend).await?;
    run_on(world, load).await
}

async fn run_on(mut world: World, load: Load) -> Result<Report> {
    world.host.start().await?;
    phase(&world, load).await
}

/// Opens the streams, publishes, and judges what came.
async fn phase(world: &World, load: Load) -> Result<Report> {
    let total = u64::from(load.rate) * u64::from(load.seconds);
    let clock = Arc::new(Clock::new(total)?);
    let mut readers = JoinSet::new();
    for _ in 0..load.connections {
        let connection = world.host.open(&Request::company(COMPANY)).await;
        let clock = Arc::clone(&clock);
        match connection {
            Ok(connection) => readers.spawn(async move { read(connection, &clock).await }),
            Err(error) => readers.spawn(async move { Judge::unopened(&format!("{error:#}")) }),
        };
    }
    clock.all_are_reading(load.connections).await?;
    let before = world.host.process()?.usage()?.0;
    let publisher = world.publisher().await?;
    let sending = Arc::clone(&clock);
    let flow = publisher.steady(load.rate, total, move |n| {
        let sent = sending.sends(n);
        let event = format!(
            r#"{{"companyId":"{COMPANY}","metricName":"integration_score","value":0.85,"previousValue":0.8,"period":"2026-Q1","at":{sent},"n":{n}}}"#
        );
        (SUBJECT.to_owned(), event)
    });
    let published = flow.finish().await.context("publish")?;
    clock.ends_after(PATIENCE);
    let mut judges = Vec::new();
    while let Some(judge) = readers.join_next().await {
        judges.push(judge.context("a reader")?);
    }
    let (cpu, memory) = world.host.process()?.usage()?;
    Ok(Report::new(world.backend, load, published, judges, cpu - before, memory))
}

async fn read(mut connection: Connection, clock: &Clock) -> Judge {
    let mut judge = Judge::new(clock.total());
    let ready = timeout(PATIENCE, connection.next()).await;
    clock.reads();
    match ready {
        Ok(Ok(Some(frame))) if connection.status == 200 && frame.kind() == "ready" => judge.opened(),
        other => return Judge::unopened(&format!("no `ready`: {other:?}")),
    }
    while !judge.is_complete() {
        let next = tokio::select! {
            next = connection.next() => next,
            () = clock.ended() => break,
        };
        match next {
            Ok(Some(frame)) => judge.takes(&frame, clock),
            Ok(None) => return judge.broken("the host ended the stream"),
            Err(error) => return judge.broken(&format!("{error:#}")),
        }
    }
    judge
}
