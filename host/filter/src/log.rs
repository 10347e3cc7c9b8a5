//! What a filter writes to the log: bounded in rate and length, and only from calls that count.

use std::time::{Duration, Instant};

/// The longest line, in bytes; the rest is cut.
const LINE_BYTES_MAX: usize = 4096;

/// How important a line is, in the filter's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the words say it")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// What it says.
    pub message: String,
}

/// Where lines go besides the host's own log: a test's recorder, a developer's terminal.
pub trait LogSink: Send + Sync {
    /// Takes a line of `module` (`name@digest`), running for `company` (none for a platform filter).
    fn line(&self, module: &str, company: Option<&str>, line: &LogLine);
}

/// The lines of the running call. They are kept back until the call is over: a failed call is repeated in halves, and
/// its lines would come twice.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    per_second: u32,
    window: Instant,
    left: u32,
    left_at_call: u32,
    suppressed: u64,
    lines: Vec<LogLine>,
    last_error: Option<String>,
}

impl LogBuffer {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second,
            window: now,
            left: per_second,
            left_at_call: per_second,
            suppressed: 0,
            lines: Vec::new(),
            last_error: None,
        }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.lines.clear();
        self.last_error = None;
        self.left_at_call = self.left;
    }

    pub(crate) fn push(&mut self, level: LogLevel, mut message: String, now: Instant) {
        if message.len() > LINE_BYTES_MAX {
            let cut = message.floor_char_boundary(LINE_BYTES_MAX);
            message.truncate(cut);
            message.push('…');
        }
        if level == LogLevel::Error {
            self.last_error = Some(message.clone());
        }
        if now.duration_since(self.window) >= Duration::from_secs(1) {
            self.window = now;
            self.left = self.per_second;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return;
        }
        self.left -= 1;
        self.lines.push(LogLine { level, message });
    }

    /// The last line at level error in this call: the words of a panic.
    pub(crate) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The call did not count: its lines are thrown away and cost nothing.
    pub(crate) fn discard(&mut self) {
        self.left = self.left.max(self.left_at_call);
        self.lines.clear();
    }

    /// The call counts: its lines go to the log.
    pub(crate) fn flush(&mut self, module: &str, company: Option<&str>, sink: Option<&dyn LogSink>) {
        for line in self.lines.drain(..) {
            write_line(module, company, &line);
            if let Some(sink) = sink {
                sink.line(module, company, &line);
            }
        }
        if self.suppressed > 0 && self.left > 0 {
            let lines = std::mem::take(&mut self.suppressed);
            tracing::warn!(module, company, lines, "filter log lines over log-per-second left out");
        }
    }
}

fn write_line(module: &str, company: Option<&str>, line: &LogLine) {
    let text = line.message.as_str();
    match line.level {
        LogLevel::Debug => tracing::debug!(target: "tidegate::guest", module, company, text, "filter log"),
        LogLevel::Info => tracing::info!(target: "tidegate::guest", module, company, text, "filter log"),
        LogLevel::Warn => tracing::warn!(target: "tidegate::guest", module, company, text, "filter log"),
        LogLevel::Error => tracing::error!(target: "tidegate::guest", module, company, text, "filter log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_rate_are_left_out_until_the_next_second() {
        let start = Instant::now();
        let mut log = LogBuffer::new(2, start);
        log.begin();
        for n in 0..5 {
            log.push(LogLevel::Info, format!("line {n}"), start);
        }
        assert_eq!((log.lines.len(), log.suppressed), (2, 3));
        log.push(LogLevel::Info, "later".into(), start + Duration::from_secs(1));
        assert_eq!(log.lines.len(), 3);
    }

    #[test]
    fn lines_of_a_failed_call_cost_nothing() {
        let start = Instant::now();
        let mut log = LogBuffer::new(2, start);
        log.begin();
        log.push(LogLevel::Error, "panicked".into(), start);
        assert_eq!(log.last_error(), Some("panicked"));
        log.discard();
        assert_eq!((log.left, log.lines.len()), (2, 0));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let mut log = LogBuffer::new(1, Instant::now());
        log.push(LogLevel::Info, "ä".repeat(LINE_BYTES_MAX), Instant::now());
        assert!(log.lines[0].message.len() <= LINE_BYTES_MAX + 3 && log.lines[0].message.ends_with('…'));
    }
}
