//! A batch on its way: through the platform chain, through the companies' chains, into a commit.

use super::Tenure;
use crate::modules::Chains;
use crate::pipeline::chains::chain_number;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::batch_size::BatchRan;
use tidegate_core::commit::Commit;
use tidegate_core::entry::Entry;
use tidegate_core::event::{Company, Fault, Input, SourceEvent};
use tidegate_core::fanout;
use tidegate_core::owner::{Ran, Routed};
use tidegate_core::record::Pass;
use tokio::time::Instant;

/// How long a platform chain that could not be run is left alone; meanwhile everything else goes on.
const PLATFORM_AGAIN: Duration = Duration::from_millis(200);

/// Events on their way to a commit.
pub(super) struct Batch {
    events: Vec<SourceEvent>,
    /// What the platform chain made of them, once it has run.
    routed: Option<RoutedBatch>,
}

impl Batch {
    /// Has the platform chain run? Then it has its chains, whatever runs now.
    pub(super) fn is_begun(&self) -> bool {
        self.routed.is_some()
    }
}

/// What the platform chain made of a batch, and the chains of that moment: they are the whole batch's.
struct RoutedBatch {
    results: Vec<Routed>,
    chains: Arc<Chains>,
    /// What the platform's filters took for all of it.
    pass: Pass,
}

impl Tenure {
    /// Takes a batch in.
    pub(super) async fn batch(&mut self, events: Vec<SourceEvent>) {
        // A reader that was made anew may hand over again what is already planned.
        let events: Vec<SourceEvent> = events.into_iter().filter(|event| event.sequence > self.received).collect();
        let Some(last) = events.last() else { return };
        (self.received, self.received_at, self.begun) = (last.sequence, Instant::now(), false);
        self.watch.arrived();
        self.failed_readers = 0;
        let events = self.skip_old(events).await;
        if !events.is_empty() {
            self.run_batch(Batch { events, routed: None }).await;
        }
    }

    /// Runs a batch through the chains as they are now (the switch point of a swap) and plans its commit; what does not
    /// fit one stays pending, with the same chains.
    pub(super) async fn run_batch(&mut self, batch: Batch) {
        let began = Instant::now();
        let Batch { mut events, routed } = batch;
        let mut routed = match routed {
            Some(routed) => routed,
            None => match self.route(events).await {
                Ok((given, routed)) => {
                    events = given;
                    routed
                }
                Err(batch) => {
                    self.pending = Some(batch);
                    return;
                }
            },
        };
        // What a platform filter hands to many companies weighs many times its event.
        let fitting = fanout::fitting(&mut routed.results);
        let (later, results) = (events.split_off(fitting), routed.results.split_off(fitting));
        if !later.is_empty() {
            let (chains, pass) = (Arc::clone(&routed.chains), routed.pass.clone());
            self.pending = Some(Batch { events: later, routed: Some(RoutedBatch { results, chains, pass }) });
        }
        self.run_companies_of(&events, routed, began).await;
    }

    /// Runs events through the platform chain of this moment. Without one they come back, to wait.
    async fn route(&mut self, events: Vec<SourceEvent>) -> Result<(Vec<SourceEvent>, RoutedBatch), Batch> {
        let chains = self.parts.chains.load();
        let Some(platform) = chains.platform() else {
            tracing::error!(
                "the platform chain can't load and has no last good version: the partition waits until it can"
            );
            return Err(Batch { events, routed: None });
        };
        self.take_chains();
        let (oversized, events) = self.refuse_oversized(events);
        let events = Arc::new(events);
        let ran = match events.is_empty() {
            true => Ok((Vec::new(), Pass::of(chain_number(&platform)))),
            false => self.runner.platform(&platform, &events).await,
        };
        let mut events: Vec<SourceEvent> = Arc::unwrap_or_clone(events);
        let (mut results, pass) = match ran {
            Ok(ran) => ran,
            Err(reason) => {
                tracing::warn!(reason, "the platform chain could not run; trying again");
                self.failing.failed(None, platform.digest(), reason);
                self.rests_until = Some(Instant::now() + PLATFORM_AGAIN);
                events.extend(oversized);
                events.sort_unstable_by_key(|event| event.sequence);
                return Err(Batch { events, routed: None });
            }
        };
        self.failing.ran(None);
        self.spend_platform(platform.digest(), &results);
        merge_oversized(&mut events, &mut results, oversized, self.parts.settings.event_bytes_max);
        Ok((events, RoutedBatch { results, chains, pass }))
    }

    /// Runs what fits one commit through the companies' chains, and plans that commit.
    async fn run_companies_of(&mut self, events: &[SourceEvent], routed: RoutedBatch, began: Instant) {
        let ran = self.run_companies(&routed.chains, &routed.results).await;
        let took = began.elapsed();
        self.spend_companies(&routed.chains, &ran);
        let kept: Vec<Company> = ran.iter().filter(|(_, ran)| wrote(ran)).map(|(company, _)| company.clone()).collect();
        let done: HashSet<Company> =
            ran.iter().filter(|(_, ran)| matches!(ran, Ran::Done { .. })).map(|(company, _)| company.clone()).collect();
        let commit = self.owner.plan_batch(events, routed.results, &routed.pass, ran);
        self.size.ran(ran_so(&commit, events.len(), took, &done));
        for part in commit.parts.iter().filter(|part| !part.backlog_add.is_empty()) {
            self.parts.metrics.backlog(&part.company, self.owner.company(&part.company).waiting);
        }
        for company in kept {
            // A part that ran but had to wait after all left its writes in memory.
            let waits = commit.parts.iter().any(|part| part.company == company && !part.backlog_add.is_empty());
            if waits {
                self.states.forget(&company);
            } else {
                self.states.planned(&company, commit.name.number);
            }
        }
        self.send(commit).await;
    }

    async fn run_companies(&mut self, chains: &Arc<Chains>, routed: &[Routed]) -> HashMap<Company, Ran> {
        let mut parts: HashMap<Company, Vec<Input>> = HashMap::new();
        for routed in routed {
            if let Routed::Inputs(inputs) = routed {
                for input in inputs.iter().filter(|input| !self.waits(chains, &input.company)) {
                    parts.entry(input.company.clone()).or_default().push(input.clone());
                }
            }
        }
        self.runner.companies(chains, &mut self.states, &mut self.failing, parts).await
    }

    /// Must a company's inputs wait: behind others, or for another chain than the one that paused it?
    fn waits(&self, chains: &Chains, company: &Company) -> bool {
        let paused = || chains.digest(company).is_some_and(|digest| self.steps.is_paused(company, &digest));
        self.owner.waits(company) || paused()
    }

    fn refuse_oversized(&self, events: Vec<SourceEvent>) -> (Vec<SourceEvent>, Vec<SourceEvent>) {
        let most = self.parts.settings.event_bytes_max;
        events.into_iter().partition(|event| event.payload.len() > most)
    }

    /// While an empty store is filled, what is older than the rebuild's window is passed over.
    async fn skip_old(&mut self, mut events: Vec<SourceEvent>) -> Vec<SourceEvent> {
        let too_old = self.filling.as_mut().map_or(0, |filling| filling.too_old(&events));
        let kept = events.split_off(too_old);
        if let Some(last) = events.last() {
            let commit = self.owner.plan_skip(last.sequence, last.time_ms);
            self.send(commit).await;
        }
        kept
    }
}

/// `done`: the companies whose chains are through. What others have waits for reasons of their own.
fn ran_so(commit: &Commit, events: usize, took: Duration, done: &HashSet<Company>) -> BatchRan {
    let outputs = || commit.parts.iter().flat_map(|part| &part.outputs);
    BatchRan {
        events,
        outputs: outputs().count(),
        bytes: outputs().map(Entry::weight).sum(),
        left: commit.parts.iter().any(|part| !part.backlog_add.is_empty() && done.contains(&part.company)),
        millis: took.as_millis() as u64,
    }
}

fn wrote(ran: &Ran) -> bool {
    matches!(ran, Ran::Done { writes, .. } if !writes.is_empty())
}

/// Puts events that are too large for any filter back in their order, as dead letters.
fn merge_oversized(events: &mut Vec<SourceEvent>, routed: &mut Vec<Routed>, oversized: Vec<SourceEvent>, most: usize) {
    for event in oversized {
        let at = events.partition_point(|other| other.sequence < event.sequence);
        let reason =
            format!("its payload has {} bytes; at most {most} are taken (limits.event-bytes)", event.payload.len());
        routed.insert(
            at,
            Routed::Dead(Fault { kind: "too large", reason: reason.into(), module: None, backtrace: None }),
        );
        events.insert(at, event);
    }
}
