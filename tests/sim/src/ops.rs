//! What can happen in a run, and the schedule that a seed draws.

use crate::filters::ODD;
use crate::layer;
use fastrand::Rng;

/// One small atomic step. Which of several hosts or clients, and every other choice, comes from the numbers in it, so
/// that a schedule stays meaningful when steps are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Time passes, in milliseconds.
    Wait(u64),
    /// An event reaches the source.
    Publish(u32),
    /// The stream is deleted and made again.
    Recreate,
    /// The retention takes the older part of the stream: all but so many.
    Purge(u64),
    /// The store loses its last writes.
    Lose(usize),
    /// The store is emptied.
    Flush,
    /// The owner trims a company to so many entries.
    Trim(usize, usize, usize),
    /// A host dies.
    Crash(usize),
    /// A host starts.
    Start(usize),
    /// A host takes the next step into office; the answer may be lost.
    Attach(usize, bool),
    /// A host renews its lease.
    Renew(usize),
    /// A host hands its lease back.
    Release(usize),
    /// The reader takes the next event.
    Read(usize),
    /// A batch of so many events is planned; a bit for each company that is slow.
    Batch(usize, usize, u32),
    /// A step of a backlog.
    Step(usize, usize, usize),
    /// An idle checkpoint.
    Rest(usize),
    /// A commit reaches the store; see `Host::send` for the fault.
    Send(usize, u32),
    /// Time limits pass.
    Resend(usize),
    /// An answer arrives.
    Answer(usize),
    /// A copy of an old commit reaches the store.
    Late(usize),
    /// The outbox is published; the host may die before it says so.
    Outbox(usize, bool),
    /// An announcement arrives, perhaps overtaking others.
    Hear(usize, usize),
    /// An announcement is lost.
    Deaf(usize),
    /// The hub makes its next call to the store.
    Tick(usize),
    /// A client connects.
    Connect(usize, usize),
    /// A client's connection works.
    Work(usize, bool),
    /// A client gets a frame.
    Receive(usize),
    /// A client is cut.
    Cut(usize),
    /// A client asks for another company, cursor chosen by the number.
    Ask(usize, usize, u32),
    /// A message that no reader can hand on reaches the source.
    Odd(u32),
    /// An operator deletes one of the messages that nobody has read yet.
    Delete(usize),
    /// A host is stopped (SIGSTOP): nothing of it moves, its lease runs on.
    Stop(usize),
    /// It is woken, with whatever it was about to do.
    Wake(usize),
    /// A host loses its way to the store.
    CutOff(usize),
    /// It finds it again.
    Rejoin(usize),
    /// A host's clock jumps: so many ms off from now on.
    HostClock(usize, i64),
    /// The source's clock jumps.
    SourceClock(i64),
    /// The owner trims a company by age.
    Sweep(usize, usize),
    /// An announcement arrives twice.
    Double(usize),
    /// A company is paused, or has no chain that loads; or has one again.
    Pause(usize, bool),
    /// The store has no room; or has room again.
    Full(bool),
    /// A host loses its connection to core NATS.
    Unplug(usize),
    /// It has it again.
    Plug(usize),
    /// A host holds so many of the messages that wait for it, and loses the rest.
    Flood(usize, usize),
    /// A host's reader of core NATS ends.
    Deafen(usize),
    /// An operator has a newer version of the filters, once every host has the one before it.
    NewVersion,
    /// The newest version is put into a host's folder.
    Deploy(usize),
    /// A host looks at its folder.
    Look(usize),
    /// A host is replaced by a new one with the same folder.
    Replace(usize),
}

impl Op {
    /// Which host does it, unless it is stopped.
    pub(crate) fn moves(self) -> Option<usize> {
        match self {
            Self::Trim(host, ..)
            | Self::Attach(host, _)
            | Self::Renew(host)
            | Self::Release(host)
            | Self::Read(host)
            | Self::Batch(host, ..)
            | Self::Step(host, ..)
            | Self::Rest(host)
            | Self::Send(host, _)
            | Self::Resend(host)
            | Self::Answer(host)
            | Self::Outbox(host, _)
            | Self::Hear(host, _)
            | Self::Tick(host)
            | Self::Sweep(host, _)
            | Self::Look(host) => Some(host),
            Self::Wait(_)
            | Self::Publish(_)
            | Self::Recreate
            | Self::Purge(_)
            | Self::Lose(_)
            | Self::Flush
            | Self::Crash(_)
            | Self::Start(_)
            | Self::Late(_)
            | Self::Deaf(_)
            | Self::Connect(..)
            | Self::Work(..)
            | Self::Receive(_)
            | Self::Cut(_)
            | Self::Ask(..)
            | Self::Odd(_)
            | Self::Delete(_)
            | Self::Stop(_)
            | Self::Wake(_)
            | Self::CutOff(_)
            | Self::Rejoin(_)
            | Self::HostClock(..)
            | Self::SourceClock(_)
            | Self::Double(_)
            | Self::Pause(..)
            | Self::Full(_)
            | Self::Unplug(_)
            | Self::Plug(_)
            | Self::Flood(..)
            | Self::Deafen(_)
            | Self::NewVersion
            | Self::Deploy(_)
            | Self::Replace(_) => None,
        }
    }
}

/// How wild a run is: drawn once for a seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) hosts: usize,
    pub(crate) clients: usize,
    /// Bytes a backlog may hold, and how long it may wait.
    pub(crate) caps: (u64, u64),
    weights: [(u32, Kind); 28],
    slow: u32,
    faults: u32,
    burst: bool,
    jumps: bool,
    /// The source is core NATS.
    pub(crate) core: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Wait,
    Publish,
    Recreate,
    Purge,
    Lose,
    Flush,
    Trim,
    Crash,
    Start,
    Attach,
    Renew,
    Release,
    Read,
    Batch,
    Step,
    Rest,
    Send,
    Resend,
    Answer,
    Late,
    Outbox,
    Hear,
    Deaf,
    Tick,
    Connect,
    Work,
    Receive,
    Rare,
}

impl Profile {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let on = |rng: &mut Rng, chance: u32, weight: u32| if rng.u32(0..100) < chance { weight } else { 0 };
        let hosts = rng.usize(1..=3);
        let busy = 25 * hosts as u32;
        let weights = [
            (40, Kind::Wait),
            (60, Kind::Publish),
            (on(rng, 20, 2), Kind::Recreate),
            (on(rng, 20, 3), Kind::Purge),
            (on(rng, 40, 4), Kind::Lose),
            (on(rng, 15, 1), Kind::Flush),
            (on(rng, 40, 12), Kind::Trim),
            (on(rng, 50, 4), Kind::Crash),
            (20, Kind::Start),
            (busy, Kind::Attach),
            (5, Kind::Renew),
            (on(rng, 30, 4), Kind::Release),
            (busy * 3, Kind::Read),
            (busy * 2, Kind::Batch),
            (busy, Kind::Step),
            (busy / 4, Kind::Rest),
            (busy * 3, Kind::Send),
            (busy / 2, Kind::Resend),
            (busy * 3, Kind::Answer),
            (on(rng, 30, 8), Kind::Late),
            (10, Kind::Outbox),
            (busy * 2, Kind::Hear),
            (on(rng, 40, 10), Kind::Deaf),
            (busy, Kind::Tick),
            (60, Kind::Connect),
            (260, Kind::Work),
            (320, Kind::Receive),
            (14, Kind::Rare),
        ];
        let small = rng.u32(0..100) < 15;
        Self {
            hosts,
            clients: rng.usize(2..=4),
            caps: if small { (600, 200_000) } else { (1 << 30, u64::MAX) },
            weights,
            slow: rng.u32(0..60),
            faults: if rng.bool() { rng.u32(0..30) } else { 0 },
            burst: rng.u32(0..100) < 4,
            jumps: rng.bool(),
            core: false,
        }
    }

    fn kind(&self, rng: &mut Rng) -> Kind {
        let mut at = rng.u32(0..self.weights.iter().map(|(weight, _)| weight).sum());
        for (weight, kind) in self.weights {
            if at < weight {
                return kind;
            }
            at -= weight;
        }
        Kind::Wait
    }

    fn op(&self, rng: &mut Rng) -> Op {
        let host = rng.usize(0..self.hosts);
        let client = rng.usize(0..self.clients);
        let fault = |rng: &mut Rng| rng.u32(0..100) < self.faults;
        match self.kind(rng) {
            Kind::Wait => Op::Wait(match rng.u32(0..100) {
                0..5 if self.jumps => 6_000,
                5..10 if self.jumps => 130_000,
                _ => rng.u64(1..200),
            }),
            Kind::Publish => {
                let burst = if self.burst && rng.u32(0..6) == 0 { 1 << 31 } else { 0 };
                Op::Publish(((rng.u32(..) >> 1) & !ODD) | burst)
            }
            Kind::Recreate => Op::Recreate,
            Kind::Purge => Op::Purge(rng.u64(0..6)),
            Kind::Lose => Op::Lose(rng.usize(1..7)),
            Kind::Flush => Op::Flush,
            Kind::Trim => Op::Trim(host, rng.usize(0..8), rng.usize(0..8)),
            Kind::Crash => Op::Crash(host),
            Kind::Start => Op::Start(host),
            Kind::Attach => Op::Attach(host, fault(rng)),
            Kind::Renew => Op::Renew(host),
            Kind::Release => Op::Release(host),
            Kind::Read => Op::Read(host),
            Kind::Batch => {
                let slow = (0..8).fold(0, |bits, bit| bits | u32::from(rng.u32(0..100) < self.slow) << bit);
                Op::Batch(host, rng.usize(1..8), slow)
            }
            Kind::Step => Op::Step(host, rng.usize(0..8), rng.usize(1..6)),
            Kind::Rest => Op::Rest(host),
            Kind::Send => Op::Send(host, if fault(rng) { rng.u32(1..4) } else { 0 }),
            Kind::Resend => Op::Resend(host),
            Kind::Answer => Op::Answer(host),
            Kind::Late => Op::Late(rng.usize(0..8)),
            Kind::Outbox => Op::Outbox(host, fault(rng)),
            Kind::Hear => Op::Hear(host, if fault(rng) { rng.usize(0..4) } else { 0 }),
            Kind::Deaf => Op::Deaf(host),
            Kind::Tick => Op::Tick(host),
            Kind::Connect => Op::Connect(client, host),
            Kind::Work => Op::Work(client, rng.u32(0..4) == 0),
            Kind::Receive => Op::Receive(client),
            Kind::Rare if rng.bool() => Op::Ask(client, rng.usize(0..8), rng.u32(..)),
            Kind::Rare => Op::Cut(client),
        }
    }
}

impl Profile {
    /// Some clients have the policy `drop-oldest`: beyond how many frames.
    pub(crate) fn drops(&self, client: usize) -> Option<usize> {
        (client == 3).then_some(3)
    }

    /// Does the store keep all that it was given?
    pub(crate) fn store_stays(&self) -> bool {
        !self.weights.iter().any(|(weight, kind)| *weight > 0 && matches!(kind, Kind::Lose | Kind::Flush))
    }

    /// Is it one stream that keeps all that it was given?
    pub(crate) fn stream_stays(&self) -> bool {
        !self.weights.iter().any(|(weight, kind)| *weight > 0 && matches!(kind, Kind::Recreate | Kind::Purge))
    }
}

/// How much of a seed is played: each is woven into what the one before it has, which stays what it was when a seed first
/// failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The steps alone.
    Steps,
    /// With the layers of further faults.
    Faults,
    /// With core NATS as the source of some seeds, and with swaps of chains.
    All,
}

impl Extent {
    pub(crate) const EACH: [Self; 3] = [Self::Steps, Self::Faults, Self::All];
}

/// The profile and the steps of a seed.
pub(crate) fn schedule(seed: u64, extent: Extent) -> (Profile, Vec<Op>) {
    let mut rng = Rng::with_seed(seed);
    let mut profile = Profile::draw(&mut rng);
    let length = rng.usize(300..3_000);
    let mut ops = (0..length).map(|_| profile.op(&mut rng)).collect();
    if extent != Extent::Steps {
        ops = layer::weave(seed, &profile, ops);
    }
    if extent == Extent::All {
        ops = layer::weave_further(seed, &mut profile, ops);
    }
    (profile, ops)
}
