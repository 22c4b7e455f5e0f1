//! Telemetry of the process: the log on standard error, and the metrics.

mod gauges;
mod json_lines;
mod log_once;
mod logging;
mod metrics;
mod pods;
mod printable_writer;
mod prometheus_text;
mod series;

pub use gauges::{
    BundleGauges, CanaryGauge, EndpointGauge, EndpointGauges, RecordGauge, RecordGauges,
    WebhookGauges,
};
pub use json_lines::JsonLines;
pub use log_once::LogOnce;
pub use logging::{Format, LogError, log_panic, start};
pub use metrics::Metrics;
pub use pods::PodGauges;
