//! What an answer of Google Cloud Storage means that is no success.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::bucket::error::ErrorKind;
use crate::bucket::protocol::{error_code, s3, unknown};

/// The body of such an answer of the JSON API.
#[derive(Deserialize)]
struct Answer {
    error: Fault,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

/// Returns what the answer means.
pub(in crate::bucket) fn meaning(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> ErrorKind {
    let kind = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => {
            let reason = answer.error.errors.first();
            let reason = reason.map_or("", |reason| reason.reason.as_str());
            match (status.as_u16(), error_code(reason)) {
                (404, _) => ErrorKind::NoFile,
                (403, code)
                    if code.ends_with("RateLimitExceeded") || code == "rateLimitExceeded" =>
                {
                    let status = status.as_u16();
                    ErrorKind::Server { status, code }
                }
                (_, code) => unknown(status, code),
            }
        }
        // The codes of the XML API are those of S3.
        Err(_) => s3::answer::meaning(status, headers, body, ""),
    };
    match kind {
        // The signature of a token is the only thing that is looked at before the rights.
        ErrorKind::AccessDenied { code } if status == StatusCode::UNAUTHORIZED => {
            ErrorKind::UnknownKey { code }
        }
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> ErrorKind {
        let status = StatusCode::from_u16(status).unwrap();
        meaning(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn both_apis_are_understood() {
        let json = |reason: &str| {
            format!(
                r#"{{"error": {{"code": 1, "message": "m", "errors": [{{"message": "m", "domain": "global",
                    "reason": "{reason}"}}]}}}}"#
            )
        };
        let xml = |code: &str| {
            format!(
                "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>m</Message></Error>"
            )
        };
        let code = |code: &str| code.to_owned();
        for (status, body, expected) in [
            (404, json("notFound"), ErrorKind::NoFile),
            (
                403,
                json("forbidden"),
                ErrorKind::AccessDenied {
                    code: code("forbidden"),
                },
            ),
            (
                401,
                json("authError"),
                ErrorKind::UnknownKey {
                    code: code("authError"),
                },
            ),
            (
                429,
                json("rateLimitExceeded"),
                ErrorKind::Server {
                    status: 429,
                    code: code("rateLimitExceeded"),
                },
            ),
            (
                403,
                json("userRateLimitExceeded"),
                ErrorKind::Server {
                    status: 403,
                    code: code("userRateLimitExceeded"),
                },
            ),
            (
                503,
                json("backendError"),
                ErrorKind::Server {
                    status: 503,
                    code: code("backendError"),
                },
            ),
            (404, xml("NoSuchBucket"), ErrorKind::NoBucket),
            (404, xml("NoSuchKey"), ErrorKind::NoFile),
            (
                403,
                xml("AccessDenied"),
                ErrorKind::AccessDenied {
                    code: code("AccessDenied"),
                },
            ),
            (
                401,
                xml("AuthenticationRequired"),
                ErrorKind::UnknownKey {
                    code: code("AuthenticationRequired"),
                },
            ),
            (412, xml("PreconditionFailed"), ErrorKind::Changed),
            (404, String::new(), ErrorKind::NoFile),
            (302, String::new(), ErrorKind::Redirect { status: 302 }),
        ] {
            assert_eq!(of(status, &body), expected, "{status} {body}");
        }
    }
}
