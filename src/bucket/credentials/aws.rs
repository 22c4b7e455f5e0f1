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
            region: None,
            customer_key: None,
        })
    }

    /// Returns the credentials that `provider` gives, without anything else.
    pub fn of_provider(provider: AwsCredentialProvider) -> Self {
        Self {
            provider,
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
            Self::of_file(settings, file)?
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

    fn of_file(settings: &AwsSettings, file: StoredKey) -> Result<Self, CredentialsError> {
        let ini::Profile {
            keys,
            region,
            endpoint,
        } = ini::read(&file.text()?, &settings.profile)?;
        if let Some(setting) = endpoint.filter(|_| !settings.has_url()) {
            return Err(CredentialsError::Endpoint(setting));
        }
        Ok(Self {
            region,
            ..Self::fixed(keys)?
        })
    }
}
