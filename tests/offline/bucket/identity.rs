//! The identity that a cloud gives to a Pod.

use std::fs;

use object_store::aws::AwsCredentialProvider;
use velero_trust::bucket::{AwsCredentials, CredentialsError, Identity as _, Store};

use super::environment::own;
use super::server::{Act, Server, answer, list};
use super::{header, reach, settings};

fn provider(variables: &[(&'static str, &str)]) -> Result<AwsCredentialProvider, CredentialsError> {
    own(variables).aws("us-east-1")
}

/// Returns a file with a token, and its path.
pub(super) fn token_file() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "pod-token").unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

#[tokio::test]
async fn pod_identity_gives_the_keys_for_the_store() {
    let keys = r#"{"AccessKeyId": "pod", "SecretAccessKey": "s", "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z"}"#;
    let agent = Server::start([Act::Send(answer(200, "", keys))]).await;
    let (_folder, token) = token_file();
    let url = format!("http://127.0.0.1:{}/v1/credentials", agent.port);
    let provider = provider(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
    ]);
    let credentials = AwsCredentials::of_provider(provider.unwrap());
    let server = Server::start([Act::Send(list(&[])), Act::Send(list(&[]))]).await;
    let url = format!("http://127.0.0.1:{}", server.port);
    let settings = settings(&url, &serde_json::json!({}));
    let store = Store::open(settings, credentials.into(), reach()).await;
    let store = store.unwrap();
    store.list("b").await.unwrap();
    store.list("b").await.unwrap();
    let asked = server.asked();
    let signed = header(&asked[0], "authorization").unwrap();
    assert!(signed.contains("Credential=pod/"), "{signed}");
    assert_eq!(header(&asked[1], "x-amz-security-token"), Some("t"));
    // They are kept, and the token of the Pod goes to its service only.
    assert_eq!(agent.asked().len(), 1);
    assert_eq!(
        header(&agent.asked()[0], "authorization"),
        Some("pod-token")
    );
    assert!(!asked.concat().contains("pod-token"));
}

#[tokio::test]
async fn web_identity_gives_keys_that_can_be_sent() {
    let keys = |key: &str| {
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        Act::Send(answer(200, "", &body))
    };
    let sts = Server::start([keys("web"), keys("not ascii: ü")]).await;
    let (_folder, token) = token_file();
    let url = format!("http://127.0.0.1:{}", sts.port);
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    let keys = provider(&variables)
        .unwrap()
        .get_credential()
        .await
        .unwrap();
    assert_eq!(
        (keys.key_id.as_str(), keys.token.as_deref()),
        ("web", Some("t"))
    );
    let asked = sts.asked();
    assert!(
        asked[0].contains("WebIdentityToken=pod-token"),
        "{}",
        asked[0]
    );
    // Such a key would make the signer panic.
    let error = provider(&variables)
        .unwrap()
        .get_credential()
        .await
        .unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("Characters"), "{text}");
}

#[tokio::test]
async fn without_an_identity_the_reason_is_told_and_no_answer_of_its_service() {
    let agent = Server::start([Act::Send(answer(403, "", "pod-token is not allowed"))]).await;
    let (_folder, token) = token_file();
    let url = format!("http://127.0.0.1:{}/v1/credentials", agent.port);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
    ];
    let store = async |variables: &[(&'static str, &str)]| {
        let credentials = AwsCredentials::of_provider(provider(variables).unwrap());
        let settings = settings("http://127.0.0.1:1", &serde_json::json!({}));
        let store = Store::open(settings, credentials.into(), reach()).await;
        let store = store.unwrap();
        store.list("b").await.unwrap_err()
    };
    let failure = store(&variables).await;
    assert_eq!(failure.reason(), "NoCredentials");
    let text = format!("{failure} {failure:?}");
    assert!(text.contains("its service answers 403"), "{text}");
    assert!(
        text.contains("spec.credential") && !text.contains("pod-token"),
        "{text}"
    );
    let absent = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
    ];
    let text = store(&absent).await.to_string();
    assert!(
        text.contains("the file of its token cannot be read"),
        "{text}"
    );
}
