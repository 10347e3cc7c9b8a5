//! The host: adapters around the decisions of `tidegate-core`, and their assembly.
#![forbid(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod store;
pub mod tasks;
pub mod telemetry;
