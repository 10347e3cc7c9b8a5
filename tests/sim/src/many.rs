//! Many seeds on all processors: which of them fail.

use crate::ops::Extent;
use crate::{Failure, Mutant, known_seeds, play, play_with};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Plays the known seeds (each in every extent) and then these, one run for each processor at a time; how
/// many there were.
///
/// # Errors
/// The failure of the lowest seed among those that were played by then.
pub fn play_all(seeds: Range<u64>) -> Result<usize, Failure> {
    let known = known_seeds().flat_map(|seed| Extent::EACH.map(|extent| (seed, extent)));
    let all: Vec<(u64, Extent)> = known.chain(seeds.map(|seed| (seed, Extent::All))).collect();
    let (stop, failed) = (AtomicBool::new(false), Mutex::new(None::<Failure>));
    on_all_processors(all.len(), |n| {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if let Err(failure) = play_with(all[n].0, None, all[n].1) {
            stop.store(true, Ordering::Relaxed);
            let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if failed.as_ref().is_none_or(|known| failure.seed < known.seed) {
                *failed = Some(failure);
            }
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(all.len()),
    }
}

/// Plants each fault in turn, the rare ones where the seeds are enough for them; for each the first of these seeds that
/// notices it, if one does.
#[must_use]
pub fn plant_all(seeds: Range<u64>) -> Vec<(Mutant, Option<Failure>)> {
    let caught = Mutex::new(Vec::new());
    let rare = Mutant::RARE.iter().filter(|_| seeds.end - seeds.start >= Mutant::SEEDS_RARE);
    let mutants: Vec<Mutant> = Mutant::ALL.iter().chain(rare).copied().collect();
    on_all_processors(mutants.len(), |n| {
        let failure = seeds.clone().find_map(|seed| play(seed, Some(mutants[n])).err());
        caught.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((n, failure));
    });
    let mut caught = caught.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    caught.sort_by_key(|(n, _)| *n);
    caught.into_iter().map(|(n, failure)| (mutants[n], failure)).collect()
}

/// Calls `work` with each number below `count`, in order, on as many threads as there are processors.
fn on_all_processors(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(count) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    work(n);
                }
            });
        }
    });
}
