//! Core NATS as the source: numbers for what is heard, and losses where nobody listened or messages were dropped.

use super::{Host, Item, Stage};
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
        let (numbering, uncommitted) = (&mut self.numbering, &mut self.uncommitted);
        let (Stage::Office(office), Some(wire)) = (&mut self.stage, &mut env.source.wire) else { return };
        let item = match &mut office.ear {
            None if unplugged || office.ended => return,
            None => {
                let number = begin(numbering, office.reader.1 - 1, now_ms, env.mutant);
                office.ear = Some(Ear::new(wire, number));
                let silent = env.mutant == Some(Mutant::WentBackSilent);
                uncommitted.listen(if silent { u64::MAX } else { office.reader.1 - 1 });
                numbering.give(number, now_ms);
                // It takes a moment.
                env.now += 1;
                office.queue.push_back(Item::Attached(number));
                let unheard = uncommitted.pop_loss();
                // The beginning of a store's life says it, too.
                if unheard || office.first.is_some() {
                    wire.may_lose(office.token);
                }
                if !unheard {
                    return;
                }
                uncommitted.hand_on(number, None);
                Item::Unheard(number)
            }
            Some(ear) => {
                let heard = |heard| if let Heard::Message(message) = heard { Some(message) } else { None };
                let next = uncommitted.pop().or_else(|| ear.take(wire).map(heard));
                let Some(message) = next else { return };
                ear.number += 1;
                numbering.give(ear.number, now_ms);
                uncommitted.hand_on(ear.number, message);
                match message {
                    Some(message) => Item::Event(wire.give(office.token, ear.number, message, now_ms)),
                    None => {
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
    }

    /// Tells what may be lost where nobody listened, and what is lost.
    pub(super) fn hear_of_loss(&mut self, env: &mut Env) {
        let now_ms = self.now_ms(env);
        let Some(office) = self.office() else { return };
        let Some(item) = office.queue.pop_front() else { return };
        let (silent, number) = match item {
            Item::Ended => {
                office.ended = false;
                return;
            }
            Item::Attached(number) => {
                let Some(first) = office.first.take() else {
                    office.begun = false;
                    return;
                };
                office.begun = true;
                let until = Place { sequence: number, time_ms: now_ms, ..first.until };
                env.truth.store_lost.insert((0, number));
                let silent = env.mutant == Some(Mutant::LifeBeginsSilent);
                return self.plan(env, |owner| Some(owner.plan_first(Rebuild { until, ..first }, silent)));
            }
            Item::Unheard(_) if office.begun => return,
            Item::Unheard(number) => (env.mutant == Some(Mutant::TakeOverSilent), number),
            Item::Lost | Item::Event(_) => (env.mutant == Some(Mutant::LossSilent), 0),
        };
        let (number, now_ms) = match env.mutant {
            _ if silent => return,
            Some(Mutant::LossBelowSent) => (0, now_ms),
            Some(Mutant::LossOfOldTime) => (number, 0),
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
    pub(crate) fn deafen(&mut self, wire: Option<&Wire>) {
        if let (Stage::Office(office), Some(wire)) = (&mut self.stage, wire)
            && let Some(mut ear) = office.ear.take()
        {
            self.uncommitted.wait(ear.rest(wire));
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
        let Stage::Office(office) = &self.stage else { return false };
        let through = office.ear.as_ref().is_some_and(|ear| ear.is_through(wire));
        through && self.uncommitted.is_through() && office.first.is_none() && self.idle()
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
