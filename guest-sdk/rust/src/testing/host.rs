//! The host's functions in native tests: what a filter logs and keeps, for the present thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::bindings::tidegate::filter::log::Level;
use crate::bindings::tidegate::filter::state::Entry;

use super::recorder::LogLine;

/// What the filter under test has told its host.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) logs: Vec<LogLine>,
    pub(crate) state: BTreeMap<String, Vec<u8>>,
    pub(crate) state_bytes_max: Option<usize>,
    /// Whether the filter asked for state at all.
    pub(crate) state_used: bool,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::default());
}

/// Runs with this host in the thread's place, and gives it back even when `run` panics.
pub(crate) fn swapped<R>(host: &mut Host, run: impl FnOnce() -> R) -> R {
    struct Back<'a>(&'a mut Host);
    impl Drop for Back<'_> {
        fn drop(&mut self) {
            HOST.with_borrow_mut(|present| std::mem::swap(present, self.0));
        }
    }
    HOST.with_borrow_mut(|present| std::mem::swap(present, host));
    let _back = Back(host);
    run()
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => crate::log::Level::Debug,
        Level::Info => crate::log::Level::Info,
        Level::Warn => crate::log::Level::Warn,
        Level::Error => crate::log::Level::Error,
    };
    HOST.with_borrow_mut(|host| host.logs.push(LogLine { level, message: message.to_owned() }));
}

fn state<R>(use_it: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with_borrow_mut(|host| {
        host.state_used = true;
        use_it(host)
    })
}

pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
    state(|host| host.state.get(key).cloned())
}

pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), String> {
    state(|host| {
        let others: usize =
            host.state.iter().filter(|(other, _)| *other != key).map(|(key, value)| key.len() + value.len()).sum();
        let needed = others + key.len() + value.len();
        match host.state_bytes_max {
            Some(max) if needed > max => Err(format!("state would take {needed} bytes, {max} are allowed")),
            _ => {
                host.state.insert(key.to_owned(), value.to_owned());
                Ok(())
            }
        }
    })
}

pub(crate) fn delete(key: &str) {
    state(|host| host.state.remove(key));
}

pub(crate) fn scan(prefix: &str, limit: u32) -> Vec<Entry> {
    state(|host| {
        host.state
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit as usize)
            .map(|(key, value)| Entry { key: key.clone(), value: value.clone() })
            .collect()
    })
}
