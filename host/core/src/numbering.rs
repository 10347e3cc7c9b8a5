//! The numbers that the owner gives to what it receives from a source that has none (core NATS).

/// Numbers given per millisecond of the clock: enough room that a restart's first number is a new one.
const NUMBERS_PER_MS: u64 = 64;

/// The highest number given so far, and when. It outlives readers and tenures: a number is never given twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbering {
    number: u64,
    time_ms: u64,
}

impl Numbering {
    /// The next number after `checkpoint`: above it, above every number this host ever gave or saw, and above what any
    /// host can have given by now.
    #[must_use]
    pub fn begin(&self, checkpoint: u64, now_ms: u64) -> u64 {
        (checkpoint + 1).max(self.number + 1).max(now_ms.saturating_mul(NUMBERS_PER_MS))
    }

    /// A number is given to an event, or to a loss: it lies between the events around it.
    pub fn give(&mut self, number: u64, time_ms: u64) {
        *self = Self { number, time_ms };
    }

    /// Another host gave this number.
    pub fn saw(&mut self, number: u64) {
        self.number = self.number.max(number);
    }

    /// The highest number that is known to be given.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When this host gave its last one, in milliseconds since 1970.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_given_twice() {
        let mut numbering = Numbering::default();
        assert_eq!(numbering.begin(0, 1_000), 64_000);
        numbering.give(64_000, 1_000);
        numbering.give(70_000, 1_001);
        assert_eq!(numbering.begin(3, 1_000), 70_001, "the store went back, and the clock with it");
        assert_eq!(numbering.begin(80_000, 1_000), 80_001, "another host was further");
        numbering.saw(90_000);
        numbering.saw(5);
        assert_eq!(numbering.begin(0, 0), 90_001);
        assert_eq!((numbering.number(), numbering.time_ms()), (90_000, 1_001));
    }
}
