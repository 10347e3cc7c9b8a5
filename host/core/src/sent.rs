//! What one connection was sent, as stretches of its company's stream: enough to say whether an event was among it.

use crate::limits::SENT_RANGES;
use crate::position::Position;
use std::collections::VecDeque;

/// Outputs that were sent one after the other, with nothing left out between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first of them.
    pub first: Position,
    /// The last of them.
    pub last: Position,
    /// When the first was handed to the socket, in milliseconds since 1970.
    pub from_ms: u64,
    /// When the last was.
    pub to_ms: u64,
}

/// What is remembered of it; a bounded number of stretches, the newest ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    stretches: VecDeque<Stretch>,
    /// What comes next does not follow what came last.
    broken: bool,
    /// Up to here stretches were forgotten.
    forgotten: Option<Position>,
}

/// Was something among what was sent?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It was, within this stretch.
    Sent(Stretch),
    /// It was not.
    Not,
    /// Nobody remembers.
    Forgotten,
}

impl Sent {
    /// A gap was told: what comes next begins a stretch of its own.
    pub fn gap(&mut self) {
        self.broken = true;
    }

    /// The outputs from `first` to `last` were sent.
    pub fn add(&mut self, first: Position, last: Position, now_ms: u64) {
        let broken = std::mem::take(&mut self.broken);
        if let Some(newest) = self.stretches.back_mut().filter(|newest| !broken && first > newest.last) {
            (newest.last, newest.to_ms) = (last, now_ms);
            return;
        }
        if self.stretches.len() >= SENT_RANGES {
            let oldest = self.stretches.pop_front().map(|oldest| oldest.last);
            self.forgotten = self.forgotten.max(oldest);
        }
        self.stretches.push_back(Stretch { first, last, from_ms: now_ms, to_ms: now_ms });
    }

    /// Was this output sent? The newest stretch counts where several hold it.
    #[must_use]
    pub fn told(&self, output: Position) -> Told {
        let holds = |stretch: &&Stretch| stretch.first <= output && output <= stretch.last;
        match self.stretches.iter().rev().find(holds) {
            Some(stretch) => Told::Sent(*stretch),
            None if self.forgotten >= Some(output) => Told::Forgotten,
            None => Told::Not,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Position {
        Position::new(1, sequence, 1)
    }

    #[test]
    fn what_was_sent_without_a_gap_is_one_stretch() {
        let mut sent = Sent::default();
        assert_eq!(sent.told(at(1)), Told::Not);
        sent.add(at(3), at(5), 10);
        sent.add(at(8), at(9), 20);
        let stretch = Stretch { first: at(3), last: at(9), from_ms: 10, to_ms: 20 };
        // Between 5 and 8 the company has nothing, or it would have been sent.
        assert_eq!(sent.told(at(6)), Told::Sent(stretch));
        assert_eq!((sent.told(at(2)), sent.told(at(10))), (Told::Not, Told::Not));
    }

    #[test]
    fn what_a_gap_left_out_was_not_sent() {
        let mut sent = Sent::default();
        sent.add(at(1), at(2), 10);
        sent.gap();
        sent.add(at(7), at(8), 20);
        assert_eq!(sent.told(at(5)), Told::Not);
        assert!(matches!(sent.told(at(1)), Told::Sent(_)) && matches!(sent.told(at(8)), Told::Sent(_)));
    }

    #[test]
    fn beyond_the_bound_it_says_that_it_does_not_know() {
        let mut sent = Sent::default();
        for number in 0..=SENT_RANGES as u64 {
            sent.gap();
            sent.add(at(number * 10 + 1), at(number * 10 + 2), number);
        }
        assert_eq!(sent.told(at(1)), Told::Forgotten);
        assert!(matches!(sent.told(at(11)), Told::Sent(_)));
        assert_eq!(sent.told(at(14)), Told::Not);
    }

    #[test]
    fn a_history_that_began_anew_is_a_stretch_of_its_own() {
        let mut sent = Sent::default();
        sent.add(at(50), at(60), 10);
        sent.add(at(20), at(30), 20);
        assert_eq!(sent.told(at(40)), Told::Not);
        assert!(matches!(sent.told(at(25)), Told::Sent(Stretch { from_ms: 20, .. })));
    }
}
