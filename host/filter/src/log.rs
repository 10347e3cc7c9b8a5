//! What a filter writes to the log: bounded in rate and length, and only from calls that count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// How many lines of one filter for one company still reach the log in this second. It outlives instances, and a platform
/// filter's instances share it.
#[derive(Debug)]
pub(crate) struct LogWindow {
    per_second: u32,
    allowance: Mutex<Allowance>,
}

#[derive(Debug)]
struct Allowance {
    began: Instant,
    left: u32,
    suppressed: u64,
}

impl LogWindow {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, allowance: Mutex::new(Allowance { began: now, left: per_second, suppressed: 0 }) }
    }

    /// Nothing would be other with a new one.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let allowance = self.lock();
        allowance.suppressed == 0 && now.duration_since(allowance.began) >= Duration::from_secs(1)
    }

    fn lock(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, now: Instant) -> bool {
        let mut allowance = self.lock();
        if now.saturating_duration_since(allowance.began) >= Duration::from_secs(1) {
            (allowance.began, allowance.left) = (now, self.per_second);
        }
        let free = allowance.left > 0;
        allowance.left -= u32::from(free);
        free
    }

    fn give_back(&self, lines: usize) {
        let mut allowance = self.lock();
        let left = u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(allowance.left);
        allowance.left = left.min(self.per_second);
    }

    fn suppress(&self, lines: u64) {
        self.lock().suppressed += lines;
    }

    /// How many were left out, told once there is room for a line again.
    fn take_suppressed(&self) -> u64 {
        let mut allowance = self.lock();
        if allowance.left > 0 { std::mem::take(&mut allowance.suppressed) } else { 0 }
    }
}

/// The lines of the running call. They are kept back until the call is over: a failed call is repeated in halves, and
/// its lines would come twice.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    window: Arc<LogWindow>,
    lines: Vec<LogLine>,
    suppressed: u64,
    last_error: Option<String>,
}

impl LogBuffer {
    pub(crate) fn new(window: Arc<LogWindow>) -> Self {
        Self { window, lines: Vec::new(), suppressed: 0, last_error: None }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.lines.clear();
        self.suppressed = 0;
        self.last_error = None;
    }

    pub(crate) fn push(&mut self, level: LogLevel, mut message: String, now: Instant) {
        if message.len() > LINE_BYTES_MAX {
            // Anew: what is cut off a line of megabytes would be held until the call is over.
            message = [&message[..message.floor_char_boundary(LINE_BYTES_MAX)], "…"].concat();
        }
        if level == LogLevel::Error {
            self.last_error = Some(message.clone());
        }
        if self.window.take(now) {
            self.lines.push(LogLine { level, message });
        } else {
            self.suppressed += 1;
        }
    }

    /// The last line at level error in this call: the words of a panic.
    pub(crate) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The call did not count: its lines are thrown away and cost nothing.
    pub(crate) fn discard(&mut self) {
        self.window.give_back(self.lines.len());
        self.lines.clear();
        self.suppressed = 0;
    }

    /// The call counts: its lines go to the log.
    pub(crate) fn flush(&mut self, module: &str, company: Option<&str>, sink: Option<&dyn LogSink>) {
        for line in self.lines.drain(..) {
            write_line(module, company, &line);
            if let Some(sink) = sink {
                sink.line(module, company, &line);
            }
        }
        self.window.suppress(std::mem::take(&mut self.suppressed));
        let lines = self.window.take_suppressed();
        if lines > 0 {
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

    fn log(window: &Arc<LogWindow>) -> LogBuffer {
        LogBuffer::new(Arc::clone(window))
    }

    #[test]
    fn lines_over_the_rate_are_left_out_until_the_next_second() {
        let start = Instant::now();
        let window = Arc::new(LogWindow::new(2, start));
        let mut log = log(&window);
        log.begin();
        for n in 0..5 {
            log.push(LogLevel::Info, format!("line {n}"), start);
        }
        assert_eq!((log.lines.len(), log.suppressed), (2, 3));
        log.flush("m", None, None);
        assert!(!window.is_over(start + Duration::from_secs(9)), "three lines are still to be told");
        log.begin();
        log.push(LogLevel::Info, "later".into(), start + Duration::from_secs(1));
        assert_eq!((log.lines.len(), window.lock().suppressed), (1, 3));
        log.flush("m", None, None);
        assert_eq!(window.lock().suppressed, 0);
    }

    #[test]
    fn a_fresh_instance_has_what_the_last_one_left() {
        let start = Instant::now();
        let window = Arc::new(LogWindow::new(3, start));
        let mut reached = 0;
        for _ in 0..5 {
            let mut log = log(&window);
            log.begin();
            log.push(LogLevel::Error, "gives up".into(), start);
            reached += log.lines.len();
        }
        assert_eq!(reached, 3);
    }

    #[test]
    fn lines_of_a_failed_call_cost_nothing() {
        let start = Instant::now();
        let window = Arc::new(LogWindow::new(2, start));
        let mut log = log(&window);
        log.begin();
        log.push(LogLevel::Error, "panicked".into(), start);
        assert_eq!(log.last_error(), Some("panicked"));
        log.discard();
        assert_eq!((window.lock().left, log.lines.len()), (2, 0));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let mut log = log(&Arc::new(LogWindow::new(1, Instant::now())));
        log.push(LogLevel::Info, "ä".repeat(LINE_BYTES_MAX), Instant::now());
        assert!(log.lines[0].message.len() <= LINE_BYTES_MAX + 3 && log.lines[0].message.ends_with('…'));
        assert!(log.lines[0].message.capacity() < 2 * LINE_BYTES_MAX, "what is cut off is given back");
    }
}
