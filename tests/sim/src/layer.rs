//! Faults that last for a while, or that come a few times in a run: woven into the steps that a seed draws.

use crate::filters::ODD;
use crate::ops::{Op, Profile};
use fastrand::Rng;

const HOUR_MS: i64 = 3_600_000;
/// So that a seed's layers have nothing to do with its steps.
const ANOTHER: u64 = 0x7469_6465_6761_7465;
const FURTHER: u64 = 0x636f_7265_6e61_7473;

struct Layers {
    rng: Rng,
    length: usize,
    hosts: usize,
    woven: Vec<(usize, Op)>,
}

impl Layers {
    fn at(&mut self) -> usize {
        self.rng.usize(0..self.length)
    }

    fn host(&mut self) -> usize {
        self.rng.usize(0..self.hosts)
    }

    /// So many times, if the dice say so.
    fn often(&mut self, chance: u32, times: usize, op: impl Fn(&mut Self) -> Op) {
        if self.rng.u32(0..100) < chance {
            for _ in 0..self.rng.usize(1..=times) {
                let (at, op) = (self.at(), op(self));
                self.woven.push((at, op));
            }
        }
    }

    /// Begins and ends again.
    fn spans(&mut self, chance: u32, times: usize, ops: impl Fn(&mut Self) -> (Op, Op)) {
        if self.rng.u32(0..100) < chance {
            for _ in 0..self.rng.usize(1..=times) {
                let at = self.at();
                let end = (at + self.rng.usize(20..600)).min(self.length);
                let (begins, ends) = ops(self);
                self.woven.extend([(at, begins), (end, ends)]);
            }
        }
    }

    /// Several steps on end, so many times.
    fn runs(&mut self, chance: u32, times: usize, ops: impl Fn(&mut Self) -> Vec<Op>) {
        if self.rng.u32(0..100) < chance {
            for _ in 0..self.rng.usize(1..=times) {
                let (at, ops) = (self.at(), ops(self));
                self.woven.extend(ops.into_iter().map(|op| (at, op)));
            }
        }
    }

    /// Commits with one event each.
    fn rush(&mut self, host: usize, commits: usize) -> Vec<Op> {
        let mut ops = Vec::new();
        for _ in 0..commits {
            let draw = (self.rng.u32(..) >> 2) & !ODD;
            ops.extend([Op::Publish(draw), Op::Read(host), Op::Batch(host, 8, 0), Op::Send(host, 0), Op::Answer(host)]);
        }
        ops
    }

    fn jump(&mut self) -> i64 {
        match self.rng.u32(0..4) {
            0 => HOUR_MS,
            1 => -HOUR_MS,
            2 => 0,
            _ => self.rng.i64(-90_000..90_000),
        }
    }
}

/// Draws the layers of a seed and puts them among its steps.
pub(crate) fn weave(seed: u64, profile: &Profile, ops: Vec<Op>) -> Vec<Op> {
    let mut layers =
        Layers { rng: Rng::with_seed(seed ^ ANOTHER), length: ops.len(), hosts: profile.hosts, woven: Vec::new() };
    layers.often(20, 4, |l| Op::Odd(l.rng.u32(..) >> 2 | ODD));
    layers.often(20, 6, |l| Op::Delete(l.rng.usize(0..8)));
    layers.spans(30, 4, |l| {
        let host = l.host();
        (Op::Stop(host), Op::Wake(host))
    });
    layers.spans(30, 4, |l| {
        let host = l.host();
        (Op::CutOff(host), Op::Rejoin(host))
    });
    layers.often(30, 4, |l| Op::HostClock(l.host(), l.jump()));
    // Of a time that stepped back nothing but the message itself can tell whether it is one of this stream.
    if profile.stream_stays() {
        layers.often(25, 4, |l| Op::SourceClock(l.jump()));
    }
    layers.often(30, 16, |l| Op::Sweep(l.host(), l.rng.usize(0..8)));
    layers.often(30, 30, |l| Op::Double(l.host()));
    layers.spans(25, 4, |l| {
        let company = l.rng.usize(0..8);
        (Op::Pause(company, true), Op::Pause(company, false))
    });
    layers.spans(15, 3, |_| (Op::Full(true), Op::Full(false)));
    // Between reading a page and taking it the ring moves on.
    let clients = profile.clients;
    layers.runs(40, 12, |l| {
        let (client, host, commits) = (l.rng.usize(0..clients), l.host(), l.rng.usize(1..6));
        let mut ops = vec![Op::Work(client, false)];
        ops.extend(l.rush(host, commits));
        ops.push(Op::Work(client, false));
        ops
    });
    // While a hole is filled, or a client reads, the store turns out to be in another history.
    layers.runs(if profile.store_stays() { 0 } else { 50 }, 10, |l| {
        let (host, client) = (l.host(), l.rng.usize(0..clients));
        let mut ops = vec![Op::Tick(host), Op::Tick(host), Op::Work(client, false), Op::Lose(l.rng.usize(1..4))];
        ops.extend([Op::Tick(host), Op::Renew(host), Op::Attach(host, false), Op::Work(client, false)]);
        ops
    });
    // Commits that no window has heard of are being read when the store loses just them.
    layers.runs(if profile.store_stays() { 0 } else { 50 }, 12, |l| {
        let (host, commits) = (l.host(), l.rng.usize(2..8));
        let mut ops = l.rush(host, commits);
        ops.retain(|op| !matches!(op, Op::Answer(_)));
        ops.extend(vec![Op::Tick(host); l.rng.usize(2..6)]);
        ops.extend([Op::Lose(commits), Op::Tick(host), Op::Renew(host)]);
        ops
    });
    // A new owner's first commits, which no window has heard of, are replayed and lost; then the stream is another one.
    layers.runs(if profile.store_stays() || profile.stream_stays() { 0 } else { 50 }, 8, |l| {
        let (host, client, commits) = (l.host(), l.rng.usize(0..clients), l.rng.usize(1..4));
        let mut ops = vec![Op::Cut(client), Op::Connect(client, host), Op::Work(client, false), Op::Tick(host)];
        ops.extend([Op::Release(host), Op::Attach(host, false), Op::Attach(host, false), Op::Attach(host, false)]);
        ops.extend(l.rush(host, commits));
        ops.retain(|op| !matches!(op, Op::Answer(_)));
        ops.extend(vec![Op::Work(client, false); 3]);
        ops.push(Op::Lose(commits + 1));
        ops.push(if l.rng.bool() { Op::Recreate } else { Op::Purge(0) });
        ops
    });
    // What nobody has read yet is purged, and the partition is idle.
    layers.runs(if profile.stream_stays() { 0 } else { 50 }, 8, |l| {
        let host = l.host();
        let mut ops = vec![Op::Batch(host, 8, 0), Op::Send(host, 0), Op::Answer(host)];
        ops.extend([
            Op::Publish(l.rng.u32(..) >> 2 & !ODD),
            Op::Publish(5),
            Op::Purge(l.rng.u64(0..2)),
            Op::Rest(host),
        ]);
        ops
    });
    among(layers.woven, ops)
}

/// Draws what came to the simulation later: the source of a seed, and what can happen to that.
pub(crate) fn weave_further(seed: u64, profile: &mut Profile, mut ops: Vec<Op>) -> Vec<Op> {
    let mut layers =
        Layers { rng: Rng::with_seed(seed ^ FURTHER), length: ops.len(), hosts: profile.hosts, woven: Vec::new() };
    profile.core = layers.rng.u32(0..4) == 0;
    // Versions of the filters reach the hosts one after the other, and hosts die and are replaced meanwhile.
    let hosts = profile.hosts;
    layers.runs(40, 20, |_| vec![Op::NewVersion]);
    if !layers.woven.is_empty() {
        for host in 0..hosts {
            layers.often(100, 16, |_| Op::Deploy(host));
            layers.often(100, 30, |_| Op::Look(host));
        }
        layers.runs(50, 6, |l| {
            let (host, commits) = (l.host(), l.rng.usize(1..4));
            let mut ops = vec![Op::NewVersion, Op::Deploy(host), Op::Look(host)];
            ops.extend(l.rush(host, commits));
            ops.extend([Op::Crash(host), Op::Start(host)]);
            ops
        });
        // One host has the newest version, and another takes over that has not, or is a new one.
        let core = profile.core;
        layers.runs(if hosts > 1 { 60 } else { 0 }, 8, |l| {
            let (host, commits) = (l.host(), l.rng.usize(1..3));
            let heir = (host + 1) % hosts;
            let mut ops = vec![Op::NewVersion, Op::Deploy(host), Op::Look(host)];
            ops.extend(l.rush(host, commits));
            if l.rng.u32(0..3) == 0 {
                // It dies before it hears that the commit with the swap is stored.
                ops.retain(|op| !matches!(op, Op::Answer(_)));
                ops.push(Op::Crash(host));
            }
            if !core && l.rng.bool() {
                ops.extend([Op::Crash(heir), Op::Replace(heir), Op::Start(heir)]);
            }
            ops.extend([Op::Wait(6_000), Op::Attach(heir, false), Op::Attach(heir, false), Op::Attach(heir, false)]);
            ops.push(Op::Read(heir));
            ops.extend(l.rush(heir, commits));
            ops.push(Op::Start(host));
            ops.extend((0..hosts).flat_map(|host| [Op::Deploy(host), Op::Look(host), Op::Tick(host)]));
            ops
        });
    }
    if profile.core {
        // Where the store may go back, only the clocks keep a host without memory from giving a number again.
        let clocks_agree = !profile.store_stays();
        ops.retain(|op| match op {
            Op::Recreate | Op::Purge(_) | Op::Odd(_) | Op::Delete(_) | Op::SourceClock(_) => false,
            Op::HostClock(..) => !clocks_agree,
            _ => true,
        });
        layers.length = ops.len();
        layers.spans(50, 5, |l| {
            let host = l.host();
            (Op::Unplug(host), Op::Plug(host))
        });
        layers.often(50, 10, |l| Op::Flood(l.host(), l.rng.usize(0..6)));
        layers.often(20, 4, |l| Op::Deafen(l.host()));
        // A host that has forgotten everything goes on after a store that lost what it had committed.
        layers.runs(if profile.store_stays() { 0 } else { 50 }, 6, |l| {
            let (host, commits) = (l.host(), l.rng.usize(1..6));
            let mut ops = l.rush(host, commits);
            ops.extend([Op::Lose(commits), Op::Crash(host), Op::Start(host)]);
            ops.extend([Op::Attach(host, false), Op::Attach(host, false), Op::Attach(host, false), Op::Read(host)]);
            ops.extend(l.rush(host, 2));
            ops
        });
    }
    among(layers.woven, ops)
}

fn among(mut woven: Vec<(usize, Op)>, ops: Vec<Op>) -> Vec<Op> {
    woven.sort_by_key(|(at, _)| *at);
    let mut all = Vec::with_capacity(ops.len() + woven.len());
    let mut woven = woven.into_iter().peekable();
    for (at, op) in ops.into_iter().enumerate() {
        while let Some((_, op)) = woven.next_if(|(before, _)| *before <= at) {
            all.push(op);
        }
        all.push(op);
    }
    all.extend(woven.map(|(_, op)| op));
    all
}
