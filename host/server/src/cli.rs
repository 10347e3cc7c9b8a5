//! The command line: one file for each verb.

mod admin;
mod bench;
mod build;
mod capture;
mod cases;
mod check;
mod demo;
mod dev;
mod diff;
mod dlq;
mod doctor;
mod explain;
mod filter;
mod modules;
mod new;
mod out;
mod place;
mod publish;
mod push;
mod replace;
mod rollback;
mod run;
mod schema;
mod settings;
mod shadow;
mod since;
mod sse;
mod tail;
mod test;

#[cfg(test)]
mod tests;

pub use sse::{SseError, SseEvent, SseParser};

use crate::config::ConfigError;
use crate::source::SourceError;
use clap::{CommandFactory as _, Parser, Subcommand};
use out::{Out, OutputClosed};
use std::io;
use std::process::ExitCode;

/// A WebAssembly-extensible stream processor: NATS in, Server-Sent Events out.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the host
    Run(run::Args),
    /// Run the host on embedded defaults, with sample companies, filters, events and a page
    Demo(demo::Args),
    /// Check configuration, servers, modules and clock; say how to mend what is wrong
    Doctor(doctor::Args),
    /// Publish one event per line
    Publish(publish::Args),
    /// Show a company's stream, reconnecting like a browser
    Tail(tail::Args),
    /// Say what became of one event for one company
    Explain(explain::Args),
    /// List the filters a running host has in each folder
    Modules(modules::Args),
    /// Put a filter into the chain of a folder of a running host
    Push(push::Args),
    /// Let what ran before in a folder run again
    Rollback(rollback::Args),
    /// Run a new version of a filter over a company's real events, beside the one that runs
    Shadow(shadow::Args),
    /// The dead letters of a running host: list them, show one, publish them again
    Dlq(dlq::Args),
    /// Print real events of a company, as its filters are given them
    Capture(capture::Args),
    /// Make the project of a filter
    New(new::Args),
    /// Build a filter's project to WebAssembly
    Build(build::Args),
    /// Give the host's own verdict over a filter
    Check(check::Args),
    /// Run recorded cases, or events, through a filter
    Test(test::Args),
    /// Measure what a filter takes, as a host's metrics would show it
    Bench(bench::Args),
    /// Build a filter as its sources change, and run each good version in a host of its own
    Dev(dev::Args),
    /// Print the manual page: `tidegate man | man -l -` shows it
    Man,
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// A command line that can be read but makes no sense. Ends with exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Reads the command line, does what it says, and gives the exit status: 0 done, 1 failed, 2 wrong usage or
/// configuration.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => ExitCode::from(finish(dispatch(cli, &mut Out::stdout()))),
        Err(error) => {
            // Help goes to standard output and is no mistake; nothing can be done if neither can be written.
            error.print().ok();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// Tells the user how it ended, on standard error.
fn finish(result: anyhow::Result<Done>) -> u8 {
    match result {
        Ok(Done::Well) => 0,
        Ok(Done::Badly) => 1,
        Err(error) if is_closed_pipe(&error) => 0,
        Err(error) => {
            out::complain(&format!("tidegate: {error:#}"));
            exit_status(&error)
        }
    }
}

fn exit_status(error: &anyhow::Error) -> u8 {
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref::<SourceError>(), Some(SourceError::Refused(_)))
    };
    let wrong = error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<UsageError>() || refused(cause));
    if wrong { 2 } else { 1 }
}

/// Whoever read our output has had enough: `tidegate tail … | head`. A connection that broke is something else.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let mut within = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()?.get_ref());
    within.any(|cause| cause.is::<OutputClosed>())
}

/// How a verb ended that told everything itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Well,
    Badly,
}

fn dispatch(cli: Cli, out: &mut Out) -> anyhow::Result<Done> {
    match cli.verb {
        Verb::Run(args) => run::run(args, out),
        Verb::Demo(args) => demo::run(args, out),
        Verb::Doctor(args) => client(doctor::run(args, out)),
        Verb::Publish(args) => client(publish::run(args, out)),
        Verb::Tail(args) => client(tail::run(args, out)),
        Verb::Explain(args) => client(explain::run(args, out)),
        Verb::Modules(args) => client(modules::run(args, out)),
        Verb::Push(args) => client(push::run(args, out)),
        Verb::Rollback(args) => client(rollback::run(args, out)),
        Verb::Shadow(args) => client(shadow::run(args, out)),
        Verb::Dlq(args) => client(dlq::run(args, out)),
        Verb::Capture(args) => client(capture::run(args, out)),
        Verb::New(args) => new::run(&args, out),
        Verb::Build(args) => build::run(args, out),
        Verb::Check(args) => check::run(&args, out),
        Verb::Test(args) => test::run(&args, out),
        Verb::Bench(args) => client(bench::run(args, out)),
        Verb::Dev(args) => dev::run(args, out),
        Verb::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            out.bytes(&page)?;
            Ok(Done::Well)
        }
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut text);
            out.bytes(&text)?;
            Ok(Done::Well)
        }
    }
}

/// Runs a client verb: one thread will do.
fn client(verb: impl Future<Output = anyhow::Result<Done>>) -> anyhow::Result<Done> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(verb)
}
