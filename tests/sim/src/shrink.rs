//! Finds a short history of a failure: takes steps out while the same promise is still broken.

use crate::mutant::Mutant;
use crate::ops::{self, Extent, Op, Profile};
use crate::replay;

/// Replays of one shrinking at most: bounds the wait, not the result.
const TRIES: usize = 3_000;
/// Lines of a history that are shown, from its beginning and of its end.
const SHOWN: usize = 200;
const SHOWN_LAST: usize = 20;

/// The kind of a failure: its words without numbers and names.
fn kind(what: &str) -> String {
    what.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(400).collect()
}

/// Can a shorter history stand for this one? The same sentence, whatever the numbers in it.
fn same(what: &str, wanted: &str) -> bool {
    let words = |text: &str| kind(text).split(' ').filter(|word| word.len() > 3).take(6).collect::<Vec<_>>().join(" ");
    words(what) == words(wanted)
}

/// A short way to a broken promise.
#[derive(Debug)]
pub struct History {
    /// How many steps the seed draws.
    pub drawn: usize,
    /// Those that are left: none of them can be taken out, unless there were too many to try.
    pub steps: Vec<Op>,
    /// What happens, one line each; the last one names the promise.
    pub lines: Vec<String>,
}

impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} of {} steps: {:?}", self.steps.len(), self.drawn, self.steps)?;
        // One that comes to no end says the same for ever.
        let (first, last) = self.lines.split_at(self.lines.len().min(SHOWN));
        first.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        let (left_out, end) = last.split_at(last.len().saturating_sub(SHOWN_LAST));
        if !left_out.is_empty() {
            writeln!(f, "  … {} more", left_out.len())?;
        }
        end.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The shortened history of a failing seed; `None` when the seed does not fail.
#[must_use]
pub fn shortest(seed: u64, mutant: Option<Mutant>) -> Option<History> {
    let drawn_with = |extent: &Extent| {
        let (profile, ops) = ops::schedule(seed, *extent);
        let wanted = replay(&profile, &ops, mutant, false).env.broken?;
        Some((profile, ops, wanted))
    };
    let (profile, mut ops, wanted) = Extent::EACH.iter().rev().find_map(drawn_with)?;
    let drawn = ops.len();
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
    let mut lines = replay(&profile, &ops, mutant, true).env.log.unwrap_or_default();
    let end = lines.iter().position(|line| line.contains("BROKEN: ")).map_or(lines.len(), |at| at + 1);
    lines.truncate(end);
    Some(History { drawn, steps: ops, lines })
}

fn broken_alike(profile: &Profile, ops: &[Op], mutant: Option<Mutant>, wanted: &str) -> bool {
    replay(profile, ops, mutant, false).env.broken.is_some_and(|what| same(&what, wanted))
}
