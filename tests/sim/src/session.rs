//! What one client was promised and what it got: its record, and the checks on it.

use crate::env::Env;
use crate::truth::Coord;
use std::collections::BTreeSet;
use tidegate_core::cursor::{self, Cursor};
use tidegate_core::event::Company;
use tidegate_core::gap::GapReason;
use tidegate_core::position::Place;
use tidegate_core::seam::Gap;

/// One frame on its way to a client.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    Ready(Option<String>),
    Event {
        id: String,
        data: String,
    },
    /// With the place that it carries as its id.
    Gap(Gap, Option<Place>),
    CaughtUp(Option<String>),
    Heartbeat(Option<String>),
}

/// From a cursor on, over all reconnections, until the client asks for something else.
pub(crate) struct Session {
    pub(crate) company: Company,
    /// What it asked with.
    pub(crate) asked: Option<Cursor>,
    /// The last id it saw.
    pub(crate) last_id: Option<String>,
    /// It is promised everything above this; unknown until it is told.
    start: Option<Coord>,
    pub(crate) at: Option<Coord>,
    since_ms: u64,
    /// It may be made to jump when it is slow.
    drops: bool,
    got: BTreeSet<Coord>,
    gaps: Vec<(Coord, Coord)>,
}

impl Session {
    pub(crate) fn new(company: Company, asked: Option<Cursor>, drops: bool, env: &Env) -> Self {
        let (start, since_ms) = match &asked {
            None | Some(Cursor::Unreadable) => (None, 0),
            Some(Cursor::Earliest) => (Some(Coord::default()), 0),
            Some(Cursor::Since(ms)) => (Some(Coord::default()), *ms),
            Some(Cursor::Id(id)) => (Some(env.coord(id)), 0),
        };
        let (got, gaps) = (BTreeSet::new(), Vec::new());
        Self { company, asked, last_id: None, start, at: start, since_ms, drops, got, gaps }
    }

    /// What it comes back with.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.last_id.as_deref().map_or_else(|| self.asked.clone(), cursor::parse)
    }

    /// It asked for whatever there is, and this is where that begins.
    pub(crate) fn begins_after(&mut self, floor: Coord) {
        self.start = self.start.max(Some(floor));
    }

    /// Unless it was told anything, what it asked is asked again.
    pub(crate) fn begins_again(&mut self) {
        if self.last_id.is_none() {
            self.start = self.at;
        }
    }

    /// A frame arrives.
    pub(crate) fn receive(&mut self, frame: Frame, env: &Env) -> Result<(), String> {
        match frame {
            Frame::Ready(id) | Frame::CaughtUp(id) | Frame::Heartbeat(id) => {
                id.map_or(Ok(()), |id| self.place(id, env))
            }
            Frame::Event { id, data } => self.event(id, &data, env),
            Frame::Gap(gap, place) => self.gap(&gap, place, env),
        }
    }

    fn place(&mut self, id: String, env: &Env) -> Result<(), String> {
        let read = cursor::parse_id(&id).ok_or_else(|| format!("the place {id} can't be read"))?;
        let coord = env.coord(&read);
        if self.at.is_some_and(|at| coord < at) {
            return Err(format!("the place {id} lies below {:?}", self.last_id));
        }
        self.start.get_or_insert(coord);
        (self.at, self.last_id) = (Some(coord), Some(id));
        Ok(())
    }

    fn event(&mut self, id: String, data: &str, env: &Env) -> Result<(), String> {
        let read = cursor::parse_id(&id).ok_or_else(|| format!("the id {id} can't be read"))?;
        let coord = env.coord(&read);
        let said = format!("{}|{}|{}|", self.company, coord.life, coord.sequence);
        if !data.starts_with(&said) {
            return Err(format!("{id} holds {data}: another company's, or another event's"));
        }
        if self.at.is_some_and(|at| coord <= at) {
            return Err(format!("{id} came after {:?} to {}: doubled or out of order", self.last_id, self.company));
        }
        let stored = env.truth.ever.get(&self.company).and_then(|all| all.get(&coord));
        if !stored.is_some_and(|stored| stored.data.iter().any(|d| d == data.as_bytes())) {
            return Err(format!("{id} with {data} was sent and never stored"));
        }
        self.start.get_or_insert(coord);
        if !self.got.insert(coord) {
            return Err(format!("{id} came twice to {}", self.company));
        }
        (self.at, self.last_id) = (Some(coord), Some(id));
        Ok(())
    }

    fn gap(&mut self, gap: &Gap, told: Option<Place>, env: &Env) -> Result<(), String> {
        let place = gap.to.ok_or("a gap without an end")?;
        // Until it was told anything it stands where it begins.
        let stands = if self.last_id.is_none() { self.at.max(self.start) } else { self.at };
        let (to, from) = (env.coord_of_place(place), stands.unwrap_or_default());
        let truth = &env.truth;
        let lost_since = |since_ms| truth.between(&self.company, from, to).filter(move |(_, s)| s.time_ms >= since_ms);
        // The time it asked from counts until it was sent something, or came back with an id.
        let lost = || lost_since(if self.last_id.is_none() { self.since_ms } else { 0 });
        let sure = !truth.went_back && truth.flushes == 0;
        let honest = match gap.reason {
            GapReason::Trimmed => lost().next().is_some() || !sure,
            GapReason::SourceLost if env.source.wire.is_some() => {
                // Nothing that it asked for lies below a floor that is older than the time it asked from.
                let asked = |time_ms: &u64| self.last_id.is_some() || *time_ms >= self.since_ms;
                gap.missed.is_none() && truth.source_lost.get(&to.sequence).is_some_and(asked)
            }
            GapReason::SourceLost => {
                let purged = env.source.streams.get(to.life as usize).is_some_and(|stream| stream.first > 1);
                gap.missed.is_none() && (from.life < to.life || purged)
            }
            GapReason::StoreLost => gap.missed.is_none() && truth.store_lost.contains(&(to.life, to.sequence)),
            GapReason::UnknownCursor => {
                let garbage = self.last_id.is_none() && self.asked == Some(Cursor::Unreadable);
                // What a store forgot of an older stream, or of what is purged since, nobody knows.
                let stream = env.source.streams.get(from.life as usize);
                let purged = stream.is_some_and(|stream| from.sequence < stream.first);
                // Nor of a message that is deleted, where its time says that it is older than its stream.
                let hidden = stream.is_some_and(|stream| {
                    stream.held(from.sequence).is_none()
                        && stream.ever(from.sequence).is_some_and(|event| event.time_ms < stream.created_ms)
                });
                // Nor what lies up to the end of a stream that the store was yet to be filled from.
                let never_held = truth.store_lost.contains(&(from.life, from.sequence));
                // Nor, on core NATS, what only the store had.
                let kept = env.source.wire.is_none() && (from.life as usize) == env.source.streams.len() - 1;
                let forgotten = (!sure || never_held) && (purged || hidden || !kept);
                garbage || forgotten
            }
            GapReason::Overflow => self.drops && lost().next().is_some(),
        };
        if !honest {
            return Err(format!("a gap from {from} to {to} was told where nothing was missed: {gap:?}"));
        }
        let count = lost().count() as u64;
        let told_well = |missed| missed == count || missed == lost_since(self.since_ms).count() as u64;
        if sure && gap.missed.is_some_and(|missed| !told_well(missed)) {
            return Err(format!("a gap from {from} to {to} was told with another count than {count}: {gap:?}"));
        }
        self.gaps.push((from, to));
        self.start.get_or_insert(to);
        if let Some(told) = told {
            self.last_id = Some(cursor::place_id(told));
        }
        // A cursor that nobody can place is left: it goes on from the head, wherever that is.
        let rewinds = gap.reason == GapReason::UnknownCursor;
        self.at = if rewinds { Some(to) } else { self.at.max(Some(to)) };
        if rewinds {
            self.got.retain(|coord| *coord <= to);
        }
        Ok(())
    }

    /// Everything between its start and where it stands was received or told as lost.
    pub(crate) fn check(&self, env: &Env) -> Result<(), String> {
        let (Some(start), Some(at)) = (self.start, self.at) else { return Ok(()) };
        let truth = &env.truth;
        let unsure = truth.went_back || truth.flushes > 0;
        // What a store lost for good, since the stream lost it, too, was not there for who asked for what there is.
        let any = matches!(self.asked, Some(Cursor::Earliest | Cursor::Since(_)));
        let newest = env.source.streams.len() as u32 - 1;
        let gone =
            |coord: &Coord| coord.life < newest || coord.sequence < env.source.now().first || env.source.wire.is_some();
        let missing = truth.between(&self.company, start, at).find(|(coord, stored)| {
            let dead = || truth.dead.contains(&(self.company.clone(), coord.life, coord.sequence));
            stored.time_ms >= self.since_ms
                && !self.got.contains(coord)
                && !self.gaps.iter().any(|(from, to)| from < *coord && *coord <= to)
                && !(unsure && (dead() || (any && gone(coord))))
        });
        if let Some((coord, _)) = missing {
            let gaps = &self.gaps;
            return Err(format!("{coord} of {} never came between {start} and {at}; gaps {gaps:?}", self.company));
        }
        let silent = truth.losses.iter().find(|loss| {
            let (below, above) = loss.between;
            // What is lost was given no time by the clock that gives them: while that is off, nobody can compare it.
            let dated = self.since_ms == 0 || !env.source.stepped_back;
            let concerns = loss.times.get(&self.company).is_some_and(|time_ms| dated && *time_ms >= self.since_ms);
            let told = || self.gaps.iter().any(|(from, to)| *from < above && *to > below);
            concerns && start <= below && at >= above && !told()
        });
        match silent.map(|loss| loss.between) {
            Some((below, above)) => {
                let (company, gaps) = (&self.company, &self.gaps);
                Err(format!("what {company} lost between {below} and {above} was not told to {start}; gaps {gaps:?}"))
            }
            None => Ok(()),
        }
    }
}
