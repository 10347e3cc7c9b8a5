//! What every source promises, run against each of them.

mod core;
mod jetstream;
mod streams;

use super::embedded::{DeadLog, Embedded, Log, LogOptions};
use super::feed::{Items, feed_of};
use super::jetstream::{JetStream, Wanted, choose};
use super::letter::{Retried, StoredLetter};
use super::nats::Nats;
use super::server::{Folder, NatsServer, Version};
use super::{Item, Publish, Source, SourceError};
use crate::clock::Clock;
use bytes::Bytes;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::entry::DeadLetter;
use tidegate_core::event::{Company, Fault, SourceEvent};
use tidegate_core::generation::StreamFacts;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(40);

/// A reading in the background; dropped, it ends.
struct Reading {
    items: Items,
    task: JoinHandle<Result<(), SourceError>>,
}

impl Reading {
    fn start<S: Source>(source: &Arc<S>, after: u64) -> Self {
        let (to, items) = feed_of(64);
        let source = Arc::clone(source);
        #[allow(clippy::disallowed_methods, reason = "the test owns and aborts it")]
        let task = tokio::spawn(async move { source.read(after, to).await });
        Self { items, task }
    }

    async fn item(&mut self) -> Option<Item> {
        patiently("an item", self.items.recv()).await
    }

    async fn attached(&mut self) -> StreamFacts {
        match self.item().await {
            Some(Item::Attached(facts)) => facts,
            other => panic!("expected Attached, got {other:?}"),
        }
    }

    /// The next events, with whatever else comes before them left out.
    async fn events(&mut self, count: usize) -> Vec<SourceEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            match self.item().await {
                Some(Item::Event(event)) => events.push(event),
                Some(Item::Attached(_) | Item::Unheard(_)) => {}
                other => panic!("expected an event after {}, got {other:?}", events.len()),
            }
        }
        events
    }

    async fn ended(mut self) -> Result<(), SourceError> {
        patiently("the end of the reading", async {
            while self.items.recv().await.is_some() {}
            (&mut self.task).await.unwrap()
        })
        .await
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    patiently(what, async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn message(subject: &str, number: usize) -> Publish {
    Publish { subject: subject.into(), payload: format!("{{\"n\":{number}}}").into(), headers: Bytes::new(), id: None }
}

fn wanted() -> Wanted {
    Wanted {
        subjects: ["metrics.*", "journey.*", "q2q.*"].map(String::from).to_vec(),
        stream: None,
        capture: true,
        retention: Duration::from_secs(3600),
    }
}

async fn captured(nats: &Nats) -> Arc<JetStream> {
    let stream = choose(nats, &wanted()).await.unwrap().unwrap();
    Arc::new(JetStream::new(nats.clone(), stream, wanted()))
}

async fn embedded(folder: &Folder) -> Arc<Embedded> {
    let log = Log::open(&LogOptions::new(folder.0.join("log"), Duration::from_secs(3600)), Clock::system()).unwrap();
    let dead = DeadLog::open(folder.0.join("dlq"), Clock::system()).await.unwrap();
    Arc::new(Embedded::new(log, Arc::new(dead)))
}

fn letter(sequence: u64, payload: &[u8]) -> DeadLetter {
    let source = SourceEvent {
        sequence,
        time_ms: 7,
        subject: "metrics.calculated".into(),
        headers: Bytes::from_static(b"Trace: 1\n"),
        payload: Bytes::copy_from_slice(payload),
    };
    let fault = Fault {
        kind: "trap",
        reason: "it\ntrapped".into(),
        module: Some("redact@12ab".into()),
        backtrace: Some("a\nb".into()),
    };
    DeadLetter::new(1, 42, 0, Some(Company::new("company-a").unwrap()), &fault, source)
}

/// What holds for every source that stores.
async fn stores<S: Source>(source: &Arc<S>) {
    let fresh = source.facts(0).await.unwrap();
    assert_eq!((fresh.first_sequence, fresh.last_sequence, fresh.checkpoint_ms), (1, 0, None));
    assert!(fresh.created_ms > 1_600_000_000_000);
    assert_eq!(source.last().await.unwrap().0, 0);
    assert_eq!(source.next_stored(0).await.unwrap(), None);

    let mut live = Reading::start(source, 0);
    assert_eq!(live.attached().await, fresh);
    let messages: Vec<Publish> =
        (0..600).map(|n| message(["metrics.calculated", "journey.flag", "q2q.x"][n % 3], n)).collect();
    let published = source.publish(&messages).await.unwrap();
    assert_eq!((published.accepted, published.first, published.last), (600, Some(1), Some(600)));
    let events = live.events(600).await;
    for (n, event) in events.iter().enumerate() {
        assert_eq!(
            (event.sequence, &*event.subject, &event.payload),
            (n as u64 + 1, messages[n].subject.as_str(), &messages[n].payload)
        );
    }

    // A second reader begins where it says, and the time at its checkpoint is the event's.
    let mut later = Reading::start(source, 400);
    let facts = later.attached().await;
    assert_eq!(facts.checkpoint_ms, Some(events[399].time_ms));
    assert_eq!(later.events(200).await, events[400..]);

    assert_eq!(source.last().await.unwrap(), (600, events[599].time_ms));
    assert_eq!(source.next_stored(250).await.unwrap(), Some((251, events[250].time_ms)));
    assert_eq!(source.next_stored(600).await.unwrap(), None);
    assert_eq!(source.fetch(17).await.unwrap().unwrap(), events[16]);
    assert_eq!(source.fetch(601).await.unwrap(), None);

    // A slow receiver holds the reader back and loses nothing; a dropped one ends it.
    let mut slow = Reading::start(source, 0);
    slow.attached().await;
    tokio::task::yield_now().await;
    assert_eq!(slow.events(600).await.len(), 600);
    // Nobody reads on: as when the intake is gone.
    slow.items = feed_of(1).1;
    assert_eq!(slow.ended().await, Ok(()));

    // A live reader gets what comes.
    source.publish(&[message("metrics.calculated", 600)]).await.unwrap();
    assert_eq!(live.events(1).await[0].sequence, 601);
}

async fn keeps_dead_letters<S: Source>(source: &Arc<S>) {
    assert_eq!(source.dead_letters(0, 10).await.unwrap(), []);
    assert!(source.dead_ids().await.unwrap().is_empty());
    for sequence in [5, 6, 5] {
        source.publish_dead(&letter(sequence, b"\xff not json")).await.unwrap();
    }
    let letters = source.dead_letters(0, 10).await.unwrap();
    assert_eq!(letters.len(), 2, "a repeat is no second letter");
    let first = &letters[0];
    assert_eq!((first.id.as_str(), first.sequence), ("42-5-0-company-a-redact@12ab", Some(5)));
    assert_eq!((first.subject.as_str(), first.reason.as_str()), ("metrics.calculated", "it\ntrapped"));
    assert_eq!((first.company.as_deref(), first.module.as_deref()), (Some("company-a"), Some("redact@12ab")));
    assert_eq!(
        (first.backtrace.as_deref(), &first.headers[..], &first.payload[..]),
        (Some("a\nb"), &b"Trace: 1\n"[..], &b"\xff not json"[..])
    );
    assert_eq!(source.dead_letters(first.place, 10).await.unwrap(), letters[1..]);
    assert_eq!(source.dead_letters(0, 1).await.unwrap(), letters[..1]);
    let ids = source.dead_ids().await.unwrap();
    assert_eq!(ids.len(), letters.len());
    assert!(letters.iter().all(|letter| ids.contains(&letter.id)) && !ids.contains("another"));
    keeps_notes_of_retries(source, &letters).await;
}

async fn keeps_notes_of_retries<S: Source>(source: &Arc<S>, letters: &[StoredLetter]) {
    assert_eq!(source.retried(0).await.unwrap(), []);
    let (first, last) = source.dead_places().await.unwrap();
    assert_eq!((first, last), (letters[0].place, letters[1].place));
    for (letter, attempt, sequence) in [(1, 1, None), (0, 1, Some(70)), (0, 2, Some(80)), (0, 2, Some(80))] {
        source.publish_dead(&Retried::note(&letters[letter], attempt, sequence)).await.unwrap();
    }
    let noted: Vec<_> = source.retried(0).await.unwrap().iter().map(|r| (r.letter, r.attempt, r.sequence)).collect();
    let place = |letter: usize| letters[letter].place;
    assert_eq!(noted, [(place(1), 1, None), (place(0), 1, Some(70)), (place(0), 2, Some(80))], "each attempt once");
    assert_eq!(source.dead_places().await.unwrap(), (first, last + 3));
}

#[tokio::test]
async fn the_embedded_log_keeps_what_a_source_promises() {
    let folder = Folder::new();
    let source = embedded(&folder).await;
    stores(&source).await;
    keeps_dead_letters(&source).await;
}

#[tokio::test]
async fn jetstream_keeps_what_a_source_promises() {
    for version in Version::ALL {
        let server = NatsServer::start(version, true).await;
        let source = captured(&server.nats().await).await;
        stores(&source).await;
        keeps_dead_letters(&source).await;
    }
}
