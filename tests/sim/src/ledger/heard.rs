//! What a commit makes of core NATS, held against what was published there.

use super::Ledger;
use crate::truth::{Coord, Loss, Truth};
use crate::wire::Wire;
use tidegate_core::commit::Commit;
use tidegate_core::event::Company;
use tidegate_core::gap::GapReason;

impl Ledger {
    /// A floor of what may be lost on core NATS: where nobody listened or messages were dropped, once each.
    pub(super) fn tell_loss(&mut self, commit: &Commit, wire: &Wire, truth: &mut Truth) -> Result<(), String> {
        let (name, token) = (commit.name.number, commit.name.token);
        let Some(floor) = commit.floor else { return Ok(()) };
        let sequence = floor.position.sequence;
        if self.told.0 != Some(token) {
            self.told = (Some(token), 0);
        }
        self.told.1 += 1;
        if floor.reason != GapReason::SourceLost || self.told.1 > wire.losses(token) {
            return Err(format!("commit {name}: a loss at {sequence} where nothing can be lost"));
        }
        if sequence <= self.numbered || truth.numbers.contains_key(&sequence) {
            return Err(format!("commit {name}: the loss at {sequence} has the number of an event"));
        }
        self.lost = self.lost.max(sequence);
        truth.source_lost.insert(sequence, floor.time_ms);
        Ok(())
    }

    /// An event of core NATS: in the order in which it was published, under a number of its own, and whatever is missing
    /// before it lies under a floor.
    pub(super) fn hear(
        &mut self,
        name: u64,
        message: usize,
        sequence: u64,
        wire: &Wire,
        companies: &[Company],
        truth: &mut Truth,
    ) -> Result<(), String> {
        if message < self.heard {
            return Err(format!("commit {name}: message {message} is doubled or out of order"));
        }
        let before = *truth.numbers.entry(sequence).or_insert(message);
        if before != message {
            return Err(format!("commit {name}: the number {sequence} stands for messages {before} and {message}"));
        }
        if message > self.heard {
            let told = self.numbered < self.lost && self.lost < sequence;
            if !told {
                return Err(format!("commit {name}: {} up to {message} are missing, and no floor says so", self.heard));
            }
            let coord = |sequence, output| Coord { life: 0, sequence, output };
            let between = (coord(self.numbered, u32::MAX), coord(sequence, 0));
            truth.losses.push(Loss { between, times: wire.times(self.heard..message, companies) });
        }
        (self.heard, self.numbered) = (message + 1, sequence);
        Ok(())
    }
}
