//! The promises of the command line: what it accepts, and how it ends.

mod authors;
mod clients;
mod cookbook;
mod fuzz;
mod hostile;
mod mistakes;
mod verdicts;

use super::out::tests::Printed;
use super::{Cli, Done, dispatch, exit_status, finish};
use crate::cli::out::Out;
use clap::{CommandFactory as _, Parser as _};

fn ran(words: &[&str]) -> (anyhow::Result<Done>, String) {
    let words = std::iter::once("tidegate").chain(words.iter().copied());
    let printed = Printed::default();
    let cli = Cli::try_parse_from(words).expect("a command line");
    let result = dispatch(cli, &mut Out::to(printed.clone()));
    (result, printed.text())
}

/// The exit status of a command line, wrong ones included.
fn status(words: &[&str]) -> u8 {
    match Cli::try_parse_from(std::iter::once("tidegate").chain(words.iter().copied())) {
        Err(error) => u8::try_from(error.exit_code()).expect("a status"),
        Ok(cli) => finish(dispatch(cli, &mut Out::to(Printed::default()))),
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn the_commands_are_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_ends_with_2() {
    for words in [
        &["fly"][..],
        &[],
        &["run", "--colour"],
        &["tail"],
        &["publish"],
        &["publish", "a.*", "/dev/null"],
        &["run", "--json"],
        &["run", "--set", "http.port", "--print-config"],
        &["tail", "--company", "a", "--url", "localhost:3007"],
        &["modules", "--admin", "localhost"],
        &["completions", "tcsh"],
    ] {
        assert_eq!(status(words), 2, "{words:?}");
    }
}

#[test]
fn a_wrong_configuration_ends_with_2_in_every_verb_that_reads_one() {
    for verb in [
        &["run"][..],
        &["demo"],
        &["doctor"],
        &["publish", "metrics.a", "/dev/null"],
        &["check", "x.wasm"],
        &["test", "x.wasm"],
    ] {
        let words: Vec<&str> = verb.iter().copied().chain(["--set", "http.prot=1"]).collect();
        assert_eq!(status(&words), 2, "{words:?}");
        let words: Vec<&str> = verb.iter().copied().chain(["--config", "/nowhere/tidegate.toml"]).collect();
        assert_eq!(status(&words), 2, "{words:?}");
    }
}

#[test]
fn what_fails_ends_with_1() {
    let nobody = nobody();
    for words in [
        &["modules", "--admin", &nobody][..],
        &["tail", "--company", "a", "--once", "--url", &nobody],
        &["publish", "metrics.a", "/nowhere/events"],
        &["check", "/nowhere/filter.wasm"],
    ] {
        assert_eq!(status(words), 1, "{words:?}");
    }
}

#[test]
fn help_and_version_end_with_0() {
    for words in [&["--help"][..], &["--version"], &["run", "--help"], &["doctor", "--help"]] {
        assert_eq!(status(words), 0, "{words:?}");
    }
}

#[test]
fn the_configuration_is_listed_with_origins() {
    let (result, text) =
        ran(&["run", "--print-config", "--port", "4000", "--set", "live.drain=5s", "--config", "/dev/null"]);
    assert_eq!(result.expect("done"), Done::Well);
    let line = |key: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("http.port"), "http.port 4000 flag --port");
    assert_eq!(line("live.drain"), "live.drain 5s flag --set live.drain");
    assert_eq!(line("limits.event-bytes"), "limits.event-bytes 1MiB default");
    assert_eq!(line("live.rotate"), "live.rotate (unset) default");

    let (result, text) = ran(&["run", "--print-config", "--json", "--config", "/dev/null"]);
    assert_eq!(result.expect("done"), Done::Well);
    let listing: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(listing["settings"].as_array().is_some_and(|settings| settings.len() > 50), "{listing}");
}

#[test]
fn a_file_that_is_no_filter_is_refused_with_its_reason() {
    let file = std::env::temp_dir().join(format!("tidegate-cli-{}.wasm", std::process::id()));
    std::fs::write(&file, b"\0asm\x01\0\0\0").expect("a file");
    let (result, text) = ran(&["check", file.to_str().expect("UTF-8"), "--json"]);
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(result.expect("a verdict"), Done::Badly);
    let verdict: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(verdict["accepted"], false);
    assert!(verdict["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{verdict}");
}

#[test]
fn the_manual_page_names_every_verb() {
    let (result, text) = ran(&["man"]);
    assert!(matches!(result, Ok(Done::Well)), "{text}");
    for verb in ["run", "demo", "doctor", "publish", "tail", "modules", "check", "test", "new", "build"] {
        assert!(text.contains(verb), "{verb}");
    }
}

#[test]
fn completions_are_printed() {
    let (result, text) = ran(&["completions", "bash"]);
    assert_eq!(result.expect("done"), Done::Well);
    assert!(text.contains("complete -F _tidegate"), "{}", text.len());
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let cli = Cli::try_parse_from(["tidegate", "completions", "bash"]).expect("a command line");
    assert_eq!(finish(dispatch(cli, &mut Out::to(Closed))), 0);
    assert_eq!(exit_status(&anyhow::anyhow!("x")), 1);
    let broken = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    assert_eq!(finish(Err(broken.context("no host answers"))), 1, "a connection that broke");
}
