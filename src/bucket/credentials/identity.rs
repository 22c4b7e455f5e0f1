//! The identity that the cloud gives to the Pod of velero-trust itself: by web identity (IRSA), EKS
//! Pod Identity, ECS, or, last, the machine's metadata service.
//!
//! Its addresses come from the Pod's own environment and from `object_store`, never from a BSL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, RetryConfig};

use super::{CredentialsError, ini};
use crate::bucket::connector::{Peer, Reach, StoreClient, Timing, Trust, describe};
use crate::bucket::error::ErrorKind;
use crate::ca::endpoint::{DeniedAddresses, build_sts_url};
use crate::dial::Proxies;

/// The variables of the environment that name an identity, and where the SDK looks for it.
const VARIABLES: [(&str, AmazonS3ConfigKey); 6] = [
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        AmazonS3ConfigKey::WebIdentityTokenFile,
    ),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

/// How the services are reached that give a Pod its credentials.
#[derive(Clone, Debug)]
pub struct Services {
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// What is never dialled for the keys of a role. For the identity itself it does not count: only the
    /// environment and the cloud say where that is.
    pub denied: DeniedAddresses,
    /// The proxies between.
    pub proxies: Proxies,
    /// How long is waited.
    pub timing: Timing,
}

/// Returns the provider of the credentials of this process's own identity. `variable` reads the
/// environment. Nothing is requested before the first credentials are needed; they are kept and
/// renewed.
pub fn provider(
    variable: impl Fn(&str) -> Option<String>,
    region: &str,
    services: Services,
) -> Result<AwsCredentialProvider, CredentialsError> {
    let refused = |why: &str| CredentialsError::Identity {
        why: why.to_owned(),
    };
    // The addresses of these services are link-local ones.
    let reach = Reach {
        trust: services.trust,
        denied: DeniedAddresses::nothing(),
        proxies: services.proxies,
        timing: services.timing,
    };
    let client = StoreClient::new("", reach, Peer::Identity);
    let client = client.map_err(|kind| refused(&kind.to_string()))?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name("none")
        .with_retry(no_retries())
        .with_http_connector(client);
    let set = |name| variable(name).filter(|value| !value.is_empty());
    for (name, key) in VARIABLES {
        if let Some(value) = set(name) {
            builder = builder.with_config(key, value);
        }
    }
    let region = set("AWS_REGION").unwrap_or_else(|| region.to_owned());
    let sts = set("AWS_ENDPOINT_URL_STS").or_else(|| build_sts_url(&region));
    let sts = sts.ok_or_else(|| refused("AWS_REGION is no name of a region"))?;
    builder = builder.with_config(AmazonS3ConfigKey::StsEndpoint, sts);
    let store = builder
        .build()
        .map_err(|error| refused(&error.to_string()))?;
    Ok(Arc::new(CheckedProvider(Arc::clone(store.credentials()))))
}

/// Requests are sent again by [`StoreClient`] alone.
pub(in crate::bucket) fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    }
}

/// Checks the credentials of another provider, and says that an error comes from there.
struct CheckedProvider(AwsCredentialProvider);

impl fmt::Debug for CheckedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedProvider").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for CheckedProvider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let failed = |error: CredentialsError| object_store::Error::Generic {
            store: "identity",
            source: Box::new(ErrorKind::Credentials(error)),
        };
        let keys = self.0.get_credential().await;
        let keys = keys.map_err(|error| failed(CredentialsError::Identity { why: why(&error) }))?;
        ini::check(&keys).map_err(failed)?;
        Ok(keys)
    }
}

/// Returns why there is no identity, without the answers of its services: they might contain a
/// token. `object_store` says some of it only in words.
pub(super) fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = "its service does not answer as it should".to_owned();
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<ErrorKind>() {
            return describe(error).to_string();
        }
        let message = error.to_string();
        if let Some(status) = status_in(&message) {
            words = format!("its service answers {status}");
            if let Some(code) = entra_code_in(&message) {
                words = format!("{words} {code}");
            }
        } else if message.contains("Failed to read") && message.contains("token file") {
            "the file of its token cannot be read".clone_into(&mut words);
        }
        next = error.source();
    }
    words
}

/// Returns the status code in a message of `object_store`.
fn status_in(message: &str) -> Option<u16> {
    let (_, rest) = message.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// Returns the error code of Microsoft Entra ID in an answer of its login service, such as
/// `AADSTS7000215`.
fn entra_code_in(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("AADSTS")?;
    let digits: String = rest
        .chars()
        .take_while(char::is_ascii_digit)
        .take(9)
        .collect();
    (!digits.is_empty()).then(|| format!("AADSTS{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_taken_and_the_answer_is_not() {
        let message = "Server returned non-2xx status code: 403 Forbidden: <Token>secret</Token>";
        assert_eq!(status_in(message), Some(403));
        assert_eq!(status_in("other"), None);
        let error = std::io::Error::other("top secret");
        assert!(!why(&error).contains("secret"));
    }
}
