//! The specification's manual test, word for word.

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::recorder::Recorder;
use tidegate_tests::stream::Request;

on_each!(curl_sees_what_nats_pub_publishes: jetstream, old_jetstream, core);

/// `curl -N 'http://…/stream/updates?companyId=test-company'`, then
/// `nats pub metrics.calculated '{"companyId":"test-company","metricName":"test","value":1}'`.
async fn curl_sees_what_nats_pub_publishes(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let mut request = Request::target("/stream/updates?companyId=test-company");
    request.headers =
        vec![("User-Agent".to_owned(), "curl/7.88.1".to_owned()), ("Accept".to_owned(), "*/*".to_owned())];
    let stream = Recorder::open(&world.host, &request).await?;
    let event = r#"{"companyId":"test-company","metricName":"test","value":1}"#;
    let client = world.nats()?.client().await?;
    client.publish("metrics.calculated", event.into()).await?;
    client.flush().await?;
    let events = stream.events_reach(1).await?;
    ensure!(events[0].kind() == "metric_updated" && events[0].text() == event, "{:?}", events[0]);
    let id = events[0].id.clone().unwrap_or_default();
    let parts: Vec<&str> = id.split('-').collect();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    ensure!(
        matches!(parts[..], ["metrics.calculated", sequence, ms] if digits(sequence) && digits(ms) && ms.len() == 13),
        "an id like metrics.calculated-12345-1699999999999: {id}"
    );
    Ok(())
}
