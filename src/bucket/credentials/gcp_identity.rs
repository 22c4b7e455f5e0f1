//! The tokens of velero-trust's own identity in Google's cloud.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder};

use super::CredentialsError;
use super::identity::{Services, no_retries, why};
use crate::bucket::connector::{Peer, Reach, StoreClient};
use crate::bucket::error::ErrorKind;
use crate::bucket::settings::is_visible;
use crate::ca::endpoint::DeniedAddresses;

/// Returns the provider of the tokens of this process's own identity: those of the file that
/// `GOOGLE_APPLICATION_CREDENTIALS` names, else those of the metadata server, which is also where GKE gives
/// a workload identity. `variable` reads the environment; `object_store` itself reads in it where the
/// metadata server is (`GCE_METADATA_HOST`).
pub(super) fn provider(
    variable: impl Fn(&str) -> Option<String>,
    services: Services,
) -> Result<GcpCredentialProvider, CredentialsError> {
    // The address of the metadata server is a link-local one.
    let reach = Reach {
        trust: services.trust,
        denied: DeniedAddresses::nothing(),
        proxies: services.proxies,
        timing: services.timing,
    };
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name("none")
        .with_retry(no_retries());
    let file = variable("GOOGLE_APPLICATION_CREDENTIALS").filter(|file| !file.is_empty());
    let builder = match file {
        Some(file) => builder.with_application_credentials(file),
        None => builder,
    };
    let failed = |why| CredentialsError::Identity { why };
    let client = StoreClient::new("", reach, Peer::Identity);
    let client = client.map_err(|error| failed(error.to_string()))?;
    let store = builder.with_http_connector(client).build();
    let store = store.map_err(|error| failed(why(&error)))?;
    Ok(Arc::new(CheckedProvider(Arc::clone(store.credentials()))))
}

/// Checks the tokens of another provider, and says that an error comes from there.
struct CheckedProvider(GcpCredentialProvider);

impl fmt::Debug for CheckedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedProvider").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for CheckedProvider {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let failed = |error: CredentialsError| object_store::Error::Generic {
            store: "identity",
            source: Box::new(ErrorKind::Credentials(error)),
        };
        let token = self.0.get_credential().await;
        let token =
            token.map_err(|error| failed(CredentialsError::Identity { why: why(&error) }))?;
        if is_visible(&token.bearer) {
            Ok(token)
        } else {
            Err(failed(CredentialsError::Characters("the token")))
        }
    }
}
