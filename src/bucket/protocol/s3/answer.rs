//! What an answer of S3 means that is no success.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::bucket::error::ErrorKind;
use crate::bucket::protocol::{error_code, unknown};
use crate::bucket::settings::aws::is_region;

/// The body of such an answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    message: String,
    region: Option<String>,
}

/// Returns what the answer means. `region` is the one that the request was signed for.
pub(in crate::bucket) fn meaning(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    region: &str,
) -> ErrorKind {
    let text = String::from_utf8_lossy(body);
    let body: ErrorBody = quick_xml::de::from_str(&text).unwrap_or_default();
    let code = error_code(&body.code);
    let header = headers.get("x-amz-bucket-region");
    let header = header.and_then(|region| region.to_str().ok());
    let expected = body.region.as_deref().or(header);
    let expected = expected.filter(|name| is_region(name) && *name != region);
    let wrong_region = || ErrorKind::WrongRegion {
        given: region.to_owned(),
        expected: expected.map(str::to_owned),
    };
    match code.as_str() {
        "NoSuchBucket" => return ErrorKind::NoBucket,
        "NoSuchKey" | "NoSuchVersion" => return ErrorKind::NoFile,
        "InvalidAccessKeyId" => return ErrorKind::UnknownKey { code },
        "SignatureDoesNotMatch" => return ErrorKind::WrongSecretKey,
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => return ErrorKind::Expired,
        "RequestTimeTooSkewed" | "RequestExpired" => return ErrorKind::ClockSkew,
        "InvalidObjectState" => return ErrorKind::Archived,
        "PreconditionFailed" => return ErrorKind::Changed,
        "AuthorizationHeaderMalformed" if expected.is_some() => return wrong_region(),
        "PermanentRedirect" | "IllegalLocationConstraintException" => return wrong_region(),
        _ => {}
    }
    if code.starts_with("KMS.") || code.starts_with("KMS:") {
        return ErrorKind::Kms { code };
    }
    let message = body.message.to_ascii_lowercase();
    match status.as_u16() {
        300..=399 if expected.is_some() => wrong_region(),
        400 if code.is_empty() && is_about_https(&text) => ErrorKind::WantsTls,
        400 if is_about_customer_key(&code, &message) => ErrorKind::CustomerKey,
        400 if is_about_checksum(&code, &message) => ErrorKind::ChecksumRequired,
        _ => unknown(status, code),
    }
}

/// Whether a file cannot be read because it is encrypted with a customer's key (SSE-C).
fn is_about_customer_key(code: &str, message: &str) -> bool {
    code.starts_with("SSECustomerKey")
        || code == "InvalidEncryptionAlgorithmError"
        || (matches!(code, "InvalidRequest" | "InvalidArgument" | "")
            && message.contains("encrypt"))
}

/// Whether a server for TLS got a request without: the words of Go and of nginx.
fn is_about_https(body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    body.contains("http request") && body.contains("https")
}

/// Whether an upload is refused because it carries no checksum, and not because of a wrong one.
fn is_about_checksum(code: &str, message: &str) -> bool {
    matches!(code, "InvalidRequest" | "MissingContentMD5")
        && (message.contains("content-md5") || message.contains("x-amz-checksum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: &str, more: &str) -> ErrorKind {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code>{more}</Error>");
        let status = StatusCode::from_u16(status).unwrap();
        meaning(status, &HeaderMap::new(), body.as_bytes(), "r1")
    }

    fn code(code: &str) -> String {
        code.to_owned()
    }

    fn other_region(expected: Option<&str>) -> ErrorKind {
        ErrorKind::WrongRegion {
            given: code("r1"),
            expected: expected.map(str::to_owned),
        }
    }

    #[test]
    fn every_code_has_its_own_kind() {
        let denied = |name| ErrorKind::AccessDenied { code: code(name) };
        let unknown = code("InvalidAccessKeyId");
        let server = |status, name| ErrorKind::Server {
            status,
            code: code(name),
        };
        let kms = code("KMS.DisabledException");
        for (status, name, expected) in [
            (403, "AccessDenied", denied("AccessDenied")),
            (403, "", denied("403")),
            (
                403,
                "InvalidAccessKeyId",
                ErrorKind::UnknownKey { code: unknown },
            ),
            (403, "SignatureDoesNotMatch", ErrorKind::WrongSecretKey),
            (403, "RequestTimeTooSkewed", ErrorKind::ClockSkew),
            (400, "ExpiredToken", ErrorKind::Expired),
            (403, "InvalidObjectState", ErrorKind::Archived),
            (404, "NoSuchBucket", ErrorKind::NoBucket),
            (404, "NoSuchKey", ErrorKind::NoFile),
            (404, "", ErrorKind::NoFile),
            (
                307,
                "TemporaryRedirect",
                ErrorKind::Redirect { status: 307 },
            ),
            (503, "SlowDown", server(503, "SlowDown")),
            (429, "", server(429, "")),
            (412, "", ErrorKind::Changed),
            (400, "KMS.DisabledException", ErrorKind::Kms { code: kms }),
        ] {
            assert_eq!(of(status, name, ""), expected, "{status} {name}");
        }
        for (status, name) in [
            (404, "Other"),
            (400, "InvalidRequest"),
            (400, ""),
            (409, ""),
        ] {
            let other = ErrorKind::Answer {
                status,
                code: code(name),
            };
            assert_eq!(of(status, name, ""), other);
        }
    }

    #[test]
    fn the_rest_of_the_body_tells_more() {
        let wrong = "AuthorizationHeaderMalformed";
        assert_eq!(
            of(400, wrong, "<Region>r2</Region>"),
            other_region(Some("r2"))
        );
        // The region that was used is no answer, and one of another form is not repeated.
        let other = ErrorKind::Answer {
            status: 400,
            code: code(wrong),
        };
        assert_eq!(of(400, wrong, "<Region>r1</Region>"), other);
        let redirect = of(301, "PermanentRedirect", "<Region>a/b</Region>");
        assert_eq!(redirect, other_region(None));
        let message = |text| of(400, "InvalidRequest", &format!("<Message>{text}</Message>"));
        let encrypted = "The object was stored using a form of Server Side Encryption.";
        assert_eq!(message(encrypted), ErrorKind::CustomerKey);
        let locked = "Content-MD5 OR x-amz-checksum- HTTP header is required";
        assert_eq!(message(locked), ErrorKind::ChecksumRequired);
        let bad = "<Message>The Content-Md5 you specified did not match.</Message>";
        let other = ErrorKind::Answer {
            status: 400,
            code: code("BadDigest"),
        };
        assert_eq!(of(400, "BadDigest", bad), other);
    }

    #[test]
    fn the_region_of_a_redirect_may_be_in_a_header() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-central-1".parse().unwrap());
        let kind = meaning(StatusCode::MOVED_PERMANENTLY, &headers, b"", "us-east-1");
        let expected = ErrorKind::WrongRegion {
            given: "us-east-1".into(),
            expected: Some("eu-central-1".into()),
        };
        assert_eq!(kind, expected);
    }

    #[test]
    fn a_request_without_tls_is_told_as_such() {
        for body in [
            "Client sent an HTTP request to an HTTPS server.\n",
            "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>",
        ] {
            let kind = meaning(
                StatusCode::BAD_REQUEST,
                &HeaderMap::new(),
                body.as_bytes(),
                "r",
            );
            assert_eq!(kind, ErrorKind::WantsTls);
        }
    }

    #[test]
    fn a_body_that_is_no_xml_is_no_reason_to_fail() {
        for body in [
            &b"<html><body>proxy"[..],
            b"\xff\xfe",
            b"{}",
            b"<Error><Code>a&b;</Code>",
        ] {
            let kind = meaning(StatusCode::BAD_GATEWAY, &HeaderMap::new(), body, "r");
            assert_eq!(
                kind,
                ErrorKind::Server {
                    status: 502,
                    code: String::new()
                }
            );
        }
        let long = format!(
            "<Error><Code>{}\n\u{202e}</Code></Error>",
            "A".repeat(5_000)
        );
        let kind = meaning(
            StatusCode::CONFLICT,
            &HeaderMap::new(),
            long.as_bytes(),
            "r",
        );
        let ErrorKind::Answer { code, .. } = kind else {
            panic!("{kind:?}")
        };
        assert_eq!(code.chars().count(), 60);
    }
}
