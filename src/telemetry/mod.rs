//! What the process tells about itself: a log on standard error, and metrics.

mod gauges;
mod json_lines;
mod logging;
mod metrics;
mod pods;

pub use gauges::{BundleGauges, EndpointGauges};
pub use json_lines::JsonLines;
pub use logging::{Format, LogError, log_panic, printable, start};
pub use metrics::Metrics;
pub use pods::PodGauges;
