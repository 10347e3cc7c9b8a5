//! An idle partition, and trimming by age.

use super::Host;
use crate::env::Env;
use crate::filters;
use crate::mutant::Mutant;
use std::collections::HashMap;
use tidegate_core::event::Company;
use tidegate_core::generation::Continuity;
use tidegate_core::idle::{Asked, Idle};
use tidegate_core::owner::Routed;
use tidegate_core::record::Pass;
use tidegate_core::retention;

/// How long the replay cache keeps events, in ms.
pub(crate) const RETENTION_MS: u64 = 300_000;

impl Host {
    /// Tells news, and moves the checkpoint over what is not for us, while nothing waits to be planned or stored.
    pub(crate) fn rest(&mut self, env: &mut Env) {
        let Some(office) = self.office() else { return };
        if !office.queue.is_empty() || !office.flights.is_empty() || office.first.is_some() {
            return;
        }
        self.take_chains(env.mutant);
        let Some(office) = self.office() else { return };
        let stream = env.source.now();
        if office.owner.has_news() {
            return self.plan(env, |owner| Some(owner.plan_idle(None)));
        }
        if env.source.wire.is_some() {
            return;
        }
        let received = office.reader.1 - 1;
        let last = stream.ever(stream.last()).map_or((0, 0), |event| (event.sequence, event.time_ms));
        let mut next = stream.next_for_us(received).map(|event| event.sequence);
        if env.mutant == Some(Mutant::IdleByLastSequence) {
            next = None;
        }
        let checkpoint = office.owner.checkpoint().sequence;
        let mut continuity = office.owner.continuity(&env.source.facts(checkpoint));
        if env.mutant == Some(Mutant::IdleNotCompared) {
            continuity = Continuity::Same;
        }
        match office.watch.look(received, checkpoint, Asked { last, next, continuity }) {
            // The reader's own next turn finds what it has to be told.
            Idle::Wait | Idle::ReadAgain => {}
            Idle::Pass(sequence, time_ms) => {
                env.source.was_read(sequence);
                office.reader.1 = sequence + 1;
                self.plan(env, |owner| Some(owner.plan_idle(Some((sequence, time_ms)))));
            }
            Idle::GiveUp(sequence) => {
                if let Some(event) = stream.held(sequence).cloned() {
                    env.source.was_read(sequence);
                    office.reader.1 = sequence + 1;
                    let dead = vec![Routed::Dead(filters::unreadable())];
                    self.plan(env, |owner| Some(owner.plan_batch(&[event], dead, &Pass::default(), HashMap::new())));
                }
            }
        }
    }

    /// Trims a company by age, as this host's clock has it.
    pub(crate) fn sweep(&mut self, env: &mut Env, company: &Company) {
        let Some(token) = self.token().filter(|_| !self.cut_off) else { return };
        let now_ms = env.now.saturating_add_signed(self.clock);
        let since = match retention::keep_since(now_ms, env.now, RETENTION_MS) {
            Ok(since_ms) => since_ms,
            Err(_) if env.mutant == Some(Mutant::TrimWhileClocksDiffer) => now_ms.saturating_sub(RETENTION_MS),
            Err(_) => return,
        };
        let removed = env.store.trim_age(token, company, since, env.mutant);
        if let Some(newest) = removed {
            env.note(|| format!("{} trims {company}: everything up to the time {newest}", self.name));
            // The clocks may be a minute apart.
            if newest + RETENTION_MS > env.now + 60_000 {
                env.broken(format!("an entry of {company} from {newest} was trimmed at {}: before its time", env.now));
            }
        }
    }
}
