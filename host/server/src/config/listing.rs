//! The settings as they stand, for `--print-config`, `doctor` and errors found later.

use super::error::{ConfigError, ConfigFault, Mistake, Origin};
use super::keys::{self, KEYS};
use super::layers::{Layers, shown};

/// One key, what it is set to, and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key, as in `tidegate.toml`.
    pub key: String,
    /// The value as it may be shown; `None` where it is not set.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

pub(super) fn settings(layers: &Layers) -> Vec<Setting> {
    let keys = KEYS.iter().map(|key| {
        let written = layers.written(key);
        Setting {
            key: key.name.to_owned(),
            value: written.as_ref().map(|written| shown(key, &written.value.text())),
            origin: written.map_or(Origin::Default, |written| written.origin),
        }
    });
    let companies = layers.companies.iter().map(|(company, (on, origin))| Setting {
        key: format!("flags.{company}"),
        value: Some(on.to_string()),
        origin: origin.clone(),
    });
    keys.chain(companies).collect()
}

pub(super) fn complain(settings: &[Setting], fault: ConfigFault, key: &str, problem: String) -> ConfigError {
    let setting = settings.iter().find(|setting| setting.key == key);
    Mistake {
        fault,
        key: key.to_owned(),
        value: setting.and_then(|setting| setting.value.clone()).unwrap_or_else(|| "(unset)".to_owned()),
        origin: setting.map_or(Origin::Default, |setting| setting.origin.clone()),
        problem,
        accepts: keys::find(key).map_or("", |key| key.accepts).to_owned(),
    }
    .into()
}
