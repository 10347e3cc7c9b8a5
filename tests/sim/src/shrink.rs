//! Finds a short history of a failure: takes steps out while the same promise is still broken.

use crate::mutant::Mutant;
use crate::ops::{self, Op, Profile};
use crate::replay;

/// Replays of one shrinking at most: bounds the wait, not the result.
const TRIES: usize = 3_000;

/// The kind of a failure: its words without numbers and names.
fn kind(what: &str) -> String {
    what.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(400).collect()
}

/// Can a shorter history stand for this one? The same sentence, whatever the numbers in it.
fn same(what: &str, wanted: &str) -> bool {
    let words = |text: &str| kind(text).split(' ').filter(|word| word.len() > 3).take(6).collect::<Vec<_>>().join(" ");
    words(what) == words(wanted)
}

/// The shortened history of a failing seed, one line each step; empty when the seed does not fail.
#[must_use]
pub fn shortest(seed: u64, mutant: Option<Mutant>) -> Vec<String> {
    let (profile, mut ops) = ops::schedule(seed);
    let Some(wanted) = replay(&profile, &ops, mutant, false).env.broken else { return Vec::new() };
    let fails = |ops: &[Op]| broken_alike(&profile, ops, mutant, &wanted);
    let mut tries = 0;
    let mut piece = ops.len() / 2;
    while piece > 0 && tries < TRIES {
        let mut at = 0;
        let before = ops.len();
        while at < ops.len() && tries < TRIES {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + piece).min(ops.len()));
            tries += 1;
            if fails(&fewer) {
                ops = fewer;
            } else {
                at += piece;
            }
        }
        if piece > 1 {
            piece /= 2;
        } else if ops.len() == before {
            break;
        }
    }
    let world = replay(&profile, &ops, mutant, true);
    let mut lines = vec![format!("{} steps: {ops:?}", ops.len())];
    lines.extend(world.env.log.unwrap_or_default());
    lines
}

fn broken_alike(profile: &Profile, ops: &[Op], mutant: Option<Mutant>, wanted: &str) -> bool {
    replay(profile, ops, mutant, false).env.broken.is_some_and(|what| same(&what, wanted))
}
