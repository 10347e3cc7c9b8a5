//! What a filter finds outside itself: its log and its company's state, and the data of its store.

use crate::bindings::v1::tidegate::filter as v1;
use crate::bindings::v2::tidegate::filter::{log, state, types};
use crate::limiter::Limiter;
use crate::limits::Limits;
use crate::log::{LogBuffer, LogLevel, LogWindow};
use crate::state::{FilterState, Journal};
use crate::time::CallTime;
use std::sync::Arc;
use std::time::Instant;

/// What stands behind one instance.
pub(crate) struct Host {
    pub(crate) limiter: Limiter,
    pub(crate) log: LogBuffer,
    /// Present while `process` runs, in a filter that has state.
    pub(crate) state: Option<StateAccess>,
    pub(crate) time: CallTime,
}

/// The state of the running call, and what to undo should it fail.
pub(crate) struct StateAccess {
    pub(crate) state: FilterState,
    pub(crate) journal: Journal,
    pub(crate) quota: u64,
}

/// A filter called something that is not offered where it stands.
#[derive(Debug, thiserror::Error)]
#[error("state is offered within `process` only: `describe` and `init` have to give the same on every instance")]
struct StateOutsideProcess;

impl Host {
    pub(crate) fn new(limits: &Limits, window: Arc<LogWindow>, time: CallTime) -> Self {
        Self { limiter: Limiter::new(limits.memory_bytes()), log: LogBuffer::new(window), state: None, time }
    }

    fn state(&mut self) -> wasmtime::Result<&mut StateAccess> {
        self.state.as_mut().ok_or_else(|| wasmtime::Error::new(StateOutsideProcess))
    }
}

impl types::Host for Host {}

impl log::Host for Host {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log.push(level, message, Instant::now());
        Ok(())
    }
}

impl state::Host for Host {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.state()?.state.get(&key).map(|value| value.to_vec()))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        let access = self.state()?;
        Ok(access.state.set(key, value.into(), access.quota, &mut access.journal))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        let access = self.state()?;
        access.state.delete(key, &mut access.journal);
        Ok(())
    }

    fn scan(&mut self, prefix: String, limit: u32) -> wasmtime::Result<Vec<state::Entry>> {
        let found = self.state()?.state.scan(&prefix, limit);
        Ok(found.map(|(key, value)| state::Entry { key: key.into(), value: value.to_vec() }).collect())
    }
}

impl v1::log::Host for Host {
    fn write(&mut self, level: v1::log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            v1::log::Level::Debug => log::Level::Debug,
            v1::log::Level::Info => log::Level::Info,
            v1::log::Level::Warn => log::Level::Warn,
            v1::log::Level::Error => log::Level::Error,
        };
        log::Host::write(self, level, message)
    }
}

impl v1::state::Host for Host {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        state::Host::get(self, key)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        state::Host::set(self, key, value)
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        state::Host::delete(self, key)
    }

    fn scan(&mut self, prefix: String, limit: u32) -> wasmtime::Result<Vec<v1::state::Entry>> {
        let found = state::Host::scan(self, prefix, limit)?;
        Ok(found.into_iter().map(|state::Entry { key, value }| v1::state::Entry { key, value }).collect())
    }
}
