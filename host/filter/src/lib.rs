//! Tidegate's filters: everything that touches wasmtime, and nothing else does.
//!
//! An [`Engine`] loads a file into [`Code`] (the same verdict for a push, a file and the command line), a [`Filter`] is
//! code with configuration and limits, a [`Chain`] is filters in order, and a [`Worker`] (one for each guest thread) runs
//! batches of events through chains, on instances from an [`InstancePool`]. Absent here: NATS, stores, HTTP, async, and where files come from.

mod bindings;
mod cache;
mod call;
mod chain;
mod check;
mod code;
mod company;
mod compile;
mod component;
mod engine;
mod error;
mod filter;
mod imports;
mod instance;
mod limiter;
mod limits;
mod log;
mod platform;
mod pool;
mod records;
mod resident;
mod schema;
mod stage;
mod state;
mod time;
mod trap;
mod worker;
mod world;

#[cfg(test)]
mod tests;

pub use chain::Chain;
pub use check::Role;
pub use code::{Code, Description, Module};
pub use company::{Budget, CompanyRun, Paused, Skipped};
pub use engine::{Engine, EngineSettings};
pub use error::{Interrupted, LoadError};
pub use filter::{Filter, OnError};
pub use limits::{LimitError, Limits, LimitsPatch};
pub use log::{LogLevel, LogLine, LogSink};
pub use platform::{PlatformRun, PlatformVerdict};
pub use pool::{InstancePool, PoolSettings};
pub use stage::FilterTiming;
pub use state::{ChainState, FilterState, StateWrite};
pub use time::thread_time;
pub use worker::Worker;
pub use world::{SERVED, World};
