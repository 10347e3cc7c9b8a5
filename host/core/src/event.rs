//! An event on its way: from the source, and what the chains make of it.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// The longest name of a company, in bytes.
pub const COMPANY_BYTES_MAX: usize = 128;
/// The longest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;

/// The name of a company: 1 to 128 of `A-Za-z0-9._-`, not starting with `_` or `.`.
///
/// It is a type so that everything that reads or writes a company's data has to say which company it means.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Company(Arc<str>);

impl Company {
    /// Checks a name.
    ///
    /// # Errors
    /// [`CompanyError`] names what is wrong with it.
    pub fn new(name: &str) -> Result<Self, CompanyError> {
        if name.is_empty() {
            return Err(CompanyError::Empty);
        }
        if name.len() > COMPANY_BYTES_MAX {
            return Err(CompanyError::TooLong(name.len()));
        }
        if name.starts_with(['_', '.']) {
            return Err(CompanyError::Start);
        }
        match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
            Some(wrong) => Err(CompanyError::Character(wrong)),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Company {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Company {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Company({})", self.0)
    }
}

/// Why a text is no company's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompanyError {
    /// Nothing there.
    #[error("the company is empty")]
    Empty,
    /// Longer than [`COMPANY_BYTES_MAX`].
    #[error("the company has {0} bytes; at most 128 are allowed")]
    TooLong(usize),
    /// Names that start so are kept for the host.
    #[error("a company does not start with `_` or `.`")]
    Start,
    /// Something else than a letter, a digit, `.`, `_` or `-`.
    #[error("the company holds {0:?}; only A-Z a-z 0-9 . _ - are allowed")]
    Character(char),
}

/// Checks an event type: 1 to 128 printable ASCII characters without space, so that nothing can break out of the
/// `event:` line of a frame, and none of the names the stream itself uses.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_event_type(name: &str) -> Result<(), String> {
    const RESERVED: [&str; 6] = ["ready", "caught-up", "gap", "bye", "heartbeat", "error"];
    if name.is_empty() || name.len() > EVENT_TYPE_BYTES_MAX {
        return Err(format!("the event type has {} bytes; 1 to {EVENT_TYPE_BYTES_MAX} are allowed", name.len()));
    }
    if let Some(wrong) = name.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("the event type holds {wrong:?}; only printable ASCII without spaces is allowed"));
    }
    if RESERVED.contains(&name) {
        return Err(format!("the event type `{name}` is one of the stream's own"));
    }
    Ok(())
}

/// One event as the source holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEvent {
    /// Its place in the log, from 1.
    pub sequence: u64,
    /// Its time in the source, in milliseconds since 1970.
    pub time_ms: u64,
    /// The subject it was published on.
    pub subject: Arc<str>,
    /// Its headers as lines `name: value`, each ended by a line feed; empty without headers.
    pub headers: Bytes,
    /// Its payload, byte for byte.
    pub payload: Bytes,
}

impl SourceEvent {
    /// What it weighs against a batch's bound, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.payload.len() + self.headers.len() + self.subject.len() + 64
    }
}

/// What the platform chain made of one source event for one company: the input of the company's chain, and what waits
/// in a backlog. Several of them may come from one source event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The source event it came from.
    pub source: SourceEvent,
    /// Its number among the platform emissions of that event, from 0.
    pub emission: u32,
    /// The company it is for.
    pub company: Company,
    /// The event type the platform chain decided.
    pub event_type: Arc<str>,
    /// The data the platform chain passed on; often the very payload of `source`.
    pub data: Bytes,
}

impl Input {
    /// What it weighs in a backlog or a batch, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.source.weight() + self.data.len() + self.event_type.len()
    }
}

/// One final output of a company's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its event type.
    pub event_type: Arc<str>,
    /// What the client receives as `data`: UTF-8 without NUL.
    pub data: Bytes,
}

/// What became of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as these outputs, in this order.
    Emitted(Vec<Output>),
    /// A filter dropped it.
    Dropped {
        /// Which one, by file name.
        filter: Arc<str>,
        /// Why, in the filter's words; may be empty.
        reason: Arc<str>,
    },
    /// It could not be handled and goes to the dead letters.
    Dead(Fault),
}

/// Why an input could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A short, stable word for metrics: `trap`, `timeout`, `memory`, `output`, `error`, `no company`, …
    pub kind: &'static str,
    /// The whole story in a sentence.
    pub reason: Arc<str>,
    /// `name@digest` of the filter, where one is to blame.
    pub module: Option<Arc<str>>,
    /// Lines of a backtrace, where there is one.
    pub backtrace: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_is_letters_digits_and_three_signs() {
        assert!(Company::new("company-a.B_9").is_ok());
        assert_eq!(Company::new(""), Err(CompanyError::Empty));
        assert_eq!(Company::new("_platform"), Err(CompanyError::Start));
        assert_eq!(Company::new("a/b"), Err(CompanyError::Character('/')));
        assert_eq!(Company::new(&"a".repeat(129)), Err(CompanyError::TooLong(129)));
    }

    #[test]
    fn an_event_type_can_not_break_out_of_its_line() {
        assert!(check_event_type("metric_updated").is_ok());
        for wrong in ["", "a b", "a\nb", "a\rb", "gap", "ä"] {
            assert!(check_event_type(wrong).is_err(), "{wrong:?}");
        }
    }
}
