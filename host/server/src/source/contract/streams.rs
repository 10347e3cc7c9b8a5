//! Choosing the stream on real servers.

use super::*;
use crate::source::chosen::Chosen;
use crate::source::nats::NatsOptions;
use async_nats::jetstream::stream;

async fn make(nats: &Nats, name: &str, subjects: &[&str]) {
    let context = async_nats::jetstream::new(nats.client().clone());
    let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    context.create_stream(stream::Config { name: name.into(), subjects, ..stream::Config::default() }).await.unwrap();
}

#[tokio::test]
async fn capture_makes_a_stream_keeps_it_for_the_retention_and_can_grow() {
    for version in Version::ALL {
        let server = NatsServer::start(version, true).await;
        let nats = server.nats().await;
        assert_eq!(choose(&nats, &Wanted { capture: false, ..wanted() }).await.unwrap(), None);
        let source = captured(&nats).await;
        let description = source.describe().await.unwrap();
        assert_eq!((description.name.as_str(), description.max_age), ("TIDEGATE", Some(Duration::from_secs(3600))));
        let more = Wanted {
            subjects: ["metrics.>", "journey.*", "new.*"].map(String::from).to_vec(),
            retention: Duration::from_secs(60),
            ..wanted()
        };
        assert_eq!(choose(&nats, &more).await.unwrap().as_deref(), Some("TIDEGATE"));
        let mut grown = source.describe().await.unwrap().subjects;
        grown.sort();
        assert_eq!(grown, ["journey.*", "metrics.>", "new.*", "q2q.*"]);
        let longer = Wanted { retention: Duration::from_secs(7200), ..more };
        choose(&nats, &longer).await.unwrap();
        assert_eq!(source.describe().await.unwrap().max_age, Some(Duration::from_secs(7200)));
    }
}

#[tokio::test]
async fn subjects_over_several_streams_are_gathered_into_one_order() {
    for version in Version::ALL {
        let server = NatsServer::start(version, true).await;
        let nats = server.nats().await;
        make(&nats, "METRICS", &["metrics.*", "q2q.*", "unwanted.*"]).await;
        make(&nats, "JOURNEY", &["journey.*"]).await;
        let refused = choose(&nats, &Wanted { capture: false, ..wanted() }).await.unwrap_err();
        assert!(refused.to_string().contains("nats.capture = true"), "{refused}");
        let source = captured(&nats).await;
        captured(&nats).await;
        assert_eq!(source.stream(), "TIDEGATE");
        let published = source
            .publish(&[message("metrics.a", 0), message("q2q.x", 1), message("unwanted.z", 2), message("journey.a", 3)])
            .await
            .unwrap();
        assert_eq!(
            (published.accepted, published.first),
            (4, None),
            "another stream's numbers would name other events"
        );
        let mut reading = Reading::start(&source, 0);
        let events = reading.events(3).await;
        assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
        let mut subjects: Vec<&str> = events.iter().map(|event| &*event.subject).collect();
        subjects.sort_unstable();
        assert_eq!(subjects, ["journey.a", "metrics.a", "q2q.x"]);
    }
}

#[tokio::test]
async fn a_stream_that_is_no_log_is_refused() {
    let server = NatsServer::start(Version::New, true).await;
    let nats = server.nats().await;
    let context = async_nats::jetstream::new(nats.client().clone());
    let subjects = wanted().subjects;
    let retention = stream::RetentionPolicy::WorkQueue;
    context
        .create_stream(stream::Config { name: "WORK".into(), subjects, retention, ..stream::Config::default() })
        .await
        .unwrap();
    let refused = choose(&nats, &wanted()).await.unwrap_err();
    assert!(matches!(&refused, SourceError::Refused(story) if story.contains("workqueue")), "{refused}");
}

#[tokio::test]
async fn without_jetstream_capture_is_refused_and_core_remains() {
    for version in Version::ALL {
        let server = NatsServer::start(version, false).await;
        let nats = server.nats().await;
        assert_eq!(choose(&nats, &Wanted { capture: false, ..wanted() }).await.unwrap(), None);
        assert!(matches!(choose(&nats, &wanted()).await, Err(SourceError::Refused(_))));
    }
}

#[tokio::test]
async fn a_host_that_starts_before_nats_reads_once_it_is_there() {
    let mut server = NatsServer::start(Version::New, true).await;
    server.stop();
    let options =
        NatsOptions { url: format!("127.0.0.1:{}", server.port()), name: "early".into(), ..NatsOptions::default() };
    let nats = Nats::connect(&options).await.unwrap();
    let source = Arc::new(Chosen::new(nats.clone(), wanted(), Clock::system(), None));
    assert!(!source.connected());
    assert_eq!(source.kind(), "nats");
    let early = Reading::start(&source, 0);
    server.run().await;
    nats.wait_connected(PATIENCE).await.unwrap();
    drop(early);
    until("the choice", async || source.choose().await.is_ok()).await;
    assert_eq!((source.kind(), source.describe().await.unwrap().unwrap().name.as_str()), ("jetstream", "TIDEGATE"));
    let mut reading = Reading::start(&source, 0);
    source.publish(&[message("q2q.x", 0)]).await.unwrap();
    assert_eq!(reading.events(1).await[0].sequence, 1);
}
