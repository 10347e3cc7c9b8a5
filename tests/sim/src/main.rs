//! Plays seeds: `tidegate-sim [--seeds N] [--from SEED] [--seed SEED] [--mutants]`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;
use tidegate_sim::{plant_all, play_all, shortest};

struct Wanted {
    from: u64,
    seeds: u64,
    mutants: bool,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            eprintln!("{wrong}\nusage: tidegate-sim [--seeds N] [--from SEED] [--seed SEED] [--mutants]");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    match play_all(wanted.from..wanted.from + wanted.seeds) {
        Ok(played) => eprintln!("{played} seeds kept every promise ({} ms)", began.elapsed().as_millis()),
        Err(failure) => {
            eprintln!("{failure}\nshortened history:");
            shortest(failure.seed, None).iter().for_each(|history| eprint!("{history}"));
            return ExitCode::FAILURE;
        }
    }
    if wanted.mutants && !mutants_are_caught(wanted.from, wanted.seeds) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn mutants_are_caught(from: u64, seeds: u64) -> bool {
    let mut all = true;
    for (mutant, caught) in plant_all(from..from + seeds) {
        match caught {
            Some(failure) => eprintln!("{mutant:?}: caught by {failure}"),
            None => {
                eprintln!("{mutant:?}: NOT caught by {seeds} seeds");
                all = false;
            }
        }
    }
    all
}

fn wanted(mut args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { from: 0, seeds: 1_000, mutants: false };
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
            text.parse::<u64>().map_err(|e| format!("{arg} {text}: {e}"))
        };
        match arg.as_str() {
            "--seeds" => wanted.seeds = number()?,
            "--from" => wanted.from = number()?,
            "--seed" => (wanted.from, wanted.seeds) = (number()?, 1),
            "--mutants" => wanted.mutants = true,
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    Ok(wanted)
}
