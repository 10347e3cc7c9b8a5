//! A store that began empty: up to where it is filled again from the source, and what of before is gone for good.

use crate::gap::{Floor, GapReason};
use crate::position::Place;

/// How the life of a store began. Written with its first commit, so that whoever goes on with it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuild {
    /// The source's last event at that moment; sequence 0 where it had none.
    pub until: Place,
    /// When it began, in milliseconds since 1970: the state of filters is from then on.
    pub began_ms: u64,
}

impl Rebuild {
    /// Events of the source that are still to be filled in, give or take those of other subjects; `None` once the store is
    /// as far as the source was.
    #[must_use]
    pub fn events_left(&self, checkpoint: Option<Place>) -> Option<u64> {
        let filled = checkpoint.filter(|place| place.position() >= self.until.position());
        let left = self.until.sequence.saturating_sub(checkpoint.map_or(0, |place| place.sequence));
        (filled.is_none() && left > 0).then_some(left)
    }

    /// Where a stream without a cursor begins, for a company that stands at `place`: while the store is filled again, what
    /// the source held already is no news.
    #[must_use]
    pub fn live_from(&self, place: Place) -> Place {
        let fills = place.generation == self.until.generation && place.sequence < self.until.sequence;
        if fills { self.until } else { place }
    }

    /// The floor of each company whose filters keep state: theirs began anew here, and what they make of the events up to
    /// here is not what they made of them before.
    #[must_use]
    pub fn floor(&self) -> Option<Floor> {
        let (position, time_ms) = (self.until.position(), self.until.time_ms);
        (self.until.sequence > 0).then_some(Floor { position, time_ms, reason: GapReason::StoreLost, running: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(generation: u16, sequence: u64) -> Place {
        Place { generation, sequence, time_ms: sequence }
    }

    #[test]
    fn a_rebuild_ends_where_the_source_ended_when_it_began() {
        let rebuild = Rebuild { until: place(1, 100), began_ms: 5 };
        assert_eq!(rebuild.events_left(None), Some(100));
        assert_eq!(rebuild.events_left(Some(place(1, 40))), Some(60));
        assert_eq!(rebuild.events_left(Some(place(1, 100))), None);
        assert_eq!(rebuild.events_left(Some(place(2, 0))), None, "that stream is gone");
        assert_eq!(rebuild.live_from(place(1, 40)), place(1, 100), "what was there before is no news");
        assert_eq!((rebuild.live_from(place(1, 101)), rebuild.live_from(place(2, 1))), (place(1, 101), place(2, 1)));
        let nothing = Rebuild { until: place(1, 0), began_ms: 5 };
        assert_eq!((nothing.events_left(None), nothing.events_left(Some(place(1, 0)))), (None, None));
    }

    #[test]
    fn who_has_the_last_event_of_before_lost_no_event_but_who_has_less_is_told() {
        let floor = Rebuild { until: place(1, 100), began_ms: 5 }.floor().unwrap();
        assert!(floor.above(place(1, 99).position()) && !floor.above(place(1, 100).position()));
        assert_eq!(Rebuild { until: place(1, 0), began_ms: 5 }.floor(), None, "there was nothing to lose");
    }
}
