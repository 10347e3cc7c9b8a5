//! What a filter's configuration may hold, read from its JSON Schema for people.

use super::out::plain;
use serde_json::{Map, Value};

/// How deep objects in objects are followed.
const DEPTH_MAX: u32 = 4;

/// One key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Its name; keys of an object within have their own after a dot.
    pub(super) name: String,
    /// Its type in words, or the values it may have.
    pub(super) kind: String,
    /// `required`, its default value, or nothing.
    pub(super) needed: String,
    /// What the schema says it is for.
    pub(super) meaning: String,
}

impl Key {
    /// The heads of [`Key::cells`].
    pub(super) const HEADS: [&'static str; 4] = ["KEY", "TYPE", "DEFAULT", "MEANING"];

    /// For a table.
    pub(super) fn cells(self) -> [String; 4] {
        [self.name, self.kind, self.needed, self.meaning]
    }
}

/// The keys of a schema, in its order.
pub(super) fn keys(schema: &Value) -> Vec<Key> {
    let mut found = Vec::new();
    walk(schema, schema, "", DEPTH_MAX, &mut found);
    found
}

fn walk(root: &Value, schema: &Value, prefix: &str, depth: u32, found: &mut Vec<Key>) {
    let schema = resolved(root, schema);
    let required = |name: &str| {
        let list = schema.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|other| other == name))
    };
    let empty = Map::new();
    for (name, own) in schema.get("properties").and_then(Value::as_object).unwrap_or(&empty) {
        let own = resolved(root, own);
        let path = format!("{prefix}{}", plain(name));
        let needed = match own.get("default") {
            Some(default) => plain(&default.to_string()),
            None if required(name) => "required".to_owned(),
            None => String::new(),
        };
        let meaning = own.get("description").or_else(|| own.get("title")).and_then(Value::as_str).unwrap_or_default();
        found.push(Key { name: path.clone(), kind: kind(root, own), needed, meaning: plain(meaning) });
        if depth > 1 && own.get("properties").is_some() {
            walk(root, own, &format!("{path}."), depth - 1, found);
        }
    }
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix("#/$defs/"));
    name.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(schema)
}

fn kind(root: &Value, schema: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(|value| plain(&value.to_string())).collect::<Vec<_>>().join(" | ");
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return list(values);
    }
    let plainly = match schema.get("type") {
        Some(Value::String(one)) => plain(one),
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(" | ")
        }
        _ => "any".to_owned(),
    };
    match schema.get("items") {
        Some(items) if plainly == "array" => format!("array of {}", kind(root, resolved(root, items))),
        _ => plainly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_told_with_type_default_and_meaning() {
        let schema = json!({"required": ["pointers", "to"], "properties": {
            "pointers": {"type": "array", "items": {"type": "string"}, "description": "what is masked"},
            "replace": {"type": ["string", "null"], "default": "***"},
            "mode": {"enum": ["a", 1]},
            "to": {"$ref": "#/$defs/target"}},
            "$defs": {"target": {"type": "object", "properties": {"name": {"type": "string", "title": "a\u{1b}[2Jb"}}}}});
        let rows: Vec<_> = keys(&schema).into_iter().map(Key::cells).collect();
        let expected = [
            ["pointers", "array of string", "required", "what is masked"],
            ["replace", "string | null", "\"***\"", ""],
            ["mode", "\"a\" | 1", "", ""],
            ["to", "object", "required", ""],
            ["to.name", "string", "", "a\u{fffd}[2Jb"],
        ];
        let mut rows_sorted = rows.clone();
        rows_sorted.sort();
        let mut expected: Vec<_> = expected.iter().map(|row| row.map(str::to_owned)).collect();
        expected.sort();
        assert_eq!(rows_sorted, expected);
        assert!(keys(&json!({})).is_empty());
    }
}
