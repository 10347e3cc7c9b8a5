//! Random input from seeds: what every fuzzer has in common. Without more said each runs a fixed number of rounds from seed
//! 1 on; `TIDEGATE_FUZZ_SECONDS` lets it run so long from any seed on, `TIDEGATE_FUZZ_SEED` begins at a seed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From this seed on.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end.max(1) as u64).unwrap_or_default()
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }

    /// One of these.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Runs a round for each of some seeds. A panic tells its seed and goes on.
pub fn rounds(default: u64, mut round: impl FnMut(&mut Random)) {
    let number = |name: &str| std::env::var_os(name)?.to_str()?.parse::<u64>().ok();
    let (seconds, seed) = (number("TIDEGATE_FUZZ_SECONDS"), number("TIDEGATE_FUZZ_SEED"));
    let any = || RandomState::new().build_hasher().finish() >> 1;
    let first = seed.unwrap_or_else(|| if seconds.is_some() { any() } else { 1 });
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut seeds = (first..).take_while(|seed| match end {
        Some(end) => Instant::now() < end,
        None => seed - first < default,
    });
    seeds
        .try_for_each(|seed| {
            catch_unwind(AssertUnwindSafe(|| round(&mut Random::new(seed)))).map_err(|panic| (seed, panic))
        })
        .unwrap_or_else(|(seed, panic)| {
            eprintln!("to see it again: TIDEGATE_FUZZ_SEED={seed}");
            resume_unwind(panic)
        });
}

/// Bytes with one to four random changes: bytes flipped, cut off, put in, doubled, or taken from `other`.
pub fn mutated(random: &mut Random, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(7) {
            0 | 1 => {
                let bit = random.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            2 => {
                let byte = *random.one(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'[', b'{', b'\n']);
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            3 if random.below(4) == 0 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let new: Vec<u8> = (0..random.below(16)).map(|_| random.byte()).collect();
                drop(bytes.splice(at..at, new));
            }
            5 => {
                let twice = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, twice));
            }
            _ => {
                let from = random.below(other.len());
                let part = other[from..(from + random.below(200)).min(other.len())].to_vec();
                drop(bytes.splice(at..end, part));
            }
        }
    }
    bytes
}

/// A module whose sections were exchanged, left out or doubled.
pub fn shuffled(random: &mut Random, module: &[u8]) -> Vec<u8> {
    let mut sections = sections(module);
    for _ in 0..=random.below(2) {
        let (one, other) = (random.below(sections.len()), random.below(sections.len()));
        match random.below(3) {
            _ if sections.is_empty() => {}
            0 => sections.swap(one, other),
            1 => drop(sections.remove(one)),
            _ => sections.insert(other, sections[one]),
        }
    }
    let head = &module[..module.len().min(8)];
    head.iter().chain(sections.into_iter().flatten()).copied().collect()
}

/// The sections of a module or component, each with its id and size.
fn sections(module: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut at) = (Vec::new(), 8);
    while at < module.len() {
        let (mut size, mut shift, mut end) = (0_usize, 0, at + 1);
        while let Some(byte) = module.get(end) {
            size |= usize::from(byte & 0x7f) << shift;
            (shift, end) = (shift + 7, end + 1);
            if byte & 0x80 == 0 || shift > 28 {
                break;
            }
        }
        let end = (end + size).min(module.len());
        found.push(&module[at..end]);
        at = end;
    }
    found
}
