//! Parsers of option values. Names that become part of an API server URL are validated before any
//! request is sent.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::jiff;

use crate::velero::naming::{is_name, is_namespace};

/// Parses the name of a namespace (RFC 1123 label, as for the API server).
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let message = "a namespace is 1 to 63 lower-case letters, digits and `-`, with a letter or a \
                   digit at both ends";
    require(text, is_namespace(text), message)
}

/// Parses the name of an object (RFC 1123 subdomain, as for the API server).
pub(super) fn object(text: &str) -> Result<String, String> {
    let message = "a name is 1 to 253 lower-case letters, digits, `-` and `.`, with a letter or a \
                   digit at both ends and around each `.`";
    require(text, is_name(text), message)
}

/// Parses a DNS name, which may be a wildcard, or an IP address that a certificate can be valid
/// for.
pub(super) fn host(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text).to_ascii_lowercase();
    let is_host = text.parse::<IpAddr>().is_ok() || is_name(&name);
    require(text, is_host, "it is neither a DNS name nor an IP address")
}

/// Parses a duration such as `7d` or `12h 30m`. A day has 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let message = |error: jiff::Error| format!("{error}; use a value such as `7d` or `12h`");
    let span: jiff::Span = text.parse().map_err(message)?;
    let duration = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(message)?;
    Duration::try_from(duration).map_err(|_| "a duration cannot be negative".to_owned())
}

fn require(text: &str, is_valid: bool, message: &str) -> Result<String, String> {
    is_valid
        .then(|| text.to_owned())
        .ok_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_names_and_addresses() {
        for good in ["webhook.local", "*.Corp", "127.0.0.1", "::1"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "*", "a/b", "[::1]", "a*.b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
