//! The JSON Schema that a filter may bring for its configuration: what it may hold, and whether a configuration fits.

use crate::error::LoadError;
use crate::trap::caught;
use boon::{Compiler, Draft, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The longest schema, in bytes.
const BYTES_MAX: usize = 64 << 10;
/// How many values a schema may have once each `$ref` is replaced by what it names: validating takes that many steps for
/// each value of the configuration, at most.
const STEPS_MAX: u64 = 10_000;
/// How deep they may nest then: validating goes as deep on the stack.
const DEPTH_MAX: u32 = 64;
/// Patterns that it may have, and the bytes that each may take once it is compiled.
const PATTERNS_MAX: usize = 32;
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Of a value that has the wrong type, so much is told, in bytes.
const VALUE_BYTES_MAX: usize = 60;
/// How many faults of a configuration are told at once.
const TOLD_MAX: usize = 5;
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const LOCATION: &str = "tidegate:config-schema";

/// A schema that was read, bounded and compiled.
pub(crate) struct ConfigSchema {
    value: Value,
    schemas: Schemas,
    index: SchemaIndex,
}

impl ConfigSchema {
    /// Reads a schema; none in an empty text.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, LoadError> {
        if text.is_empty() {
            return Ok(None);
        }
        let told = |problem: String| {
            LoadError::Start(format!(
                "what `describe` says can't be taken: the JSON Schema of its configuration {problem}"
            ))
        };
        if text.len() > BYTES_MAX {
            return Err(told(format!("has {} bytes; {BYTES_MAX} are the most", text.len())));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| told(format!("is no JSON: {error}")))?;
        bounded(&value).map_err(told)?;
        // The library is made for schemas that mean no harm, too.
        caught(|| compile(value)).unwrap_or_else(Err).map(Some).map_err(|error| told(format!("is none: {error}")))
    }

    /// The schema itself.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// Whether a configuration fits.
    ///
    /// # Errors
    /// [`LoadError::Refused`] with the first faults and where they are.
    pub(crate) fn check(&self, config: &Value) -> Result<(), LoadError> {
        let checked = caught(|| {
            self.schemas.validate(config, self.index).map_err(|error| {
                let mut told = Vec::new();
                faults(&error, config, &mut told);
                told
            })
        });
        match checked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(mut told)) => {
                let more = told.len().saturating_sub(TOLD_MAX);
                told.truncate(TOLD_MAX);
                let more = if more > 0 { format!("; and {more} more") } else { String::new() };
                Err(LoadError::Refused(format!("{}{more}", told.join("; "))))
            }
            Err(words) => {
                Err(LoadError::Host(format!("the configuration could not be compared with its schema: {words}")))
            }
        }
    }
}

/// The ends of the tree of faults: what stands above them only says that something below did not fit.
fn faults(error: &ValidationError<'_, '_>, config: &Value, told: &mut Vec<String>) {
    if let ErrorKind::OneOf(Some((one, other))) = error.kind {
        let place = place(error);
        told.push(format!(
            "{place}: it fits two of the ways that exclude one another (the {one}. and the {other}., from 0)"
        ));
    } else if error.causes.is_empty() {
        let value = match error.kind {
            ErrorKind::Type { .. } => config.pointer(&error.instance_location.to_string()).map(shortened),
            _ => None,
        };
        told.push(format!("{}: {}{}", place(error), error.kind, value.unwrap_or_default()));
    }
    for cause in &error.causes {
        faults(cause, config, told);
    }
}

/// A value that has the wrong type, as it stands there.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    let end = text.floor_char_boundary(VALUE_BYTES_MAX);
    format!(" {}{}", &text[..end], if end < text.len() { "…" } else { "" })
}

fn place(error: &ValidationError<'_, '_>) -> String {
    match error.instance_location.to_string().as_str() {
        "" => "configuration".into(),
        pointer => format!("configuration: `{pointer}`"),
    }
}

/// Nothing is loaded from anywhere.
struct Nothing;

impl UrlLoader for Nothing {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("`{url}` is outside of the schema").into())
    }
}

fn compile(value: Value) -> Result<ConfigSchema, String> {
    let told = |error: boon::CompileError| format!("{error:#}");
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(Nothing));
    compiler.set_default_draft(Draft::V2020_12);
    compiler.add_resource(LOCATION, value.clone()).map_err(told)?;
    let mut schemas = Schemas::new();
    let index = compiler.compile(LOCATION, &mut schemas).map_err(told)?;
    Ok(ConfigSchema { value, schemas, index })
}

/// Whether validating with the schema ends soon, whatever the configuration: references lead to its own `$defs` only, in no
/// circle, and what comes out of following them all is small.
fn bounded(schema: &Value) -> Result<(), String> {
    let Some(root) = schema.as_object() else { return Err("is no JSON object".into()) };
    if let Some(draft) = root.get("$schema")
        && draft != DRAFT
    {
        return Err(format!("names a `$schema` other than {DRAFT}"));
    }
    let empty = Map::new();
    let definitions = root.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut walk = Walk { definitions, known: HashMap::new(), patterns: 0 };
    let Size { steps, .. } = walk.object(root, 1)?;
    if steps > STEPS_MAX {
        return Err(format!(
            "is too large once each `$ref` is replaced by what it names: {steps} values; {STEPS_MAX} are the most"
        ));
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Size {
    steps: u64,
    depth: u32,
}

struct Walk<'a> {
    definitions: &'a Map<String, Value>,
    /// Sizes of definitions; none while one is being walked.
    known: HashMap<&'a str, Option<Size>>,
    patterns: usize,
}

impl<'a> Walk<'a> {
    /// `depth` is how deep it stands. It is looked at before anything within is: the walk itself goes as deep.
    fn value(&mut self, value: &'a Value, depth: u32) -> Result<Size, String> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        match value {
            Value::Object(object) => self.object(object, depth),
            Value::Array(items) => {
                let mut size = Size { steps: 1, depth: 1 };
                for item in items {
                    add(&mut size, self.value(item, depth + 1)?);
                }
                Ok(size)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Size { steps: 1, depth: 1 }),
        }
    }

    fn object(&mut self, object: &'a Map<String, Value>, depth: u32) -> Result<Size, String> {
        let mut size = Size { steps: 1, depth: 1 };
        for (key, value) in object {
            match (key.as_str(), value) {
                ("$defs", _) if depth == 1 => {}
                ("$ref", Value::String(target)) => add(&mut size, self.definition(target, depth + 1)?),
                ("pattern", Value::String(pattern)) => self.pattern(pattern)?,
                ("patternProperties", Value::Object(patterns)) => {
                    for (pattern, value) in patterns {
                        self.pattern(pattern)?;
                        add(&mut size, self.value(value, depth + 1)?);
                    }
                }
                ("$id" | "$anchor" | "$dynamicAnchor" | "$dynamicRef", Value::String(_)) => {
                    return Err(format!("holds `{key}`: references are `$ref`s to its own `#/$defs/…` only"));
                }
                _ => add(&mut size, self.value(value, depth + 1)?),
            }
        }
        Ok(size)
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), String> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(format!("holds over {PATTERNS_MAX} patterns"));
        }
        let compiled = regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
        compiled.map(drop).map_err(|error| format!("holds the pattern `{pattern}`, which can't be taken: {error}"))
    }

    fn definition(&mut self, target: &'a str, depth: u32) -> Result<Size, String> {
        let name = target.strip_prefix("#/$defs/").filter(|name| !name.contains(['/', '~', '%']));
        let Some(name) = name else {
            return Err(format!("refers to `{target}`: references are `$ref`s to its own `#/$defs/…` only"));
        };
        match self.known.get(name) {
            Some(Some(size)) if depth.saturating_add(size.depth) > DEPTH_MAX => return Err(too_deep()),
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(format!("refers to `{target}` within itself: there are no circles")),
            None => {}
        }
        let Some(value) = self.definitions.get(name) else {
            return Err(format!("refers to `{target}`, which it does not have"));
        };
        self.known.insert(name, None);
        let size = self.value(value, depth)?;
        self.known.insert(name, Some(size));
        Ok(size)
    }
}

fn too_deep() -> String {
    format!("nests over {DEPTH_MAX} deep once each `$ref` is replaced by what it names")
}

fn add(size: &mut Size, part: Size) {
    size.steps = size.steps.saturating_add(part.steps);
    size.depth = size.depth.max(part.depth.saturating_add(1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(schema: &Value) -> String {
        ConfigSchema::read(&schema.to_string()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn faults_of(schema: &Value, config: &Value) -> String {
        let schema = ConfigSchema::read(&schema.to_string()).expect("taken").expect("one");
        schema.check(config).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_configuration_that_does_not_fit_is_told_where() {
        let schema = json!({"$schema": DRAFT, "type": "object", "additionalProperties": false, "required": ["threshold"],
            "properties": {"threshold": {"type": "number"}, "to": {"$ref": "#/$defs/target"}},
            "$defs": {"target": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}}}}});
        assert_eq!(faults_of(&schema, &json!({"threshold": 1, "to": {"name": "a"}})), "");
        let told = faults_of(&schema, &json!({}));
        assert!(told.contains("configuration: missing properties 'threshold'"), "{told}");
        let told = faults_of(&schema, &json!({"threshold": "1", "tresh": 2, "to": {"name": "A"}}));
        assert!(told.contains("configuration: `/threshold`: want number, but got string \"1\""), "{told}");
        assert!(told.contains("'tresh' not allowed") && told.contains("`/to/name`: 'A' does not match"), "{told}");
    }

    #[test]
    fn without_a_schema_there_is_nothing_to_compare() {
        assert!(ConfigSchema::read("").expect("taken").is_none());
    }

    #[test]
    fn what_is_no_schema_is_refused_with_the_reason() {
        assert!(refused(&json!([])).contains("is no JSON object"));
        assert!(ConfigSchema::read("{").err().expect("refused").to_string().contains("is no JSON: EOF"));
        assert!(refused(&json!({"type": "nmuber"})).contains("is none: "));
        assert!(refused(&json!({"pattern": "("})).contains("can't be taken"));
        assert!(refused(&json!({"$schema": "http://json-schema.org/draft-07/schema#"})).contains("other than"));
        assert!(refused(&json!({"title": "x".repeat(70_000)})).contains("65536 are the most"));
    }

    #[test]
    fn references_stay_inside_and_make_no_circle() {
        for target in ["http://example.com/a", "other.json", "#", "#/properties/a", "#/$defs/a/b", "#a"] {
            assert!(refused(&json!({"properties": {"a": {"$ref": target}}})).contains("`#/$defs/…` only"), "{target}");
        }
        assert!(refused(&json!({"$ref": "#/$defs/a"})).contains("which it does not have"));
        assert!(refused(&json!({"$id": "x:y"})).contains("holds `$id`"));
        let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}});
        assert!(refused(&circle).contains("within itself"));
    }

    #[test]
    fn a_schema_that_takes_long_to_follow_is_refused_at_once() {
        let mut definitions = Map::new();
        for n in 0..15 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            definitions.insert(format!("d{n}"), json!({"anyOf": [next, next, next, next]}));
        }
        definitions.insert("d15".into(), json!({"const": 1}));
        assert!(refused(&json!({"$ref": "#/$defs/d0", "$defs": definitions})).contains("is too large"));
        let mut chain = Map::new();
        for n in 0..2_000 {
            chain.insert(format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)}));
        }
        assert!(refused(&json!({"$ref": "#/$defs/d0", "$defs": chain})).contains("nests over 64 deep"));
    }

    #[test]
    fn a_schema_that_goes_deep_is_refused_before_it_is_followed() {
        let deep = |mut value: Value| {
            for _ in 0..110 {
                value = json!([value]);
            }
            value
        };
        let mut definitions = Map::new();
        for n in 0..200 {
            definitions.insert(format!("d{n}"), deep(json!({"$ref": format!("#/$defs/d{}", n + 1)})));
        }
        assert!(refused(&json!({"$ref": "#/$defs/d0", "$defs": definitions})).contains("nests over 64 deep"));
        // Each is small, and they stand in one another.
        let mut chain = Map::new();
        for n in 0..40 {
            chain.insert(format!("d{n}"), json!({"items": {"$ref": format!("#/$defs/d{}", n + 1)}}));
        }
        chain.insert("d40".into(), json!({}));
        assert!(refused(&json!({"$ref": "#/$defs/d0", "$defs": chain})).contains("nests over 64 deep"));
        let both = json!({"allOf": [{"$ref": "#/$defs/a"}, {"not": {"$ref": "#/$defs/a"}}], "$defs": {"a": {"type": "object"}}});
        assert_eq!(refused(&both), "");
    }

    #[test]
    fn patterns_are_few_and_small() {
        let many: Vec<Value> = (0..40).map(|n| json!({"pattern": format!("^a{n}$")})).collect();
        assert!(refused(&json!({"anyOf": many})).contains("over 32 patterns"));
        assert!(refused(&json!({"pattern": "\\w{5000}"})).contains("can't be taken"));
        assert!(refused(&json!({"patternProperties": {"\\w{5000}": {}}})).contains("can't be taken"));
        assert_eq!(refused(&json!({"patternProperties": {"^x-": {"pattern": "^(/.*)?$"}}})), "");
    }
}
