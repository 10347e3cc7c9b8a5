//! A thousand seeds keep every promise, and every planted fault is noticed.

use tidegate_sim::{Mutant, plant_all, play, play_all, shortest};

const SEEDS: u64 = 1_000;

#[test]
fn a_thousand_seeds_keep_every_promise() {
    if let Err(failure) = play_all(0..SEEDS) {
        panic!("{failure}\n{}", shortest(failure.seed, None).map_or(String::new(), |history| history.to_string()));
    }
}

#[test]
fn every_planted_fault_is_caught() {
    let caught = plant_all(0..SEEDS);
    for (mutant, failure) in &caught {
        println!("{mutant:?}: {}", failure.as_ref().map_or("unnoticed".into(), ToString::to_string));
    }
    let missed: Vec<_> = caught.iter().filter(|(_, failure)| failure.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(missed.is_empty(), "{SEEDS} seeds did not notice {missed:?}");
}

#[test]
fn a_failure_is_shortened_to_the_steps_that_bring_it_about() {
    let mutant = Mutant::SkipOnly;
    let failure = (0..SEEDS).find_map(|seed| play(seed, Some(mutant)).err()).expect("the fault is noticed");
    let history = shortest(failure.seed, Some(mutant)).expect("the seed fails");
    assert!(history.drawn >= 300 && history.steps.len() <= 40, "{history}");
    assert!(history.lines.last().is_some_and(|line| line.contains("BROKEN: ")), "{history}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..20 {
        let twice = [(); 2].map(|()| play(seed, Some(Mutant::SkipOnly)).map_err(|failure| failure.what));
        assert_eq!(twice[0], twice[1], "seed {seed}");
    }
}
