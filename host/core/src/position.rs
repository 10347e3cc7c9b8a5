//! Where something stands: positions in the partition's log, names of commits and stores.

use std::fmt;

/// The highest sequence a position can hold (48 bits).
pub const SEQUENCE_MAX: u64 = (1 << 48) - 1;

/// A place in the log of a partition: generation, stream sequence, number of the output. Order, dedup and lookup use
/// it and never the time, since a stream's timestamps can step back.
///
/// A bare event (no output of it) is `output` 0; the outputs of an event are numbered from 1, so that "after the whole
/// event" is [`Position::whole`] and the first output lies above "before the event".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Which life of the stream: raised when it was deleted and made again.
    pub generation: u16,
    /// Sequence in the stream.
    pub sequence: u64,
    /// 0: before the event's outputs; n: its n-th output; `u32::MAX`: after all of them.
    pub output: u32,
}

impl Position {
    /// The n-th output (from 1) of an event.
    #[must_use]
    pub fn new(generation: u16, sequence: u64, output: u32) -> Self {
        Self { generation, sequence, output }
    }

    /// After everything that came of the event with this sequence.
    #[must_use]
    pub fn whole(generation: u16, sequence: u64) -> Self {
        Self { generation, sequence, output: u32::MAX }
    }

    /// Before everything that comes of the event with this sequence.
    #[must_use]
    pub fn before(generation: u16, sequence: u64) -> Self {
        Self { generation, sequence, output: 0 }
    }

    /// Generation and sequence in one number: the first half of an entry id in the replay cache.
    #[must_use]
    pub fn packed(self) -> u64 {
        (u64::from(self.generation) << 48) | (self.sequence & SEQUENCE_MAX)
    }

    /// The reverse of [`Position::packed`].
    #[must_use]
    pub fn unpack(packed: u64, output: u32) -> Self {
        Self { generation: (packed >> 48) as u16, sequence: packed & SEQUENCE_MAX, output }
    }

    /// Generation and sequence alone, to compare events regardless of outputs.
    #[must_use]
    pub fn event(self) -> (u16, u64) {
        (self.generation, self.sequence)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.generation, self.sequence, self.output)
    }
}

/// A place together with the time of its event: what a `place id` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// Generation of the stream.
    pub generation: u16,
    /// Sequence up to which everything is meant.
    pub sequence: u64,
    /// The source's time of that sequence, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Place {
    /// The position after everything of that event.
    #[must_use]
    pub fn position(self) -> Position {
        Position::whole(self.generation, self.sequence)
    }
}

/// The random half of a lease: whoever holds the lease holds this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Token(pub u128);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

impl Token {
    /// As the store writes it: 32 hexadecimal digits.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("{:032x}", self.0)
    }

    /// The reverse of [`Token::to_text`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

/// The name of a commit: the token under which it was made, and its number. Numbers go up by one from commit to commit,
/// across tokens, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CommitName {
    /// The lease under which it was made.
    pub token: Token,
    /// Its number; 0 in an empty store.
    pub number: u64,
}

/// Random name of a store's life: another one means that the store was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StoreId(pub u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_lie_between_before_and_whole() {
        let output = Position::new(1, 7, 1);
        assert!(Position::before(1, 7) < output && output < Position::whole(1, 7));
        assert!(Position::whole(1, 7) < Position::before(1, 8));
        assert!(Position::whole(1, SEQUENCE_MAX) < Position::before(2, 0));
    }

    #[test]
    fn packing_keeps_order_and_value() {
        let place = Position::new(3, 1_234_567, 9);
        assert_eq!(Position::unpack(place.packed(), 9), place);
        assert!(Position::new(1, SEQUENCE_MAX, 0).packed() < Position::new(2, 0, 0).packed());
    }

    #[test]
    fn a_token_survives_its_text() {
        let token = Token(0x1234_5678_9abc_def0_1122_3344_5566_7788);
        assert_eq!(Token::parse(&token.to_text()), Some(token));
        assert_eq!(Token::parse("12"), None);
    }
}
