//! What chains fail at: one that is new and fails too often is rolled back, and a company of whose events nothing gets
//! through is paused.

use super::Tenure;
use crate::modules::Chains;
use crate::modules::folder::PLATFORM;
use crate::modules::keeper::{What, Wish};
use crate::pipeline::steps::StepDone;
use std::collections::HashMap;
use std::sync::Arc;
use tidegate_core::budget::Tally;
use tidegate_core::event::{Company, Fault, Verdict};
use tidegate_core::owner::{Ran, Routed};

impl Tenure {
    /// The platform chain was run on these.
    pub(super) fn spend_platform(&mut self, chain: &Arc<str>, routed: &[Routed]) {
        let faults = routed.iter().filter_map(|routed| match routed {
            Routed::Dead(fault) => Some(Fault::clone(fault)),
            Routed::Inputs(_) | Routed::Dropped { .. } => None,
        });
        let faults: Vec<Fault> = faults.collect();
        self.count_failed(PLATFORM, faults.iter());
        self.spend(PLATFORM, None, chain, Tally::of(routed.len(), faults.iter()));
    }

    /// Companies' chains were run.
    pub(super) fn spend_companies(&mut self, chains: &Chains, ran: &HashMap<Company, Ran>) {
        for (company, ran) in ran {
            if let (Ran::Done { verdicts, .. }, Some(chain)) = (ran, chains.digest(company)) {
                self.count_failed(chains.folder(company), faults(verdicts));
                let tally = Tally::of(verdicts.len(), faults(verdicts));
                self.spend(chains.folder(company), Some(company), &chain, tally);
            }
        }
    }

    /// A step was run.
    pub(super) fn spend_step(&mut self, done: &StepDone) {
        if let (Some((chain, Ok(()))), Some(chains)) = (&done.tried, self.named.clone()) {
            self.count_failed(chains.folder(&done.company), faults(&done.verdicts));
            let tally = Tally::of(done.verdicts.len(), faults(&done.verdicts));
            self.spend(chains.folder(&done.company), Some(&done.company), chain, tally);
        }
    }

    fn count_failed<'a>(&self, folder: &str, faults: impl Iterator<Item = &'a Fault>) {
        for module in faults.filter_map(|fault| fault.module.as_ref()) {
            self.parts.metrics.figures().failed(folder, module);
        }
    }

    fn spend(&mut self, folder: &str, company: Option<&Company>, chain: &Arc<str>, tally: Tally) {
        let now_ms = self.parts.clock.now_ms();
        let spent = self.budgets.ran(folder, company, chain, tally, now_ms);
        if let Some(tally) = spent.chain {
            self.roll_back(folder, chain, tally);
        }
        if let (Some(tally), Some(company)) = (spent.company, company) {
            let Tally { events, broken, .. } = tally;
            tracing::warn!(companyId = %company, %chain, events, broken, "company paused: its filters fail at nearly all of its events, which wait until its chain changes");
            self.steps.pause(company, chain);
        }
    }

    /// Lets what ran before run again, where the chain is new.
    fn roll_back(&self, folder: &str, chain: &Arc<str>, tally: Tally) {
        let Tally { events, failed, broken } = tally;
        let message = format!("failed at {failed} of {events} events ({broken} of them in a trap or at a limit)");
        let (parts, folder, digest) = (Arc::clone(&self.parts), folder.to_owned(), chain.to_string());
        self.parts.tasks.spawn("error budget", async move {
            let by = String::new();
            let what = What::Spent(digest.clone());
            let wish = Wish { folder: folder.clone(), what, by, message: message.clone() };
            match parts.modules.deploy(wish).await {
                Ok(done) => {
                    parts.metrics.module_swap("rolled-back");
                    tracing::error!(folder, chain = digest, message, release = done.release, "error budget spent: what ran before runs again; what failed is in the dead letters");
                }
                Err(reason) => {
                    tracing::warn!(folder, chain = digest, message, %reason, "error budget spent, and nothing to go back to");
                }
            }
        });
    }
}

fn faults(verdicts: &[Verdict]) -> impl Iterator<Item = &Fault> {
    verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Dead(fault) => Some(fault),
        Verdict::Emitted(_) | Verdict::Dropped { .. } => None,
    })
}
