//! Which folder of filters a command is about.

use super::UsageError;
use crate::modules::folder::{DEFAULT, PLATFORM};

/// One of these.
#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
pub(super) struct PlaceArgs {
    /// A company's own folder
    #[arg(long, value_name = "COMPANY")]
    company: Option<String>,
    /// The folder of the companies without one of their own
    #[arg(long)]
    default: bool,
    /// The folder of the filters that every event passes first
    #[arg(long)]
    platform: bool,
}

impl PlaceArgs {
    /// The folder's name, where one is given.
    pub(super) fn given(&self) -> Option<&str> {
        match &self.company {
            Some(company) => Some(company),
            None if self.platform => Some(PLATFORM),
            None => self.default.then_some(DEFAULT),
        }
    }

    /// The folder's name.
    ///
    /// # Errors
    /// None is given.
    pub(super) fn folder(&self) -> Result<&str, UsageError> {
        self.given().ok_or_else(|| UsageError("which folder? --company COMPANY, --default or --platform".to_owned()))
    }
}

/// Who acts, and why.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ActorArgs {
    /// Why, for the audit log
    #[arg(long, short, value_name = "TEXT", default_value = "")]
    message: String,
    /// Who acts, for the audit log [default: the user]
    #[arg(long, value_name = "NAME", env = "TIDEGATE_BY")]
    by: Option<String>,
}

impl ActorArgs {
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Who acts: the admin token is one for all, so that is what they say.
    #[expect(clippy::disallowed_methods, reason = "who acts is no configuration: a shell knows it")]
    pub(super) fn by(&self) -> String {
        let user = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        let by = self.by.clone().or_else(user).filter(|by| !by.trim().is_empty());
        by.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
    }
}
