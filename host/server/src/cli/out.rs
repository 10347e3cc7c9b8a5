//! What a verb prints.

use serde_json::Value;
use std::io::{self, Write};

/// Where results go: standard output, or a buffer in tests.
pub(super) struct Out(Box<dyn Write + Send>);

/// Nobody reads what is printed any more.
#[derive(Debug, thiserror::Error)]
#[error("the output is closed")]
pub(super) struct OutputClosed;

impl Out {
    pub(super) fn stdout() -> Self {
        Self(Box::new(io::stdout()))
    }

    #[cfg(test)]
    pub(super) fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Box::new(writer))
    }

    /// Prints one line and shows it at once: the reader may be waiting for it.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Prints a value as one line of JSON.
    pub(super) fn json(&mut self, value: &Value) -> io::Result<()> {
        self.line(&value.to_string())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::new(error.kind(), OutputClosed),
            _ => error,
        })
    }

    /// Prints rows under their headings, columns aligned.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let width = |column: usize| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(String::as_str)
                .chain(head.get(column).copied())
                .map(|text| text.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
        let line = |cells: Vec<&str>| {
            let padded: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        self.line(&line(head.to_vec()))?;
        for row in rows {
            self.line(&line(row.iter().map(String::as_str).collect()))?;
        }
        Ok(())
    }
}

/// Says something on standard error: progress, warnings, what went wrong.
pub(super) fn complain(text: &str) {
    // There is nowhere else to say that it could not be said.
    writeln!(io::stderr(), "{text}").ok();
}

/// A text from elsewhere without what would steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A value of a host's answer as a cell: empty where there is none, and without what would steer the terminal.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

/// The same of a member.
pub(super) fn member(value: &Value, name: &str) -> String {
    value.get(name).map_or_else(String::new, text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What was printed.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Printed {
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
        }
    }

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_table_is_aligned_and_ends_its_lines_without_spaces() {
        let printed = Printed::default();
        let rows = [
            vec!["a".to_owned(), "é".to_owned(), String::new()],
            vec!["long".to_owned(), "b".to_owned(), "c".to_owned()],
        ];
        Out::to(printed.clone()).table(&["X", "Y", "Z"], &rows).expect("prints");
        assert_eq!(printed.text(), "X     Y  Z\na     é\nlong  b  c\n");
    }

    #[test]
    fn what_steers_a_terminal_is_not_printed() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\td"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\td");
    }
}
