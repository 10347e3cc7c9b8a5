//! The way into office: the lease, the head and all it says, and what is owed before anything is read.

use super::{Host, Office, Stage};
use crate::env::Env;
use crate::mutant::Mutant;
use std::collections::VecDeque;
use tidegate_core::idle::IdleWatch;
use tidegate_core::owner::{Owner, OwnerSettings};
use tidegate_core::position::Place;
use tidegate_core::rebuild::Rebuild;
use tidegate_core::turns::Turns;

impl Host {
    /// The next step on the way into office. With `lost`, the answer to the lease request is.
    pub(crate) fn attach(&mut self, env: &mut Env, lost: bool) {
        if !self.up || self.cut_off {
            return;
        }
        match std::mem::replace(&mut self.stage, Stage::Stands) {
            Stage::Stands => {
                let token = env.token();
                let granted = env.store.acquire(&self.name, token, env.now);
                env.note(|| format!("{} asks for the lease under {token:?}: {granted}, lost {lost}", self.name));
                if granted && !lost {
                    self.stage = Stage::Granted(token);
                }
            }
            Stage::Granted(token) => self.stage = Stage::Head(token, Box::new(env.store.head())),
            Stage::Head(token, head) => {
                if env.store.head().last != head.last {
                    // Read in several calls, it must be one moment: what came between may be of a history that is lost.
                    self.stage = Stage::Granted(token);
                    return;
                }
                let (mut heads, mut counts) = (env.store.companies(), env.store.states());
                let mut head = head;
                match env.mutant {
                    Some(Mutant::MemoryKept) => counts.extend(std::mem::take(&mut self.remembered)),
                    Some(Mutant::BacklogForgotten) => heads.iter_mut().for_each(|(_, head)| head.waiting = 0),
                    Some(Mutant::GenerationBack) if head.generations.len() > 1 => drop(head.generations.pop()),
                    _ => {}
                }
                if !self.known.begin(head.last, token) && env.mutant != Some(Mutant::RememberedPastOthers) {
                    self.uncommitted.forget();
                }
                let stored = head.checkpoint.map_or(0, |place| place.sequence);
                let facts = self.facts(env, stored);
                let (fresh, store, stored) = (head.checkpoint.is_none(), head.store, head.last);
                let settings = OwnerSettings { backlog: self.caps, frame_bytes_max: 1 << 20 };
                self.keeper.own(&head.chains, env);
                let (mut owner, continuity) = Owner::attach(token, *head, heads, &facts, settings);
                owner.set_chains(self.keeper.names());
                env.note(|| format!("{} takes office at {:?}: {continuity:?}", self.name, owner.checkpoint()));
                let reader = (facts.created_ms, owner.checkpoint().sequence + 1);
                let (flights, queue) = (VecDeque::new(), VecDeque::new());
                let (turns, watch) = (Turns::default(), IdleWatch::default());
                let rebuild = fresh.then(|| begins(&owner, env));
                // On core NATS a store's life begins once somebody listens.
                let (rebuild, first) = if env.source.wire.is_some() { (None, rebuild) } else { (rebuild, None) };
                let committed = owner.checkpoint().sequence;
                let office = Office {
                    token,
                    store,
                    owner,
                    counts,
                    flights,
                    queue,
                    reader,
                    stored,
                    turns,
                    watch,
                    ear: None,
                    ended: false,
                    begun: false,
                    committed,
                    first,
                };
                self.stage = Stage::Office(Box::new(office));
                if let Some(rebuild) = rebuild {
                    self.plan(env, |owner| Some(owner.plan_first(rebuild, true)));
                }
            }
            office => self.stage = office,
        }
    }
}

/// How a store's life begins: each company is told up to where the state of its filters was lost, since nobody knows
/// whether there was any.
fn begins(owner: &Owner, env: &mut Env) -> Rebuild {
    let stream = env.source.now();
    let sequence = stream.last();
    let time_ms = stream.ever(sequence).map_or(0, |event| event.time_ms);
    let until = Place { generation: owner.generation().number, sequence, time_ms };
    if env.source.wire.is_none() {
        env.truth.store_lost.insert((env.source.streams.len() as u32 - 1, sequence));
    }
    Rebuild { until, began_ms: env.now }
}
