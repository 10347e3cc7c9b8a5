//! A client and its connection: opened at a host, replayed in pages, live from the ring, cut at any frame.

use crate::env::Env;
use crate::host::Host;
use crate::mutant::Mutant;
use crate::open;
use crate::session::{Frame, Session};
use std::collections::VecDeque;
use std::sync::Arc;
use tidegate_core::cursor::{self, Cursor};
use tidegate_core::event::Company;
use tidegate_core::page::EncodedPage;
use tidegate_core::pages::Need;
use tidegate_core::piece::Frames;
use tidegate_core::position::Place;
use tidegate_core::ring::{Read, RingCursor};
use tidegate_core::seam::{Next, Reader};

/// Frames that wait for a client at most.
const OUT: usize = 8;
/// Bytes taken from the ring at a time: less than a commit's, often.
const WRITE_BYTES: usize = 150;

enum Stage {
    Opening(Option<Cursor>),
    Replay(Reader),
    /// It has a page.
    Paged(Reader, Arc<EncodedPage>),
    Live(Reader, RingCursor),
}

struct Connection {
    host: usize,
    boots: u64,
    /// The history of the window in which it was placed.
    history: u64,
    /// `ready` was sent.
    greeted: bool,
    /// It was just placed: its page begins where others begin.
    begins: bool,
    /// Readings up to this number began before the store said where it stands.
    placed: u64,
    /// The reading that told it last where the stream ended.
    told: u64,
    /// It asked for whatever there is, and no page has told where that begins.
    earliest: bool,
    /// It jumps when it lags by more frames: the policy `drop-oldest`.
    drops_beyond: Option<usize>,
    stage: Stage,
    out: VecDeque<Frame>,
}

/// A browser that comes back.
pub(crate) struct Client {
    id: usize,
    pub(crate) session: Session,
    connection: Option<Connection>,
    drops_beyond: Option<usize>,
}

fn place_text(place: Option<Place>) -> Option<String> {
    place.map(cursor::place_id)
}

/// Reads frames as a browser does.
fn parse(bytes: &[u8], out: &mut VecDeque<Frame>) {
    for block in String::from_utf8_lossy(bytes).split("\n\n").filter(|block| !block.is_empty()) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").to_owned();
        out.push_back(Frame::Event { id: field("id: "), data: field("data: ") });
    }
}

impl Connection {
    fn work(&mut self, host: &mut Host, session: &mut Session, env: &mut Env, talk: bool) {
        let stage = std::mem::replace(&mut self.stage, Stage::Opening(None));
        self.stage = match stage {
            Stage::Opening(cursor) => self.open(host, session, env, cursor),
            Stage::Replay(reader) if host.cut_off => Stage::Replay(reader),
            Stage::Replay(reader) => {
                let begins = std::mem::replace(&mut self.begins, false);
                let need = Need { above: reader.sent(), placed: self.placed, told: self.told, begins };
                Stage::Paged(reader, host.hub.page(&session.company, need, env))
            }
            Stage::Paged(reader, page) => self.take_page(host, session, env, reader, &page),
            Stage::Live(reader, cursor) => self.live(host, session, env, reader, cursor, talk),
        };
    }

    fn open(&mut self, host: &mut Host, session: &mut Session, env: &Env, cursor: Option<Cursor>) -> Stage {
        let company = &session.company.clone();
        let Some(cursor) = cursor else {
            // Without a cursor it is live at once, from where the window ends.
            let Some(place) = host.hub.live_from(company) else { return Stage::Opening(None) };
            self.history = host.hub.history;
            self.greet(Some(place));
            let reader = Reader::at(place);
            return match host.hub.join(company, reader.sent()) {
                Some(at) => Stage::Live(reader, at),
                None => Stage::Replay(reader),
            };
        };
        if host.cut_off
            && let Cursor::Id(id) = &cursor
            && let Some((reader, at)) = host.hub.rejoin(company, id)
        {
            self.history = host.hub.history;
            self.greet(None);
            return Stage::Live(reader, at);
        }
        let opened = if host.cut_off { None } else { open::open(env, host, company, &cursor) };
        let Some(mut opened) = opened else { return Stage::Opening(Some(cursor)) };
        self.history = host.hub.history;
        self.earliest = cursor == Cursor::Earliest;
        if self.earliest {
            session.begins_again();
        }
        (self.begins, self.placed) = (true, if opened.by_window { 0 } else { host.hub.begun(company) });
        self.greet(None);
        if let Some(gap) = opened.gap {
            let place = opened.reader.tell_place(gap.to);
            self.out.push_back(Frame::Gap(gap, place));
        }
        Stage::Replay(opened.reader)
    }

    fn greet(&mut self, place: Option<Place>) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.out.push_back(Frame::Ready(place_text(place)));
        }
    }

    fn take_page(
        &mut self,
        host: &mut Host,
        session: &mut Session,
        env: &Env,
        mut reader: Reader,
        page: &EncodedPage,
    ) -> Stage {
        let company = session.company.clone();
        if self.history != host.hub.history && env.mutant != Some(Mutant::ConnectionsKept) {
            return Stage::Opening(Some(reader.cursor()));
        }
        let facts = &page.facts;
        let number = page.reading().number;
        if !host.hub.agrees(facts) && env.mutant != Some(Mutant::PageOfAnyHistory) {
            self.placed = self.placed.max(number);
            return Stage::Replay(reader);
        }
        if !facts.full {
            self.told = number;
        }
        let place = facts.place;
        if std::mem::replace(&mut self.earliest, false)
            && let Some(floor) = facts.floor
        {
            session.begins_after(env.coord_of_place(floor.place()));
        }
        let turn = reader.page(page, host.hub.ring(&company));
        self.out.extend(turn.gap.map(|gap| {
            let place = gap.to;
            Frame::Gap(gap, place)
        }));
        if let Some(frames) = &turn.frames {
            parse(&frames.bytes, &mut self.out);
        }
        match turn.next {
            Next::Live => {
                let place = reader.tell_place(place);
                self.out.push_back(Frame::CaughtUp(place_text(place)));
                let cursor = host.hub.ring(&company).join(reader.sent());
                reader.fall_back();
                Stage::Live(reader, cursor)
            }
            Next::Read => Stage::Replay(reader),
        }
    }

    fn live(
        &mut self,
        host: &mut Host,
        session: &Session,
        env: &Env,
        mut reader: Reader,
        mut cursor: RingCursor,
        talk: bool,
    ) -> Stage {
        let company = &session.company;
        if let Some(buffer) = self.drops_beyond
            && host.hub.ring(company).lag(reader.sent()) > buffer
            && let Some((to, running, time_ms)) = host.hub.ring(company).before_newest(buffer)
            && to > reader.sent()
            && let began = host.hub.ring(company).running_at(&cursor, reader.sent())
            && let Some(gap) = reader.overflow(to, time_ms, running, began)
        {
            let place = reader.tell_place(gap.to);
            if env.mutant != Some(Mutant::OverflowSilent) {
                self.out.push_back(Frame::Gap(gap, place));
            }
        }
        let early = env.mutant == Some(Mutant::PlaceBeforeFrames);
        let mut read = host.hub.ring(company).read(&mut cursor, reader.sent(), WRITE_BYTES);
        if early && talk && matches!(read, Read::Frames(_)) {
            read = Read::Empty;
        }
        match read {
            Read::Frames(Frames { bytes, last, running, time_ms, .. }) => {
                parse(&bytes, &mut self.out);
                reader.live(last, time_ms, running);
                Stage::Live(reader, cursor)
            }
            Read::Behind => self.fall_back(host, env, reader),
            Read::Empty => {
                if talk {
                    let place = reader.tell_place(host.hub.place(company, env.mutant));
                    self.out.push_back(Frame::Heartbeat(place_text(place)));
                }
                Stage::Live(reader, cursor)
            }
        }
    }

    /// The ring has moved past it, or was emptied.
    fn fall_back(&mut self, host: &Host, env: &Env, mut reader: Reader) -> Stage {
        reader.fall_back();
        if self.history == host.hub.history || env.mutant == Some(Mutant::ConnectionsKept) {
            Stage::Replay(reader)
        } else {
            Stage::Opening(Some(reader.cursor()))
        }
    }
}

impl Client {
    pub(crate) fn new(id: usize, company: Company, drops_beyond: Option<usize>, env: &Env) -> Self {
        Self { id, session: Session::new(company, None, drops_beyond.is_some(), env), connection: None, drops_beyond }
    }

    pub(crate) fn connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Live, and everything sent has arrived.
    pub(crate) fn rests(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.out.is_empty() && matches!(c.stage, Stage::Live(..)))
    }

    pub(crate) fn cut(&mut self, env: &mut Env) {
        if self.connection.take().is_some() {
            env.note(|| format!("client {} is cut at {:?}", self.id, self.session.last_id));
        }
    }

    /// Forgets what it had and asks for something else. What was promised until now is checked first.
    pub(crate) fn ask(&mut self, company: Company, asked: Option<Cursor>, env: &mut Env) {
        if let Err(what) = self.session.check(env) {
            env.broken(format!("client {}: {what}", self.id));
        }
        self.connection = None;
        env.note(|| format!("client {} asks for {company} with {asked:?}", self.id));
        self.session = Session::new(company, asked, self.drops_beyond.is_some(), env);
    }

    pub(crate) fn connect(&mut self, host: &Host, env: &mut Env) {
        if self.connection.is_some() || !host.up {
            return;
        }
        let cursor = self.session.cursor();
        env.note(|| format!("client {} connects to h{} with {cursor:?}", self.id, host.id));
        self.connection = Some(Connection {
            host: host.id,
            boots: host.boots,
            history: 0,
            greeted: false,
            begins: false,
            placed: 0,
            told: 0,
            earliest: false,
            drops_beyond: self.drops_beyond,
            stage: Stage::Opening(cursor),
            out: VecDeque::new(),
        });
    }

    /// The connection does its next piece of work at its host; `talk` lets it send a heartbeat when it is quiet.
    pub(crate) fn work(&mut self, hosts: &mut [Host], env: &mut Env, talk: bool) {
        let Some(connection) = &mut self.connection else { return };
        let host = &mut hosts[connection.host];
        if !host.up || host.boots != connection.boots {
            return self.cut(env);
        }
        if !host.stopped && host.hub.ready() && connection.out.len() < OUT {
            connection.work(host, &mut self.session, env, talk);
        }
    }

    /// One frame arrives at the client.
    pub(crate) fn receive(&mut self, env: &mut Env) {
        let Some(frame) = self.connection.as_mut().and_then(|connection| connection.out.pop_front()) else { return };
        let frame = garbled(frame, env.mutant);
        env.note(|| format!("client {} ({}) gets {frame:?}", self.id, self.session.company));
        if let Err(what) = self.session.receive(frame, env) {
            env.broken(format!("client {}: {what}", self.id));
        }
    }
}

/// What planted faults make of a frame.
fn garbled(frame: Frame, mutant: Option<Mutant>) -> Frame {
    match (mutant, frame) {
        (Some(Mutant::DashKept), Frame::Event { id, data }) => Frame::Event { id: id.replace("~2D", "-"), data },
        (Some(Mutant::PlacesWithoutId), Frame::Gap(gap, _)) => Frame::Gap(gap, None),
        (Some(Mutant::MissedFromSequences), Frame::Gap(mut gap, place)) => {
            let from = gap.from.as_deref().and_then(cursor::parse_id).map_or(0, |id| id.sequence);
            gap.missed = gap.missed.and(gap.to).map(|to| to.sequence.saturating_sub(from));
            Frame::Gap(gap, place)
        }
        (_, frame) => frame,
    }
}
