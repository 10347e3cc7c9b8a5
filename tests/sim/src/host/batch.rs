//! Reading, and the batch: platform chain, the companies' chains, one commit.

use super::{Host, Item, run, writes};
use crate::env::Env;
use crate::filters;
use crate::mutant::Mutant;
use crate::source::odd;
use std::collections::{BTreeMap, HashMap};
use tidegate_core::event::{Company, Input};
use tidegate_core::limits::COMMITS_IN_FLIGHT;
use tidegate_core::owner::{Ran, Routed};
use tidegate_core::record::Pass;

impl Host {
    /// The reader takes the next event of the stream, or finds that it has to be made anew.
    pub(crate) fn read(&mut self, env: &mut Env) {
        let Some(office) = self.office() else { return };
        if office.queue.len() >= 16 {
            return;
        }
        if env.source.wire.is_some() {
            return self.listen(env);
        }
        let stream = env.source.now();
        let (created, next) = office.reader;
        if stream.created_ms != created || (next < stream.first && next <= stream.last()) {
            // The client library goes on where it was, or at the first there is, and says that it did.
            office.reader = (stream.created_ms, next.max(stream.first));
            office.queue.push_back(Item::Attached(0));
            return;
        }
        let Some(event) = stream.next_for_us(next - 1).filter(|event| !odd(event)).cloned() else { return };
        env.source.was_read(event.sequence);
        office.reader.1 = event.sequence + 1;
        office.watch.arrived();
        office.queue.push_back(Item::Event(event));
    }

    /// Plans the next batch; `slow` says who is not through in time, one bit for each company.
    pub(crate) fn batch(&mut self, env: &mut Env, most: usize, slow: u32) {
        let pass = self.take_chains(env.mutant);
        let Some(office) = self.office() else { return };
        if office.flights.len() >= COMMITS_IN_FLIGHT {
            return;
        }
        let mut events = Vec::new();
        while let Some(Item::Event(event)) = office.queue.front().filter(|_| events.len() < most) {
            events.push(event.clone());
            office.queue.pop_front();
        }
        if events.is_empty() {
            if env.source.wire.is_some() {
                return self.hear_of_loss(env);
            }
            if let Some(Item::Attached(_)) = office.queue.front() {
                office.queue.pop_front();
                if env.mutant != Some(Mutant::StreamNotCompared) {
                    let facts = env.source.facts(office.owner.checkpoint().sequence);
                    let continuity = office.owner.compare(&facts);
                    office.queue.clear();
                    office.reader = (facts.created_ms, office.owner.checkpoint().sequence + 1);
                    env.note(|| format!("reader made anew: {continuity:?}"));
                }
            }
            return;
        }
        office.begun = false;
        let routed: Vec<Routed> = events.iter().map(|event| filters::route(event, &env.companies)).collect();
        let mut inputs: BTreeMap<Company, Vec<&Input>> = BTreeMap::new();
        for input in
            routed.iter().flat_map(|routed| if let Routed::Inputs(inputs) = routed { &inputs[..] } else { &[] })
        {
            inputs.entry(input.company.clone()).or_default().push(input);
        }
        let mut ran = HashMap::new();
        for (company, inputs) in inputs {
            let bit = env.companies.iter().position(|c| *c == company).unwrap_or(0);
            if office.owner.waits(&company) {
                continue;
            }
            let mut count = office.counts.get(&company).copied().unwrap_or(0);
            let before = count;
            let verdicts = inputs.iter().map(|input| run(input, &mut count)).collect();
            if slow & (1 << bit) == 0 && !env.paused.contains(&company) {
                ran.insert(company, Ran::Done { verdicts, writes: writes(before, count), pass: pass.clone() });
            } else {
                if env.mutant == Some(Mutant::StateKept) {
                    office.counts.insert(company.clone(), count);
                }
                ran.insert(company, Ran::Left);
            }
        }
        self.plan(env, |owner| Some(owner.plan_batch(&events, routed, &Pass::of(2), ran)));
    }
}
