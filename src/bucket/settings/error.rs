//! Why a bucket cannot be used as its BSL stands.

use crate::ca::endpoint::EndpointSettingError;
use crate::velero::text::shown;

/// Why a bucket cannot be read as its BSL stands. A person has to change the BSL, or velero-trust
/// does not support it yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No bucket is named.
    #[error("spec.objectStorage.bucket is empty; name the bucket")]
    NoBucket,
    /// The bucket's name is none.
    #[error(
        "spec.objectStorage.bucket `{}` is no name of a bucket; a folder in it belongs into \
         spec.objectStorage.prefix, and access points are not supported", shown(.0)
    )]
    Bucket(String),
    /// The prefix has a form that names no file.
    #[error(
        "spec.objectStorage.prefix `{}` has an empty part, a part `.` or `..`, or a control character, \
         and is not supported; use another prefix", shown(.0)
    )]
    Prefix(String),
    /// The provider is not supported.
    #[error(
        "provider `{}` is not supported: velero-trust reads the stores of the providers aws, azure and gcp",
        shown(.0)
    )]
    Provider(String),
    /// A setting is no URL.
    #[error("spec.config.{setting} is no http:// or https:// URL of a host: {error}")]
    Url {
        /// The setting.
        setting: &'static str,
        /// Why.
        error: EndpointSettingError,
    },
    /// The region has a form that no region has.
    #[error("spec.config.region `{}` is no name of a region; correct it", shown(.0))]
    Region(String),
    /// A setting is neither true nor false.
    #[error("spec.config.{0} is neither true nor false; correct it, the plugin refuses it too")]
    Bool(&'static str),
    /// A setting has a value that no plugin has.
    #[error("spec.config.{0} has a value that is not supported; correct or remove it")]
    Value(&'static str),
    /// Two settings exclude each other.
    #[error(
        "of spec.config.kmsKeyId, customerKeyEncryptionFile and customerKeyEncryptionSecret only one may \
         be set; remove the others"
    )]
    TwoEncryptions,
    /// The key of the encryption is a file in Velero's Pod.
    #[error(
        "spec.config.customerKeyEncryptionFile is a file in Velero's Pod, which velero-trust cannot \
         read; put the key into a Secret and name it in customerKeyEncryptionSecret"
    )]
    CustomerKeyFile,
    /// The credentials are a file in Velero's Pod.
    #[error(
        "spec.config.credentialsFile is a file in Velero's Pod, which velero-trust cannot read; put it \
         into a Secret and name it in spec.credential"
    )]
    CredentialsFile,
    /// A setting is missing.
    #[error("spec.config.{0} is missing; add it, the plugin needs it too")]
    Missing(&'static str),
    /// The key of the account would have to be asked for.
    #[error(
        "the plugin asks Azure's resource manager for the account's key, which velero-trust does not; set \
         spec.config.useAAD to `true` and give the identity the role Storage Blob Data Contributor, or name \
         the variable of the credentials that has the key in spec.config.storageAccountKeyEnvVar"
    )]
    AccountKeyListing,
    /// The login service is not one of Azure.
    #[error(
        "spec.config.activeDirectoryAuthorityURI names the host `{}`, and velero-trust sends a secret only \
         to the login services of Azure; correct or remove it", shown(.0)
    )]
    Authority(String),
    /// The cloud is not Google's own.
    #[error("spec.config.universeDomain is not googleapis.com, and no other universe is supported")]
    Universe,
    /// A token would be sent without TLS.
    #[error("spec.config.{0} is http://, and no token is sent without TLS; write https://")]
    TokenWithoutTls(&'static str),
}
