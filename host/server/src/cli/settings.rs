//! The flags that set configuration: the same in every verb that reads it.

use super::UsageError;
use crate::config::{Config, Origin, Sources, environment};
use std::path::PathBuf;

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration file [default: tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Set any key, such as live.drain=5s; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Key http.host
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Key http.port
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Key admin.listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// Key nats.url
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
    /// Key redis.url
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// Key source.subjects
    #[arg(long, value_name = "SUBJECTS")]
    subjects: Option<String>,
    /// Key data.dir
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Key filters.dir
    #[arg(long, value_name = "FOLDER")]
    filters_dir: Option<String>,
    /// Key log.level
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Key log.format
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
}

impl ConfigArgs {
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.sources(environment())?)?)
    }

    pub(super) fn sources(&self, environment: Vec<(String, String)>) -> Result<Sources, UsageError> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| UsageError(format!("--set {pair}: KEY=VALUE is accepted")))?;
            flags.push((key.trim().to_owned(), value.trim().to_owned(), format!("--set {}", key.trim())));
        }
        for (key, flag, value) in [
            ("http.host", "--host", &self.host),
            ("http.port", "--port", &self.port),
            ("admin.listen", "--admin-listen", &self.admin_listen),
            ("nats.url", "--nats-url", &self.nats_url),
            ("redis.url", "--redis-url", &self.redis_url),
            ("source.subjects", "--subjects", &self.subjects),
            ("data.dir", "--data-dir", &self.data_dir),
            ("filters.dir", "--filters-dir", &self.filters_dir),
            ("log.level", "--log-level", &self.log_level),
            ("log.format", "--log-format", &self.log_format),
        ] {
            if let Some(value) = value {
                flags.push((key.to_owned(), value.clone(), flag.to_owned()));
            }
        }
        let file = self.config.clone().map(|path| (path, Origin::Flag("--config".to_owned())));
        Ok(Sources { file, look_for_file: true, environment, flags })
    }
}
