//! What JetStream brings with it: restarts, purges, recreation, other subjects, odd messages.

use super::super::Published;
use super::super::letter::StoredLetter;
use super::*;
use crate::source::jetstream::DEAD_STREAM;
use async_nats::jetstream::stream;
use tidegate_core::generation::{Continuity, Generation, compare};
use tidegate_core::position::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_restarted_server_loses_and_doubles_nothing() {
    for version in Version::ALL {
        let mut server = NatsServer::start(version, true).await;
        let nats = server.nats().await;
        let source = captured(&nats).await;
        source.publish(&(0..10).map(|n| message("metrics.a", n)).collect::<Vec<_>>()).await.unwrap();
        let mut reading = Reading::start(&source, 0);
        let before = reading.attached().await;
        assert_eq!(reading.events(10).await.last().unwrap().sequence, 10);
        server.stop();
        assert!(matches!(reading.ended().await, Err(SourceError::Away(_))));
        assert!(!source.connected());
        let failed = source.publish(&[message("metrics.a", 10)]).await.unwrap_err();
        assert!(matches!(failed, (Published { accepted: 0, .. }, SourceError::Away(_))));
        server.run().await;
        nats.wait_connected(PATIENCE).await.unwrap();
        until("JetStream to answer", async || source.facts(10).await.is_ok()).await;
        let mut reading = Reading::start(&source, 10);
        let facts = reading.attached().await;
        assert_eq!(
            (facts.created_ms, facts.last_sequence, facts.checkpoint_ms.is_some()),
            (before.created_ms, 10, true)
        );
        source.publish(&[message("metrics.a", 10)]).await.unwrap();
        assert_eq!(reading.events(1).await[0].sequence, 11);
    }
}

#[tokio::test]
async fn a_purged_and_a_recreated_stream_show_in_the_facts() {
    for version in Version::ALL {
        let server = NatsServer::start(version, true).await;
        let nats = server.nats().await;
        let source = captured(&nats).await;
        source.publish(&(0..10).map(|n| message("metrics.a", n)).collect::<Vec<_>>()).await.unwrap();
        let facts = source.facts(4).await.unwrap();
        let generation = Generation::new(1, facts.created_ms);
        let at = Some(Place { generation: 1, sequence: 4, time_ms: facts.checkpoint_ms.unwrap() });
        assert_eq!(compare(&generation, at, &facts), Continuity::Same);

        let context = async_nats::jetstream::new(nats.client().clone());
        let stream = context.get_stream(source.stream()).await.unwrap();
        stream.purge().sequence(8).await.unwrap();
        let purged = source.facts(4).await.unwrap();
        assert_eq!((purged.first_sequence, purged.checkpoint_ms), (8, None));
        assert_eq!(purged.first_ms, source.facts(8).await.unwrap().checkpoint_ms);
        assert_eq!(compare(&generation, at, &purged), Continuity::Passed);
        let (last, last_ms) = source.last().await.unwrap();
        stream.purge().await.unwrap();
        let empty = source.facts(4).await.unwrap();
        assert_eq!((empty.first_sequence, empty.last_sequence, empty.first_ms), (11, 10, Some(last_ms)));
        assert_eq!(source.last().await.unwrap(), (last, last_ms));

        // A running reader ends, and the one after it tells of the new stream before its first event.
        let mut reading = Reading::start(&source, 10);
        reading.attached().await;
        context.delete_stream(source.stream()).await.unwrap();
        assert!(matches!(reading.ended().await, Err(SourceError::Away(_))));
        let mut reading = Reading::start(&source, 10);
        let made = reading.attached().await;
        assert_eq!(compare(&generation, at, &made), Continuity::Recreated);
        source.publish(&[message("metrics.a", 0)]).await.unwrap();
        let mut reading = Reading::start(&source, 0);
        assert_eq!(reading.events(1).await[0].sequence, 1);
    }
}

#[tokio::test]
async fn other_subjects_of_the_stream_are_skipped() {
    for version in Version::ALL {
        let server = NatsServer::start(version, true).await;
        let nats = server.nats().await;
        let context = async_nats::jetstream::new(nats.client().clone());
        let subjects = ["metrics.>", "journey.*", "q2q.*", "other.*"].map(String::from).to_vec();
        context
            .create_stream(stream::Config { name: "EVENTS".into(), subjects, ..stream::Config::default() })
            .await
            .unwrap();
        let source = captured(&nats).await;
        assert_eq!(source.stream(), "EVENTS");
        for subject in ["other.1", "metrics.a", "other.2", "metrics.a.b", "q2q.x", "other.3"] {
            context.publish(subject, "{}".into()).await.unwrap().await.unwrap();
        }
        let mut reading = Reading::start(&source, 0);
        let sequences: Vec<u64> = reading.events(2).await.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, [2, 5]);
        assert_eq!(source.next_stored(2).await.unwrap().map(|(sequence, _)| sequence), Some(5));
        assert_eq!(source.next_stored(5).await.unwrap(), None, "the stream goes on to 6, but with nothing of ours");
        assert_eq!(source.last().await.unwrap().0, 6);
        let description = source.describe().await.unwrap();
        assert_eq!(
            (description.name.as_str(), description.retention.as_str(), description.replicas),
            ("EVENTS", "limits", 1)
        );
    }
}

/// Publishes what no client library would.
async fn publish_raw(server: &NatsServer, lines: &[&[u8]]) {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    socket.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").await.unwrap();
    for line in lines {
        socket.write_all(line).await.unwrap();
    }
    socket.write_all(b"PING\r\n").await.unwrap();
    let mut answer = Vec::new();
    patiently("PONG", async {
        while !answer.windows(4).any(|window| window == b"PONG") {
            assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
        }
    })
    .await;
}

fn with_headers(block: &[u8]) -> Vec<u8> {
    let mut line = format!("HPUB metrics.odd {} {}\r\n", block.len(), block.len() + 2).into_bytes();
    line.extend(block);
    line.extend(b"{}\r\n");
    line
}

#[tokio::test]
async fn a_message_the_client_can_not_parse_is_told_and_passed() {
    for version in Version::ALL {
        let server = NatsServer::start(version, true).await;
        let nats = server.nats().await;
        let source = captured(&nats).await;
        let odd = [
            b"PUB metrics.\xff 2\r\n{}\r\n".to_vec(),
            with_headers(b"NATS/1.0\r\nA: \xff\r\n\r\n"),
            with_headers(b"NATS/1.0\r\nno colon\r\n\r\n"),
            with_headers(b"HTTP/1.1 nonsense\r\n\r\n"),
            with_headers(b"NATS/1.0 abc\r\n\r\n"),
            with_headers(b"NATS/1.0 409\r\n\r\n"),
            with_headers(b"NATS/1.0 100\r\n\r\n"),
        ];
        // A server of today takes a status away before it stores the message.
        let (last, first_status) = (15, 10);
        let readable = |sequence: &u64| sequence % 2 == 1 || (version == Version::New && *sequence >= first_status);
        let mut sequence = 0;
        source.publish(&[message("metrics.a", 0)]).await.unwrap();
        for line in odd {
            publish_raw(&server, &[&line, b"PUB metrics.b 2\r\n{}\r\n"]).await;
        }
        let mut reading = Reading::start(&source, 0);
        let (mut unreadable, mut events) = (Vec::new(), Vec::new());
        while sequence < last {
            match reading.item().await {
                Some(Item::Event(event)) => {
                    sequence = event.sequence;
                    events.push(sequence);
                }
                Some(Item::Unreadable { event, reason }) => {
                    sequence = event.sequence;
                    assert!(!reason.is_empty());
                    assert_eq!(&event.payload[..], b"{}");
                    unreadable.push(sequence);
                }
                Some(Item::Attached(_)) => {}
                Some(other) => panic!("{other:?}"),
                // As an owner does: on from what was received.
                None => reading = Reading::start(&source, sequence),
            }
        }
        let (good, bad): (Vec<u64>, Vec<u64>) = (1..=last).partition(readable);
        assert_eq!((events, unreadable), (good, bad), "{version:?}");
        assert_eq!(source.next_stored(1).await.unwrap().map(|(sequence, _)| sequence), Some(2));
        let raw = source.fetch(4).await.unwrap().unwrap();
        assert_eq!(&raw.headers[..], b"A: \xff\n");
    }
}

#[tokio::test]
async fn a_repeated_id_is_stored_once_and_headers_arrive() {
    let server = NatsServer::start(Version::New, true).await;
    let source = captured(&server.nats().await).await;
    let message = Publish { id: Some("key-1".into()), ..message("metrics.a", 0) };
    let first = source.publish(std::slice::from_ref(&message)).await.unwrap();
    assert_eq!(source.publish(std::slice::from_ref(&message)).await.unwrap(), first);
    assert_eq!(source.last().await.unwrap().0, 1);
    let event = Reading::start(&source, 0).events(1).await.remove(0);
    assert_eq!(&event.headers[..], b"Nats-Msg-Id: key-1\n");
}

#[tokio::test]
async fn a_dead_letter_that_is_too_large_is_cut_and_says_so() {
    let server = NatsServer::start(Version::New, true).await;
    let nats = server.nats().await;
    let source = captured(&nats).await;
    let mut large = letter(1, &vec![b'x'; 1 << 20]);
    large.backtrace = Some("y".repeat(100_000).into());
    source.publish_dead(&large).await.unwrap();
    let mut many = letter(2, b"{}");
    many.source.headers = (0..5_000).map(|n| format!("Header-{n}: {}\n", "z".repeat(100))).collect::<String>().into();
    many.source.subject = "metrics.a b\u{fffd}".into();
    source.publish_dead(&many).await.unwrap();
    let letters = source.dead_letters(0, 10).await.unwrap();
    let StoredLetter { payload, truncated_bytes, backtrace, .. } = &letters[0];
    assert_eq!(payload.len() as u64 + truncated_bytes.unwrap(), 1 << 20);
    assert_eq!(backtrace, &None);
    assert_eq!((&letters[1].subject[..], &letters[1].payload[..]), ("metrics.a b\u{fffd}", &b"{}"[..]));
    assert!(!letters[1].headers.is_empty() && letters[1].truncated_bytes.is_none());

    // As others read it: by subject and headers of the plain message.
    let context = async_nats::jetstream::new(nats.client().clone());
    let stored = context.get_stream(DEAD_STREAM).await.unwrap().get_raw_message(2).await.unwrap();
    assert_eq!(stored.subject.as_str(), "tidegate.dlq.metrics.a%20b%EF%BF%BD");
    let header = |name: &str| stored.headers.get(name).unwrap().as_str().to_owned();
    assert_eq!((header("Tidegate-Company"), header("Tidegate-Reason")), ("company-a".into(), "it%0Atrapped".into()));
    assert_eq!((header("Tidegate-Sequence"), header("Tidegate-Module")), ("2".into(), "redact@12ab".into()));
    assert_eq!(header("Tidegate-Original-Header-0"), "z".repeat(100));
}

#[tokio::test]
async fn what_hosts_share_is_there_for_another_host_until_it_is_dropped() {
    for version in Version::ALL {
        let server = NatsServer::start(version, true).await;
        let (one, other) = (captured(&server.nats().await).await, captured(&server.nats().await).await);
        assert_eq!(other.shared("a").await.unwrap(), None);
        // Longer than one chunk, and than the largest message.
        let long = Bytes::from((0..3_000_000u32).map(|n| n as u8).collect::<Vec<_>>());
        one.share("a", long.clone()).await.unwrap();
        one.share("b", Bytes::from_static(b"1")).await.unwrap();
        one.share("b", Bytes::from_static(b"2")).await.unwrap();
        assert_eq!(other.shared("a").await.unwrap(), Some(long));
        assert_eq!(other.shared("b").await.unwrap().as_deref(), Some(&b"2"[..]), "the newer one");
        let mut names = other.shared_names().await.unwrap();
        names.sort();
        assert_eq!(names, ["a", "b"]);
        other.unshare("a").await.unwrap();
        other.unshare("never there").await.unwrap();
        assert_eq!((one.shared("a").await.unwrap(), one.shared_names().await.unwrap()), (None, vec!["b".to_owned()]));
        let context = async_nats::jetstream::new(server.nats().await.client().clone());
        let kept = context.get_stream("OBJ_TIDEGATE_MODULES").await.unwrap().cached_info().state.messages;
        assert_eq!(kept, 2, "of the other its one chunk and the note of it, and of what was dropped nothing");
        // Other tools leave a note of what they delete.
        one.share("a", Bytes::from_static(b"3")).await.unwrap();
        context.get_object_store("TIDEGATE_MODULES").await.unwrap().delete("a").await.unwrap();
        assert_eq!(one.shared_names().await.unwrap(), ["b"]);
        one.share("a", Bytes::from_static(b"4")).await.unwrap();
        assert_eq!(other.shared("a").await.unwrap().as_deref(), Some(&b"4"[..]));
        assert_eq!(one.shared_names().await.unwrap().len(), 2);
    }
}
