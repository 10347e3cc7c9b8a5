//! A filter's time natively: the other side of what `tidegate bench` tells, which builds and runs this.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::filter::Filter;

use super::case::CaseEvent;
use super::recorder::{Flat, Recorder, TestEvent};

/// Samples kept of one size of batches.
const SAMPLES_MAX: usize = 1_000_000;

/// What is to be measured, as one JSON object on standard input.
#[derive(Deserialize)]
struct Order {
    config: Box<RawValue>,
    events: Vec<CaseEvent>,
    /// Events in a batch; each size is measured by itself.
    sizes: Vec<usize>,
    /// How long each.
    millis: u64,
}

/// Times this filter as standard input says, and prints nanoseconds for an event, by size of batch, as JSON.
///
/// # Errors
/// What is wrong with the input, or the text with which the filter refuses its configuration.
pub fn bench<F: Filter>() -> Result<(), String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
    let told = measured::<F>(&text)?;
    writeln!(std::io::stdout(), "{told}").map_err(|error| error.to_string())
}

fn measured<F: Filter>(order: &str) -> Result<serde_json::Value, String> {
    let order: Order = serde_json::from_str(order).map_err(|error| error.to_string())?;
    let events = order.events.into_iter().map(CaseEvent::into_event).collect::<Result<Vec<_>, _>>()?;
    let mut sizes = Vec::new();
    for size in order.sizes {
        let mut recorder = Recorder::<F>::with_config(order.config.get())?;
        let batches = batches(&events, size);
        let until = Instant::now() + Duration::from_millis(order.millis);
        let mut samples = Vec::new();
        for (round, batch) in batches.iter().cycle().enumerate() {
            if round >= batches.len() && (Instant::now() >= until || samples.len() >= SAMPLES_MAX) {
                break;
            }
            samples.push(recorder.time(batch).as_nanos() as f64 / size.max(1) as f64);
        }
        samples.sort_by(f64::total_cmp);
        let at = |percent: usize| samples.get(samples.len() * percent / 100).copied().unwrap_or(0.0);
        let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
        sizes.push(json!({"size": size, "meanNs": mean, "p50Ns": at(50), "p99Ns": at(99)}));
    }
    Ok(json!(sizes))
}

fn batches(events: &[TestEvent], size: usize) -> Vec<Flat> {
    let starts = (0..events.len()).step_by(size.max(1));
    starts.map(|first| Flat::of(&events.iter().cycle().skip(first).take(size).cloned().collect::<Vec<_>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Description, Event, NoConfig, State, Verdict};

    struct Passing;

    impl Filter for Passing {
        type Config = NoConfig;

        fn describe() -> Description {
            Description { name: "passing", version: "1", reads: &[], emits: &[], state_version: 1, config_schema: "" }
        }

        fn process(event: &Event<'_>, _: &NoConfig, _: &mut State) -> Verdict {
            Verdict::pass(event)
        }
    }

    #[test]
    fn every_size_is_measured() {
        let order = r#"{"config":{},"events":[{"subject":"a","payload":1}],"sizes":[1,64],"millis":1}"#;
        let told = measured::<Passing>(order).expect("measured");
        assert_eq!((told[0]["size"].as_u64(), told[1]["size"].as_u64()), (Some(1), Some(64)));
        assert!(told[1]["meanNs"].as_f64().is_some_and(|mean| mean > 0.0), "{told}");
        assert!(measured::<Passing>(r#"{"config":{}}"#).is_err());
    }
}
