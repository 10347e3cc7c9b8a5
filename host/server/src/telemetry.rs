//! Logs and metrics.

mod capped;
mod figures;
mod histogram;
mod logs;
mod metrics;

pub use figures::{Figure, Figures};
pub use logs::{LogSetup, start_logs};
pub use metrics::{CONTENT_TYPE, Chain, Metrics};
