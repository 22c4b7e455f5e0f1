//! The credentials for a bucket, in Velero's order: the Secret of `spec.credential`, else the one of
//! Velero's installation, else this process's own identity.

mod cluster;
pub mod identity;
pub mod ini;
pub mod installation;
pub mod personal;

use std::fmt;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

pub use cluster::ClusterSecrets;

use super::settings::{BucketSettings, Encryption, SecretKey};
use crate::digest::Sha256;
use crate::velero::text::shown;

/// Length of a key for SSE-C in bytes.
const CUSTOMER_KEY_BYTES: usize = 32;

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A value could not be sent.
    #[error("{0} in the credentials has characters that no key has; write it anew")]
    Characters(&'static str),
    /// The file is not UTF-8.
    #[error("{} is no text; write the credentials anew", SecretRef(.0))]
    NotText(SecretKey),
    /// The key for SSE-C has another length.
    #[error(
        "{} has {found} bytes, and a key for SSE-C has 32; store the key itself, neither encoded nor with \
         a line break", SecretRef(.secret)
    )]
    CustomerKeyLength {
        /// Where it is.
        secret: SecretKey,
        /// Its length.
        found: usize,
    },
    /// The cloud gives this process no identity.
    #[error(
        "velero-trust has no identity of its own ({why}); name a Secret in the BSL's spec.credential, or \
         give velero-trust's ServiceAccount an identity that may read the bucket"
    )]
    Identity {
        /// Why.
        why: String,
    },
    /// The profile has no keys.
    #[error(
        "the profile has no aws_access_key_id with an aws_secret_access_key; add both to the credentials"
    )]
    NoKeys,
    /// The file has no such profile.
    #[error(
        "the credentials have no profile `{}`; add it, or correct spec.config.profile", shown(.profile)
    )]
    NoProfile {
        /// The profile.
        profile: String,
    },
    /// There is no such Secret, or no such key in it.
    #[error("{} does not exist; create it, or correct the BSL", SecretRef(.0))]
    NoSecret(SecretKey),
    /// The profile has something else than keys.
    #[error(
        "the credentials use `{0}`, which velero-trust does not support; use an aws_access_key_id with \
         an aws_secret_access_key in the BSL's spec.credential"
    )]
    NotSupported(&'static str),
    /// The profile says where the store is.
    #[error(
        "the credentials say with `{0}` where the store is, which Velero follows and velero-trust does not \
         support; write the URL into the BSL's spec.config.s3Url"
    )]
    Endpoint(&'static str),
    /// It is not known whether there are any: the API server did not say.
    #[error("the credentials cannot be read from the API server: {why}")]
    Unavailable {
        /// What the API server said, or why it did not.
        why: String,
    },
}

/// Names a key of a Secret.
struct SecretRef<'a>(&'a SecretKey);

impl fmt::Display for SecretRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SecretKey { name, key } = self.0;
        write!(f, "key `{}` of Secret `{}`", shown(key), shown(name))
    }
}

/// Reads what credentials are made of, in the namespace of a BSL.
pub trait SecretSource {
    /// Returns the value of a key; `None` if it does not exist.
    fn value(
        &self,
        secret: &SecretKey,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, CredentialsError>> + Send;

    /// Returns the key that Velero's installation mounts as its file of credentials.
    fn installed(&self)
    -> impl Future<Output = Result<Option<SecretKey>, CredentialsError>> + Send;
}

/// The key of a customer for SSE-C.
#[derive(Clone)]
pub struct CustomerKey(pub(super) Vec<u8>);

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(******)")
    }
}

/// What a bucket is opened with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The keys.
    pub provider: AwsCredentialProvider,
    /// The region in the file of credentials.
    pub region: Option<String>,
    /// The key for SSE-C.
    pub customer_key: Option<CustomerKey>,
}

impl Credentials {
    /// Returns fixed credentials.
    pub fn fixed(keys: AwsCredential) -> Result<Self, CredentialsError> {
        ini::check(&keys)?;
        Ok(Self {
            provider: Arc::new(StaticCredentialProvider::new(keys)),
            region: None,
            customer_key: None,
        })
    }

    /// Reads the credentials for the bucket of a BSL. `identity` gives those of this process, and is
    /// called only if there are no others.
    pub async fn read(
        settings: &BucketSettings,
        secrets: &impl SecretSource,
        identity: impl FnOnce() -> Result<AwsCredentialProvider, CredentialsError>,
    ) -> Result<Self, CredentialsError> {
        let stored = StoredCredentials::read(settings, secrets).await?;
        Self::new(settings, stored, identity)
    }

    /// Makes the credentials of what is stored. `identity` is as for [`Self::read`].
    pub fn new(
        settings: &BucketSettings,
        stored: StoredCredentials,
        identity: impl FnOnce() -> Result<AwsCredentialProvider, CredentialsError>,
    ) -> Result<Self, CredentialsError> {
        let mut credentials = match stored.file {
            Some((secret, file)) => {
                let file = String::from_utf8(file);
                let file = file.map_err(|_| CredentialsError::NotText(secret))?;
                let ini::Profile {
                    keys,
                    region,
                    endpoint,
                } = ini::read(&file, &settings.profile)?;
                if let Some(setting) = endpoint.filter(|_| !settings.has_url()) {
                    return Err(CredentialsError::Endpoint(setting));
                }
                Self {
                    region,
                    ..Self::fixed(keys)?
                }
            }
            None => Self {
                provider: identity()?,
                region: None,
                customer_key: None,
            },
        };
        if let Some((secret, key)) = stored.customer_key {
            if key.len() != CUSTOMER_KEY_BYTES {
                let found = key.len();
                return Err(CredentialsError::CustomerKeyLength { secret, found });
            }
            credentials.customer_key = Some(CustomerKey(key));
        }
        Ok(credentials)
    }
}

/// What credentials are made of, as the API server has it.
pub struct StoredCredentials {
    /// The file with the keys; `None` if only this process's own identity is left.
    file: Option<(SecretKey, Vec<u8>)>,
    /// The key for SSE-C, if the BSL names one.
    customer_key: Option<(SecretKey, Vec<u8>)>,
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
            None => secrets.installed().await?,
        };
        let file = match secret {
            Some(secret) => Some(existing(secrets, secret).await?),
            None => None,
        };
        let customer_key = match &settings.encryption {
            Encryption::CustomerKey(secret) => Some(existing(secrets, secret.clone()).await?),
            _ => None,
        };
        Ok(Self { file, customer_key })
    }

    /// Returns what tells it from others.
    pub fn fingerprint(&self) -> Fingerprint {
        let of = |stored: &Option<(SecretKey, Vec<u8>)>| {
            let (secret, value) = stored.as_ref()?;
            Some((secret.clone(), Sha256::of(value)))
        };
        Fingerprint([of(&self.file), of(&self.customer_key)])
    }
}

async fn existing(
    secrets: &impl SecretSource,
    secret: SecretKey,
) -> Result<(SecretKey, Vec<u8>), CredentialsError> {
    match secrets.value(&secret).await? {
        Some(value) => Ok((secret, value)),
        None => Err(CredentialsError::NoSecret(secret)),
    }
}

#[cfg(test)]
mod tests;
