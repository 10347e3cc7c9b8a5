//! `tidegate dev`: what is saved is built, judged and live; what is wrong is told, and the version before goes on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::folder::Folder;
use tidegate_tests::process::{Kind, Process};
use tidegate_tests::{tools, wait};

const TOKEN: &str = "0123456789abcdef";
/// A compiler that shares its cores with other tests may need several times what is waited for otherwise.
const WAITS: usize = 6;

/// `tidegate dev` at work on a project.
struct Desk {
    folder: Folder,
    dev: Process,
    /// What it printed before the step that is waited for.
    read: usize,
}

impl Desk {
    async fn start() -> Result<Self> {
        let folder = Folder::new("dev")?;
        let project = folder.path().join("high");
        run(&["new", "high", "--dir"], &project)?;
        // What takes long is built before anything is waited for.
        run(&["build"], &project)?;
        let mut command = Command::new(tools::tidegate()?);
        command.env_remove("NATS_URL").env_remove("REDIS_URL").env("CARGO_NET_OFFLINE", "true");
        command.args(["dev", "--port", "0", "--admin-listen", "127.0.0.1:0", "--ready-file"]);
        command.arg(folder.path().join("ready.json")).args(["--set", &format!("ingest.token={TOKEN}")]).arg(&project);
        let dev = Process::start(&mut command, &folder.path().join("dev.log"))?;
        Ok(Self { folder, dev, read: 0 })
    }

    /// Waits until it has printed this since the step before.
    async fn prints(&mut self, text: &str) -> Result<String> {
        let mut last = Ok(String::new());
        for _ in 0..WAITS {
            let (dev, read) = (&self.dev, self.read);
            last = wait::until_ok("it is printed", || async move {
                let log = dev.log();
                let fresh = log.get(read..).unwrap_or_default().to_owned();
                ensure!(fresh.contains(text), "{text:?} in\n{log}");
                Ok(fresh)
            })
            .await;
            if last.is_ok() {
                self.read = self.dev.log().len();
                return last;
            }
        }
        last
    }

    fn change(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let path = self.folder.path().join("high").join(path);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "no {from:?} in {text}");
        Ok(fs::write(path, text.replace(from, to))?)
    }

    async fn publish(&self, payload: &str) -> Result<()> {
        let ready: Value = serde_json::from_slice(&fs::read(self.folder.path().join("ready.json"))?)?;
        let url = format!("{}/ingest/metrics.calculated", ready["http"].as_str().context("an address")?);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let answer = client.post(url).bearer_auth(TOKEN).body(payload.to_owned()).send().await?;
        ensure!(answer.status().is_success(), "{answer:?}");
        Ok(())
    }
}

fn run(words: &[&str], project: &Path) -> Result<()> {
    let mut command = Command::new(tools::tidegate()?);
    let done = command.args(words).arg(project).env("CARGO_NET_OFFLINE", "true").output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[tokio::test]
async fn what_is_saved_is_live_and_what_is_wrong_is_told_while_the_version_before_goes_on() -> Result<()> {
    let mut desk = Desk::start().await?;
    let first = desk.prints("live: high@").await?;
    for part in [
        "case   metrics.calculated acme {\"value\":9.5}\n  drop  \"below threshold\"",
        "  emit  {\"data\":{\"value\":12.5}",
        "3 cases; compiled in ",
    ] {
        ensure!(first.contains(part), "{part:?} in\n{first}");
    }
    desk.publish(r#"{"companyId":"mine","value":1}"#).await?;
    desk.prints("event  metrics.calculated mine {\"companyId\":\"mine\",\"value\":1}\n  drop  \"below threshold\"")
        .await?;

    // Its cases expect something else: refused, and the version before goes on.
    desk.change("src/lib.rs", "\"below threshold\"", "\"too low\"")?;
    let refused = desk.prints("not live: 3 cases, 1 failures").await?;
    ensure!(refused.contains("+   \"drop\": \"too low\""), "{refused}");
    desk.publish(r#"{"companyId":"mine","value":2}"#).await?;
    desk.prints("\"value\":2}\n  drop  \"below threshold\"").await?;

    desk.change("high.test.ndjson", "below threshold", "too low")?;
    let second = desk.prints("live: high@").await?;
    ensure!(second.contains("{\"value\":9.5}\n  drop  \"too low\""), "{second}");
    desk.publish(r#"{"companyId":"mine","value":3}"#).await?;
    desk.prints("\"value\":3}\n  drop  \"too low\"").await?;

    desk.change("src/lib.rs", "value < config.threshold", "value < config.treshold")?;
    let broken = desk.prints("not live: it does not compile").await?;
    ensure!(broken.contains("treshold"), "the compiler's words: {broken}");
    desk.publish(r#"{"companyId":"mine","value":40}"#).await?;
    desk.prints("\"value\":40}\n  emit  ").await?;

    desk.dev.signal(Kind::SIGINT)?;
    let status = desk.dev.end().await?;
    ensure!(status.success(), "{status}: {}", desk.dev.log());
    Ok(())
}
