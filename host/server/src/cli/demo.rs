//! `demo`: the host on embedded defaults, with everything to look at.

use super::out::Out;
use super::settings::ConfigArgs;
use super::{Done, run};
use crate::config::{Config, Origin, Secret, environment};
use crate::server::{self, RunOptions};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the addresses are written as JSON once the host is ready
    #[arg(long, value_name = "FILE", env = "TIDEGATE_READY_FILE")]
    ready_file: Option<PathBuf>,
}

pub(super) fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    let mut config = configuration(&args.config)?;
    let scratch = Scratch::new("demo")?;
    settle(&mut config, &scratch.0);
    let ready_file = args.ready_file.unwrap_or_else(|| scratch.0.join("ready.json"));
    // A file of an earlier demo would be taken for this one's.
    std::fs::remove_file(&ready_file).ok();
    let options = RunOptions { ready_file: Some(ready_file.clone()), demo: true, ..RunOptions::default() };
    run::hosting(async {
        let mut host = Box::pin(server::run(config.clone(), options));
        tokio::select! {
            ended = &mut host => return ended,
            address = ready(&ready_file) => tell(&config, &address, out)?,
        }
        host.await
    })?;
    Ok(Done::Well)
}

/// Embedded parts, whatever servers the environment names for other hosts; a file counts only if it is asked for.
pub(super) fn configuration(args: &ConfigArgs) -> anyhow::Result<Config> {
    const SERVERS: [&str; 3] = ["NATS_URL", "NATS_CREDS", "REDIS_URL"];
    let others = environment().into_iter().filter(|(name, _)| !SERVERS.contains(&name.as_str())).collect();
    let mut sources = args.sources(others)?;
    sources.look_for_file = false;
    Ok(Config::load(&sources)?)
}

/// Gives the demo what nobody has set: folders that go with it, and credentials of its own.
pub(super) fn settle(config: &mut Config, scratch: &Path) {
    if !is_set(config, "data.dir") {
        config.data.dir = scratch.join("data");
    }
    if !is_set(config, "filters.dir") {
        config.filters.dir = scratch.join("modules");
    }
    let token = || Secret::new(format!("{:032x}", rand::random::<u128>()));
    config.admin.token.get_or_insert_with(token);
    config.ingest.token.get_or_insert_with(token);
}

pub(super) fn is_set(config: &Config, key: &str) -> bool {
    config.settings().iter().any(|setting| setting.key == key && setting.origin != Origin::Default)
}

/// The addresses, once the host is ready for visitors.
pub(super) async fn ready(file: &Path) -> Addresses {
    loop {
        if let Some(addresses) = std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return addresses;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[derive(serde::Deserialize)]
pub(super) struct Addresses {
    pub(super) http: String,
    pub(super) admin: String,
}

fn tell(config: &Config, addresses: &Addresses, out: &mut Out) -> std::io::Result<()> {
    let token = |secret: &Option<Secret>| secret.as_ref().map_or_else(String::new, |secret| secret.expose().to_owned());
    let Addresses { http, admin } = addresses;
    out.line(&format!("Tidegate demo: open {http}/"))?;
    out.line(&format!("  a stream   curl -N '{http}/stream/updates?companyId={}'", crate::demo::COMPANIES[0]))?;
    out.line(&format!(
        "  publish    tidegate publish metrics.calculated --url {http} --token {}",
        token(&config.ingest.token)
    ))?;
    out.line(&format!("  modules    tidegate modules --admin {admin} --admin-token {}", token(&config.admin.token)))?;
    out.line(&format!("  filters    {} (change a file and see it swapped)", config.filters.dir.display()))?;
    out.line("  end        Ctrl-C")
}

/// A folder that goes with the host.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(verb: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("tidegate-{verb}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("{} can not be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_keeps_what_is_set_and_makes_the_rest() {
        let mut config =
            Config::from_pairs(&[("data.dir", "/mine"), ("ingest.token", "0123456789abcdef")]).expect("fine");
        settle(&mut config, Path::new("/scratch"));
        assert_eq!(config.data.dir, Path::new("/mine"));
        assert_eq!(config.filters.dir, Path::new("/scratch/modules"));
        assert!(config.ingest.token.as_ref().is_some_and(|token| token.matches("0123456789abcdef")));
        assert!(config.admin.token.as_ref().is_some_and(|token| token.expose().len() == 32));
    }
}
