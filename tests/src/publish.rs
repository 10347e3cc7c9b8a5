//! Publishers: one event or a steady rate, over JetStream, core NATS or the host's own ingest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::{HeaderMap, jetstream};
use futures_util::future::BoxFuture;
use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::host::INGEST_TOKEN;
use crate::wait;

/// How often a steady publisher sends; several events go at once where the rate asks for it.
const TICK: Duration = Duration::from_millis(5);
/// Answers of JetStream that may be waited for at the same time.
const IN_FLIGHT: usize = 512;

/// Where events go.
#[derive(Clone, Debug)]
pub enum Publisher {
    /// Each event is acknowledged.
    JetStream(jetstream::Context),
    /// Each event is published again, with an id of its own, until it is acknowledged; the next one only then.
    Insisting(jetstream::Context),
    /// Nobody says whether it arrived.
    Core(async_nats::Client),
    /// Over HTTP, to the host at this address (`http://127.0.0.1:1234`).
    Ingest(Client, String),
}

impl Publisher {
    /// Publishes one event and waits until it is taken.
    ///
    /// # Errors
    /// It isn't.
    pub async fn send(&self, subject: &str, payload: impl Into<String>) -> Result<()> {
        self.send_all(subject, vec![payload.into()]).await
    }

    /// Publishes events in order and waits until all are taken.
    ///
    /// # Errors
    /// One isn't.
    pub async fn send_all(&self, subject: &str, payloads: Vec<String>) -> Result<()> {
        match self {
            Self::JetStream(context) => {
                let mut waiting = VecDeque::new();
                for payload in payloads {
                    waiting.push_back(context.publish(subject.to_owned(), payload.into()).await?);
                    if waiting.len() >= IN_FLIGHT
                        && let Some(first) = waiting.pop_front()
                    {
                        first.await?;
                    }
                }
                for acknowledgement in waiting {
                    acknowledgement.await?;
                }
            }
            Self::Insisting(context) => {
                for payload in payloads {
                    wait::until_ok("an event is acknowledged", || insist(context, subject, &payload)).await?;
                }
            }
            Self::Core(client) => {
                for payload in payloads {
                    client.publish(subject.to_owned(), payload.into()).await?;
                }
                client.flush().await?;
            }
            Self::Ingest(client, base) => {
                // One event a line: JSON without line breaks.
                let body = payloads.join("\n");
                let request = client.post(format!("{base}/ingest/{subject}")).bearer_auth(INGEST_TOKEN);
                let response = request.header("content-type", "application/x-ndjson").body(body).send().await?;
                if response.status() != 202 {
                    bail!("ingest: {} {}", response.status(), response.text().await.unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// As [`Publisher::send`], again and again until it is taken: for a server that is away for a moment.
    ///
    /// # Errors
    /// Not by the deadline.
    pub async fn insist(&self, subject: &str, payload: &str) -> Result<()> {
        wait::until_ok("an event is taken", || self.send(subject, payload)).await
    }

    /// Begins to publish at a rate; `make` gives subject and payload of the n-th event, counted from 0.
    #[must_use]
    pub fn steady(
        &self,
        per_second: u32,
        limit: u64,
        mut make: impl FnMut(u64) -> (String, String) + Send + 'static,
    ) -> Steady {
        let sent = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (publisher, counter, stopped) = (self.clone(), Arc::clone(&sent), Arc::clone(&stop));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let begun = Instant::now();
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut done = 0_u64;
            // Publishing in order and waiting for the answers are apart, so that answers don't slow the rate.
            let mut answers: VecDeque<BoxFuture<'static, Result<()>>> = VecDeque::new();
            while done < limit && !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                let due = (begun.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
                let due = due.min(limit);
                let mut lines: Vec<(String, Vec<String>)> = Vec::new();
                while done < due {
                    let (subject, payload) = make(done);
                    match lines.last_mut() {
                        Some((last, payloads)) if *last == subject => payloads.push(payload),
                        _ => lines.push((subject, vec![payload])),
                    }
                    done += 1;
                }
                for (subject, payloads) in lines {
                    publisher.begin(&subject, payloads, &mut answers).await?;
                }
                counter.store(done, Ordering::Relaxed);
                while answers.len() > IN_FLIGHT {
                    if let Some(answer) = answers.pop_front() {
                        answer.await?;
                    }
                }
            }
            for answer in answers {
                answer.await?;
            }
            Ok(done)
        });
        Steady { sent, stop, task }
    }

    /// Hands events over in order; the answers come later.
    async fn begin(
        &self,
        subject: &str,
        payloads: Vec<String>,
        answers: &mut VecDeque<BoxFuture<'static, Result<()>>>,
    ) -> Result<()> {
        let Self::JetStream(context) = self else {
            return self.send_all(subject, payloads).await;
        };
        for payload in payloads {
            let acknowledgement = context.publish(subject.to_owned(), payload.into()).await?;
            answers.push_back(Box::pin(async move { Ok(acknowledgement.await.map(drop)?) }));
        }
        Ok(())
    }
}

/// Publishes an event under an id by which a server knows it again.
async fn insist(context: &jetstream::Context, subject: &str, payload: &str) -> Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", payload);
    let sent = context.publish_with_headers(subject.to_owned(), headers, payload.to_owned().into()).await?;
    sent.await?;
    Ok(())
}

/// A publisher at work. Dropped, it stops at once.
#[derive(Debug)]
pub struct Steady {
    sent: Arc<AtomicU64>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    task: JoinSet<Result<u64>>,
}

impl Steady {
    /// How many were published so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many were published.
    ///
    /// # Errors
    /// Not by the deadline.
    pub async fn reaches(&self, count: u64) -> Result<()> {
        wait::until("the publisher gets on", || async { (self.sent() >= count).then_some(()) }).await
    }

    /// Stops and gives how many were published and taken.
    ///
    /// # Errors
    /// One wasn't taken.
    pub async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until all are published and gives how many they are.
    ///
    /// # Errors
    /// One wasn't taken.
    pub async fn finish(mut self) -> Result<u64> {
        self.task.join_next().await.context("no publisher")?.context("the publisher")?
    }
}
