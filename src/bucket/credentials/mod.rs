//! The credentials for a bucket, in Velero's order: the Secret of `spec.credential`, else the one of
//! Velero's installation, else this process's own identity.

mod aws;
mod azure;
mod azure_identity;
mod cluster;
mod env_file;
mod error;
mod gcp;
mod gcp_identity;
pub mod identity;
pub mod ini;
pub mod installation;
mod own;
pub mod personal;
mod role;
mod service_account;
mod source;
mod stored;

use object_store::aws::AwsCredential;

pub use aws::{AwsCredentials, CustomerKey};
pub use azure::{AzureCredentials, AzureKeys, ServicePrincipal};
pub(super) use azure_identity::of_service_principal;
pub use cluster::ClusterSecrets;
pub use error::CredentialsError;
pub use gcp::GcpCredentials;
pub use own::{Identity, NoIdentity, OwnIdentity, RolesOnly};
pub use source::{AssumedWith, Role, Source, TokenFile};
pub use stored::{Fingerprint, SecretSource, StoredCredentials};

use super::settings::{BucketSettings, ProviderSettings};

/// What a bucket is opened with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Of an S3 store.
    Aws(AwsCredentials),
    /// Of Azure's blob storage.
    Azure(AzureCredentials),
    /// Of Google Cloud Storage.
    Gcp(GcpCredentials),
}

impl Credentials {
    /// Returns fixed credentials of an S3 store.
    pub fn fixed(keys: AwsCredential) -> Result<Self, CredentialsError> {
        AwsCredentials::fixed(keys).map(Self::Aws)
    }

    /// Reads the credentials for the bucket of a BSL. `identity` gives those of this process and of roles,
    /// and is asked only if there are no others.
    pub async fn read(
        settings: &BucketSettings,
        secrets: &impl SecretSource,
        identity: &impl Identity,
    ) -> Result<Self, CredentialsError> {
        let stored = StoredCredentials::read(settings, secrets).await?;
        Self::new(settings, stored, identity)
    }

    /// Makes the credentials of what is stored. `identity` is as for [`Self::read`].
    pub fn new(
        settings: &BucketSettings,
        stored: StoredCredentials,
        identity: &impl Identity,
    ) -> Result<Self, CredentialsError> {
        match &settings.provider {
            ProviderSettings::Aws(aws) => AwsCredentials::new(aws, stored, identity).map(Self::Aws),
            ProviderSettings::Azure(azure) => {
                AzureCredentials::new(azure, stored.file, identity).map(Self::Azure)
            }
            ProviderSettings::Gcp(_) => GcpCredentials::new(stored.file, identity).map(Self::Gcp),
        }
    }
}

impl From<AwsCredentials> for Credentials {
    fn from(credentials: AwsCredentials) -> Self {
        Self::Aws(credentials)
    }
}

#[cfg(test)]
mod tests;
