//! Blots fields of captured events out, and keeps their types: what a filter expects of them still holds.

use anyhow::Context as _;
use serde_json::{Value, json};

/// What a text becomes.
const BLOT: &str = "***";

/// Which fields are blotted out.
#[derive(Debug, Default)]
pub(super) struct Redaction {
    fields: Vec<Vec<String>>,
}

impl Redaction {
    /// A name without a dot is blotted out wherever it stands, a path from the top.
    pub(super) fn of(fields: &[String]) -> Self {
        Self { fields: fields.iter().map(|field| field.split('.').map(str::to_owned).collect()).collect() }
    }

    /// The line without those fields, as it was where none are named; nothing where they could not be found.
    pub(super) fn line(&self, line: &str) -> anyhow::Result<Option<String>> {
        if self.fields.is_empty() {
            return Ok(Some(line.to_owned()));
        }
        let mut event: Value = serde_json::from_str(line).context("a line of the host's answer is no JSON")?;
        if event["payload"].get("base64").is_some() {
            return Ok(None);
        }
        for field in &self.fields {
            match field.as_slice() {
                [name] => {
                    everywhere(&mut event["payload"], name);
                    blot_header(&mut event["headers"], name);
                }
                path => along(&mut event["payload"], path),
            }
        }
        Ok(Some(event.to_string()))
    }
}

fn everywhere(value: &mut Value, name: &str) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if key == name { blot(member) } else { everywhere(member, name) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| everywhere(item, name)),
        _ => {}
    }
}

/// Lists on the way are passed through: `items.price` is that of each item.
fn along(value: &mut Value, path: &[String]) {
    match (value, path) {
        (value, []) => blot(value),
        (Value::Array(items), path) => items.iter_mut().for_each(|item| along(item, path)),
        (Value::Object(members), [name, rest @ ..]) => {
            if let Some(member) = members.get_mut(name) {
                along(member, rest);
            }
        }
        _ => {}
    }
}

fn blot_header(headers: &mut Value, name: &str) {
    let Some(headers) = headers.as_object_mut() else { return };
    headers.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case(name)).for_each(|(_, value)| blot(value));
}

fn blot(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => *flag = false,
        Value::Number(_) => *value = json!(0),
        Value::String(text) => BLOT.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(blot),
        Value::Object(members) => members.values_mut().for_each(blot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(fields: &[&str], line: Value) -> Option<Value> {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let line = Redaction::of(&fields).line(&line.to_string()).expect("JSON")?;
        Some(serde_json::from_str(&line).expect("JSON"))
    }

    #[test]
    fn a_name_is_blotted_out_wherever_it_stands_and_a_path_from_the_top() {
        let event = json!({"subject": "email", "headers": {"Email": "a@b", "Other": "x"}, "payload":
            {"email": "a@b", "user": {"email": "c@d", "name": "n"}, "list": [{"email": ["e", null]}, 7]}});
        let everywhere = json!({"subject": "email", "headers": {"Email": "***", "Other": "x"}, "payload":
            {"email": "***", "user": {"email": "***", "name": "n"}, "list": [{"email": ["***", null]}, 7]}});
        assert_eq!(redacted(&["email"], event.clone()), Some(everywhere));
        let one = redacted(&["user.email"], event).expect("JSON");
        assert_eq!((&one["payload"]["email"], &one["payload"]["user"]["email"]), (&json!("a@b"), &json!("***")));
    }

    #[test]
    fn types_stay_and_lists_on_the_way_are_passed_through() {
        let event = json!({"payload": {"items": [{"price": 12.5, "paid": true}, {"price": {"net": 3, "cur": "EUR"}}]}});
        let blotted = json!({"payload": {"items": [{"price": 0, "paid": false}, {"price": {"net": 0, "cur": "***"}}]}});
        assert_eq!(redacted(&["items.price", "items.paid"], event), Some(blotted));
    }

    #[test]
    fn what_can_not_be_looked_into_is_left_out() {
        let bytes = json!({"payload": {"base64": "AP8="}});
        assert_eq!(redacted(&["email"], bytes.clone()), None);
        assert_eq!(redacted(&[], bytes.clone()), Some(bytes), "but only where something is redacted");
    }
}
