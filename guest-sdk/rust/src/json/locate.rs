//! The field that stands at a place of a JSON text: serde_json tells line and column only.

use super::items::Items;

/// The path, as in `user.items[2].price`, of the value that ends at or holds this place (both counted from 1); `None`
/// for the whole text, and for an error without a place (line 0).
pub(super) fn path_at(text: &str, line: usize, column: usize) -> Option<String> {
    let before: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let place = before + column;
    let mut path = String::new();
    let mut value = 0..text.len();
    // Each round goes one container down.
    loop {
        let inner = text.get(value.clone())?;
        let found = Items::of(inner).enumerate().find(|(_, item)| {
            // What the parser has read ends at the place: a container behind its bracket, a scalar behind its last byte.
            let (start, end) = (value.start + item.value.start, value.start + item.value.end);
            start <= place && place <= end
        });
        let Some((index, item)) = found else { break };
        match &item.key {
            Some(key) if path.is_empty() => path.push_str(key),
            Some(key) => path.extend([".", key]),
            None => path.push_str(&format!("[{index}]")),
        }
        let end = value.start + item.value.end;
        value = value.start + item.value.start..end;
        // At its closing bracket a container is meant itself: a field that it lacks, for example.
        if place == end {
            break;
        }
    }
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::json::read;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only errors are looked at")]
    struct Order {
        user: User,
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only errors are looked at")]
    struct User {
        age: u8,
        name: String,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only errors are looked at")]
    struct Item {
        price: f64,
    }

    fn error(text: &str) -> String {
        read::<Order>(text.as_bytes()).expect_err("a wrong shape")
    }

    #[test]
    fn the_error_names_the_field() {
        let user = r#""user":{"age":3,"name":"x"}"#;
        assert!(error(r#"{"user":{"age":"x"}}"#).starts_with("field `user.age`: invalid type: string \"x\""));
        assert!(
            error(r#"{"user":{"age":300,"name":"x"}}"#).starts_with("field `user.age`: invalid value: integer `300`")
        );
        assert!(error(r#"{"user":{"age":1}}"#).starts_with("field `user`: missing field `name`"));
        assert!(
            error(&format!("{{{user},\n\"items\":[{{\"price\":1}},\n {{\"price\":[]}}]}}"))
                .starts_with("field `items[1].price`: invalid type")
        );
        assert!(error(&format!("{{{user},\"items\":{{}}}}")).starts_with("field `items`: invalid type: map"));
        assert!(error(&format!("{{{user},\"items\":null}}")).starts_with("field `items`: invalid type: null"));
        assert!(error(r#"{"items":[]}"#).starts_with("missing field `user`"));
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        assert!(error("").starts_with("not JSON: EOF"));
        assert!(error("{\"user\":").starts_with("not JSON: EOF"));
        assert!(read::<Order>(b"{\"user\":\"\xff\"}").expect_err("no text").starts_with("not JSON: invalid utf-8"));
    }
}
