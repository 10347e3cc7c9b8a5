//! What core NATS can promise: numbers that are never used twice, and losses that are told.

use super::*;
use crate::source::core::Core;
use tidegate_core::generation::{Continuity, Generation, compare};
use tidegate_core::position::Place;

const NOW_MS: u64 = 1_700_000_000_000;

fn core(nats: &Nats, clock: &Clock, kept: Option<Arc<DeadLog>>) -> Arc<Core> {
    Arc::new(Core::new(nats.clone(), &wanted().subjects, clock.clone(), kept).unwrap())
}

#[tokio::test]
async fn events_are_numbered_upwards_and_no_number_is_used_twice() {
    let server = NatsServer::start(Version::Old, false).await;
    let nats = server.nats().await;
    let (clock, hand) = Clock::set_by_hand(NOW_MS);
    let source = core(&nats, &clock, None);
    let mut reading = Reading::start(&source, 0);
    let facts = reading.attached().await;
    assert_eq!(compare(&Generation::new(1, facts.created_ms), None, &facts), Continuity::Same);
    let published = source.publish(&(0..300).map(|n| message("metrics.a", n)).collect::<Vec<_>>()).await.unwrap();
    assert_eq!((published.accepted, published.first, published.last), (300, None, None));
    let events = reading.events(300).await;
    for (n, event) in events.iter().enumerate() {
        // The first number stands for what was published before it listened.
        assert_eq!((event.sequence, event.time_ms), (NOW_MS * 64 + 1 + n as u64, NOW_MS));
    }
    let last = events[299].sequence;
    assert_eq!(source.last().await.unwrap(), (last, NOW_MS));
    drop(reading);

    // The clock stands or goes back: on from the highest; a checkpoint or another host's number above that counts, too.
    hand.set(NOW_MS - 60_000);
    let mut reading = Reading::start(&source, 5);
    let facts = reading.attached().await;
    let at = Some(Place { generation: 1, sequence: last, time_ms: NOW_MS });
    assert_eq!(compare(&Generation::new(1, facts.created_ms), at, &facts), Continuity::Same);
    source.publish(&[message("journey.a", 0)]).await.unwrap();
    assert_eq!(reading.events(1).await[0].sequence, last + 2);
    drop(reading);
    source.saw(last + 50);
    let mut reading = Reading::start(&source, last + 100);
    reading.attached().await;
    source.publish(&[message("q2q.a", 0)]).await.unwrap();
    assert_eq!(reading.events(1).await[0].sequence, last + 102);
}

/// What comes next, in words: an event's number in its payload, or a loss; with its own number above the first.
async fn told(reading: &mut Reading, begins: u64) -> String {
    match reading.item().await {
        Some(Item::Event(event)) => {
            format!("{} {}", event.sequence - begins, String::from_utf8_lossy(&event.payload))
        }
        Some(Item::Unheard(number)) => format!("{} unheard", number - begins),
        Some(Item::Lost(count)) => format!("lost {count:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_refused_commit_held_comes_again_under_new_numbers() {
    let server = NatsServer::start(Version::New, false).await;
    let nats = server.nats().await;
    let (clock, hand) = Clock::set_by_hand(NOW_MS);
    let source = core(&nats, &clock, None);
    let mut reading = Reading::start(&source, 0);
    let begins = reading.attached().await.last_sequence;
    assert_eq!(told(&mut reading, begins).await, "0 unheard");
    source.publish(&(1..=4).map(|n| message("metrics.a", n)).collect::<Vec<_>>()).await.unwrap();
    reading.events(4).await;
    source.committed(begins + 1);
    source.take_back(begins + 2);
    // What comes to the reader from here on is nobody's.
    source.publish(&[message("metrics.a", 5)]).await.unwrap();
    drop(reading);

    hand.set(NOW_MS + 1_000);
    let mut reading = Reading::start(&source, begins + 2);
    let begins = reading.attached().await.last_sequence;
    assert_eq!(begins, (NOW_MS + 1_000) * 64);
    source.publish(&[message("metrics.a", 6)]).await.unwrap();
    for expected in ["1 {\"n\":3}", "2 {\"n\":4}", "lost None", "4 {\"n\":6}"] {
        assert_eq!(told(&mut reading, begins).await, expected);
    }
    // Another reader of the same tenure has them already.
    drop(reading);
    let mut reading = Reading::start(&source, begins + 4);
    let begins = reading.attached().await.last_sequence;
    assert_eq!(told(&mut reading, begins).await, "0 unheard");
    // Where somebody else may have committed them, none comes again.
    source.publish(&[message("metrics.a", 7)]).await.unwrap();
    reading.events(1).await;
    source.forget();
    drop(reading);
    let mut reading = Reading::start(&source, 0);
    let begins = reading.attached().await.last_sequence;
    assert_eq!(told(&mut reading, begins).await, "0 unheard");
}

#[tokio::test]
async fn what_nobody_takes_is_remembered_where_it_waits() {
    let server = NatsServer::start(Version::New, false).await;
    let nats = server.nats().await;
    let source = core(&nats, &Clock::system(), None);
    let mut reading = Reading::start(&source, 0);
    reading.attached().await;
    // More than the feed holds: the rest waits in the queue.
    source.publish(&(1..=200).map(|n| message("metrics.a", n)).collect::<Vec<_>>()).await.unwrap();
    let last = reading.events(1).await[0].sequence;
    until("all of them", async || source.waiting() >= 100).await;
    source.take_back(last);
    drop(reading);
    let mut reading = Reading::start(&source, last);
    let begins = reading.attached().await.last_sequence;
    for n in 2..=200 {
        assert_eq!(told(&mut reading, begins).await, format!("{} {{\"n\":{n}}}", n - 1));
    }
    assert_eq!(told(&mut reading, begins).await, "lost None");
}

#[tokio::test]
async fn a_lost_connection_is_told_after_what_came_before_it() {
    let mut server = NatsServer::start(Version::New, false).await;
    let nats = server.nats().await;
    let source = core(&nats, &Clock::system(), None);
    let mut reading = Reading::start(&source, 0);
    reading.attached().await;
    source.publish(&[message("metrics.a", 1)]).await.unwrap();
    assert_eq!(reading.events(1).await.len(), 1);
    server.stop();
    until("the loss of the connection", async || !nats.connected()).await;
    assert!(reading.items.try_recv().is_none(), "more may be lost until it is connected again");
    server.run().await;
    assert!(matches!(reading.item().await, Some(Item::Lost(None))));
    // The same reading goes on, over the subscriptions the client made anew.
    source.publish(&[message("metrics.a", 2)]).await.unwrap();
    let event = reading.events(1).await.remove(0);
    assert_eq!(&event.payload[..], b"{\"n\":2}");
}

#[tokio::test]
async fn dead_letters_are_kept_in_a_log_without_jetstream_and_in_the_stream_with_it() {
    let folder = Folder::new();
    let kept = Arc::new(DeadLog::open(folder.0.join("dlq"), Clock::system()).await.unwrap());
    let server = NatsServer::start(Version::New, false).await;
    keeps_dead_letters(&core(&server.nats().await, &Clock::system(), Some(kept))).await;
    let server = NatsServer::start(Version::New, true).await;
    keeps_dead_letters(&core(&server.nats().await, &Clock::system(), None)).await;
}
