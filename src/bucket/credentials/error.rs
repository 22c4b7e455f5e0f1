//! Why there are no credentials.

use std::fmt;

use super::ini::Setting;
use super::role::advice;
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
        "the credentials use {0}, which velero-trust does not support; use an aws_access_key_id with \
         an aws_secret_access_key in the BSL's spec.credential"
    )]
    NotSupported(Setting),
    /// The profile says where the store is.
    #[error(
        "the credentials say with {0} where the store is, which Velero follows and velero-trust does not \
         support; write the URL into the BSL's spec.config.s3Url"
    )]
    Endpoint(Setting),
    /// A setting cannot be used.
    #[error("{0} of the credentials {1}")]
    Setting(Setting, &'static str),
    /// Two settings say where the keys come from.
    #[error("{0} and {1} of the credentials both say where keys come from; remove one of them")]
    TwoSources(Setting, Setting),
    /// The token for a role is a file in Velero's Pod.
    #[error(
        "{0} of the credentials is a file in Velero's Pod, which velero-trust cannot read; give \
         velero-trust's ServiceAccount an identity of its own (docs/identities.md), or use an \
         aws_access_key_id with an aws_secret_access_key"
    )]
    TokenFile(Setting),
    /// The profile says where a role is assumed.
    #[error(
        "the credentials say with {0} where their role is assumed, which Velero follows and velero-trust does \
         not; set AWS_ENDPOINT_URL_STS for velero-trust"
    )]
    StsEndpoint(Setting),
    /// It is not known where a role is assumed.
    #[error(
        "the region is none of AWS, so that nothing says where the role of the credentials is assumed; set \
         AWS_ENDPOINT_URL_STS for velero-trust, or correct the region"
    )]
    NoSts,
    /// The service that gives the keys of a role refuses.
    #[error(
        "AWS's STS does not give the keys of the role {} ({code}); {}", shown(.role), advice(.code)
    )]
    RoleRefused {
        /// The role.
        role: String,
        /// The error code, else the status.
        code: String,
    },
    /// It is not known whether there are keys for a role.
    #[error("AWS's STS cannot be asked for the keys of the role {}: {why}", shown(.role))]
    RoleUnavailable {
        /// The role.
        role: String,
        /// Why.
        why: String,
    },
    /// It is not known whether there are any: the API server did not say.
    #[error("the credentials cannot be read from the API server: {why}")]
    Unavailable {
        /// What the API server said, or why it did not.
        why: String,
    },
    /// `AZURE_CLOUD_NAME` names no cloud.
    #[error(
        "AZURE_CLOUD_NAME in the credentials names no cloud of Azure; write AzurePublicCloud, \
         AzureChinaCloud or AzureUSGovernmentCloud"
    )]
    AzureCloud,
    /// The credentials of a service principal are of a kind that is not supported.
    #[error(
        "the credentials use {0}, which velero-trust does not support; use AZURE_CLIENT_SECRET, or the \
         account's key with spec.config.storageAccountKeyEnvVar"
    )]
    AzureNotSupported(&'static str),
    /// The file has no key of the account.
    #[error(
        "the credentials have no variable `{}`, which spec.config.storageAccountKeyEnvVar names; add the \
         account's key", shown(.0)
    )]
    NoAccountKey(String),
    /// The key of the account is none.
    #[error("the account's key in the credentials is no base64; write it anew")]
    AccountKey,
    /// A variable is missing.
    #[error("{0} is missing in the credentials; add it")]
    NoVariable(&'static str),
    /// The file is none of variables.
    #[error("line {line} of {} is no variable; write NAME=value", SecretRef(.secret))]
    NotVariables {
        /// Where it is.
        secret: SecretKey,
        /// The number of the line.
        line: usize,
    },
    /// The login service gives no token.
    #[error(
        "Azure's login service gives no token for the service principal ({why}); see whether \
         AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET in the credentials are right"
    )]
    NoToken {
        /// Why.
        why: String,
    },
    /// This process's own token would go to a host that is not the cloud's.
    #[error(
        "spec.config.{0} names a host that is not the cloud's own, and velero-trust sends no token of its \
         own identity there; name a Secret in the BSL's spec.credential"
    )]
    ForeignHost(&'static str),
    /// They are for stores of another provider.
    #[error("the credentials are for another provider than the BSL names")]
    OtherProvider,
    /// The file is none of Google's.
    #[error("{} is no JSON; write the key of a service account anew, as Google made it", SecretRef(.0))]
    NotJson(SecretKey),
    /// The credentials are of another type than the key of a service account.
    #[error(
        "the credentials are of the type `{}`, which velero-trust does not support; use the key of a service \
         account (type service_account), or none for velero-trust's own workload identity", shown(.kind)
    )]
    GcpNotSupported {
        /// The type.
        kind: String,
    },
    /// The private key is none.
    #[error("private_key in the credentials is no RSA key; write the file anew, as Google made it")]
    GcpKey,
    /// The service account is of another cloud.
    #[error(
        "universe_domain in the credentials is not googleapis.com, and no other universe is supported"
    )]
    Universe,
}

impl CredentialsError {
    /// Whether they are of a kind that Velero's plugin may use and velero-trust cannot.
    pub const fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::AzureNotSupported(_)
                | Self::ForeignHost(_)
                | Self::GcpNotSupported { .. }
                | Self::NotSupported(_)
        )
    }
}

/// Names a key of a Secret.
struct SecretRef<'a>(&'a SecretKey);

impl fmt::Display for SecretRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SecretKey { name, key } = self.0;
        write!(f, "key `{}` of Secret `{}`", shown(key), shown(name))
    }
}
