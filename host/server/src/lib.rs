//! The host: adapters around the decisions of `tidegate-core`, and their assembly.
#![forbid(unsafe_code)]

pub mod admin;
pub mod bench;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod demo;
pub mod descriptors;
pub mod explain;
pub mod health;
pub mod http;
pub mod hub;
pub mod letters;
pub mod modules;
pub mod pipeline;
pub mod server;
pub mod shadow;
pub mod source;
pub mod store;
pub mod stream;
pub mod tasks;
pub mod telemetry;
