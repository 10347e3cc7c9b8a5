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
    assert!(reading.items.try_recv().is_err(), "more may be lost until it is connected again");
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
