//! A client and its connection: opened at a host, replayed in pages, live from the ring, cut at any frame.

use crate::env::Env;
use crate::host::Host;
use crate::hub::PAGE;
use crate::mutant::Mutant;
use crate::open;
use crate::session::{Frame, Session};
use std::collections::VecDeque;
use tidegate_core::commit::Page;
use tidegate_core::cursor::{self, Cursor};
use tidegate_core::entry::Entry;
use tidegate_core::event::Company;
use tidegate_core::frame;
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
    /// A page was read, and under which incarnation of the ring.
    Paged(Reader, Box<Page>, u64),
    Live(Reader, RingCursor),
}

struct Connection {
    host: usize,
    boots: u64,
    epoch: u64,
    /// `ready` was sent.
    greeted: bool,
    /// It asked for whatever there is, and no page has told where that begins.
    earliest: bool,
    /// An id was sent over it.
    told: bool,
    stage: Stage,
    out: VecDeque<Frame>,
}

/// A browser that comes back.
pub(crate) struct Client {
    id: usize,
    pub(crate) session: Session,
    connection: Option<Connection>,
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

fn push_entries(entries: &[Entry], out: &mut VecDeque<Frame>) {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| frame::event(&mut bytes, entry));
    parse(&bytes, out);
}

impl Client {
    pub(crate) fn new(id: usize, company: Company, env: &Env) -> Self {
        Self { id, session: Session::new(company, None, env), connection: None }
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
        self.session = Session::new(company, asked, env);
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
            epoch: host.hub.epoch,
            greeted: false,
            earliest: false,
            told: false,
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
        if !host.hub.ready() || connection.out.len() >= OUT {
            return;
        }
        let company = self.session.company.clone();
        if connection.epoch != host.hub.epoch {
            connection.epoch = host.hub.epoch;
            let asked = self.session.cursor();
            connection.stage = match std::mem::replace(&mut connection.stage, Stage::Opening(None)) {
                Stage::Opening(cursor) => Stage::Opening(cursor),
                Stage::Replay(reader) | Stage::Paged(reader, ..) | Stage::Live(reader, _) if connection.told => {
                    Stage::Opening(Some(Cursor::Id(reader.as_cursor())))
                }
                // It was sent no id: it asks what it asked.
                Stage::Replay(_) | Stage::Paged(..) | Stage::Live(..) => Stage::Opening(asked),
            };
        }
        let stage = std::mem::replace(&mut connection.stage, Stage::Opening(None));
        connection.stage = match stage {
            Stage::Opening(cursor) => match open::open(env, &company, cursor.as_ref()) {
                None => Stage::Opening(cursor),
                Some(opened) => {
                    connection.earliest = cursor == Some(Cursor::Earliest);
                    if !std::mem::replace(&mut connection.greeted, true) {
                        connection.out.push_back(Frame::Ready(place_text(opened.ready)));
                        connection.told |= opened.ready.is_some();
                    }
                    connection.told |= opened.gap.is_some();
                    connection.out.extend(opened.gap.map(Frame::Gap));
                    Stage::Replay(opened.reader)
                }
            },
            Stage::Replay(reader) => {
                host.hub.ring_is_new(&company);
                let read_under = host.hub.ring(&company).incarnation();
                let page = env.store.page(&company, reader.sent(), PAGE);
                Stage::Paged(reader, Box::new(page), read_under)
            }
            Stage::Paged(mut reader, mut page, read_under) => {
                let place = page.place;
                if std::mem::replace(&mut connection.earliest, false)
                    && let Some(floor) = page.floor
                {
                    self.session.begins_after(env.coord_of_place(floor.place()));
                }
                if env.mutant == Some(Mutant::SeamOffByOne) {
                    page.last.number += 1;
                }
                let agrees = host.hub.agrees(&page);
                let turn = reader.page(*page, host.hub.ring(&company), read_under);
                connection.told |= turn.gap.is_some() || !turn.entries.is_empty();
                connection.out.extend(turn.gap.map(Frame::Gap));
                push_entries(&turn.entries, &mut connection.out);
                match turn.next {
                    Next::Live if agrees => {
                        let place = reader.tell_place(place);
                        connection.told |= place.is_some();
                        connection.out.push_back(Frame::CaughtUp(place_text(place)));
                        let cursor = host.hub.ring(&company).join(reader.sent());
                        Stage::Live(reader, cursor)
                    }
                    Next::Read | Next::Live => Stage::Replay(reader),
                }
            }
            Stage::Live(mut reader, mut cursor) => {
                let early = env.mutant == Some(Mutant::PlaceBeforeFrames);
                let mut read = host.hub.ring(&company).read(&mut cursor, reader.sent(), WRITE_BYTES);
                if early && talk && matches!(read, Read::Frames { .. }) {
                    read = Read::Empty;
                }
                match read {
                    Read::Frames { bytes, last, running, time_ms, .. } => {
                        parse(&bytes, &mut connection.out);
                        reader.live(last, time_ms, running);
                        connection.told = true;
                        Stage::Live(reader, cursor)
                    }
                    Read::Behind => {
                        reader.fall_back();
                        Stage::Replay(reader)
                    }
                    Read::Empty => {
                        if talk {
                            let place = reader.tell_place(host.hub.place(&company, env.mutant));
                            connection.told |= place.is_some();
                            connection.out.push_back(Frame::Heartbeat(place_text(place)));
                        }
                        Stage::Live(reader, cursor)
                    }
                }
            }
        };
    }

    /// One frame arrives at the client.
    pub(crate) fn receive(&mut self, env: &mut Env) {
        let Some(frame) = self.connection.as_mut().and_then(|connection| connection.out.pop_front()) else { return };
        env.note(|| format!("client {} ({}) gets {frame:?}", self.id, self.session.company));
        if let Err(what) = self.session.receive(frame, env) {
            env.broken(format!("client {}: {what}", self.id));
        }
    }
}
