//! What the end-to-end tests and the load test are made of: real servers, a client that notes what arrives and when,
//! publishers, and the check of a whole history.
#![forbid(unsafe_code)]

pub mod backend;
pub mod companies;
pub mod disk;
pub mod faults;
pub mod folder;
pub mod history;
pub mod host;
pub mod hosts;
pub mod load;
pub mod metrics;
pub mod modules;
pub mod nats;
pub mod process;
pub mod proxy;
pub mod publish;
pub mod raw;
pub mod recorder;
pub mod redis;
pub mod session;
pub mod soak;
pub mod sse;
pub mod stream;
pub mod swaps;
pub mod tools;
pub mod verdict;
pub mod wait;
pub mod wallclock;
