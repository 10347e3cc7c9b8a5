//! A thousand seeds keep every promise, and every planted fault is noticed.

use tidegate_sim::{Mutant, play, play_all, shortest};

const SEEDS: u64 = 1_000;

#[test]
fn a_thousand_seeds_keep_every_promise() {
    if let Err(failure) = play_all(0..SEEDS, None) {
        panic!("{failure}\n{}", shortest(failure.seed, None).join("\n"));
    }
}

#[test]
fn every_planted_fault_is_caught() {
    for mutant in Mutant::ALL {
        let caught = (0..SEEDS).find_map(|seed| play(seed, Some(mutant)).err());
        match caught {
            Some(failure) => println!("{mutant:?}: {failure}"),
            None => panic!("{mutant:?} went unnoticed by {SEEDS} seeds"),
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..20 {
        let twice = [(); 2].map(|()| play(seed, Some(Mutant::SkipOnly)).map_err(|failure| failure.what));
        assert_eq!(twice[0], twice[1], "seed {seed}");
    }
}
