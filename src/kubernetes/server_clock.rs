//! The clock of the API server.

use http::header::DATE;
use http::{HeaderMap, HeaderName, Request};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;

/// What a clock showed, and when by the clock of this process that never jumps.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// What it showed, in whole seconds.
    pub time: Timestamp,
    /// A moment before or after it showed that.
    pub at: Instant,
}

/// Reads the clock; `at` is the moment of the answer. Returns `None` if the answer has no time.
pub async fn read(client: &Client) -> kube::Result<Option<ClockReading>> {
    let request = Request::get("/version").body(Body::empty());
    let request = request.map_err(kube::Error::HttpError)?;
    let answer = client.send(request).await?;
    let at = Instant::now();
    Ok(date(answer.headers())
        .filter(|_| answer.status().is_success())
        .map(|time| ClockReading { time, at }))
}

/// Returns the time in the header `Date` of an answer; `None` if it has none.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    time(headers, &DATE)
}

/// Returns the time in the header `name` of an answer; `None` if it has none.
pub fn time(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(text).ok()
}
