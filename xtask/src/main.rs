//! `cargo xtask`: set-up, demo, tests and measurements. One file for each job.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod faults;
mod filters;
mod harness;
mod load;
mod setup;
mod sim;
mod soak;
mod step;
mod suite;
mod tally;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use setup::Need;
use step::say;
use tidegate_guest_build::{Packages, ensure};

/// Set-up, demo, tests and measurements of Tidegate
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Build the host and the sample filters, then run the demo (needs neither NATS nor Redis)
    Demo {
        /// Arguments for `tidegate demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Set up what the tests need, then run all of them
    Test,
    /// Set up what the tests need: servers, browser, packages, the WebAssembly target
    Setup,
    /// Build every filter to `filters/NAME.wasm` in the target folder
    Filters,
    /// Set up the WebAssembly target
    Wasm,
    /// Rebuild the filter that the host carries, after a change of its source
    RefreshBuiltin,
    /// Compare the filter that the host carries with its source
    CheckBuiltin,
    /// Run the seeded simulation
    Sim {
        /// How many seeds
        #[arg(long, default_value_t = sim::SEEDS)]
        seeds: u64,
        /// Plant each known fault and see that it is caught
        #[arg(long)]
        mutants: bool,
    },
    /// Bring every row of the fault table about on real servers, and print the table
    Faults {
        /// Only rows whose name holds this
        only: Option<String>,
    },
    /// Let events flow past several hosts for an hour, with faults every few seconds, and judge every client
    Soak(soak::Args),
    /// Swap a filter's code under load, and see that each event passes exactly one version
    Swaps(load::SwapsArgs),
    /// Start a host with a module for each of many companies, and see what they cost
    Companies {
        /// How many
        #[arg(long, default_value_t = 1_000)]
        companies: u32,
    },
    /// Measure a release build under the specification's load; fails when a threshold is missed
    Loadtest(load::Args),
    /// Measure a release build beside what it is compared with, and beside itself
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().job) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `Ok(false)` where the job itself told what is wrong.
fn run(job: Job) -> Result<bool> {
    setup::c_tools()?;
    match job {
        Job::Demo { args } => demo::run(&args),
        Job::Test => suite::run(),
        Job::Setup => {
            setup::ensure(&Need::ALL)?;
            setup::node_packages()?;
            setup::guests::ensure()?;
            ensure(Packages::Install)?;
            Ok(true)
        }
        Job::Filters => {
            for module in filters::build_all()? {
                say(&module.display().to_string());
            }
            Ok(true)
        }
        Job::Wasm => ensure(Packages::Install).map(|_| true),
        Job::RefreshBuiltin => {
            for path in filters::refresh_builtin()? {
                say(&path.display().to_string());
            }
            Ok(true)
        }
        Job::CheckBuiltin => {
            say(&filters::check_builtin()?.to_string());
            Ok(true)
        }
        Job::Sim { seeds, mutants } => sim::run(seeds, mutants),
        Job::Faults { only } => faults::run(only.as_deref()),
        Job::Soak(args) => soak::run(&args),
        Job::Swaps(args) => load::swaps(&args),
        Job::Companies { companies } => load::companies(companies),
        Job::Loadtest(args) => load::run(&args),
        Job::Bench(args) => bench::run(&args),
    }
}
