//! Whether a host's memory and descriptors stay level.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::process::memory;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Fewer say nothing.
const SAMPLES_MIN: usize = 40;
/// By how much the last quarter may lie above the second: what a moment may hold that another didn't.
const MEMORY_SLACK: u64 = 24 << 20;
const DESCRIPTORS_SLACK: u64 = 40;

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Resident memory, in bytes.
    pub(super) memory: u64,
    /// Open descriptors.
    pub(super) descriptors: u64,
}

impl Sample {
    fn of(process: u32) -> Result<Self> {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).context("read descriptors")?.count() as u64;
        Ok(Self { memory: memory(process, "VmRSS:")?, descriptors })
    }
}

/// Looks at a process again and again.
#[derive(Debug)]
pub(super) struct Level {
    samples: Arc<Mutex<Vec<Sample>>>,
    _task: JoinSet<()>,
}

impl Level {
    /// From now on.
    pub(super) fn begin(process: u32) -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        let kept = Arc::clone(&samples);
        task.spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                if let Ok(sample) = Sample::of(process) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
            }
        });
        Self { samples, _task: task }
    }

    /// What was seen.
    pub(super) fn quarters(&self) -> Quarters {
        Quarters::of(&self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The median of each quarter of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quarters {
    /// How many looks there were.
    pub(super) samples: usize,
    /// The medians.
    pub(super) medians: Vec<Sample>,
}

impl Quarters {
    fn of(samples: &[Sample]) -> Self {
        let quarter = samples.len().div_ceil(4).max(1);
        let median = |part: &[Sample], of: fn(&Sample) -> u64| {
            let mut values: Vec<u64> = part.iter().map(of).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        let medians = samples
            .chunks(quarter)
            .map(|part| Sample {
                memory: median(part, |sample| sample.memory),
                descriptors: median(part, |sample| sample.descriptors),
            })
            .collect();
        Self { samples: samples.len(), medians }
    }

    /// What grows: the last quarter against the second, since in the first one caches fill.
    pub(super) fn growth(&self) -> Option<String> {
        if self.samples < SAMPLES_MIN {
            return None;
        }
        let (Some(early), Some(late)) = (self.medians.get(1), self.medians.last()) else { return None };
        let memory = late.memory > early.memory + early.memory / 10 + MEMORY_SLACK;
        let descriptors = late.descriptors > early.descriptors + DESCRIPTORS_SLACK;
        (memory || descriptors).then(|| format!("the second quarter had {early:?}, the last one {late:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(memory: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> u64) -> Option<String> {
        let sample = |n| Sample { memory: memory(n) << 20, descriptors: descriptors(n) };
        Quarters::of(&(0..100).map(sample).collect::<Vec<_>>()).growth()
    }

    #[test]
    fn what_grows_all_the_time_is_told_and_what_settles_is_not() {
        assert_eq!(growing(|n| 100 + n.min(20), |n| 50 + n % 7), None);
        assert!(growing(|n| 100 + n, |_| 50).is_some());
        assert!(growing(|_| 100, |n| 50 + n).is_some());
        assert_eq!(growing(|n| if n % 10 == 0 { 900 } else { 100 }, |_| 50), None, "a peak is no growth");
    }

    #[test]
    fn a_few_looks_say_nothing() {
        let few: Vec<Sample> = (0..8).map(|n| Sample { memory: n << 30, descriptors: n * 100 }).collect();
        assert_eq!(Quarters::of(&few).growth(), None);
    }
}
