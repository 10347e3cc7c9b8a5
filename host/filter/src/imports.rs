//! What a filter finds outside itself: its log and its company's state, and the data of its store.

use crate::bindings::tidegate::filter::{log, state, types};
use crate::limiter::Limiter;
use crate::limits::Limits;
use crate::log::{LogBuffer, LogLevel, LogWindow};
use crate::state::{FilterState, Journal};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::{HasSelf, Linker};

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

/// When the running call has to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallTime {
    /// The filter's own limit.
    pub(crate) limit: Instant,
    /// The end of the whole run.
    pub(crate) budget: Option<Instant>,
}

/// Why a call was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the call ran longer than `call-ms` allows")]
    CallLimit,
    #[error("the batch's time was over")]
    Budget,
}

/// A filter called something that is not offered where it stands.
#[derive(Debug, thiserror::Error)]
#[error("state is offered within `process` only: `describe` and `init` have to give the same on every instance")]
struct StateOutsideProcess;

impl CallTime {
    /// Whichever end comes first, once it has come.
    pub(crate) fn over(&self, now: Instant) -> Option<Stop> {
        match self.budget {
            Some(budget) if budget < self.limit => (now >= budget).then_some(Stop::Budget),
            Some(_) | None => (now >= self.limit).then_some(Stop::CallLimit),
        }
    }

    /// Ticks of a millisecond until then; at least one.
    pub(crate) fn ticks(&self, now: Instant) -> u64 {
        let end = self.budget.map_or(self.limit, |budget| budget.min(self.limit));
        end.saturating_duration_since(now).as_millis() as u64 + 1
    }
}

impl Host {
    pub(crate) fn new(limits: &Limits, window: Arc<LogWindow>, now: Instant) -> Self {
        Self {
            limiter: Limiter::new(limits.memory_bytes()),
            log: LogBuffer::new(window),
            state: None,
            time: CallTime { limit: now, budget: None },
        }
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

/// Everything a filter may import. A filter that imports less is content with it; a platform filter that imports state
/// is refused by name before it comes here.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    crate::bindings::Filter::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_end_that_comes_first_is_the_one_that_is_told() {
        let now = Instant::now();
        let (near, far) = (now + Duration::from_millis(5), now + Duration::from_millis(9));
        let limited = CallTime { limit: near, budget: Some(far) };
        let hurried = CallTime { limit: far, budget: Some(near) };
        assert_eq!((limited.over(now), hurried.over(now)), (None, None));
        assert_eq!((limited.over(far), hurried.over(far)), (Some(Stop::CallLimit), Some(Stop::Budget)));
        assert_eq!((limited.ticks(now), limited.ticks(far)), (6, 1));
    }
}
