//! The tokens of Microsoft Entra ID: of velero-trust's own workload identity, of the machine's managed
//! identity, and of a service principal.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::azure::{
    AzureConfigKey, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder,
};

use super::CredentialsError;
use super::azure::ServicePrincipal;
use super::identity::{Services, no_retries, why};
use crate::bucket::connector::{Peer, Reach, StoreClient};
use crate::bucket::error::ErrorKind;
use crate::bucket::settings::is_visible;
use crate::ca::endpoint::DeniedAddresses;

/// Returns the provider of the tokens of this process's own identity. `variable` reads the environment,
/// in which AKS puts a workload identity. Without one it is the machine's managed identity `client_id`.
///
/// No address comes from a BSL: a token of the ServiceAccount goes only to where the Pod's own environment
/// says.
pub(super) fn provider(
    variable: impl Fn(&str) -> Option<String>,
    client_id: Option<&str>,
    services: Services,
) -> Result<AzureCredentialProvider, CredentialsError> {
    // The addresses of these services are link-local ones.
    let reach = Reach {
        trust: services.trust,
        denied: DeniedAddresses::nothing(),
        proxies: services.proxies,
        timing: services.timing,
    };
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let builder = if let Some(file) = set("AZURE_FEDERATED_TOKEN_FILE") {
        let required = |name: &'static str| {
            let why = || CredentialsError::Identity {
                why: format!("{name} is not set"),
            };
            set(name).ok_or_else(why)
        };
        let builder = builder()
            .with_credential_type("workload_identity")
            .with_federated_token_file(file)
            .with_client_id(required("AZURE_CLIENT_ID")?)
            .with_tenant_id(required("AZURE_TENANT_ID")?);
        match set("AZURE_AUTHORITY_HOST") {
            Some(host) => builder.with_authority_host(host.trim_end_matches('/')),
            None => builder,
        }
    } else {
        let client_id = client_id.map(str::to_owned);
        let named = [
            (
                AzureConfigKey::ClientId,
                client_id.or_else(|| set("AZURE_CLIENT_ID")),
            ),
            (AzureConfigKey::MsiEndpoint, set("IDENTITY_ENDPOINT")),
        ];
        let builder = builder().with_credential_type("managed_identity");
        named
            .into_iter()
            .fold(builder, |builder, (key, value)| match value {
                Some(value) => builder.with_config(key, value),
                None => builder,
            })
    };
    checked(builder, "", reach, |why| CredentialsError::Identity { why })
}

/// Returns the provider of the tokens of a service principal, which the login service at `authority`
/// gives for its secret.
pub(in crate::bucket) fn of_service_principal(
    principal: &ServicePrincipal,
    authority: &str,
    namespace: &str,
    reach: Reach,
) -> Result<AzureCredentialProvider, CredentialsError> {
    let ServicePrincipal {
        tenant,
        client_id,
        secret,
    } = principal;
    let builder = builder()
        .with_credential_type("client_secret")
        .with_client_secret_authorization(client_id, secret, tenant)
        .with_authority_host(authority);
    checked(builder, namespace, reach, |why| CredentialsError::NoToken {
        why,
    })
}

/// Returns a builder with what none of the providers needs.
fn builder() -> MicrosoftAzureBuilder {
    MicrosoftAzureBuilder::new()
        .with_account("none")
        .with_container_name("none")
        .with_retry(no_retries())
}

fn checked(
    builder: MicrosoftAzureBuilder,
    namespace: &str,
    reach: Reach,
    failed: fn(String) -> CredentialsError,
) -> Result<AzureCredentialProvider, CredentialsError> {
    let client = StoreClient::new(namespace, reach, Peer::Identity);
    let client = client.map_err(|kind| failed(kind.to_string()))?;
    let store = builder.with_http_connector(client).build();
    let store = store.map_err(|error| failed(why(&error)))?;
    let provider = Arc::clone(store.credentials());
    Ok(Arc::new(CheckedProvider { provider, failed }))
}

/// Checks the tokens of another provider, and says that an error comes from there.
struct CheckedProvider {
    provider: AzureCredentialProvider,
    failed: fn(String) -> CredentialsError,
}

impl fmt::Debug for CheckedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedProvider").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for CheckedProvider {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        let failed = |error: CredentialsError| object_store::Error::Generic {
            store: "identity",
            source: Box::new(ErrorKind::Credentials(error)),
        };
        let token = self.provider.get_credential().await;
        let token = token.map_err(|error| failed((self.failed)(why(&error))))?;
        // `object_store` panics at others.
        match &*token {
            AzureCredential::BearerToken(text) if is_visible(text) => Ok(token),
            _ => Err(failed(CredentialsError::Characters("the token"))),
        }
    }
}
