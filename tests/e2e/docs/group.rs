//! The blocks of one group, run in their order in a folder of their own, on ports of their own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::process::free_address;
use tidegate_tests::{tools, wait};

use super::blocks::{Block, Mark};
use super::shell::Shell;
use super::workshop::Workshop;
use super::{pattern, wasm};

/// The ports that documents name: nats-server, redis-server, the host, its admin API.
const PORTS: [&str; 4] = ["4222", "6379", "3007", "3008"];

/// What a group's blocks share.
struct Group {
    folder: Workshop,
    environment: Vec<(String, String)>,
    ports: Vec<(&'static str, String)>,
    started: Vec<(Option<String>, Shell)>,
    blocks: usize,
}

/// Runs the blocks of a group of a document.
pub(super) async fn run(document: &str, name: &str) -> Result<()> {
    let blocks = super::blocks::of(document)?;
    let mut group = Group::new(name)?;
    let mut ours = false;
    let mut ran = 0;
    for (number, block) in blocks.iter().enumerate() {
        let result = match &block.mark {
            Mark::Run { group: of, until } => {
                ours = of == name;
                if ours { group.run(block, *until, output_of(&blocks, number)).await } else { Ok(()) }
            }
            Mark::Start { group: of, name: called } => {
                ours = of == name;
                if ours { group.start(block, called.clone(), output_of(&blocks, number)).await } else { Ok(()) }
            }
            Mark::File { group: of, path } if of == name => group.write(block, path),
            Mark::Output(Some(called)) if ours => group.printed_by(block, called).await,
            Mark::Output(_) | Mark::File { .. } | Mark::Parse | Mark::PartOf(_) | Mark::Shown(_) | Mark::Missing => {
                Ok(())
            }
        };
        result.with_context(|| block.place.clone())?;
        ran += usize::from(ours);
    }
    ensure!(ran > 0, "{document} has no group {name}");
    Ok(())
}

/// What a block is to print: the output block that follows at once.
fn output_of(blocks: &[Block], number: usize) -> Option<&str> {
    blocks.get(number + 1).filter(|next| next.mark == Mark::Output(None)).map(|next| next.text.as_str())
}

impl Group {
    fn new(name: &str) -> Result<Self> {
        let folder = Workshop::new(name)?;
        let programs = folder.path().join("bin");
        fs::create_dir_all(&programs)?;
        symlink(tools::tidegate()?, programs.join("tidegate"))?;
        symlink(tools::nats_server()?, programs.join("nats-server"))?;
        symlink(tools::redis_server()?, programs.join("redis-server"))?;
        let work = folder.path().join("work");
        fs::create_dir_all(&work)?;
        symlink(tools::root(), work.join("tidegate"))?;
        let ports =
            PORTS.iter().map(|port| Ok((*port, free_address()?.port().to_string()))).collect::<Result<Vec<_>>>()?;
        let mut group = Self { folder, environment: Vec::new(), ports, started: Vec::new(), blocks: 0 };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)))?;
        group.set("PATH", path.to_str().context("a path in UTF-8")?);
        for (name, value) in std::env::vars()
            .filter(|(name, _)| ["HOME", "LANG", "CARGO_HOME", "RUSTUP_HOME", "TMPDIR"].contains(&name.as_str()))
        {
            group.set(&name, &value);
        }
        // What a filter needs was fetched when the shipped ones were built.
        group.set("CARGO_NET_OFFLINE", "true");
        for (name, value) in wasm::environment()? {
            group.set(&name, &value);
        }
        for (name, value) in [
            ("PORT_ANALYTICS", "3007"),
            ("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:3008"),
            ("TIDEGATE_URL", "http://127.0.0.1:3007"),
            ("TIDEGATE_ADMIN_URL", "http://127.0.0.1:3008"),
            // As on the terminal that the reader sits at.
            ("TIDEGATE_LOG_FORMAT", "text"),
        ] {
            let value = group.local(value);
            group.set(name, &value);
        }
        Ok(group)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The text with this group's ports.
    fn local(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
            out.push_str(&rest[..begin]);
            rest = &rest[begin..];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let number = &rest[..end];
            out.push_str(self.ports.iter().find(|(port, _)| *port == number).map_or(number, |(_, here)| here));
            rest = &rest[end..];
        }
        out + rest
    }

    fn work(&self) -> std::path::PathBuf {
        self.folder.path().join("work")
    }

    fn shell(&mut self, block: &Block) -> Result<Shell> {
        self.blocks += 1;
        let log = self.folder.path().join(format!("{}.log", self.blocks));
        Shell::start(&self.local(&block.text), &self.work(), &self.environment, log)
    }

    fn write(&self, block: &Block, path: &str) -> Result<()> {
        ensure!(Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path}");
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, self.local(&block.text)).with_context(|| format!("write {}", path.display()))?;
        if path.ends_with("Cargo.toml") { self.folder.quicken(&path) } else { Ok(()) }
    }

    async fn run(&mut self, block: &Block, until: bool, output: Option<&str>) -> Result<()> {
        let output = output.map(|output| self.local(output));
        let end = tokio::time::Instant::now() + wait::DEADLINE;
        loop {
            let mut shell = self.shell(block)?;
            // A build takes longer than anything that is waited for elsewhere.
            let status = loop {
                if let Some(status) = shell.ended()? {
                    break status;
                }
                ensure!(end.elapsed() < wait::DEADLINE * 10, "it doesn't end:\n{}", shell.printed());
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            };
            let printed = shell.printed();
            let wrong = match &output {
                _ if !status.success() => Some(format!("{status}")),
                Some(shown) => pattern::matches(shown, &printed, false).err(),
                None => None,
            };
            match wrong {
                None => return Ok(()),
                Some(_) if until && tokio::time::Instant::now() < end => {
                    tokio::time::sleep(std::time::Duration::from_millis(250)).await
                }
                Some(wrong) => bail!("{wrong}; all that was printed:\n{printed}{}", self.others()),
            }
        }
    }

    async fn start(&mut self, block: &Block, name: Option<String>, output: Option<&str>) -> Result<()> {
        let shell = self.shell(block)?;
        self.started.push((name, shell));
        match output {
            Some(shown) => self.wait_for(self.started.len() - 1, shown).await,
            None => Ok(()),
        }
    }

    async fn printed_by(&self, block: &Block, name: &str) -> Result<()> {
        let place = self.started.iter().position(|(called, _)| called.as_deref() == Some(name));
        self.wait_for(place.with_context(|| format!("nothing is started as {name}"))?, &block.text).await
    }

    async fn wait_for(&self, started: usize, shown: &str) -> Result<()> {
        let (shell, shown) = (&self.started[started].1, self.local(shown));
        wait::until_ok("a started command prints what is shown", || async {
            let printed = shell.printed();
            pattern::matches(&shown, &printed, true)
                .map_err(|wrong| anyhow::anyhow!("{wrong}; all that was printed:\n{printed}"))
        })
        .await
    }

    /// What the started commands printed last, for a failure of another.
    fn others(&self) -> String {
        let last = |shell: &Shell| {
            let printed = shell.printed();
            let lines: Vec<&str> = printed.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        self.started.iter().map(|(_, shell)| format!("\n--- started before\n{}", last(shell))).collect()
    }
}
