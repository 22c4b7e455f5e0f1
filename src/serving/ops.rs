//! The second port: health, readiness and metrics over plain HTTP, for kubelet and Prometheus. Each
//! answer closes its connection, because neither keeps one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::drain::{Phase, Stopping};
use super::settings::Timeouts;
use crate::telemetry::Metrics;

/// The media type of the Prometheus text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type of OpenMetrics.
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

/// Returns the router of the second port. It is served only while the webhook's port is bound, which
/// needs no condition.
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
            get(move |headers: HeaderMap| async move { metrics_response(&metrics, &headers) }),
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

fn metrics_response(metrics: &Metrics, headers: &HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
    let (media_type, text) = if prefers_open_metrics(&accept.join(",")) {
        (OPEN_METRICS, metrics.open_metrics())
    } else {
        (PROMETHEUS_TEXT, metrics.text())
    };
    match text {
        Ok(text) => ([(CONTENT_TYPE, media_type)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Returns whether the value of an `Accept` header names OpenMetrics, and no other text with a
/// higher quality. A wildcard asks for nothing in particular.
fn prefers_open_metrics(accept: &str) -> bool {
    let quality = |wanted: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_wanted = parts.next()?.eq_ignore_ascii_case(wanted);
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality = quality.map_or(Some(1.0), |quality| quality.parse::<f32>().ok())?;
            is_wanted.then_some(quality)
        });
        ranges.fold(0.0, f32::max)
    };
    let open_metrics = quality("application/openmetrics-text");
    open_metrics > 0.0 && open_metrics >= quality("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_lives_for_two_seconds_whatever_it_does() {
        let hour = Duration::from_hours(1);
        let limits = timeouts(&Timeouts {
            first_request: hour,
            hard_age: hour,
            write: hour,
            ..Timeouts::default()
        });
        assert_eq!(limits.first_request, CONNECTION_LIFE);
        assert_eq!(limits.hard_age, CONNECTION_LIFE);
        assert_eq!(limits.write, hour);
    }

    #[test]
    fn open_metrics_is_for_those_that_ask_for_it() {
        // What Prometheus 3 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, wanted) in [
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0", true),
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("text/html, */*;q=0.8", false),
            ("text/plain, application/openmetrics-text;q=0.5", false),
            ("application/openmetrics-text;q=0", false),
        ] {
            assert_eq!(prefers_open_metrics(accept), wanted, "{accept}");
        }
    }
}
