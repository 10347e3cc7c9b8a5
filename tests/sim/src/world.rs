//! The world of one run: performs steps, then lets everything come to rest and checks what must hold by then.

use crate::client::Client;
use crate::env::Env;
use crate::host::Host;
use crate::mutant::Mutant;
use crate::ops::{Op, Profile};
use crate::source::SUBJECT;
use tidegate_core::backlog::Caps;
use tidegate_core::cursor::{self, Cursor};
use tidegate_core::event::Company;
use tidegate_core::position::Position;

/// Rounds in which everything must have drained once faults have stopped.
const ROUNDS: usize = 2_000;

pub(crate) struct World {
    pub(crate) env: Env,
    hosts: Vec<Host>,
    clients: Vec<Client>,
}

impl World {
    pub(crate) fn new(profile: &Profile, mutant: Option<Mutant>, log: bool) -> Self {
        let env = Env::new(profile.hosts, profile.core, mutant, log);
        let caps = Caps { bytes_max: profile.caps.0, age_ms_max: profile.caps.1 };
        let hosts = (0..profile.hosts).map(|id| Host::new(id, caps)).collect();
        let company = |id: usize| env.companies[id % env.companies.len()].clone();
        let clients = (0..profile.clients).map(|id| Client::new(id, company(id), profile.drops(id), &env)).collect();
        Self { env, hosts, clients }
    }

    pub(crate) fn perform(&mut self, op: Op) {
        let Self { env, hosts, clients } = self;
        if op.moves().is_some_and(|host| hosts[host].stopped) {
            return;
        }
        match op {
            Op::Wait(ms) => env.now += ms,
            Op::Publish(draw) => {
                env.now += 1;
                env.source.publish(env.now, draw);
                env.note(|| format!("published {}", env_last(draw)));
            }
            Op::Recreate => {
                // Far enough from the old life that times tell them apart.
                env.now += 600_000;
                env.source.recreate(env.now);
                env.now += 1;
                env.note(|| "the stream is made again".into());
            }
            Op::Purge(keep) => {
                let below = (env.source.now().last() + 1).saturating_sub(keep);
                env.source.purge(below);
                env.note(|| format!("the stream is purged below {below}"));
            }
            Op::Lose(writes) => {
                let lost = env.store.lose(writes);
                env.truth.went_back |= lost > 0;
                let last = env.store.head().last;
                env.note(|| format!("the store loses {lost} writes and stands at {last:?}"));
            }
            Op::Flush => {
                env.store.flush();
                env.truth.flushes += 1;
                env.note(|| "the store is emptied".into());
            }
            Op::Trim(host, company, keep) => {
                let company = env.company(company);
                if let Some(token) = hosts[host].token().filter(|_| !hosts[host].cut_off) {
                    let removed = env.store.trim(token, &company, keep, env.mutant);
                    env.note(|| format!("{removed} entries of {company} are trimmed"));
                }
            }
            Op::Crash(host) => hosts[host].crash(env),
            Op::Start(host) => {
                hosts[host].start();
                // A process does not start within the millisecond that another one gave a number in.
                env.now += u64::from(env.source.wire.is_some());
            }
            Op::Attach(host, lost) => hosts[host].attach(env, lost),
            Op::Renew(host) => hosts[host].renew(env),
            Op::Release(host) => hosts[host].release(env),
            Op::Read(host) => hosts[host].read(env),
            Op::Batch(host, most, slow) => hosts[host].batch(env, most, slow),
            Op::Step(host, pick, inputs) => hosts[host].step(env, pick, inputs),
            Op::Rest(host) => hosts[host].rest(env),
            Op::Send(host, fault) => hosts[host].send(env, fault),
            Op::Resend(host) => hosts[host].resend(),
            Op::Answer(host) => hosts[host].answer(env),
            Op::Late(pick) => {
                if !env.late.is_empty() {
                    let commit = env.late.swap_remove(pick % env.late.len());
                    env.commit(&commit);
                }
            }
            Op::Outbox(host, cut) => hosts[host].outbox(env, cut),
            Op::Hear(host, overtakes) => {
                let queue = &mut env.net[host];
                let at = overtakes.min(queue.len().saturating_sub(1));
                if let Some(news) = queue.remove(at) {
                    hosts[host].hub.hear(&news, env.mutant);
                    hosts[host].saw(news.commit.checkpoint);
                }
            }
            Op::Deaf(host) => drop(env.net[host].pop_front()),
            Op::Tick(host) if hosts[host].up && !hosts[host].cut_off => {
                hosts[host].hub.tick(env);
                hosts[host].saw(env.store.head().checkpoint);
                if hosts[host].token().is_none() {
                    hosts[host].keeper.stand_by(&env.store.head().chains, env);
                }
            }
            Op::Tick(_) => {}
            Op::Connect(client, host) => clients[client].connect(&hosts[host], env),
            Op::Work(client, talk) => clients[client].work(hosts, env, talk),
            Op::Receive(client) => clients[client].receive(env),
            Op::Cut(client) => clients[client].cut(env),
            Op::Ask(client, company, draw) => {
                let company = env.company(company);
                let cursor = choose_cursor(env, draw);
                clients[client].ask(company, cursor, env);
            }
            Op::Odd(draw) => {
                env.now += 1;
                env.source.publish(env.now, draw);
                env.note(|| "an odd message is published".into());
            }
            Op::Delete(pick) => {
                if let Some(sequence) = env.source.delete(pick) {
                    env.note(|| format!("message {sequence} is deleted"));
                }
            }
            Op::Stop(host) => {
                env.note(|| format!("h{host} is stopped"));
                hosts[host].stopped = hosts[host].up;
            }
            Op::Wake(host) => {
                env.note(|| format!("h{host} is woken"));
                hosts[host].stopped = false;
            }
            Op::CutOff(host) => {
                env.note(|| format!("h{host} is cut off from the store"));
                hosts[host].cut_off = true;
            }
            Op::Rejoin(host) => {
                env.note(|| format!("h{host} reaches the store again"));
                hosts[host].cut_off = false;
            }
            Op::HostClock(host, off) => {
                env.note(|| format!("the clock of h{host} is {off} ms off"));
                hosts[host].clock = off;
                env.source.stepped_back |= env.source.wire.is_some() && off != 0;
            }
            Op::SourceClock(off) => {
                env.note(|| format!("the source's clock is {off} ms off"));
                env.source.stepped_back |= off < env.source.clock;
                env.source.clock = off;
            }
            Op::Sweep(host, company) => {
                let company = env.company(company);
                hosts[host].sweep(env, &company);
            }
            Op::Double(host) => {
                if let Some(news) = env.net[host].front().cloned() {
                    env.net[host].push_back(news);
                }
            }
            Op::Pause(company, pauses) => {
                let company = env.company(company);
                env.note(|| format!("{company} is paused: {pauses}"));
                if pauses {
                    env.paused.insert(company);
                } else {
                    env.paused.remove(&company);
                }
            }
            Op::Full(full) => {
                env.note(|| format!("the store is full: {full}"));
                env.store.full = full;
            }
            Op::Unplug(host) => {
                env.note(|| format!("h{host} loses its connection to NATS"));
                hosts[host].unplug(true, env.source.wire.as_ref());
            }
            Op::Plug(host) => {
                env.note(|| format!("h{host} is connected to NATS"));
                hosts[host].unplug(false, env.source.wire.as_ref());
            }
            Op::Flood(host, holds) => {
                env.note(|| format!("h{host} holds {holds} of the messages that wait for it"));
                hosts[host].flood(holds, env.source.wire.as_ref());
            }
            Op::NewVersion => {
                if hosts.iter().all(|host| host.up && host.keeper.has_taken(env.version)) {
                    env.version += 1;
                    let version = env.version;
                    env.note(|| format!("version {version} is made"));
                }
            }
            Op::Deploy(host) => {
                let version = env.version;
                hosts[host].keeper.deploy(version);
                env.note(|| format!("version {version} is put into the folder of h{host}"));
            }
            Op::Look(host) => hosts[host].look(env),
            Op::Replace(host) if !hosts[host].up => {
                env.note(|| format!("h{host} is a new host"));
                hosts[host].keeper.replace();
            }
            Op::Replace(_) => {}
            Op::Deafen(host) => {
                env.note(|| format!("the reader of h{host} ends"));
                hosts[host].deafen(env.source.wire.as_ref());
            }
        }
    }

    /// No more faults: everything has to drain, and every client to catch up.
    pub(crate) fn settle(&mut self) {
        for host in 0..self.hosts.len() {
            for op in [Op::Wake(host), Op::Rejoin(host), Op::HostClock(host, 0), Op::Plug(host)] {
                self.perform(op);
            }
        }
        (0..self.env.companies.len()).for_each(|company| self.perform(Op::Pause(company, false)));
        self.perform(Op::Full(false));
        self.drain();
        // Every host gets the newest version, and the owner looks.
        for host in 0..self.hosts.len() {
            self.perform(Op::Deploy(host));
            self.perform(Op::Look(host));
        }
        self.drain();
        if self.env.source.wire.is_some() {
            // What was lost shows by what comes after it.
            (0..8).for_each(|company| self.perform(Op::Publish(6 + (company << 8))));
            self.drain();
        }
        if self.env.broken.is_none() {
            self.check();
        }
    }

    fn drain(&mut self) {
        for round in 0..ROUNDS {
            if self.env.broken.is_some() || (round > 3 && self.at_rest()) {
                break;
            }
            self.round();
        }
    }

    fn round(&mut self) {
        self.perform(Op::Wait(200));
        for host in 0..self.hosts.len() {
            for op in [Op::Start(host), Op::Attach(host, false), Op::Renew(host), Op::Resend(host)] {
                self.perform(op);
            }
            for _ in 0..4 {
                self.perform(Op::Read(host));
            }
            for op in [Op::Batch(host, 8, 0), Op::Step(host, 0, 6), Op::Step(host, 1, 6), Op::Rest(host)] {
                self.perform(op);
            }
            for _ in 0..4 {
                self.perform(Op::Send(host, 0));
                self.perform(Op::Answer(host));
                self.perform(Op::Hear(host, 0));
                self.perform(Op::Tick(host));
            }
            self.perform(Op::Outbox(host, false));
        }
        for client in 0..self.clients.len() {
            if !self.clients[client].connected() {
                self.perform(Op::Connect(client, client % self.hosts.len()));
            }
            for turn in 0..8 {
                self.perform(Op::Work(client, turn == 7));
                self.perform(Op::Receive(client));
                self.perform(Op::Receive(client));
            }
            for _ in 0..8 {
                self.perform(Op::Receive(client));
            }
        }
    }

    fn at_rest(&self) -> bool {
        let through = match &self.env.source.wire {
            Some(wire) => {
                let owner = self.env.store.ledger().owner;
                self.hosts.iter().any(|host| host.token() == owner && host.has_heard(wire))
            }
            None => self.reached_the_end(),
        };
        let checkpoint = self.env.store.head().checkpoint;
        through
            && self.env.store.companies().iter().all(|(_, head)| head.waiting == 0)
            && self.env.store.outbox(1).is_empty()
            && self.hosts.iter().all(Host::idle)
            && self.clients.iter().all(|client| client.rests() && self.stands(client, checkpoint))
    }

    fn reached_the_end(&self) -> bool {
        let last = self.env.source.now().last();
        let checkpoint = self.env.store.head().checkpoint;
        let created = self.env.store.head().generation().map(|generation| generation.created_ms);
        created == Some(self.env.source.now().created_ms) && checkpoint.is_some_and(|place| place.sequence == last)
    }

    fn stands(&self, client: &Client, checkpoint: Option<tidegate_core::position::Place>) -> bool {
        let place = checkpoint.map(|place| self.env.coord_of_place(place));
        client.session.at >= place
    }

    fn check(&mut self) {
        let Self { env, clients, .. } = self;
        for client in clients.iter() {
            if let Err(what) = client.session.check(env) {
                let company = &client.session.company;
                env.broken(format!("a client of {company}: {what}"));
                return;
            }
        }
        if let Err(what) = env.store.ledger().check_drained() {
            env.broken(what);
        }
        let (version, sure) = (env.store.ledger().version(), !env.truth.went_back && env.truth.flushes == 0);
        if sure && version != env.version {
            env.broken(format!("version {version} runs, and every folder holds {}", env.version));
        }
        if let Some(what) = check_letters(env) {
            env.broken(what);
        }
        if env.broken.is_none() && !self.at_rest() {
            let env = &mut self.env;
            let head = env.store.head();
            let clients: Vec<_> = self.clients.iter().map(|c| (c.rests(), c.session.last_id.clone())).collect();
            env.broken(format!(
                "it does not come to rest: source at {}, store at {:?}, clients {clients:?}",
                env.source.now().last(),
                head.checkpoint
            ));
        }
    }
}

fn env_last(draw: u32) -> String {
    format!("an event, draw {draw:x}")
}

/// A dead letter's input was not emitted, too, and every stored one was published.
fn check_letters(env: &Env) -> Option<String> {
    let truth = &env.truth;
    if let Some(id) = env.store.ledger().dead.iter().find(|id| !truth.letters.contains_key(*id)) {
        return Some(format!("the dead letter {id} was never published"));
    }
    if truth.went_back || truth.flushes > 0 {
        return None;
    }
    truth.letters.iter().find_map(|(id, (company, life, sequence))| {
        let known = match company {
            Some(company) => truth.dead.contains(&(company.clone(), *life, *sequence)),
            None => env.store.ledger().dead.contains(id),
        };
        (!known).then(|| format!("the dead letter {id} was published and never stored"))
    })
}

/// Any cursor a client may come with: none, all, from a time, garbage, an id or a place of any company.
fn choose_cursor(env: &Env, draw: u32) -> Option<Cursor> {
    let pick = (draw >> 8) as usize;
    match draw % 16 {
        0 | 1 => None,
        2..5 => Some(Cursor::Earliest),
        // "From a time on" has one meaning only while times go forward.
        5..7 if env.source.stepped_back => Some(Cursor::Earliest),
        5..7 => Some(Cursor::Since(env.now.saturating_sub((draw >> 8) as u64 % 300_000))),
        7 => Some(Cursor::Unreadable),
        kind => {
            let of: &Company = &env.companies[pick % env.companies.len()];
            let all = env.truth.ever.get(of)?;
            let (coord, stored) = all.iter().nth(pick % all.len().max(1))?;
            let position = Position::new(1, coord.sequence, coord.output);
            let text = if kind < 13 {
                cursor::event_id(SUBJECT, position, stored.time_ms)
            } else {
                format!("at-{}-{:013}", coord.sequence, stored.time_ms)
            };
            cursor::parse(&text)
        }
    }
}
