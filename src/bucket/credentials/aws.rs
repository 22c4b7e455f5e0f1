//! The credentials for a bucket of an S3 store.

use std::fmt;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

use super::stored::{StoredCredentials, StoredKey};
use super::{CredentialsError, Identity, ini};
use crate::bucket::settings::aws::AwsSettings;

/// Length of a key for SSE-C in bytes.
const CUSTOMER_KEY_BYTES: usize = 32;

/// The key of a customer for SSE-C.
#[derive(Clone)]
pub struct CustomerKey(pub(in crate::bucket) Vec<u8>);

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(******)")
    }
}

/// What a bucket of an S3 store is opened with.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    /// The keys.
    pub provider: AwsCredentialProvider,
    /// The role that they are those of, if a file of credentials names one.
    pub role: Option<String>,
    /// The region in the file of credentials.
    pub region: Option<String>,
    /// The key for SSE-C.
    pub customer_key: Option<CustomerKey>,
}

impl AwsCredentials {
    /// Returns fixed credentials.
    pub fn fixed(keys: AwsCredential) -> Result<Self, CredentialsError> {
        ini::check(&keys)?;
        Ok(Self {
            provider: Arc::new(StaticCredentialProvider::new(keys)),
            role: None,
            region: None,
            customer_key: None,
        })
    }

    /// Returns the credentials that `provider` gives, without anything else.
    pub fn of_provider(provider: AwsCredentialProvider) -> Self {
        Self {
            provider,
            role: None,
            region: None,
            customer_key: None,
        }
    }

    /// Makes the credentials of what is stored, or of `identity` if there is no file.
    pub(super) fn new(
        settings: &AwsSettings,
        stored: StoredCredentials,
        identity: &impl Identity,
    ) -> Result<Self, CredentialsError> {
        let mut credentials = if let Some(file) = stored.file {
            Self::of_file(settings, file, identity)?
        } else {
            let region = settings.region.as_deref().unwrap_or_default();
            Self::of_provider(identity.aws(region)?)
        };
        if let Some(StoredKey { secret, value }) = stored.customer_key {
            if value.len() != CUSTOMER_KEY_BYTES {
                let found = value.len();
                return Err(CredentialsError::CustomerKeyLength { secret, found });
            }
            credentials.customer_key = Some(CustomerKey(value));
        }
        Ok(credentials)
    }

    fn of_file(
        settings: &AwsSettings,
        file: StoredKey,
        identity: &impl Identity,
    ) -> Result<Self, CredentialsError> {
        let profile = ini::read(&file.text()?, &settings.profile)?;
        if let Some(setting) = profile.endpoint.filter(|_| !settings.has_url()) {
            return Err(CredentialsError::Endpoint(setting));
        }
        Self::of_profile(profile, settings.region.as_deref(), identity)
    }

    /// Makes the credentials of a profile. `region` is that of the bucket, if it is known.
    pub(super) fn of_profile(
        profile: ini::Profile,
        region: Option<&str>,
        identity: &impl Identity,
    ) -> Result<Self, CredentialsError> {
        let role = profile.source.role().map(|role| role.arn.clone());
        let known = region.or(profile.region.as_deref()).unwrap_or_default();
        Ok(Self {
            provider: profile.source.provider(identity, known)?,
            role,
            region: profile.region,
            customer_key: None,
        })
    }
}
