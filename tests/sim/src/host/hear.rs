//! Core NATS as the source: numbers for what is heard, and losses where nobody listened or messages were dropped.

use super::{Host, Item};
use crate::env::Env;
use crate::mutant::Mutant;
use crate::wire::{self, Ear, Heard, Wire};
use tidegate_core::generation::StreamFacts;
use tidegate_core::numbering::Numbering;
use tidegate_core::position::Place;
use tidegate_core::rebuild::Rebuild;

impl Host {
    /// What the source says of its stream.
    pub(crate) fn facts(&self, env: &Env, checkpoint: u64) -> StreamFacts {
        if env.source.wire.is_none() {
            return env.source.facts(checkpoint);
        }
        StreamFacts {
            created_ms: wire::CREATED_MS,
            first_sequence: 1,
            first_ms: None,
            last_sequence: self.numbering.number().max(checkpoint),
            checkpoint_ms: None,
        }
    }

    /// Subscribes, or numbers what comes next.
    pub(super) fn listen(&mut self, env: &mut Env) {
        let (now_ms, unplugged) = (self.now_ms(env), self.unplugged);
        let mut numbering = self.numbering;
        let (Some(office), Some(wire)) = (self.office(), &mut env.source.wire) else { return };
        let item = match &mut office.ear {
            None if unplugged || office.ended => return,
            None => {
                let number = begin(&numbering, office.reader.1 - 1, now_ms, env.mutant);
                office.ear = Some(Ear::new(wire, number));
                wire.may_lose(office.token);
                numbering.give(number, now_ms);
                // It takes a moment.
                env.now += 1;
                Item::Attached(number)
            }
            Some(ear) => {
                let Some(heard) = ear.take(wire) else { return };
                ear.number += 1;
                numbering.give(ear.number, now_ms);
                match heard {
                    Heard::Message(message) => Item::Event(wire.give(office.token, ear.number, message, now_ms)),
                    Heard::Lost => {
                        wire.may_lose(office.token);
                        Item::Lost
                    }
                }
            }
        };
        if let Item::Event(event) = &item {
            office.reader.1 = event.sequence + 1;
        }
        office.queue.push_back(item);
        self.numbering = numbering;
    }

    /// Tells what may be lost where nobody listened, and what is lost.
    pub(super) fn hear_of_loss(&mut self, env: &mut Env) {
        let now_ms = self.now_ms(env);
        let Some(office) = self.office() else { return };
        let Some(item) = office.queue.pop_front() else { return };
        let number = if let Item::Attached(number) = item { number } else { 0 };
        if matches!(item, Item::Ended) {
            (office.ended, office.unheard) = (false, true);
            return;
        }
        if let Some(first) = office.first.take() {
            let until = Place { sequence: number, time_ms: now_ms, ..first.until };
            env.truth.store_lost.insert((0, number));
            office.unheard = false;
            let silent = env.mutant == Some(Mutant::LifeBeginsSilent);
            return self.plan(env, |owner| Some(owner.plan_first(Rebuild { until, ..first }, silent)));
        }
        if matches!(item, Item::Attached(_)) && !std::mem::take(&mut office.unheard) {
            return;
        }
        let (number, now_ms) = match (env.mutant, item) {
            (Some(Mutant::TakeOverSilent), Item::Attached(_)) | (Some(Mutant::LossSilent), Item::Lost) => return,
            (Some(Mutant::LossBelowSent), _) => (0, now_ms),
            (Some(Mutant::LossOfOldTime), _) => (number, 0),
            _ => (number, now_ms),
        };
        self.plan(env, |owner| {
            owner.source_lost(number, now_ms);
            Some(owner.plan_idle(None))
        });
        if let Some(office) = self.office() {
            office.reader.1 = office.reader.1.max(office.owner.checkpoint().sequence + 1);
        }
    }

    /// The reader ends.
    pub(crate) fn deafen(&mut self) {
        if let Some(office) = self.office()
            && office.ear.take().is_some()
        {
            office.ended = true;
            office.queue.push_back(Item::Ended);
        }
    }

    /// The connection to core NATS is lost, or there again.
    pub(crate) fn unplug(&mut self, unplugged: bool, wire: Option<&Wire>) {
        let Some(wire) = wire else { return };
        self.unplugged = unplugged;
        if let Some(ear) = self.office().and_then(|office| office.ear.as_mut()) {
            if unplugged { ear.unplug(wire) } else { ear.plug(wire) }
        }
    }

    /// What waits to be read is lost, but for so many messages.
    pub(crate) fn flood(&mut self, holds: usize, wire: Option<&Wire>) {
        if let (Some(wire), Some(ear)) = (wire, self.office().and_then(|office| office.ear.as_mut())) {
            ear.flood(wire, holds);
        }
    }

    /// A commit was announced, or found in the store: while another host gives the numbers, none of them is given again.
    pub(crate) fn saw(&mut self, checkpoint: Option<Place>) {
        if let (Some(place), None) = (checkpoint, self.office()) {
            self.numbering.saw(place.sequence);
        }
    }

    /// It owns the partition, listens, and has taken in everything there was.
    pub(crate) fn has_heard(&self, wire: &Wire) -> bool {
        let super::Stage::Office(office) = &self.stage else { return false };
        let through = office.ear.as_ref().is_some_and(|ear| ear.is_through(wire));
        through && !office.unheard && office.first.is_none() && self.idle()
    }
}

/// The number that stands for all that went before a subscription.
fn begin(numbering: &Numbering, received: u64, now_ms: u64, mutant: Option<Mutant>) -> u64 {
    match mutant {
        Some(Mutant::NumberReused) => received + 1,
        Some(Mutant::NumberedByMemory) => numbering.begin(received, 0),
        _ => numbering.begin(received, now_ms),
    }
}
