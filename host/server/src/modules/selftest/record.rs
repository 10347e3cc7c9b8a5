//! Cases with what came written in place of what was expected; the rest of each line stays as it stands.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    expect: &'a RawValue,
}

/// The text of the cases with other expectations, by number of their line, from 1.
///
/// # Errors
/// A line that holds no case.
pub fn rewritten(cases: &str, came: &BTreeMap<usize, Value>) -> Result<String, String> {
    let mut out = String::with_capacity(cases.len());
    for (index, line) in cases.split_inclusive('\n').enumerate() {
        let Some(value) = came.get(&(index + 1)) else {
            out.push_str(line);
            continue;
        };
        let Line { expect } =
            serde_json::from_str(line).map_err(|error| format!("line {} holds no case: {error}", index + 1))?;
        // It borrows from the line, so that its place in it is known.
        let start = expect.get().as_ptr().addr() - line.as_ptr().addr();
        out.push_str(&line[..start]);
        out.push_str(&value.to_string());
        out.push_str(&line[start + expect.get().len()..]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_expectation_of_the_named_lines_is_another() {
        let text = "{\"expect\": {\"drop\":\"ä\"},  \"event\":{ }}\n\n{\"event\":1,\"expect\":{\"drop\":null}}";
        let came = BTreeMap::from([(1, json!({"drop": "b"})), (3, json!({"error": "c"}))]);
        assert_eq!(
            rewritten(text, &came).expect("cases"),
            "{\"expect\": {\"drop\":\"b\"},  \"event\":{ }}\n\n{\"event\":1,\"expect\":{\"error\":\"c\"}}"
        );
        assert!(rewritten("{}", &BTreeMap::from([(1, json!(1))])).is_err());
    }
}
