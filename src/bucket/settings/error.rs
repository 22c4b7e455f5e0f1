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
        "provider `{}` is not supported: velero-trust reads stores that speak S3 (provider aws)", shown(.0)
    )]
    Provider(String),
    /// `s3Url` is no URL.
    #[error("spec.config.s3Url is no http:// or https:// URL of a host: {0}")]
    Url(EndpointSettingError),
    /// The region has a form that no region has.
    #[error("spec.config.region `{}` is no name of a region; correct it", shown(.0))]
    Region(String),
    /// A setting is neither true nor false.
    #[error("spec.config.{0} is neither true nor false; correct it, the aws plugin refuses it too")]
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
}
