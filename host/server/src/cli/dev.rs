//! `dev`: a filter at work while it is being written. Each change of its sources is built, judged and swapped into a host
//! on embedded parts; what does not build or is refused is told, and the version before goes on.

mod version;
mod watch;

use super::admin::AdminArgs;
use super::build::Project;
use super::demo::{Addresses, Scratch, configuration, is_set, ready, settle};
use super::out::{Out, plain};
use super::settings::ConfigArgs;
use super::{Done, cases, run};
use crate::config::{Config, Secret};
use crate::modules::selftest::{Event, Outcome};
use crate::pipeline::shown::{Onlooker, Shown};
use crate::server::{self, RunOptions};
use anyhow::Context as _;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use version::{Good, Made, Maker};
use watch::Watch;

/// Quiet time after a change: an editor that saves several files is waited for.
const QUIET: Duration = Duration::from_millis(50);
/// How long a host may take to run what lies in its folder.
const SWAP: Duration = Duration::from_secs(30);
/// Verdicts that wait to be shown; what finds no room is not shown.
const SHOWN: usize = 1024;
/// Of a payload, so much is shown, in bytes.
const PAYLOAD_BYTES_MAX: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The project's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Run these events through each version, one a line as in a case's `event` [default: those of its cases]
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Where the addresses are written as JSON once the host is ready
    #[arg(long, value_name = "FILE", env = "TIDEGATE_READY_FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let project = Project::find(&args.dir)?;
    let compiler = project.compiler()?;
    let mut config = configuration(&args.config)?;
    let scratch = Scratch::new("dev")?;
    settle(&mut config, &scratch.0);
    if !is_set(&config, "log.level") {
        config.log.level = "warn".to_owned();
    }
    let ready_file = args.ready_file.unwrap_or_else(|| scratch.0.join("ready.json"));
    // A file of an earlier host would be taken for this one's.
    std::fs::remove_file(&ready_file).ok();
    let (to_show, shown) = mpsc::channel(SHOWN);
    let maker = Maker {
        dir: args.dir.clone(),
        compiler,
        config: args.config,
        events: args.events,
        modules: config.filters.dir.clone(),
        compiled: config.data.dir.join("compiled"),
    };
    let watch = Watch::start(project.folder(), &project.target_folder())?;
    let options =
        RunOptions { ready_file: Some(ready_file.clone()), onlooker: Onlooker::new(to_show), ..RunOptions::default() };
    run::hosting(async {
        let mut host = Box::pin(server::run(config.clone(), options));
        let addresses = tokio::select! {
            ended = &mut host => return ended,
            addresses = ready(&ready_file) => addresses,
        };
        tell(&config, &addresses, out)?;
        let mut desk = Desk { admin: admin(&config, addresses), maker, watch, shown, out };
        // The host ends at a signal, and the desk with it.
        tokio::select! {
            ended = &mut host => ended,
            broken = desk.work() => broken,
        }
    })?;
    Ok(Done::Well)
}

fn admin(config: &Config, addresses: Addresses) -> AdminArgs {
    AdminArgs::of(addresses.admin, config.admin.token.as_ref().map(|token| token.expose().to_owned()))
}

fn tell(config: &Config, addresses: &Addresses, out: &mut Out) -> std::io::Result<()> {
    let token = config.ingest.token.as_ref().map(Secret::expose).unwrap_or_default();
    out.line(&format!("publish  tidegate publish metrics.calculated --url {} --token {token}", addresses.http))?;
    out.line("end      Ctrl-C")
}

/// Where versions are made and shown.
struct Desk<'a> {
    admin: AdminArgs,
    maker: Maker,
    watch: Watch,
    shown: mpsc::Receiver<Shown>,
    out: &'a mut Out,
}

impl Desk<'_> {
    /// Works until the host ends.
    async fn work(&mut self) -> anyhow::Result<()> {
        loop {
            let maker = self.maker.clone();
            let mut making = tokio::task::spawn_blocking(move || maker.make());
            let made = loop {
                tokio::select! {
                    made = &mut making => break made.context("the build was lost to a fault")?,
                    Some(shown) = self.shown.recv() => live(&shown, self.out)?,
                }
            };
            match made {
                Ok(Made::Good(good)) => self.swapped(good).await?,
                Ok(Made::NotCompiled) => self.kept("it does not compile")?,
                Ok(Made::Refused(refused)) => {
                    self.kept(&format!("refused ({}): {}", refused.kind, refused.reason))?;
                }
                Ok(Made::Failed(loaded, report)) => {
                    cases::show(&report.failures, &loaded.filter, self.out)?;
                    self.kept(&format!("{} cases, {} failures", report.cases, report.failures.len()))?;
                }
                Err(error) => self.kept(&format!("{error:#}"))?,
            }
            self.changed().await?;
        }
    }

    /// Until a source has changed and it is quiet again.
    async fn changed(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = self.watch.changed() => break,
                Some(shown) = self.shown.recv() => live(&shown, self.out)?,
            }
        }
        tokio::time::sleep(QUIET).await;
        self.watch.heard();
        self.out.line("")?;
        Ok(self.out.line("changed: building")?)
    }

    /// Waits until the host runs this version, and shows what it makes of the events.
    async fn swapped(&mut self, good: Good) -> anyhow::Result<()> {
        let until = Instant::now() + SWAP;
        let digest = good.module.rsplit('@').next().unwrap_or_default().to_owned();
        loop {
            // A busy host may answer late, or once not at all.
            let listed = self.admin.get("/admin/modules").await;
            if listed.as_ref().is_ok_and(|listed| runs(listed, &digest)) {
                break;
            }
            if Instant::now() >= until {
                let told = listed.map_or_else(|error| format!("{error:#}"), |listed| listed.to_string());
                return self.kept(&format!("the host does not run it: {told}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Good { module, bytes, came, cases, built, since } = good;
        for (event, outcome) in &came {
            replayed(event, outcome, self.out)?;
        }
        self.out.line(&format!(
            "live: {module}: {bytes} bytes, {cases} cases; compiled in {:.2} s, live {:.2} s later",
            built.as_secs_f64(),
            since.elapsed().as_secs_f64()
        ))?;
        Ok(())
    }

    fn kept(&mut self, why: &str) -> anyhow::Result<()> {
        Ok(self.out.line(&format!("not live: {}; the version before goes on, if there is one", plain(why)))?)
    }
}

/// Whether a filter with this digest is among those that run.
fn runs(listed: &Value, digest: &str) -> bool {
    listed.to_string().contains(&format!("\"digest\":\"{digest}\""))
}

fn replayed(event: &Event, outcome: &Outcome, out: &mut Out) -> anyhow::Result<()> {
    let source = event.source();
    show("case", &source.subject, event.company().as_str(), &source.payload, outcome, out)
}

fn live(shown: &Shown, out: &mut Out) -> anyhow::Result<()> {
    let company = shown.company.as_ref().map_or("-", |company| company.as_str());
    let outcome = Outcome::of_company(shown.verdict.clone());
    show("event", &shown.event.subject, company, &shown.event.payload, &outcome, out)
}

/// An event in, its verdict, and what goes out.
fn show(
    what: &str,
    subject: &str,
    company: &str,
    payload: &[u8],
    outcome: &Outcome,
    out: &mut Out,
) -> anyhow::Result<()> {
    out.line(&format!("{what:<6} {} {company} {}", plain(subject), short(&String::from_utf8_lossy(payload))))?;
    let (verdict, rest) = match outcome.json() {
        Value::Object(map) => map.into_iter().next().unwrap_or_default(),
        other => (String::new(), other),
    };
    match rest {
        Value::Array(emissions) => {
            for emission in &emissions {
                out.line(&format!("  {verdict:<5} {}", short(&emission.to_string())))?;
            }
        }
        rest => out.line(&format!("  {verdict:<5} {}", short(&rest.to_string())))?,
    }
    if let Outcome::Failed(failed) = outcome {
        for line in failed.backtrace.iter().flat_map(|trace| trace.lines()) {
            out.line(&format!("    {}", plain(line)))?;
        }
    }
    Ok(())
}

fn short(text: &str) -> String {
    let end = text.floor_char_boundary(PAYLOAD_BYTES_MAX);
    format!("{}{}", plain(&text[..end]), if end < text.len() { "…" } else { "" })
}
