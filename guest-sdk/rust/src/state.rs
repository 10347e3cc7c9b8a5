//! What a filter remembers from event to event.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result, imports, json};

/// Keys and values that the filter keeps for its company, committed together with what it emits: after a crash both are
/// there or neither. Memory of the filter (statics, cells) is only a cache: the host drops it when it likes.
///
/// Ask for it with one more argument, `&State` to read or `&mut State` to write. Platform filters have none.
///
/// ```
/// use tidegate_guest::{filter, Event, State, Verdict};
///
/// /// Passes each thing once.
/// #[filter]
/// fn first_only(event: &Event, state: &mut State) -> Verdict {
///     let key = event.header("thing").unwrap_or("");
///     if state.get(key).is_some() {
///         return Verdict::drop("seen before");
///     }
///     state.set(key, b"")?;
///     Verdict::pass(event)
/// }
/// ```
pub struct State {
    _opened_by_the_sdk: (),
}

impl State {
    pub(crate) fn open() -> Self {
        Self { _opened_by_the_sdk: () }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        imports::get(key)
    }

    /// Sets a key.
    ///
    /// # Errors
    /// When it would exceed the quota; nothing is written then.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        imports::set(key, value).map_err(Error::new)
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, key: &str) {
        imports::delete(key);
    }

    /// Keys that start with `prefix` and their values, in the order of the keys, at most `limit` of them.
    pub fn scan(&self, prefix: &str, limit: u32) -> Vec<(String, Vec<u8>)> {
        imports::scan(prefix, limit).into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    /// The value of a key, kept as JSON.
    ///
    /// # Errors
    /// When what is kept has another shape; the text names the key.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.get(key)
            .map(|value| json::read(&value).map_err(|problem| Error::new(format_args!("state `{key}`: {problem}"))))
            .transpose()
    }

    /// Sets a key to a value as JSON.
    ///
    /// # Errors
    /// As [`set`](Self::set), or when the value has no JSON form.
    pub fn set_json<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<()> {
        self.set(key, &serde_json::to_vec(value)?)
    }
}
