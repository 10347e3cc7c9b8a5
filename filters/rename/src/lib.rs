//! Gives event types other names; the payload passes unchanged.
//!
//! ```toml
//! [config.types]
//! metric_updated = "kpi"    # from = "to"; other types pass as they are
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_guest::{Event, Verdict, filter};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    types: BTreeMap<String, String>,
}

/// New names by old ones.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    types: BTreeMap<String, String>,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(Written { types }: Written) -> Result<Self, String> {
        if types.is_empty() {
            return Err("`types` is empty: say what to rename, as in metric_updated = \"kpi\"".to_owned());
        }
        for (from, to) in &types {
            // A line of an event stream ends at a line break: such a name could forge a field.
            if to.is_empty() || to.chars().any(char::is_control) {
                return Err(format!("`types.{from}`: {to:?} can't be an event type"));
            }
        }
        Ok(Self { types })
    }
}

/// Passes each event on under the name that the configuration has for its type.
#[filter(name = "rename", config_schema = "schema.json")]
pub fn rename(event: &Event, config: &Config) -> Verdict {
    let name = config.types.get(event.event_type());
    Verdict::emit(name.map_or("", String::as_str), event.payload())
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Recorder, check_cases};

    use super::*;

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<rename>("cases");
    }

    #[test]
    fn a_wrong_configuration_is_refused_by_name() {
        let refused = |config| Recorder::<rename>::with_config(config).err().expect("refused");
        assert!(refused("{}").contains("missing field `types`"));
        assert!(refused(r#"{"types":{}}"#).contains("`types` is empty"));
        assert!(refused(r#"{"types":{"a":""}}"#).contains("`types.a`"));
        assert!(refused(r#"{"types":{"a":"x\ndata: y"}}"#).contains("`types.a`"));
        assert!(refused(r#"{"types":{"a":1}}"#).contains("field `types.a`"));
    }
}
