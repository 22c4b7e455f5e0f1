//! The clock of the API server.

use http::Request;
use http::header::DATE;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use kube::Client;
use kube::client::Body;

/// Returns how far the clock of the API server is ahead of ours, in milliseconds; `None` if it does
/// not tell. The API server tells whole seconds.
pub async fn offset_millis(client: &Client) -> Option<i64> {
    let request = Request::get("/version").body(Body::empty()).ok()?;
    let asked_at = Timestamp::now();
    let answer = client.send(request).await.ok()?;
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    let date = DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(date.as_millisecond() - asked_at.as_millisecond())
}
