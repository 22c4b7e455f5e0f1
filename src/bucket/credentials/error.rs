//! Why there are no credentials.

use std::fmt;

use crate::bucket::settings::SecretKey;
use crate::velero::text::shown;

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
