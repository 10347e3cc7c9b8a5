//! What is wrong with the configuration, so that its reader can mend it at once.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag on the command line, as typed.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// What kind of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigFault {
    /// No key has this name.
    UnknownKey,
    /// The value is not one of those accepted.
    BadValue,
    /// A file that is named can not be read, or is not TOML.
    Unreadable,
    /// The value does not fit another one.
    Conflict,
}

/// A configuration the host does not start with. The command ends with exit status 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ConfigError(Box<Mistake>);

/// What a [`ConfigError`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {key} = {value} ({origin}): {problem}; accepted: {accepts}")]
pub struct Mistake {
    /// What kind of mistake it is.
    pub fault: ConfigFault,
    /// The key, as in `tidegate.toml`.
    pub key: String,
    /// The value as it may be shown: secrets are hidden.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
    /// What is wrong with it.
    pub problem: String,
    /// What would be accepted.
    pub accepts: String,
}

impl From<Mistake> for ConfigError {
    fn from(mistake: Mistake) -> Self {
        Self(Box::new(mistake))
    }
}

impl std::ops::Deref for ConfigError {
    type Target = Mistake;

    fn deref(&self) -> &Mistake {
        &self.0
    }
}
