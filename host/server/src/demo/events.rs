//! Sample events: metrics that wander, scores, and people who pass journey stages.

use super::COMPANIES;
use crate::clock::Clock;
use crate::source::{Publish, Source};
use rand::Rng as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two rounds of events.
const ROUND: Duration = Duration::from_millis(250);
const METRICS: [&str; 3] = ["integration_score", "engagement", "retention"];
const FLAGS: [&str; 4] = ["onboarded", "first-match", "mentor-met", "goal-reached"];

pub(super) async fn publish(source: Arc<dyn Source>, clock: Clock, stop: CancellationToken) {
    let mut values = [[0.5f64; METRICS.len()]; COMPANIES.len()];
    let mut round = 0u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
        round += 1;
        let messages = events(&mut values, round, clock.now_ms());
        if let Err((_, error)) = source.publish(&messages).await {
            tracing::warn!(error = %error, "a sample event could not be published");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn events(values: &mut [[f64; METRICS.len()]; COMPANIES.len()], round: u64, now_ms: u64) -> Vec<Publish> {
    let mut random = rand::rng();
    let mut messages = Vec::new();
    for (company, values) in COMPANIES.iter().zip(values) {
        let metric = random.random_range(0..METRICS.len());
        values[metric] = (values[metric] + random.random_range(-0.12..0.12)).clamp(0.0, 1.0);
        let value = (values[metric] * 1000.0).round() / 1000.0;
        messages.push(message(
            "metrics.calculated",
            &json!({ "companyId": company, "metricName": METRICS[metric], "value": value, "at": now_ms }),
        ));
        if round.is_multiple_of(8) {
            let score = (values.iter().sum::<f64>() * 1000.0).round() / 1000.0;
            messages
                .push(message("metrics.sroi", &json!({ "companyId": company, "metricName": "sroi", "value": score })));
        }
        if random.random_bool(0.10) {
            let flag = FLAGS[random.random_range(0..FLAGS.len())];
            let user = format!("user-{}", random.random_range(1..40));
            let active = random.random_bool(0.8);
            messages.push(message(
                "journey.flags",
                &json!({ "companyId": company, "flag": flag, "active": active, "userId": user }),
            ));
        }
        if random.random_bool(0.05) {
            let score = random.random_range(40..100);
            messages.push(message("q2q.vis", &json!({ "companyId": company, "metricName": "vis", "value": score })));
        }
    }
    messages
}

fn message(subject: &str, payload: &Value) -> Publish {
    Publish { subject: subject.to_owned(), payload: payload.to_string().into(), headers: bytes::Bytes::new(), id: None }
}
