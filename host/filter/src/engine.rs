//! The one engine of a process: settings of wasmtime, and the clock behind deadlines.

use crate::cache::Cache;
use crate::check::Role;
use crate::code::Code;
use crate::compile::Compiler;
use crate::error::LoadError;
use crate::imports::Host;
use crate::log::LogSink;
use crate::world::linker;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::component::Linker;

/// How fine deadlines are.
const TICK: Duration = Duration::from_millis(1);

/// Settings of an [`Engine`].
#[derive(Default)]
pub struct EngineSettings {
    /// Where compiled code is kept between runs; none: nowhere. The folder is made, with mode 0700.
    pub cache_dir: Option<PathBuf>,
    /// Compile one module on several threads. Good for a command line; a host leaves its cores to the events.
    pub compile_parallel: bool,
    /// Count the instructions that filters run, in [`FilterTiming::instructions`](crate::FilterTiming). It slows them
    /// down: for an engine of its own beside the one whose time is taken.
    pub count_instructions: bool,
    /// The longest that compiling one file may take; none: two minutes.
    pub compile_time_max: Option<Duration>,
    /// Where filters' lines go besides the host's own log.
    pub log_sink: Option<Arc<dyn LogSink>>,
}

/// Compiles and runs filters. There is one in a process; clones are the same engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

/// Code by digest and role.
type Codes = HashMap<(Arc<str>, Role), Weak<Code>>;

pub(crate) struct Inner {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) linker: Linker<Host>,
    pub(crate) compiler: Compiler,
    pub(crate) cache: Option<Cache>,
    pub(crate) log_sink: Option<Arc<dyn LogSink>>,
    /// Code that some filter uses, so that a thousand companies with one file hold it once.
    codes: Mutex<Codes>,
    _ticker: Ticker,
}

impl Engine {
    /// Sets wasmtime up and starts the clock behind deadlines.
    ///
    /// # Errors
    /// [`LoadError::Host`] where this machine can't run it, or the cache's folder can't be made safe.
    pub fn new(settings: EngineSettings) -> Result<Self, LoadError> {
        let host = |error: wasmtime::Error| LoadError::Host(format!("{error:#}"));
        let wasm = wasmtime::Engine::new(&config(&settings)).map_err(host)?;
        let cache = match &settings.cache_dir {
            Some(dir) => {
                Some(Cache::open(dir).map_err(|error| LoadError::Host(format!("cache {}: {error}", dir.display())))?)
            }
            None => None,
        };
        let ticker = Ticker::start(&wasm).map_err(|error| LoadError::Host(format!("clock thread: {error}")))?;
        let linker = linker(&wasm).map_err(host)?;
        let compiler = Compiler::new(wasm.clone(), settings.compile_time_max);
        let (codes, log_sink) = (Mutex::default(), settings.log_sink);
        Ok(Self(Arc::new(Inner { wasm, linker, compiler, cache, log_sink, codes, _ticker: ticker })))
    }

    /// Code of this digest that is in use.
    pub(crate) fn in_use(&self, digest: &Arc<str>, role: Role) -> Option<Arc<Code>> {
        self.0.codes.lock().unwrap_or_else(PoisonError::into_inner).get(&(digest.clone(), role))?.upgrade()
    }

    /// From now on, and for as long as somebody uses it, this code is found by its digest.
    pub(crate) fn remember(&self, code: &Arc<Code>) {
        let mut codes = self.0.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, known| known.strong_count() > 0);
        codes.insert((code.digest().clone(), code.role()), Arc::downgrade(code));
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("cache", &self.0.cache.is_some()).finish_non_exhaustive()
    }
}

/// Memory is allocated on demand and not from a pool: instances are reused for thousands of calls, so that a fast start
/// gains little, while a pool would fix how many companies can run and how much memory each may be given.
fn config(settings: &EngineSettings) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .strategy(wasmtime::Strategy::Cranelift)
        .cranelift_opt_level(wasmtime::OptLevel::Speed)
        .parallel_compilation(settings.compile_parallel)
        .allocation_strategy(wasmtime::InstanceAllocationStrategy::OnDemand)
        .epoch_interruption(true)
        // Each instruction takes one of a store's fuel, of which there is more than any call can take.
        .consume_fuel(settings.count_instructions)
        // The same event gives the same result on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // Nothing but the host's own stack traces reads it, and each module's would have to be registered.
        .native_unwind_info(false)
        // A trap is told in source lines, from the guest's own line tables.
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
    config
}

/// Moves the engine's epoch on. It holds the engine weakly, so that it never keeps compiled code alive.
struct Ticker {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let weak = engine.weak();
        let (stop, stopped) = sync_channel::<()>(1);
        let thread = std::thread::Builder::new().name("filter-clock".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It holds no lock and runs no code of others: it can only have ended.
            drop(thread.join());
        }
    }
}
