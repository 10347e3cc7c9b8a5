//! `cargo xtask faults`: brings every row of the fault table about, and prints the table. Fails when a promise broke.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use tidegate_tests::faults::{Outcome, ROWS, Row};

/// Runs the rows of the fault table against real servers
#[derive(Debug, Parser)]
struct Args {
    /// Only rows whose name holds this
    only: Option<String>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let wanted = |row: &&Row| args.only.as_deref().is_none_or(|only| row.name.contains(only));
    let rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
    ensure!(!rows.is_empty(), "no row's name holds {:?}", args.only.unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut out = std::io::stdout().lock();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    writeln!(
        out,
        "{:width$}  holds  conn.  events   lost  doubled  foreign  order  false gap  missing gap  seconds",
        "fault"
    )?;
    let mut failed = Vec::new();
    for row in &rows {
        let outcome = runtime.block_on(row.play());
        writeln!(out, "{}", line(&outcome, width))?;
        out.flush()?;
        if !outcome.holds() {
            failed.push(outcome);
        }
    }
    for outcome in &failed {
        match &outcome.verdict {
            Ok(verdict) => writeln!(out, "\n{}: {verdict}", outcome.name)?,
            Err(error) => writeln!(out, "\n{}: {error:#}", outcome.name)?,
        }
    }
    writeln!(out, "\n{} of {} rows hold", rows.len() - failed.len(), rows.len())?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(outcome: &Outcome, width: usize) -> String {
    let (name, holds) = (outcome.name, if outcome.holds() { "yes" } else { "NO" });
    match &outcome.verdict {
        Ok(v) => format!(
            "{name:width$}  {holds:5}  {:5}  {:6}  {:5}  {:7}  {:7}  {:5}  {:9}  {:11}  {:7.1}",
            v.connections,
            v.events,
            v.lost,
            v.doubled,
            v.foreign,
            v.disordered,
            v.false_gaps,
            v.missing_gaps,
            outcome.seconds
        ),
        Err(_) => format!("{name:width$}  {holds:5}  could not be run to its end {:58.1}", outcome.seconds),
    }
}
