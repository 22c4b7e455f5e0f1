//! Opens a container of Azure.

use std::sync::Arc;

use object_store::azure::{AzureCredentialProvider, MicrosoftAzureBuilder};

use super::Store;
use super::signer::Signer;
use super::upload::Upload;
use crate::bucket::connector::{Peer, Reach, StoreClient, describe};
use crate::bucket::credentials::identity::no_retries;
use crate::bucket::credentials::{
    AzureCredentials, AzureKeys, CredentialsError, of_service_principal,
};
use crate::bucket::error::ErrorKind;
use crate::bucket::protocol::Protocol;
use crate::bucket::settings::azure::AzureSettings;
use crate::bucket::settings::{BucketSettings, SettingsError};

/// Opens a container. Sends no request.
pub(super) fn open(
    settings: &Arc<BucketSettings>,
    azure: &AzureSettings,
    credentials: &AzureCredentials,
    reach: Reach,
) -> Result<Store, ErrorKind> {
    let AzureSettings { account, .. } = azure;
    let url = azure.url(&settings.bucket, credentials.cloud)?;
    let provider = provider(settings, azure, credentials, &reach)?;
    let is_token = !matches!(credentials.keys, AzureKeys::AccountKey(_));
    if is_token && !url.is_https {
        return Err(SettingsError::TokenWithoutTls("storageAccountURI").into());
    }
    let protocol = Protocol::Azure;
    let peer = Peer::Store(protocol.clone());
    let client = StoreClient::new(&settings.namespace, reach, peer)?;
    let builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(&settings.bucket)
        .with_endpoint(url.without_bucket().to_owned())
        .with_credentials(Arc::clone(&provider))
        .with_retry(no_retries())
        .with_http_connector(client.clone());
    Ok(Store {
        objects: Arc::new(builder.build().map_err(|error| describe(&error))?),
        settings: Arc::clone(settings),
        list_url: url.clone(),
        upload: Upload::Put(&[("x-ms-blob-type", "BlockBlob")]),
        url,
        protocol,
        client,
        signer: Signer::Azure {
            credentials: provider,
            account: account.clone(),
        },
    })
}

fn provider(
    settings: &BucketSettings,
    azure: &AzureSettings,
    credentials: &AzureCredentials,
    reach: &Reach,
) -> Result<AzureCredentialProvider, CredentialsError> {
    match &credentials.keys {
        AzureKeys::ServicePrincipal(principal) => {
            let authority = azure.authority.as_deref();
            let authority = authority.unwrap_or_else(|| credentials.cloud.authority());
            of_service_principal(principal, authority, &settings.namespace, reach.clone())
        }
        // Whoever writes a BSL must not get the token of velero-trust's ServiceAccount.
        AzureKeys::Own(_) if !azure.is_at_azure() => {
            Err(CredentialsError::ForeignHost("storageAccountURI"))
        }
        AzureKeys::AccountKey(provider) | AzureKeys::Own(provider) => Ok(Arc::clone(provider)),
    }
}
