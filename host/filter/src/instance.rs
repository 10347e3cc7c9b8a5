//! One running instance of a filter, for one company on one thread.

use crate::bindings::v2::tidegate::filter::types::Event;
use crate::code::Description;
use crate::error::{Interrupted, LoadError};
use crate::filter::Filter;
use crate::imports::{Host, StateAccess};
use crate::limits::Limits;
use crate::log::{LogSink, LogWindow};
use crate::records::{BatchResult, Whole};
use crate::state::{FilterState, Journal};
use crate::time::CallTime;
use crate::trap::{CallError, Failure, caught, explain};
use crate::world::{Exports, FilterPre};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{Store, UpdateDeadline};

/// Starting may take this many times what a call may: interpreters read their whole program then.
const START_CALLS: u32 = 10;
/// An instance is replaced after this many calls, so that what leaks in a guest is given back.
const CALLS_MAX: u32 = 100_000;

/// What a call is given where instructions are counted: more than it could take in years.
const FUEL: u64 = i64::MAX as u64;

/// An instance and the store it lives in.
pub(crate) struct Instance {
    store: Store<Host>,
    exports: Exports,
    calls: u32,
    memory_at_start: usize,
    /// Whether its engine counts instructions.
    counts: bool,
}

/// What a call needs besides the events.
pub(crate) struct CallFrame<'a> {
    pub(crate) filter: &'a Filter,
    pub(crate) company: Option<&'a str>,
    pub(crate) log_sink: Option<&'a dyn LogSink>,
    pub(crate) budget: Option<Instant>,
    pub(crate) events: &'a [Whole<Event>],
    pub(crate) bytes: &'a [u8],
}

impl Instance {
    /// Asks code what it is, on an instance of its own.
    pub(crate) fn describe(pre: &FilterPre, limits: &Limits) -> Result<Description, LoadError> {
        let mut instance = Self::create(pre, limits, own_window(limits), None).map_err(start_error)?;
        let said = guarded(|| instance.exports.describe(&mut instance.store));
        instance.settle(said, limits).map_err(start_error)
    }

    /// Runs a filter's configuration through an instance that is thrown away, so that a bad one is refused in time.
    pub(crate) fn rehearse(filter: &Filter, log_sink: Option<&dyn LogSink>) -> Result<(), LoadError> {
        let (limits, began) = (filter.limits(), Instant::now());
        let mut instance = Self::create(&filter.code().pre, limits, own_window(limits), None).map_err(start_error)?;
        let answer = instance.init(filter);
        filter.started(began.elapsed());
        instance.store.data_mut().log.flush(filter.module(), None, log_sink);
        answer.map_err(start_error)?.map_err(LoadError::Refused)
    }

    /// Starts an instance of a filter that has passed [`Instance::rehearse`].
    pub(crate) fn start(filter: &Filter, window: Arc<LogWindow>, budget: Option<Instant>) -> Result<Self, Interrupted> {
        let not_ready = |error| match error {
            CallError::Budget => Interrupted::Budget,
            CallError::Failed(failure) => Interrupted::NotReady(format!("{}: {}", filter.module(), failure.text)),
        };
        let began = Instant::now();
        let mut instance = Self::create(&filter.code().pre, filter.limits(), window, budget).map_err(not_ready)?;
        match instance.init(filter).map_err(not_ready)? {
            Ok(()) => {
                filter.started(began.elapsed());
                instance.memory_at_start = instance.memory();
                Ok(instance)
            }
            Err(words) => Err(Interrupted::NotReady(format!("{}: {words}", filter.module()))),
        }
    }

    /// Calls `process`. `state` is what the filter remembers: after a call that failed it is as it was before, and the
    /// writes of one that did not are added to `journal`. After an error the instance is of no more use.
    pub(crate) fn process(
        &mut self,
        frame: &CallFrame<'_>,
        state: &mut FilterState,
        journal: &mut Journal,
    ) -> Result<BatchResult, CallError> {
        let limits = frame.filter.limits();
        self.calls += 1;
        self.begin(limits, Duration::from_millis(limits.call_ms), frame.budget);
        if frame.filter.code().imports_state() {
            let access =
                StateAccess { state: std::mem::take(state), journal: Journal::default(), quota: limits.state_bytes };
            self.store.data_mut().state = Some(access);
        }
        let result = guarded(|| self.exports.process(&mut self.store, frame.events, frame.bytes));
        let access = self.store.data_mut().state.take();
        let result = self.settle(result, limits);
        if let Some(mut access) = access {
            match &result {
                Ok(_) => journal.append(&mut access.journal, &access.state),
                Err(_) => access.state.undo(&mut access.journal),
            }
            *state = access.state;
        }
        result
    }

    /// Instructions of the last call, those of a call that failed included; 0 unless the engine counts them.
    pub(crate) fn instructions(&self) -> u64 {
        if self.counts { self.store.get_fuel().map_or(0, |left| FUEL - left) } else { 0 }
    }

    /// Whether the next call should find a fresh instance.
    pub(crate) fn is_worn(&self, limits: &Limits) -> bool {
        let memory = self.memory();
        self.calls >= CALLS_MAX || (memory > self.memory_at_start && memory > limits.memory_bytes() / 2)
    }

    /// Whether it has seen an event.
    pub(crate) fn was_called(&self) -> bool {
        self.calls > 0
    }

    /// Bytes of linear memory it holds.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().limiter.memory()
    }

    /// The lines of the last call go to the log: it counts.
    pub(crate) fn flush_log(&mut self, frame: &CallFrame<'_>) {
        self.store.data_mut().log.flush(frame.filter.module(), frame.company, frame.log_sink);
    }

    /// The last call did not count, nor do its lines.
    pub(crate) fn discard_log(&mut self) {
        self.store.data_mut().log.discard();
    }

    fn create(
        pre: &FilterPre,
        limits: &Limits,
        window: Arc<LogWindow>,
        budget: Option<Instant>,
    ) -> Result<Self, CallError> {
        let time = CallTime::begin(Duration::from_millis(limits.call_ms) * START_CALLS, budget);
        let mut store = Store::new(pre.engine(), Host::new(limits, window, time));
        store.limiter(|host| &mut host.limiter);
        store.epoch_deadline_callback(|context| {
            // The ticks only say when to look: the clock decides.
            match context.data().time.look() {
                Err(stop) => Err(wasmtime::Error::new(stop)),
                Ok(ticks) => Ok(UpdateDeadline::Continue(ticks)),
            }
        });
        store.set_epoch_deadline(time.first());
        store.set_hostcall_fuel(limits.call_bytes_max());
        let counts = store.set_fuel(FUEL).is_ok();
        let exports = guarded(|| pre.instantiate(&mut store));
        match exports {
            Ok(Ok(exports)) => {
                let memory_at_start = store.data().limiter.memory();
                Ok(Self { store, exports, calls: 0, memory_at_start, counts })
            }
            Ok(Err(error)) => {
                let told = format!("{error:#}");
                match explain(&error, store.data_mut(), limits) {
                    // Instantiating runs little code: what fails is mostly a minimum that passes a limit.
                    CallError::Failed(failure) if failure.kind == "garbage" => {
                        Err(CallError::Failed(Failure::new("memory", told)))
                    }
                    other => Err(other),
                }
            }
            Err(panic) => Err(CallError::Failed(panic)),
        }
    }

    fn init(&mut self, filter: &Filter) -> Result<Result<(), String>, CallError> {
        let limits = filter.limits();
        let budget = self.store.data().time.budget();
        self.begin(limits, Duration::from_millis(limits.call_ms) * START_CALLS, budget);
        let answer = guarded(|| self.exports.init(&mut self.store, filter.config_json()));
        self.settle(answer, limits)
    }

    fn begin(&mut self, limits: &Limits, time: Duration, budget: Option<Instant>) {
        let host = self.store.data_mut();
        host.time = CallTime::begin(time, budget);
        host.log.begin();
        host.limiter.take_refused();
        let ticks = host.time.first();
        self.store.set_epoch_deadline(ticks);
        if self.counts {
            // The engine was asked for it, or it would not count.
            self.store.set_fuel(FUEL).ok();
        }
        self.store.set_hostcall_fuel(limits.call_bytes_max());
    }

    fn settle<T>(&mut self, result: Result<wasmtime::Result<T>, Failure>, limits: &Limits) -> Result<T, CallError> {
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(explain(&error, self.store.data_mut(), limits)),
            Err(panic) => Err(CallError::Failed(panic)),
        }
    }
}

/// The log of an instance that is only asked, and then thrown away.
fn own_window(limits: &Limits) -> Arc<LogWindow> {
    Arc::new(LogWindow::new(limits.log_per_second, Instant::now()))
}

fn start_error(error: CallError) -> LoadError {
    match error {
        CallError::Budget => LoadError::Host("a start without a budget was interrupted".into()),
        CallError::Failed(Failure { text, backtrace, .. }) => {
            // The backtrace begins a line; words of the guest don't.
            let text = text.replace(char::is_control, " ");
            LoadError::Start(backtrace.map_or_else(|| text.clone(), |trace| format!("{text}\n{trace}")))
        }
    }
}

/// A panic of the host's own code on the way must not take the guest thread with it.
fn guarded<T>(call: impl FnOnce() -> wasmtime::Result<T>) -> Result<wasmtime::Result<T>, Failure> {
    caught(call).map_err(|words| Failure::new("host", format!("the host failed in this call: {words}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_host_is_a_failed_call() {
        let failure = guarded::<()>(|| panic!("on the way")).expect_err("caught");
        assert_eq!((failure.kind, failure.text.as_str()), ("host", "the host failed in this call: on the way"));
    }
}
