//! What the process tells about itself: a log on standard error, and metrics.

mod gauges;
mod logging;
mod metrics;
mod pods;

pub use gauges::{BundleGauges, EndpointGauges};
pub use logging::{Format, LogError, start};
pub use metrics::Metrics;
pub use pods::PodGauges;
