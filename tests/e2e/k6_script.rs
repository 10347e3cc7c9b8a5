//! The script for k6 works against a real host.

use std::process::Stdio;

use anyhow::{Result, ensure};
use tidegate_tests::backend::World;
use tidegate_tests::host::INGEST_TOKEN;
use tidegate_tests::tools;

on_each!(the_load_script_opens_streams_and_publishes: embedded);

async fn the_load_script_opens_streams_and_publishes(world: &mut World) -> Result<()> {
    world.host.start().await?;
    let mut k6 = tokio::process::Command::new(tools::k6()?);
    k6.args(["run", "--quiet", "--no-usage-report"])
        .args(["--env", &format!("TIDEGATE_URL={}", world.host.url("")?)])
        .args(["--env", &format!("TIDEGATE_INGEST_TOKEN={INGEST_TOKEN}")])
        .args(["--env", "CONNECTIONS=5", "--env", "RATE=50", "--env", "SECONDS=3"])
        .arg(tools::root().join("tests/k6/streaming-load.js"))
        .stdin(Stdio::null());
    let done = k6.output().await?;
    let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "{told}");
    let metrics = world.host.metrics().await?;
    ensure!(metrics.sum("events_received_total") > 90.0, "{told}");
    ensure!(metrics.sum("connections_opened_total") >= 5.0, "{told}");
    Ok(())
}
