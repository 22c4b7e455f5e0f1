//! What AWS's Security Token Service answers.

use k8s_openapi::jiff::Timestamp;
use object_store::aws::AwsCredential;
use serde::Deserialize;

/// Most characters of an error code.
const MAX_CODE_CHARS: usize = 60;

/// Keys that were given.
pub(super) struct Given {
    pub(super) keys: AwsCredential,
    pub(super) expiration: Timestamp,
}

/// The answer to both actions.
#[derive(Deserialize)]
struct AssumeRoleResponse {
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    result: AssumeRoleResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssumeRoleResult {
    credentials: SessionCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SessionCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorResponse {
    error: ErrorBody,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    code: String,
}

/// Returns the keys in an answer; `None` if there are none.
pub(super) fn read_keys(body: &[u8]) -> Option<Given> {
    let response: AssumeRoleResponse = quick_xml::de::from_reader(body).ok()?;
    let found = response.result.credentials;
    let is_whole = ![
        &found.access_key_id,
        &found.secret_access_key,
        &found.session_token,
    ]
    .iter()
    .any(|text| text.is_empty());
    is_whole.then_some(Given {
        expiration: found.expiration.parse().ok()?,
        keys: AwsCredential {
            key_id: found.access_key_id,
            secret_key: found.secret_access_key,
            token: Some(found.session_token),
        },
    })
}

/// Returns the error code in an answer; empty if there is none.
pub(super) fn read_code(body: &[u8]) -> String {
    let response: Option<ErrorResponse> = quick_xml::de::from_reader(body).ok();
    let code = response.map(|response| response.error.code);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    let is_code = |code: &String| code.len() <= MAX_CODE_CHARS && code.bytes().all(is_part);
    code.filter(is_code).unwrap_or_default()
}

/// Whether the same request may succeed later, after an answer that is no success.
pub(super) fn may_pass(status: u16, code: &str) -> bool {
    !(400..500).contains(&status)
        || [408, 429].contains(&status)
        || code.starts_with("Throttling")
        || code == "IDPCommunicationError"
}

/// Returns what to do about an error code of the service.
pub(in crate::bucket::credentials) fn advice(code: &str) -> &'static str {
    match code {
        "AccessDenied" => {
            "allow it in the role's trust policy to whoever assumes it, and compare external_id"
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            "what assumes it has expired: write new keys into the credentials"
        }
        "IDPRejectedClaim" | "InvalidIdentityToken" => {
            "compare the role's trust policy and the account's OIDC provider with the issuer of the cluster \
             (docs/identities.md)"
        }
        "InvalidClientTokenId" => {
            "correct the aws_access_key_id that assumes it; for a store that is not AWS, set \
             AWS_ENDPOINT_URL_STS for velero-trust"
        }
        "RegionDisabledException" => "activate STS for the region in the account's settings of IAM",
        "SignatureDoesNotMatch" => {
            "correct the aws_secret_access_key that assumes it, and set the clock of this node by NTP"
        }
        "ValidationError" => {
            "compare the settings with the role; duration_seconds may be no longer than the role's longest \
             session, and no longer than an hour if another role assumes it"
        }
        _ => "look the code up in AWS's documentation of AssumeRole",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(action: &str, expiration: &str) -> String {
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <AssumedRoleUser><Arn>a</Arn></AssumedRoleUser><Credentials><AccessKeyId>k</AccessKeyId>\
             <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>{expiration}</Expiration></Credentials></{action}Result>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
        )
    }

    #[test]
    fn the_answers_to_both_actions_give_keys() {
        for action in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
            let text = answer(action, "2026-11-28T21:00:00.5+01:00");
            let Given { keys, expiration } = read_keys(text.as_bytes()).unwrap();
            assert_eq!((keys.key_id.as_str(), keys.secret_key.as_str()), ("k", "s"));
            assert_eq!(keys.token.as_deref(), Some("t"));
            assert_eq!(expiration.to_string(), "2026-11-28T20:00:00.5Z");
        }
    }

    #[test]
    fn other_answers_give_none() {
        let text = answer("AssumeRole", "2026-11-28T20:00:00Z");
        for text in [
            String::new(),
            "<html>".to_owned(),
            answer("AssumeRole", "tomorrow"),
            answer("AssumeRoleWithSAML", "2026-11-28T20:00:00Z"),
            text.replace("<SessionToken>t</SessionToken>", ""),
            text.replace("<SecretAccessKey>s<", "<SecretAccessKey><"),
            text.replace("</AssumeRoleResponse>", "")
                .replace("</Credentials>", ""),
        ] {
            assert!(read_keys(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn the_code_of_an_error_is_short_and_plain() {
        let code = |code: &str| {
            let body = format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>");
            read_code(body.as_bytes())
        };
        assert_eq!(code("AccessDenied"), "AccessDenied");
        assert_eq!(code("secret in words"), "");
        assert_eq!(code(&"a".repeat(100)), "");
        assert_eq!(read_code(b"<html>"), "");
    }

    #[test]
    fn what_may_pass_is_what_the_service_says_of_itself() {
        for (status, code, expected) in [
            (403, "AccessDenied", false),
            (400, "ValidationError", false),
            (400, "Throttling", true),
            (400, "IDPCommunicationError", true),
            (429, "", true),
            (302, "", true),
            (500, "InternalFailure", true),
            (503, "", true),
        ] {
            assert_eq!(may_pass(status, code), expected, "{status} {code}");
        }
    }
}
