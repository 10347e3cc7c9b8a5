//! Logs and metrics.

mod capped;
mod histogram;
mod logs;
mod metrics;

pub use logs::{LogSetup, start_logs};
pub use metrics::{CONTENT_TYPE, Chain, Metrics};
