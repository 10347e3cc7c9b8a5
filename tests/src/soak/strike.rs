//! The faults of a soak: each can be brought about at any time, and taken back.

use rand::Rng as _;
use rand::rngs::StdRng;

/// What a strike hits. Two at a time never hit the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A host's process.
    Host,
    /// A host's way to Redis.
    Way,
    /// Redis.
    Redis,
    /// NATS.
    Nats,
    /// The ways of clients.
    Clients,
    /// The folders of modules.
    Modules,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strike {
    /// A host is killed, and started again.
    KillHost,
    /// A host is asked to end, and started again.
    RestartHost,
    /// A host sleeps, often longer than the lease.
    StopHost,
    /// A host's connections to Redis break, and no new ones come about.
    CutWay,
    /// Nothing passes between a host and Redis.
    FreezeWay,
    /// Each answer of Redis to a host is late by half a second.
    SlowWay,
    /// Redis does what a host asks, and the host doesn't hear of it.
    LoseAnswers,
    /// The connections break on which hosts hear announcements.
    Deafen,
    /// Redis is killed, and started again.
    KillRedis,
    /// Redis answers nobody.
    FreezeRedis,
    /// Redis has no memory left.
    FillRedis,
    /// Redis loses everything.
    FlushRedis,
    /// NATS is killed, and started again.
    KillNats,
    /// The consumers of the stream are deleted.
    DeleteConsumers,
    /// All clients behind a proxy are cut at once.
    CutClients,
    /// Clients behind a proxy are cut at random bytes.
    MangleClients,
    /// A company gets another filter, or none.
    Swap,
}

impl Strike {
    /// All of them, each with how often it comes about in comparison.
    pub(super) const ALL: [(Self, u32); 17] = [
        (Self::KillHost, 4),
        (Self::RestartHost, 3),
        (Self::StopHost, 4),
        (Self::CutWay, 3),
        (Self::FreezeWay, 3),
        (Self::SlowWay, 2),
        (Self::LoseAnswers, 4),
        (Self::Deafen, 3),
        (Self::KillRedis, 2),
        (Self::FreezeRedis, 2),
        (Self::FillRedis, 2),
        (Self::FlushRedis, 1),
        (Self::KillNats, 2),
        (Self::DeleteConsumers, 3),
        (Self::CutClients, 4),
        (Self::MangleClients, 4),
        (Self::Swap, 6),
    ];

    /// Any one that does not hit `spared`.
    pub(super) fn draw(random: &mut StdRng, spared: Option<Target>) -> Self {
        let open = || Self::ALL.iter().filter(|(strike, _)| Some(strike.target()) != spared);
        let mut at = random.random_range(0..open().map(|(_, weight)| weight).sum::<u32>());
        for (strike, weight) in open() {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return *strike,
            }
        }
        Self::Swap
    }

    /// What it hits.
    pub(super) fn target(self) -> Target {
        match self {
            Self::KillHost | Self::RestartHost | Self::StopHost => Target::Host,
            Self::CutWay | Self::FreezeWay | Self::SlowWay | Self::LoseAnswers => Target::Way,
            Self::Deafen | Self::KillRedis | Self::FreezeRedis | Self::FillRedis | Self::FlushRedis => Target::Redis,
            Self::KillNats | Self::DeleteConsumers => Target::Nats,
            Self::CutClients | Self::MangleClients => Target::Clients,
            Self::Swap => Target::Modules,
        }
    }

    /// As a report names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillHost => "host killed",
            Self::RestartHost => "host restarted",
            Self::StopHost => "host asleep",
            Self::CutWay => "way to Redis cut",
            Self::FreezeWay => "way to Redis frozen",
            Self::SlowWay => "answers of Redis late",
            Self::LoseAnswers => "answers of Redis lost",
            Self::Deafen => "announcements lost",
            Self::KillRedis => "Redis killed",
            Self::FreezeRedis => "Redis frozen",
            Self::FillRedis => "Redis without memory",
            Self::FlushRedis => "Redis flushed",
            Self::KillNats => "NATS killed",
            Self::DeleteConsumers => "consumers deleted",
            Self::CutClients => "clients cut",
            Self::MangleClients => "clients cut at random bytes",
            Self::Swap => "filter swapped",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn every_strike_comes_about_and_none_that_hits_what_is_spared() {
        let mut random = StdRng::seed_from_u64(1);
        let drawn: BTreeSet<Strike> = (0..2_000).map(|_| Strike::draw(&mut random, None)).collect();
        assert_eq!(drawn.len(), Strike::ALL.len());
        for (spared, _) in Strike::ALL {
            let target = spared.target();
            assert!((0..500).all(|_| Strike::draw(&mut random, Some(target)).target() != target));
        }
    }
}
