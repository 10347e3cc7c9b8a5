//! The way into office: the lease, the head and all it says, and what is owed before anything is read.

use super::{Host, Office, Stage};
use crate::env::Env;
use crate::mutant::Mutant;
use std::collections::VecDeque;
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::idle::IdleWatch;
use tidegate_core::owner::{Owner, OwnerSettings};
use tidegate_core::position::Position;
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
                let stored = head.checkpoint.map_or(0, |place| place.sequence);
                let facts = env.source.facts(stored);
                let begun = head.checkpoint.is_some_and(|place| place.sequence > 0 || place.generation > 1);
                let owes_floor = !begun && env.truth.flushes > 0;
                let (fresh, store, stored) = (head.checkpoint.is_none(), head.store, head.last);
                let settings = OwnerSettings { backlog: self.caps, frame_bytes_max: 1 << 20 };
                let (owner, continuity) = Owner::attach(token, *head, heads, &facts, settings);
                env.note(|| format!("{} takes office at {:?}: {continuity:?}", self.name, owner.checkpoint()));
                let reader = (facts.created_ms, owner.checkpoint().sequence + 1);
                let (flights, queue) = (VecDeque::new(), VecDeque::new());
                let (turns, watch) = (Turns::default(), IdleWatch::default());
                let office =
                    Office { token, store, owner, counts, flights, queue, reader, stored, owes_floor, turns, watch };
                self.stage = Stage::Office(Box::new(office));
                if fresh {
                    self.plan(env, |owner| Some(owner.plan_idle(None)));
                }
            }
            office => self.stage = office,
        }
    }

    /// State was lost with the store: each company is told up to where, once the store knows which stream its first
    /// generation is (a floor from before that would speak of another one if the stream was made again).
    pub(super) fn tell_lost_state(&mut self, env: &mut Env) -> bool {
        let Some(office) = self.office().filter(|office| office.owes_floor) else { return true };
        if !office.flights.is_empty() {
            return false;
        }
        office.owes_floor = false;
        let generation = *office.owner.generation();
        let last = env.source.now().last();
        if generation.number > 1 || generation.created_ms != env.source.now().created_ms || last == 0 {
            return true;
        }
        let time_ms = env.source.now().ever(last).map_or(0, |event| event.time_ms);
        let floor = Floor { position: Position::whole(1, last), time_ms, reason: GapReason::StoreLost, running: None };
        for company in env.companies.clone() {
            env.store.raise_floor(office.token, &company, floor);
        }
        let life = env.source.streams.len() as u32 - 1;
        env.truth.store_lost.insert((life, last));
        true
    }
}
