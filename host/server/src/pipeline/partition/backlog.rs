//! What waits: worked off beside the batches, or let go where nobody works it off.

use super::Tenure;
use crate::pipeline::steps::{self, Overdue, StepDone};
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::backlog;
use tidegate_core::event::Verdict;
use tidegate_core::limits::COMMITS_IN_FLIGHT;
use tidegate_core::owner::TooBig;
use tidegate_core::record::Pass;
use tidegate_filter::ChainState;

impl Tenure {
    pub(super) async fn step(&mut self, done: StepDone) {
        match &done.tried {
            Some((_, Ok(()))) => self.failing.ran(Some(&done.company)),
            Some((chain, Err(reason))) => self.failing.failed(Some(&done.company), chain, reason.clone()),
            None => {}
        }
        if done.inputs.is_empty() {
            self.steps.ended_empty(&done.company, done.again, done.paused.as_ref());
            if let Some(state) = done.state {
                self.states.put(&done.company, state);
            }
            return;
        }
        match self.owner.plan_step(&done.company, &done.inputs, &done.verdicts, done.writes.clone(), &done.pass) {
            Ok(commit) => {
                self.steps.ended(&done.company, commit.name.number, done.paused.as_ref());
                self.spend_step(&done);
                if !done.writes.is_empty() {
                    self.states.planned(&done.company, commit.name.number);
                }
                if let Some(state) = done.state {
                    self.states.put(&done.company, state);
                }
                self.parts.metrics.backlog(&done.company, self.owner.company(&done.company).waiting);
                self.send(commit).await;
            }
            Err(TooBig) => {
                self.states.forget(&done.company);
                self.steps.too_big(&done.company, done.inputs.len());
            }
        }
    }

    pub(super) fn begin_steps(&mut self) {
        if self.sent - self.stored >= COMMITS_IN_FLIGHT as u64 {
            return;
        }
        // Not those that no commit names yet: should this host die, what a step made of them would be followed by older ones.
        let Some(chains) = self.named.clone() else { return };
        for (company, chain, inputs) in steps::next(&mut self.steps, &self.owner, &chains, self.stored) {
            let (parts, done, caps) = (Arc::clone(&self.parts), self.step_done.0.clone(), self.parts.settings.caps());
            let states = self.states.take(&company);
            self.parts.tasks.spawn("backlog step", async move {
                let state = if chain.is_stateful() { states.await } else { Some(ChainState::new()) };
                match state {
                    Some(state) => steps::run(parts, company, chain, inputs, Some(state), caps, done).await,
                    None => {
                        // Its state is in a commit on its way, or the store does not answer.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        drop(done.send(StepDone::nothing(company)).await);
                    }
                }
            });
        }
    }

    /// Looks at a backlog that nobody works off, beside everything else.
    pub(super) fn begin_expiry(&mut self) {
        if !self.look_for_overdue || self.sent - self.stored >= COMMITS_IN_FLIGHT as u64 {
            return;
        }
        self.look_for_overdue = false;
        let chains = self.parts.chains.load();
        let newest_ms = self.parts.hub.checkpoint().map_or(0, |place| place.time_ms);
        if let Some(company) = steps::expire(&mut self.steps, &self.owner, &chains, self.stored, newest_ms) {
            let (parts, caps, done) = (Arc::clone(&self.parts), self.parts.settings.caps(), self.overdue.0.clone());
            self.parts.tasks.spawn("backlog expiry", steps::run_expiry(parts, company, caps, done));
        }
    }

    /// Makes letters of what waited too long.
    pub(super) async fn expire(&mut self, overdue: Overdue) {
        let Overdue { company, inputs, due_ms } = overdue;
        self.look_for_overdue = true;
        let fault = backlog::too_old(self.parts.settings.caps());
        let verdicts: Vec<Verdict> = inputs.iter().map(|_| Verdict::Dead(fault.clone())).collect();
        // Letters are no outputs: they always fit one commit.
        let planned = match inputs.is_empty() {
            true => None,
            false => self.owner.plan_step(&company, &inputs, &verdicts, Vec::new(), &Pass::default()).ok(),
        };
        let Some(commit) = planned else { return self.steps.looked(&company, due_ms) };
        self.steps.expired(&company, commit.name.number);
        self.expiry = Some(commit.name.number);
        self.parts.metrics.backlog(&company, self.owner.company(&company).waiting);
        self.send(commit).await;
    }
}
