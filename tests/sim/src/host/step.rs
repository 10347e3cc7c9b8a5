//! Working a backlog off, one step of one company at a time.

use super::{Host, run, writes};
use crate::env::Env;
use crate::filters;
use crate::mutant::Mutant;
use std::sync::Arc;
use tidegate_core::backlog;
use tidegate_core::commit::Waiting;
use tidegate_core::event::{Company, Verdict};
use tidegate_core::limits::COMMITS_IN_FLIGHT;
use tidegate_core::record::Pass;

impl Host {
    /// One step of the backlog whose turn it is, of at most so many inputs; `pick` puts the companies in another order.
    pub(crate) fn step(&mut self, env: &mut Env, pick: usize, inputs: usize) {
        if self.cut_off {
            return;
        }
        let pass = self.take_chains(env.mutant);
        let Some(office) = self.office() else { return };
        if office.flights.len() >= COMMITS_IN_FLIGHT {
            return;
        }
        let mut waiting: Vec<Company> = office.owner.waiting().map(|(company, _)| company.clone()).collect();
        waiting.sort();
        let first = pick % waiting.len().max(1);
        waiting.rotate_left(first);
        let chain = |company: &Company| (!env.paused.contains(company)).then(|| Arc::from("1"));
        let stored = if env.mutant == Some(Mutant::StepNotAwaited) { u64::MAX } else { office.stored.number };
        let Some((company, most)) = office.turns.next(waiting, chain, stored, 1).pop() else { return };
        self.step_of(env, &company, most.min(inputs), &pass);
    }

    fn step_of(&mut self, env: &mut Env, company: &Company, inputs: usize, pass: &Pass) {
        let caps = self.caps;
        let Some(office) = self.office() else { return };
        let known = office.owner.company(company).waiting;
        let Some(taken) = take(env, company, inputs, known) else {
            // What is planned to wait is not stored yet.
            office.turns.ended_empty(company, None, None);
            return;
        };
        let before = office.counts.get(company).copied().unwrap_or(0);
        let newest = office.owner.checkpoint().time_ms;
        let mut count = before;
        let verdict = |waiting: &Waiting| {
            if backlog::overdue(waiting, newest, caps) { filters::overdue() } else { run(&waiting.input, &mut count) }
        };
        let verdicts: Vec<Verdict> = taken.iter().map(verdict).collect();
        match office.owner.plan_step(company, &taken, &verdicts, writes(before, count), pass) {
            Ok(commit) => {
                office.turns.ended(company, commit.name.number, None);
                self.plan(env, |_| Some(commit));
            }
            Err(_) => office.turns.too_big(company, taken.len()),
        }
    }
}

/// The oldest waiting inputs, whole events.
fn take(env: &Env, company: &Company, inputs: usize, known: u64) -> Option<Vec<Waiting>> {
    let mut read = inputs + 1;
    loop {
        let mut page = env.store.waiting(company, read);
        if page.is_empty() {
            return None;
        }
        if env.mutant == Some(Mutant::StepCutsEvent) {
            page.truncate(inputs);
            return Some(page);
        }
        match backlog::whole_step(&page, inputs, page.len() as u64 == known) {
            Some(length) => {
                page.truncate(length);
                return Some(page);
            }
            None if page.len() < read => return None,
            None => read *= 2,
        }
    }
}
