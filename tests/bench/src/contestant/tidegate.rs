//! The host, with a nats-server and a redis-server of its own.

use std::fs;

use anyhow::Result;
use tidegate_tests::backend::{Backend, World};
use tidegate_tests::modules::Modules;
use tidegate_tests::tools;
use tokio::runtime::Runtime;

use crate::payload::company;

/// What events pass beside the platform filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filters {
    /// Nothing.
    Platform,
    /// A filter of each company that passes the payload on.
    Rename,
    /// A filter of each company that parses the payload, takes fields out and writes it.
    Redact,
}

/// Where the host keeps what it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// In Redis.
    Redis,
    /// In its own database.
    Embedded,
}

/// A running host.
#[derive(Debug)]
pub(crate) struct Tidegate {
    /// It and its servers.
    pub(crate) world: World,
}

impl Tidegate {
    /// Starts one on JetStream.
    ///
    /// # Errors
    /// Something doesn't start.
    pub(crate) fn start(runtime: &Runtime, filters: Filters, store: Store, companies: u32) -> Result<Self> {
        let mut world = runtime.block_on(async {
            let world = World::prepare(Backend::JetStream).await?;
            // As documents recommend it and Redis does it by itself; tests have it stricter.
            world.redis()?.set("appendfsync", "everysec").await?;
            anyhow::Ok(world)
        })?;
        if store == Store::Embedded {
            world.host.without("REDIS_URL");
        }
        install(&world, filters, companies)?;
        runtime.block_on(world.host.start())?;
        Ok(Self { world })
    }
}

/// Gives each company its filter.
fn install(world: &World, filters: Filters, companies: u32) -> Result<()> {
    for number in 0..companies {
        let folder = Modules::of(&world.host.modules(), &company(number));
        match filters {
            Filters::Platform => {}
            Filters::Rename => folder.rename_metrics("10-rename", "renamed")?,
            Filters::Redact => {
                folder.put("10-redact.toml", b"[config]\npointers = [\"/previousValue\", \"/source\"]\n")?;
                folder.put("10-redact.wasm", &fs::read(tools::filter("redact")?)?)?;
            }
        }
    }
    Ok(())
}
