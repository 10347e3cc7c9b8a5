//! Floors: up to where something is gone, and whether that concerns a client.

use crate::position::{Place, Position};

/// Why something is gone, as the client reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Beyond retention or caps.
    Trimmed,
    /// The cursor can not be placed.
    UnknownCursor,
    /// The source itself lost it.
    SourceLost,
    /// The connection was too slow for its policy.
    Overflow,
    /// The store was emptied.
    StoreLost,
}

impl GapReason {
    /// As it stands in `gap` and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::UnknownCursor => "unknown-cursor",
            Self::SourceLost => "source-lost",
            Self::Overflow => "overflow",
            Self::StoreLost => "store-lost",
        }
    }

    /// The reverse of [`GapReason::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Trimmed, Self::UnknownCursor, Self::SourceLost, Self::Overflow, Self::StoreLost]
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }
}

/// The highest position up to which something of a company (or of the partition) is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// The last thing that is gone; for a partition's floor the whole event.
    pub position: Position,
    /// The source's time of that event, in milliseconds since 1970.
    pub time_ms: u64,
    /// Why.
    pub reason: GapReason,
    /// The company's running number of the last entry that is gone; `None` where nobody knows.
    pub running: Option<u64>,
}

impl Floor {
    /// Does it lie above what a client has? To a flush a client that has any output of the floor's event lost nothing:
    /// such a floor speaks of whole events. What the source itself no longer has may have been more than it got.
    #[must_use]
    pub fn above(&self, sent: Position) -> bool {
        if self.is_of_whole_events() {
            self.position.event() > sent.event() || (self.position.event() == sent.event() && sent.output == 0)
        } else {
            self.position > sent
        }
    }

    fn is_of_whole_events(&self) -> bool {
        self.position.output == u32::MAX && self.reason != GapReason::SourceLost
    }

    /// From where down it tells everybody that something is gone.
    fn tells_below(&self) -> Position {
        if self.is_of_whole_events() { Position { output: 1, ..self.position } } else { self.position }
    }

    /// The place a client stands at once it was told.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { generation: self.position.generation, sequence: self.position.sequence, time_ms: self.time_ms }
    }

    /// The higher of two floors; the first where they are equal. Of two in one event, the one that more clients are told.
    #[must_use]
    pub fn higher(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) if b.tells_below() > a.tells_below() => Some(b),
            (Some(a), _) => Some(a),
            (None, b) => b,
        }
    }
}

/// How many entries a client misses, where that can be known: the running number of the last one that is gone, less the
/// number of the last one it was sent.
#[must_use]
pub fn missed(floor: &Floor, sent_running: Option<u64>) -> Option<u64> {
    Some(floor.running?.saturating_sub(sent_running?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(position: Position, running: Option<u64>) -> Floor {
        Floor { position, time_ms: 0, reason: GapReason::Trimmed, running }
    }

    #[test]
    fn a_client_that_has_the_last_lost_entry_lost_nothing() {
        let trimmed = floor(Position::new(1, 10, 2), Some(7));
        assert!(!trimmed.above(Position::new(1, 10, 2)));
        assert!(trimmed.above(Position::new(1, 10, 1)));
        assert!(!trimmed.above(Position::whole(1, 10)));
        let lost = Floor { reason: GapReason::StoreLost, ..floor(Position::whole(1, 10), None) };
        assert!(!lost.above(Position::new(1, 10, 1)));
        assert!(lost.above(Position::whole(1, 9)));
        assert!(lost.above(Position::before(1, 10)));
        let higher = |a, b| Floor::higher(Some(a), Some(b)).unwrap();
        assert_eq!(
            (higher(lost, trimmed), higher(trimmed, lost)),
            (trimmed, trimmed),
            "who has one of two is told, too"
        );
        let purged = Floor { reason: GapReason::SourceLost, ..lost };
        assert!(purged.above(Position::new(1, 10, 1)), "nobody knows whether there was a second one");
        assert!(!purged.above(Position::whole(1, 10)));
    }

    #[test]
    fn the_count_is_told_only_where_it_is_known() {
        let trimmed = floor(Position::new(1, 10, 2), Some(7));
        assert_eq!(missed(&trimmed, Some(3)), Some(4));
        assert_eq!(missed(&trimmed, None), None);
        assert_eq!(missed(&floor(Position::whole(1, 3), None), Some(3)), None);
    }
}
