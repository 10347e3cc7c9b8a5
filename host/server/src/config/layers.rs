//! Lays defaults, file, environment and flags over each other and remembers where each value came from.

use super::error::{ConfigError, ConfigFault, Mistake, Origin};
use super::keys::{self, KEYS, Key, Show};
use super::values::redact_url;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where the layers above the defaults come from; what a process has, or what a test says.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named by `--config` and the flag or variable that named it. Without one, `tidegate.toml` in the working
    /// folder is read if it is there.
    pub file: Option<(PathBuf, Origin)>,
    /// Whether `tidegate.toml` in the working folder counts where no file is named.
    pub look_for_file: bool,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Values from the command line: key, value, the flag as typed.
    pub flags: Vec<(String, String, String)>,
}

/// A value as it was written, and where.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) value: Raw,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone)]
pub(super) enum Raw {
    Text(String),
    List(Vec<String>),
}

impl Raw {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(list) => list.join(","),
        }
    }
}

/// All layers on top of each other, values not yet read.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// For each key what the layers say, the weakest first.
    values: BTreeMap<&'static str, Vec<Written>>,
    /// `[flags]`: company and whether it streams.
    pub(super) companies: BTreeMap<String, (bool, Origin)>,
    /// What looks like a mistake but keeps nobody from starting.
    pub(super) warnings: Vec<String>,
}

impl Layers {
    pub(super) fn lay(sources: &Sources) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        match &sources.file {
            Some((path, origin)) => layers.lay_file(path, origin)?,
            None if sources.look_for_file && Path::new("tidegate.toml").exists() => {
                layers.lay_file(Path::new("tidegate.toml"), &Origin::Default)?;
            }
            None => {}
        }
        layers.lay_environment(&sources.environment);
        for (name, value, flag) in &sources.flags {
            let origin = Origin::Flag(flag.clone());
            let Some(key) = keys::find(name) else { return Err(unknown(name, value, origin)) };
            layers.set(key, Written { value: Raw::Text(value.clone()), origin });
        }
        Ok(layers)
    }

    fn lay_file(&mut self, path: &Path, named_by: &Origin) -> Result<(), ConfigError> {
        let unreadable = |problem: String, line: Option<usize>| Mistake {
            fault: ConfigFault::Unreadable,
            key: "--config".to_owned(),
            value: path.display().to_string(),
            origin: line.map_or_else(|| named_by.clone(), |line| Origin::File { path: path.to_owned(), line }),
            problem,
            accepts: "a readable file in TOML".to_owned(),
        };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(format!("not readable: {error}"), None))?;
        let table = DeTable::parse(&text).map_err(|error| {
            unreadable(error.message().to_owned(), Some(line_at(&text, error.span().map_or(0, |span| span.start))))
        })?;
        self.lay_table("", table.get_ref(), &text, path)
    }

    fn lay_table(&mut self, prefix: &str, table: &DeTable<'_>, text: &str, path: &Path) -> Result<(), ConfigError> {
        for (name, value) in table {
            let full =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let origin = Origin::File { path: path.to_owned(), line: line_at(text, name.span().start) };
            if prefix == "flags"
                && let Some(on) = value.get_ref().as_bool()
            {
                self.companies.insert(name.get_ref().to_string(), (on, origin));
                continue;
            }
            if let DeValue::Table(inner) = value.get_ref() {
                if full != "flags" && !KEYS.iter().any(|key| key.name.starts_with(&format!("{full}."))) {
                    return Err(unknown(&full, "{…}", origin));
                }
                self.lay_table(&full, inner, text, path)?;
                continue;
            }
            let Some(key) = keys::find(&full) else {
                return Err(match prefix {
                    "flags" => Mistake {
                        fault: ConfigFault::BadValue,
                        key: full,
                        value: show(value.get_ref()),
                        origin,
                        problem: "not a boolean".to_owned(),
                        accepts: "true or false for a company".to_owned(),
                    }
                    .into(),
                    _ => unknown(&full, &show(value.get_ref()), origin),
                });
            };
            let value =
                raw(value).ok_or_else(|| bad_value(key, &show(value.get_ref()), &origin, "of a type no key takes"))?;
            self.set(key, Written { value, origin });
        }
        Ok(())
    }

    fn lay_environment(&mut self, environment: &[(String, String)]) {
        for (name, value) in environment {
            // An empty variable is what compose files leave behind for one that is not set.
            if value.is_empty() {
                continue;
            }
            if let Some(key) = KEYS.iter().find(|key| key.environment == Some(name.as_str())) {
                let origin = Origin::Environment(name.clone());
                self.set(key, Written { value: Raw::Text(value.clone()), origin });
            } else if name.starts_with("TIDEGATE_") && !elsewhere(name) {
                let known = KEYS.iter().filter_map(|key| key.environment);
                let hint = keys::nearest(name, known).map(|near| format!("; is {near} meant?")).unwrap_or_default();
                self.warnings.push(format!("the environment variable {name} sets no key{hint}"));
            }
        }
    }

    fn set(&mut self, key: &Key, written: Written) {
        self.values.entry(key.name).or_default().push(written);
    }

    /// What weaker layers say of a key that a stronger one sets, too: it has no effect, but has to be right.
    pub(super) fn overridden(&self, key: &Key) -> &[Written] {
        self.values.get(key.name).and_then(|layers| layers.split_last()).map_or(&[], |(_, below)| below)
    }

    /// What is written for a key, its default included.
    pub(super) fn written(&self, key: &Key) -> Option<Written> {
        if let Some(written) = self.values.get(key.name).and_then(|layers| layers.last()) {
            return Some(written.clone());
        }
        let default = key.default?;
        let text = match default.strip_prefix('@').and_then(keys::find) {
            Some(other) => self.written(other)?.value.text(),
            None => default.to_owned(),
        };
        Some(Written { value: Raw::Text(text), origin: Origin::Default })
    }
}

/// The names with the prefix that are no keys: the client commands' own, and what Kubernetes sets for a service of the
/// name `tidegate`.
fn elsewhere(name: &str) -> bool {
    const CLIENT: [&str; 5] =
        ["TIDEGATE_CONFIG", "TIDEGATE_URL", "TIDEGATE_TOKEN", "TIDEGATE_ADMIN_URL", "TIDEGATE_READY_FILE"];
    CLIENT.contains(&name) || name.starts_with("TIDEGATE_SERVICE_") || name.starts_with("TIDEGATE_PORT")
}

/// The value as it may be shown.
pub(super) fn shown(key: &Key, value: &str) -> String {
    match key.show {
        Show::Plain => value.to_owned(),
        Show::Url => redact_url(value),
        Show::Secret => "(hidden)".to_owned(),
    }
}

pub(super) fn bad_value(key: &Key, value: &str, origin: &Origin, problem: &str) -> ConfigError {
    Mistake {
        fault: ConfigFault::BadValue,
        key: key.name.to_owned(),
        value: shown(key, value),
        origin: origin.clone(),
        problem: problem.to_owned(),
        accepts: key.accepts.to_owned(),
    }
    .into()
}

fn unknown(name: &str, value: &str, origin: Origin) -> ConfigError {
    let table = name.rsplit_once('.').map_or("", |(table, _)| table);
    let siblings: Vec<&str> = KEYS
        .iter()
        .map(|key| key.name)
        .filter(|known| known.rsplit_once('.').is_some_and(|(parent, _)| parent == table))
        .collect();
    let accepts = if siblings.is_empty() {
        let mut tables: Vec<&str> = KEYS.iter().filter_map(|key| key.name.split('.').next()).collect();
        tables.dedup();
        format!("keys in {}", tables.join(", "))
    } else {
        siblings.join(", ")
    };
    let hint = keys::nearest(name, KEYS.iter().map(|key| key.name)).map(|near| format!("; is `{near}` meant?"));
    Mistake {
        fault: ConfigFault::UnknownKey,
        key: name.to_owned(),
        // A misspelled key may be that of a secret: what it was set to is not repeated.
        value: if value.len() > 40 {
            "…".to_owned()
        } else if secretive(name) {
            "(hidden)".to_owned()
        } else {
            redact_url(value)
        },
        origin,
        problem: format!("no key has this name{}", hint.unwrap_or_default()),
        accepts,
    }
    .into()
}

fn secretive(name: &str) -> bool {
    ["token", "secret", "key", "pass", "cred", "jwt"].iter().any(|word| name.contains(word))
}

fn raw(value: &Spanned<DeValue<'_>>) -> Option<Raw> {
    Some(match value.get_ref() {
        DeValue::Array(list) => {
            let texts: Option<Vec<String>> = list.iter().map(|item| scalar(item.get_ref())).collect();
            Raw::List(texts?)
        }
        DeValue::Table(_) => return None,
        value => Raw::Text(scalar(value)?),
    })
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        DeValue::Integer(number) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn show(value: &DeValue<'_>) -> String {
    scalar(value).unwrap_or_else(|| format!("a value of type {}", value.type_str()))
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
