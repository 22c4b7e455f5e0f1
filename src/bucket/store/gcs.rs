//! Opens a bucket of Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;

use super::Store;
use super::signer::Signer;
use super::upload::Upload;
use crate::bucket::connector::{Peer, Reach, StoreClient, describe};
use crate::bucket::credentials::identity::no_retries;
use crate::bucket::credentials::{CredentialsError, GcpCredentials};
use crate::bucket::error::ErrorKind;
use crate::bucket::protocol::Protocol;
use crate::bucket::settings::gcp::GcpSettings;
use crate::bucket::settings::{BucketSettings, SettingsError};

/// Opens a bucket. Sends no request.
pub(super) fn open(
    settings: &Arc<BucketSettings>,
    gcp: &GcpSettings,
    credentials: &GcpCredentials,
    reach: Reach,
) -> Result<Store, ErrorKind> {
    let url = gcp.url(&settings.bucket)?;
    let provider = match credentials {
        // Whoever writes a BSL must not get the token of velero-trust's ServiceAccount.
        GcpCredentials::Own(_) if !gcp.is_at_google() => {
            return Err(CredentialsError::ForeignHost("storeEndpoint").into());
        }
        GcpCredentials::Own(provider) | GcpCredentials::ServiceAccount(provider) => provider,
    };
    if !url.is_https {
        return Err(SettingsError::TokenWithoutTls("storeEndpoint").into());
    }
    let protocol = Protocol::Gcs;
    let peer = Peer::Store(protocol.clone());
    let client = StoreClient::new(&settings.namespace, reach, peer)?;
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&settings.bucket)
        .with_base_url(url.without_bucket())
        .with_credentials(Arc::clone(provider))
        .with_retry(no_retries())
        .with_http_connector(client.clone());
    Ok(Store {
        objects: Arc::new(builder.build().map_err(|error| describe(&error))?),
        list_url: gcp.list_url(&settings.bucket)?,
        upload: Upload::Media {
            url: gcp.upload_url(&settings.bucket)?,
            kms_key: gcp.kms_key.clone(),
        },
        settings: Arc::clone(settings),
        url,
        protocol,
        client,
        signer: Signer::Gcs {
            credentials: Arc::clone(provider),
        },
    })
}
