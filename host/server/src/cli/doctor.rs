//! `doctor`: checks what the host needs, one line each, and says how to mend what is wrong.

mod local;
mod nats;
mod redis;

use super::Done;
use super::out::Out;
use super::settings::ConfigArgs;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    subject: &'static str,
    state: State,
    /// What was found.
    what: String,
    /// How to mend it; empty where nothing has to be.
    mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// Works, but promises less than it could.
    Warning,
    Wrong,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

impl Finding {
    fn ok(subject: &'static str, what: impl Into<String>) -> Self {
        Self { subject, state: State::Ok, what: what.into(), mend: String::new() }
    }

    fn warning(subject: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { subject, state: State::Warning, what: what.into(), mend: mend.into() }
    }

    fn wrong(subject: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { subject, state: State::Wrong, what: what.into(), mend: mend.into() }
    }
}

pub(super) async fn run(args: Args, out: &mut Out) -> anyhow::Result<Done> {
    // A configuration that can't be read ends with exit status 2 like everywhere: nothing else can be looked at.
    let config = args.config.load()?;
    let mut done = Done::Well;
    let mut tell = |findings: Vec<Finding>| -> anyhow::Result<()> {
        for finding in findings {
            if finding.state == State::Wrong {
                done = Done::Badly;
            }
            print(&finding, args.json, out)?;
        }
        Ok(())
    };
    tell(local::configuration(&config))?;
    tell(local::data(&config))?;
    tell(local::modules(&config))?;
    tell(nats::look(&config).await)?;
    tell(redis::look(&config).await)?;
    tell(local::clock())?;
    Ok(done)
}

fn print(finding: &Finding, as_json: bool, out: &mut Out) -> anyhow::Result<()> {
    let Finding { subject, state, what, mend } = finding;
    if as_json {
        out.json(&json!({"check": subject, "state": state.word(), "found": what, "mend": mend}))?;
        return Ok(());
    }
    let mend = if mend.is_empty() { String::new() } else { format!("; mend: {mend}") };
    out.line(&super::out::plain(&format!("{:<8} {subject:<13} {what}{mend}", state.word())))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::Printed;
    use crate::config::Config;

    /// What needs no server.
    fn local_findings(config: &Config) -> Vec<Finding> {
        [local::configuration(config), local::data(config), local::modules(config), local::clock()].concat()
    }

    #[test]
    fn a_fresh_folder_is_fine() {
        let dir = std::env::temp_dir().join(format!("tidegate-doctor-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let data = dir.join("data/deep").display().to_string();
        let modules = dir.join("modules").display().to_string();
        let config = Config::from_pairs(&[("data.dir", &data), ("filters.dir", &modules)]).expect("fine");
        let findings = local_findings(&config);
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:?}");
        assert!(!dir.join("data").exists(), "looking changes nothing");

        std::fs::create_dir_all(dir.join("modules/acme")).expect("a folder");
        std::fs::write(dir.join("modules/acme/10-bad.wasm"), "no module").expect("a file");
        let findings = local_findings(&config);
        let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.state == State::Wrong).collect();
        assert_eq!(wrong.len(), 1, "{findings:?}");
        assert!(wrong[0].what.contains("10-bad.wasm") && !wrong[0].mend.is_empty(), "{wrong:?}");
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[tokio::test]
    async fn servers_that_do_not_answer_are_wrong_and_their_passwords_stay_hidden() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let (nats, redis) = (format!("nats://u:hush@127.0.0.1:{port}"), format!("redis://u:hush@127.0.0.1:{port}"));
        let config = Config::from_pairs(&[("nats.url", &nats), ("redis.url", &redis)]).expect("fine");
        for findings in [nats::look(&config).await, redis::look(&config).await] {
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].state, State::Wrong);
            assert!(!format!("{findings:?}").contains("hush"), "{findings:?}");
        }
    }

    #[test]
    fn a_finding_is_one_line_with_the_way_out() {
        let printed = Printed::default();
        let finding = Finding::wrong("redis", "no\nanswer", "start it");
        print(&finding, false, &mut Out::to(printed.clone())).expect("prints");
        assert_eq!(printed.text(), "wrong    redis         no\u{fffd}answer; mend: start it\n");
    }
}
