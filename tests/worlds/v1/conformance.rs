//! The filter of the conformance suite, in Rust: the header `do` says what becomes of an event.

use serde::Deserialize;
use tidegate_guest::{Error, Event, Result, State, Verdict, filter, log};

#[derive(Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub struct Config {
    tag: String,
    most: u32,
}

impl TryFrom<serde_json::Value> for Config {
    type Error = String;

    fn try_from(value: serde_json::Value) -> std::result::Result<Self, String> {
        let mut config = Self { tag: "none".to_owned(), most: 3 };
        for (key, value) in value.as_object().into_iter().flatten() {
            match key.as_str() {
                "tag" => value.as_str().ok_or("`tag` must be text")?.clone_into(&mut config.tag),
                "most" => {
                    let most = value.as_u64().filter(|most| *most <= 100).and_then(|most| u32::try_from(most).ok());
                    config.most = most.ok_or("`most` must be a whole number from 0 to 100")?;
                }
                other => return Err(format!("unknown field `{other}`")),
            }
        }
        Ok(config)
    }
}

#[filter(name = "conformance", version = "1.0.0", state_version = 1)]
pub fn conformance(event: &Event, config: &Config, state: &mut State) -> Result<Verdict> {
    let key = format!("count/{}", event.subject());
    Ok(match event.header("do").unwrap_or_default() {
        "" => Verdict::drop(""),
        "pass" => Verdict::pass(event),
        "keep" => match event.payload() {
            [] => Verdict::error("empty"),
            [_, rest @ ..] => Verdict::emit("", rest),
        },
        "map" => {
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let text = format!(
                r#"map {{"subject":{},"sequence":{},"time":{},"company":{},"type":{},"bytes":{},"tag":{}}}"#,
                quoted(event.subject()),
                event.sequence(),
                event.time_ms(),
                quoted(event.company()),
                quoted(event.event_type()),
                event.payload().len(),
                quoted(&config.tag)
            );
            Verdict::emit("mapped", text.as_bytes())
        }
        "drop" => Verdict::drop(event.header("reason").unwrap_or_default()),
        "error" => Verdict::error(event.header("text").unwrap_or("no text")),
        "split" => {
            let lines: Vec<&[u8]> = event.payload().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            if lines.len() > config.most as usize {
                return Err(Error::new(format_args!("more than {} lines", config.most)));
            }
            Verdict::emit_many(lines.into_iter().map(|line| ("line", line)))
        }
        "several" => Verdict::emit("a", event.payload()).and("", event.payload()).and("b", b""),
        "nothing" => Verdict::none(),
        "json" => {
            let value: serde_json::Value = serde_json::from_slice(event.payload()).map_err(|_| Error::new("not JSON"))?;
            match value.pointer("/user/name").and_then(|name| name.as_str()) {
                Some(name) => Verdict::emit("name", name.as_bytes()),
                None => Verdict::error("no /user/name"),
            }
        }
        "headers" => {
            let text: String = event.headers().map(|(name, value)| format!("{name}={value};")).collect();
            Verdict::emit("headers", text.as_bytes())
        }
        "echo" => {
            let data = [event.payload(), config.tag.as_bytes()].concat();
            Verdict::emit(event.header("type").unwrap_or_default(), &data)
        }
        "hex" => {
            let text: String = event.payload().iter().map(|byte| format!("{byte:02x}")).collect();
            Verdict::emit("hex", text.as_bytes())
        }
        "reverse" => {
            let text = std::str::from_utf8(event.payload()).map_err(|_| Error::new("no UTF-8"))?;
            Verdict::emit("reversed", text.chars().rev().collect::<String>().as_bytes())
        }
        "count" => {
            let count: u64 = state.get_json(&key)?.unwrap_or(0) + 1;
            state.set(&key, count.to_string().as_bytes())?;
            Verdict::emit("count", count.to_string().as_bytes())
        }
        "forget" => {
            state.delete(&key);
            Verdict::emit("forgotten", b"")
        }
        "list" => {
            let mut data = Vec::new();
            for (key, value) in state.scan("count/", config.most) {
                data.extend_from_slice(key.as_bytes());
                data.push(b'=');
                data.extend_from_slice(&value);
                data.push(b';');
            }
            Verdict::emit("list", &data)
        }
        "put" => {
            state.set(event.header("key").unwrap_or_default(), event.payload())?;
            Verdict::drop("put")
        }
        "peek" => match state.get(event.header("key").unwrap_or_default()) {
            Some(value) => Verdict::emit("kept", &value),
            None => Verdict::drop("nothing kept"),
        },
        "log" => {
            log::info(String::from_utf8_lossy(event.payload()));
            log::warn(&config.tag);
            Verdict::drop("logged")
        }
        other => Verdict::error(format_args!("unknown: {other}")),
    })
}
