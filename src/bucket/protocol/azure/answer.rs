//! What an answer of Azure's blob storage means that is no success.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::bucket::error::ErrorKind;
use crate::bucket::protocol::{error_code, unknown};

/// The body of such an answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    authentication_error_detail: String,
}

/// Returns what the answer means.
pub(in crate::bucket) fn meaning(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> ErrorKind {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let body: ErrorBody = quick_xml::de::from_str(text).unwrap_or_default();
    // An answer to HEAD has no body.
    let header = headers.get("x-ms-error-code");
    let header = header.and_then(|code| code.to_str().ok());
    let code = error_code(header.unwrap_or(&body.code));
    match code.as_str() {
        "ContainerNotFound" | "ContainerBeingDeleted" => ErrorKind::NoBucket,
        "BlobNotFound" | "ResourceNotFound" => ErrorKind::NoFile,
        "AuthenticationFailed" => {
            // Azure looks at the date before the signature.
            let detail = body.authentication_error_detail.to_ascii_lowercase();
            if detail.contains("date header") {
                ErrorKind::ClockSkew
            } else {
                ErrorKind::WrongSecretKey
            }
        }
        "BlobArchived" | "BlobBeingRehydrated" => ErrorKind::Archived,
        "BlobUsesCustomerSpecifiedEncryption" => ErrorKind::CustomerKey,
        "ConditionNotMet" => ErrorKind::Changed,
        "AccountRequiresHttps" => ErrorKind::WantsTls,
        _ => unknown(status, code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: &str, more: &str) -> ErrorKind {
        let body = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>m\n\
             RequestId:1</Message>{more}</Error>"
        );
        let status = StatusCode::from_u16(status).unwrap();
        meaning(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn every_code_has_its_own_kind() {
        let denied = |code: &str| ErrorKind::AccessDenied { code: code.into() };
        let server = |status, code: &str| ErrorKind::Server {
            status,
            code: code.into(),
        };
        for (status, code, expected) in [
            (404, "ContainerNotFound", ErrorKind::NoBucket),
            (409, "ContainerBeingDeleted", ErrorKind::NoBucket),
            (404, "BlobNotFound", ErrorKind::NoFile),
            (403, "AuthenticationFailed", ErrorKind::WrongSecretKey),
            (
                403,
                "AuthorizationPermissionMismatch",
                denied("AuthorizationPermissionMismatch"),
            ),
            (403, "AuthorizationFailure", denied("AuthorizationFailure")),
            (
                403,
                "KeyBasedAuthenticationNotPermitted",
                denied("KeyBasedAuthenticationNotPermitted"),
            ),
            (
                401,
                "InvalidAuthenticationInfo",
                denied("InvalidAuthenticationInfo"),
            ),
            (409, "BlobArchived", ErrorKind::Archived),
            (412, "ConditionNotMet", ErrorKind::Changed),
            (400, "AccountRequiresHttps", ErrorKind::WantsTls),
            (503, "ServerBusy", server(503, "ServerBusy")),
            (500, "OperationTimedOut", server(500, "OperationTimedOut")),
            (302, "", ErrorKind::Redirect { status: 302 }),
        ] {
            assert_eq!(of(status, code, ""), expected, "{status} {code}");
        }
        let other = ErrorKind::Answer {
            status: 409,
            code: "BlobImmutableDueToPolicy".into(),
        };
        assert_eq!(of(409, "BlobImmutableDueToPolicy", ""), other);
        let late = "<AuthenticationErrorDetail>Request date header too old: 'Sat'</AuthenticationErrorDetail>";
        assert_eq!(of(403, "AuthenticationFailed", late), ErrorKind::ClockSkew);
    }

    #[test]
    fn an_answer_without_a_body_has_its_code_in_a_header() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-error-code", "ContainerNotFound".parse().unwrap());
        let kind = meaning(StatusCode::NOT_FOUND, &headers, b"");
        assert_eq!(kind, ErrorKind::NoBucket);
        // A proxy has none.
        let kind = meaning(StatusCode::NOT_FOUND, &HeaderMap::new(), b"<html>");
        assert_eq!(kind, ErrorKind::NoFile);
    }
}
