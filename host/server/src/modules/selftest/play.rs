//! Events run through a filter by the host's own worker, in batches of these sizes, on these instances.

use super::case::Event;
use super::outcome::Outcome;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_filter::{
    Budget, Chain, ChainState, Engine, Filter, InstancePool, OnError, PoolSettings, Role, StateWrite, Worker,
};

/// Random ways in which a run is split into batches, besides the plain ones.
const RANDOM_SPLITS: usize = 3;
/// The largest batch of a random split: most of them are small when few events pass.
const BATCH_MAX: usize = 16;

/// A filter to be played with, under the configurations of the cases.
pub(super) struct Player<'a> {
    engine: &'a Engine,
    filter: &'a Arc<Filter>,
    role: Role,
    chains: BTreeMap<Option<String>, Result<Arc<Chain>, String>>,
}

/// What a filter remembers, by key.
pub(super) type State = [(Box<str>, Bytes)];

/// How a run is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instances {
    /// Each batch on one of its own.
    Fresh,
    /// All batches on one, unless it fails.
    Kept,
}

impl<'a> Player<'a> {
    pub(super) fn new(engine: &'a Engine, filter: &'a Arc<Filter>, role: Role) -> Self {
        Self { engine, filter, role, chains: BTreeMap::new() }
    }

    /// The chain of this filter alone. A failure is always told: what the deployer chose to do about it is no matter of
    /// the filter's.
    pub(super) fn chain(&mut self, config: Option<&str>) -> Result<Arc<Chain>, String> {
        let key = config.map(str::to_owned);
        if let Some(known) = self.chains.get(&key) {
            return known.clone();
        }
        let made = self.make(config);
        self.chains.insert(key, made.clone());
        made
    }

    fn make(&self, config: Option<&str>) -> Result<Arc<Chain>, String> {
        let filter = self.filter;
        let filter = if config.is_none() && filter.on_error() == OnError::DeadLetter {
            Arc::clone(filter)
        } else {
            let config = config.unwrap_or_else(|| filter.config_json());
            let code = Arc::clone(filter.code());
            Filter::new(self.engine, filter.name(), code, config, *filter.limits(), OnError::DeadLetter)
                .map(Arc::new)
                .map_err(|error| error.to_string())?
        };
        Chain::new(vec![filter], self.role).map(Arc::new).map_err(|error| error.to_string())
    }

    /// Runs events of one company, from this state on, which is handed from batch to batch. One outcome for each.
    pub(super) fn play(
        &self,
        chain: &Chain,
        events: &[&Event],
        state: &State,
        batches: &[usize],
        instances: Instances,
    ) -> Result<Vec<Outcome>, String> {
        let worker = || Worker::new(self.engine.clone(), InstancePool::new(PoolSettings::default()));
        let mut outcomes = Vec::with_capacity(events.len());
        let mut remembered = ChainState::new();
        for (key, value) in state {
            for filter in chain.filters() {
                let (filter, key, value) = (filter.state_name().clone(), key.clone(), Some(value.clone()));
                remembered.apply(StateWrite { filter, key, value });
            }
        }
        let mut kept = worker();
        let mut rest = events;
        for &size in batches {
            let Some((batch, after)) = rest.split_at_checked(size) else { break };
            rest = after;
            let Some(first) = batch.first() else { continue };
            if instances == Instances::Fresh {
                kept = worker();
            }
            match self.role {
                Role::Platform => {
                    let sources: Vec<_> = batch.iter().map(|event| event.source.clone()).collect();
                    let run = kept.run_platform(chain, &sources).map_err(|error| error.to_string())?;
                    outcomes.extend(run.verdicts.into_iter().map(Outcome::of_platform));
                }
                Role::Company => {
                    let inputs: Vec<_> = batch.iter().map(|event| event.input()).collect();
                    let run = kept
                        .run_company(chain, &first.company, &inputs, &mut remembered, Budget::default())
                        .map_err(|error| error.to_string())?;
                    outcomes.extend(run.verdicts.into_iter().map(Outcome::of_company));
                }
            }
        }
        if outcomes.len() == events.len() {
            Ok(outcomes)
        } else {
            Err(format!("{} of {} events have a verdict", outcomes.len(), events.len()))
        }
    }
}

/// Ways to split so many events into batches, with how to call them. The same seed gives the same ways.
pub(super) fn splits(events: usize, seed: u64) -> Vec<(Vec<usize>, String)> {
    let mut ways = vec![
        (vec![1; events], "one at a time on one instance".to_owned()),
        (vec![events], format!("in one batch of {events}")),
    ];
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..RANDOM_SPLITS {
        let mut sizes = Vec::new();
        let mut left = events;
        while left > 0 {
            let size = random.random_range(1..=left.min(BATCH_MAX));
            sizes.push(size);
            left -= size;
        }
        let told: Vec<String> = sizes.iter().take(12).map(usize::to_string).collect();
        let more = if sizes.len() > told.len() { ", …" } else { "" };
        ways.push((sizes, format!("in batches of {}{more} on one instance", told.join(", "))));
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_holds_every_event_once_and_comes_again_with_its_seed() {
        for events in [1, 2, 40, 300] {
            let ways = splits(events, 7);
            assert!(ways.iter().all(|(sizes, _)| sizes.iter().sum::<usize>() == events && !sizes.contains(&0)));
            assert_eq!(ways, splits(events, 7));
        }
        assert_ne!(splits(40, 1), splits(40, 2));
    }
}
