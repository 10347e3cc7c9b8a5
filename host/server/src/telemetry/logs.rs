//! Sets the log up: text on a terminal, one JSON object a line elsewhere.

use crate::config::{Log, LogFormat};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSetup {
    /// A level, or directives such as `info,tidegate=debug`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
    /// Whether colours are used; never with JSON.
    pub colour: bool,
}

impl LogSetup {
    /// What the configuration says; standard error decides the rest.
    #[must_use]
    pub fn new(log: &Log) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let format = log.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        Self { level: log.level.clone(), format, colour: terminal }
    }
}

/// Starts writing the log to standard error. Only the first call in a process counts.
pub fn start_logs(setup: &LogSetup) {
    let filter = EnvFilter::try_new(directives(&setup.level)).unwrap_or_else(|_| EnvFilter::new("info"));
    // A line that can't be written, on a full disk, is lost: telling so on the same standard error would be a panic.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let started = match setup.format {
        LogFormat::Text => builder.with_ansi(setup.colour).finish().try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("the log was set up before");
    }
}

/// What the client library of NATS says of its connection, the host says, too, with the servers' addresses.
fn directives(level: &str) -> String {
    let more = |word: &str| ["info", "debug", "trace"].iter().any(|more| word.trim().eq_ignore_ascii_case(more));
    if level.split(',').any(more) && !level.contains("async_nats") {
        return format!("async_nats=warn,{level}");
    }
    level.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_says_itself_is_not_said_twice_unless_it_is_asked_for() {
        assert_eq!(directives("debug"), "async_nats=warn,debug");
        for same in ["info,async_nats=debug", "off", "error", "tidegate=trace"] {
            assert_eq!(directives(same), same);
        }
    }

    #[test]
    fn the_configured_format_beats_the_terminal() {
        let log = Log { level: "debug".to_owned(), format: Some(LogFormat::Text) };
        assert_eq!(LogSetup::new(&log).format, LogFormat::Text);
        assert_eq!(LogSetup::new(&log).level, "debug");
    }
}
