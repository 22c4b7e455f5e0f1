//! The second port: health, readiness and metrics over plain HTTP, for kubelet and Prometheus. Each
//! answer closes its connection, because neither keeps one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::drain::{Phase, Stopping};
use super::settings::Timeouts;
use crate::telemetry::Metrics;

/// The media type of the text that prometheus-client writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Number of connections of one source address that are never closed to make room for another
/// source: more than a kubelet or a Prometheus has at a time.
pub(super) const PROTECTED_CONNECTIONS: usize = 4;

/// Time from accepting a connection to its end. A kubelet gives a probe 5 s in the manifests, and
/// an answer takes a millisecond.
const CONNECTION_LIFE: Duration = Duration::from_secs(2);

/// Returns the time limits of the second port. The others are those of the webhook's port.
pub(super) fn timeouts(webhook: &Timeouts) -> Timeouts {
    Timeouts {
        first_request: CONNECTION_LIFE,
        hard_age: CONNECTION_LIFE,
        ..webhook.clone()
    }
}

/// A condition that must hold before the API server should send requests to this replica.
pub struct Condition {
    name: &'static str,
    holds: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Condition {
    /// Creates a condition. `/readyz` shows its `name` while it does not hold.
    pub fn new(name: &'static str, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            name,
            holds: Box::new(holds),
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.name).finish()
    }
}

/// Returns the router of the second port. It is served only while the webhook's port is bound and
/// has a certificate, so neither needs a condition.
pub(super) fn router(
    metrics: Arc<Metrics>,
    stopping: Stopping,
    conditions: Vec<Condition>,
) -> Router {
    let conditions = Arc::new(conditions);
    Router::new()
        // A process that answers is alive: a restart fixes nothing that lies outside the process.
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move { readiness(&stopping, &conditions) }),
        )
        .route(
            "/metrics",
            get(move || async move { metrics_response(&metrics) }),
        )
}

fn readiness(stopping: &Stopping, conditions: &[Condition]) -> Response {
    let draining = (stopping.phase() != Phase::Serving).then_some("draining");
    let missing: Vec<_> = conditions
        .iter()
        .filter(|condition| !(condition.holds)())
        .map(|condition| condition.name)
        .chain(draining)
        .collect();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    let text = format!("not ready: {}\n", missing.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

fn metrics_response(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
