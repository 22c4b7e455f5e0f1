//! What the credentials for a bucket are made of, in the namespace of its BSL.

use super::CredentialsError;
use crate::bucket::settings::{BucketSettings, Provider, SecretKey};
use crate::digest::Sha256;

/// Reads what credentials are made of, in the namespace of a BSL.
pub trait SecretSource {
    /// Returns the value of a key; `None` if it does not exist.
    fn value(
        &self,
        secret: &SecretKey,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, CredentialsError>> + Send;

    /// Returns the key that Velero's installation mounts as its file of credentials for `provider`.
    fn installed(
        &self,
        provider: Provider,
    ) -> impl Future<Output = Result<Option<SecretKey>, CredentialsError>> + Send;
}

/// The value of a key of a Secret.
pub(super) struct StoredKey {
    pub(super) secret: SecretKey,
    pub(super) value: Vec<u8>,
}

/// What credentials are made of, as the API server has it.
pub struct StoredCredentials {
    /// The file of credentials; `None` if only this process's own identity is left.
    pub(super) file: Option<StoredKey>,
    /// The key for SSE-C, if the BSL names one.
    pub(super) customer_key: Option<StoredKey>,
}

/// Tells whether two [`StoredCredentials`] are the same, without the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint([Option<(SecretKey, Sha256)>; 2]);

impl StoredCredentials {
    /// Reads what is stored for the bucket of a BSL.
    pub async fn read(
        settings: &BucketSettings,
        secrets: &impl SecretSource,
    ) -> Result<Self, CredentialsError> {
        let secret = match &settings.credential {
            Some(secret) => Some(secret.clone()),
            None => secrets.installed(settings.provider()).await?,
        };
        let file = match secret {
            Some(secret) => Some(existing(secrets, secret).await?),
            None => None,
        };
        let customer_key = match settings.customer_key() {
            Some(secret) => Some(existing(secrets, secret.clone()).await?),
            None => None,
        };
        Ok(Self { file, customer_key })
    }

    /// Returns what tells it from others.
    pub fn fingerprint(&self) -> Fingerprint {
        let of = |stored: &Option<StoredKey>| {
            let StoredKey { secret, value } = stored.as_ref()?;
            Some((secret.clone(), Sha256::of(value)))
        };
        Fingerprint([of(&self.file), of(&self.customer_key)])
    }
}

impl StoredKey {
    /// Returns the value as text.
    pub(super) fn text(self) -> Result<String, CredentialsError> {
        let secret = self.secret;
        String::from_utf8(self.value).map_err(|_| CredentialsError::NotText(secret))
    }
}

async fn existing(
    secrets: &impl SecretSource,
    secret: SecretKey,
) -> Result<StoredKey, CredentialsError> {
    match secrets.value(&secret).await? {
        Some(value) => Ok(StoredKey { secret, value }),
        None => Err(CredentialsError::NoSecret(secret)),
    }
}
