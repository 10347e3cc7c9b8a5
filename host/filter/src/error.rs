//! Why a filter is not taken, and why a run has no verdict.

/// Why a file or a configuration is refused. The text is meant for the one who deploys it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Larger than `module-mib` allows.
    #[error("the file has {bytes} bytes; `module-mib` allows {mib} MiB")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit that was in force.
        mib: u32,
    },
    /// No WebAssembly, or damaged.
    #[error("{0}")]
    Format(String),
    /// Imports something that is not offered, lacks an export, or has one of another type.
    #[error("{0}")]
    World(String),
    /// Built for a version of the world that this host does not serve.
    #[error("it is built for version {found} of tidegate:filter; this host serves {served}")]
    Version {
        /// What the file asks for.
        found: String,
        /// The range that is served.
        served: &'static str,
    },
    /// The code generator refused it.
    #[error("it can't be compiled: {0}")]
    Compile(String),
    /// It could not be started within its limits, or what it says of itself is not acceptable.
    #[error("it can't be started: {0}")]
    Start(String),
    /// The filter itself refused its configuration: its own words.
    #[error("it refuses its configuration ([config] in the .toml beside it): {0}")]
    Refused(String),
    /// Name, configuration text, limits or place in a chain are wrong, whatever the code.
    #[error("{0}")]
    Configuration(String),
    /// The host failed, not the filter.
    #[error("the host failed: {0}")]
    Host(String),
}

/// The longest reason that is told, in bytes. A module's own names and words stand in it, which run to megabytes.
const REASON_BYTES_MAX: usize = 4096;

impl LoadError {
    /// The same for people and logs: cut, and in one line but for the backtrace of a start.
    pub(crate) fn readable(self) -> Self {
        match self {
            Self::TooLarge { .. } => self,
            Self::Format(text) => Self::Format(readable(&text, false)),
            Self::World(text) => Self::World(readable(&text, false)),
            Self::Version { found, served } => Self::Version { found: readable(&found, false), served },
            Self::Compile(text) => Self::Compile(readable(&text, false)),
            Self::Start(text) => Self::Start(readable(&text, true)),
            Self::Refused(text) => Self::Refused(readable(&text, false)),
            Self::Configuration(text) => Self::Configuration(readable(&text, false)),
            Self::Host(text) => Self::Host(readable(&text, false)),
        }
    }

    /// A short, stable word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "size",
            Self::Format(_) => "format",
            Self::World(_) => "world",
            Self::Version { .. } => "version",
            Self::Compile(_) => "compile",
            Self::Start(_) => "start",
            Self::Refused(_) => "refused",
            Self::Configuration(_) => "configuration",
            Self::Host(_) => "host",
        }
    }
}

fn readable(text: &str, lines: bool) -> String {
    let end = text.floor_char_boundary(REASON_BYTES_MAX);
    let mut told = text[..end].replace(|c: char| c.is_control() && !(lines && c == '\n'), " ");
    if end < text.len() {
        told.push('…');
    }
    told
}

/// Why a run ended without verdicts. State is as it was before; nothing counts as the filter's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The time given to the whole run was over.
    #[error("the batch's time was over")]
    Budget,
    /// A filter that takes long to start has no instance yet: one is to be started outside of the run's time.
    #[error("a filter starts slowly and has no instance yet: {0}")]
    Cold(String),
    /// A filter that started when it was loaded could not be started now (memory, or a busy machine).
    #[error("a filter could not be started: {0}")]
    NotReady(String),
}
