//! What AWS's Security Token Service is asked for, by its Query API.

use std::path::Path;
use std::time::Duration;

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::bucket::credentials::source::Role;

/// How long the keys are valid for which a profile says nothing, in seconds. So does the AWS SDK for Go.
const DEFAULT_SECONDS: u32 = 900;

/// The name of the session for which a profile says nothing.
const SESSION_NAME: &str = "velero-trust";

/// Most bytes of a token. AWS takes 20,000.
const MAX_TOKEN_BYTES: u64 = 20_000;

/// What is encoded in a form, except the unreserved characters of RFC 3986.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Returns how long the keys of `role` are asked for.
pub(super) fn duration(role: &Role) -> Duration {
    Duration::from_secs(role.duration.unwrap_or(DEFAULT_SECONDS).into())
}

/// Returns the request for the keys of `role` with a signature; `None` if the URL is none.
pub(super) fn signed(
    url: &str,
    role: &Role,
    region: &str,
    keys: &AwsCredential,
) -> Option<HttpRequest> {
    let mut parameters = parameters("AssumeRole", role);
    if let Some(id) = &role.external_id {
        parameters.push(("ExternalId", id.clone()));
    }
    let mut request = post(url, &parameters)?;
    AwsAuthorizer::new(keys, "sts", region)
        .try_authorize(&mut request, None)
        .ok()?;
    Some(request)
}

/// Returns the request for the keys of `role` with a token; `None` if the URL is none.
pub(super) fn with_token(url: &str, role: &Role, token: &str) -> Option<HttpRequest> {
    let mut parameters = parameters("AssumeRoleWithWebIdentity", role);
    parameters.push(("WebIdentityToken", token.to_owned()));
    post(url, &parameters)
}

/// Reads a token; `None` if the file has none.
pub(super) async fn read_token(file: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(file).await.ok()?;
    let mut file = file.take(MAX_TOKEN_BYTES + 1);
    file.read_to_string(&mut text).await.ok()?;
    let is_token = !text.is_empty() && text.len() as u64 <= MAX_TOKEN_BYTES;
    is_token.then_some(text)
}

fn parameters(action: &str, role: &Role) -> Vec<(&'static str, String)> {
    let session = role.session_name.as_deref().unwrap_or(SESSION_NAME);
    vec![
        ("Action", action.to_owned()),
        ("Version", "2011-06-15".to_owned()),
        ("DurationSeconds", duration(role).as_secs().to_string()),
        ("RoleArn", role.arn.clone()),
        ("RoleSessionName", session.to_owned()),
    ]
}

fn post(url: &str, parameters: &[(&str, String)]) -> Option<HttpRequest> {
    let parameters = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, FORM)));
    let body = parameters.collect::<Vec<_>>().join("&");
    Request::post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/xml")
        .body(HttpRequestBody::from(body))
        .ok()
}
