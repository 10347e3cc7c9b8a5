//! The seeded simulation of what decides in Tidegate.
//!
//! A seed draws a schedule of small atomic steps; model parts (source, store, network, filters, hosts, hubs, clients)
//! perform them around the real decisions of `tidegate-core`, and checks that share nothing with those decisions hold
//! every applied commit and every frame a client gets against the promises. The same seed gives the same run.
#![forbid(unsafe_code)]

mod client;
mod env;
mod filters;
mod host;
mod hub;
mod layer;
mod ledger;
mod many;
mod mutant;
mod open;
mod ops;
mod recorded;
mod session;
mod shrink;
mod source;
mod store;
mod truth;
mod wire;
mod world;

pub use many::{plant_all, play_all};
pub use mutant::Mutant;
pub use ops::Op;
pub use shrink::{History, shortest};

use ops::Extent;
use world::World;

/// Seeds that once failed, one a line: played before all others, in every extent.
pub const KNOWN: &str = include_str!("../seeds.txt");

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// Which promise, in a sentence.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

/// Plays one seed.
///
/// # Errors
/// The first promise that was broken.
pub fn play(seed: u64, mutant: Option<Mutant>) -> Result<(), Failure> {
    play_with(seed, mutant, Extent::All)
}

fn play_with(seed: u64, mutant: Option<Mutant>, extent: Extent) -> Result<(), Failure> {
    let (profile, ops) = ops::schedule(seed, extent);
    match replay(&profile, &ops, mutant, false).env.broken {
        Some(what) => Err(Failure { seed, what }),
        None => Ok(()),
    }
}

/// The seeds of `seeds.txt`; what follows a `#` is the story of the seed.
pub fn known_seeds() -> impl Iterator<Item = u64> {
    KNOWN.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok())
}

fn replay(profile: &ops::Profile, ops: &[Op], mutant: Option<Mutant>, log: bool) -> World {
    let mut world = World::new(profile, mutant, log);
    for op in ops {
        if world.env.broken.is_some() {
            return world;
        }
        world.perform(*op);
    }
    world.settle();
    world
}
