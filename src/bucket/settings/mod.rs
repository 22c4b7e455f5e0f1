//! What a BSL says about its bucket, as the plugins and Velero read it: `pkg/persistence/object_store.go`,
//! and a file for each provider.

pub(super) mod aws;
pub(super) mod azure;
mod error;
pub(super) mod gcp;

use serde_json::json;

pub use error::SettingsError;

use self::aws::{Addressing, AwsSettings, Encryption};
use self::azure::AzureSettings;
use self::gcp::GcpSettings;
use crate::ca::endpoint::skips_verification;
use crate::digest::Sha256;
use crate::velero::bsl::{Bsl, SecretKeySelector};
use crate::velero::text::or_empty;

/// A key of a Secret in Velero's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// What a BSL says about its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// The namespace of the BSL: its Secrets are there, and a host of one label is a Service there.
    pub namespace: String,
    /// The bucket.
    pub bucket: String,
    /// The folder in the bucket, without a slash at its ends; empty for the whole bucket.
    pub prefix: String,
    /// Whether no certificate of the store is verified.
    pub skips_verification: bool,
    /// The Secret of `spec.credential`. Without it, the credentials are those of Velero's
    /// installation.
    pub credential: Option<SecretKey>,
    /// What only its provider has.
    pub provider: ProviderSettings,
}

/// Whose plugin Velero reads the store with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// S3.
    Aws,
    /// Azure's blob storage.
    Azure,
    /// Google Cloud Storage.
    Gcp,
}

impl Provider {
    /// Returns the provider that a BSL names; `None` if it is not supported.
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "aws" => Some(Self::Aws),
            "azure" => Some(Self::Azure),
            "gcp" => Some(Self::Gcp),
            _ => None,
        }
    }

    /// Returns the setting with the URL of the store.
    pub(super) const fn url_setting(self) -> &'static str {
        match self {
            Self::Aws => "spec.config.s3Url",
            Self::Azure => "spec.config.storageAccountURI",
            Self::Gcp => "spec.config.storeEndpoint",
        }
    }

    /// Returns the variable with which Velero's Deployment names its file of credentials.
    pub const fn file_variable(self) -> &'static str {
        match self {
            Self::Aws => "AWS_SHARED_CREDENTIALS_FILE",
            Self::Azure => "AZURE_CREDENTIALS_FILE",
            Self::Gcp => "GOOGLE_APPLICATION_CREDENTIALS",
        }
    }
}

/// What a BSL says that only its provider has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderSettings {
    /// S3, at AWS or elsewhere.
    Aws(AwsSettings),
    /// Azure's blob storage.
    Azure(AzureSettings),
    /// Google Cloud Storage.
    Gcp(GcpSettings),
}

impl BucketSettings {
    /// Reads the settings of `bsl`, which is in `namespace`.
    pub fn read(namespace: &str, bsl: &Bsl<'_>) -> Result<Self, SettingsError> {
        let provider = Provider::of_name(bsl.provider());
        let provider =
            provider.ok_or_else(|| SettingsError::Provider(bsl.provider().to_owned()))?;
        let storage = bsl.spec.object_storage.as_ref();
        let text = |key| bsl.config(key).filter(|value| !value.is_empty());
        if text("credentialsFile").is_some() {
            return Err(SettingsError::CredentialsFile);
        }
        let bucket = or_empty(storage.and_then(|storage| storage.bucket.as_ref()));
        let prefix = or_empty(storage.and_then(|storage| storage.prefix.as_ref()));
        let mut settings = Self::of_bucket(namespace, bucket, prefix)?;
        settings.credential = bsl.spec.credential.as_ref().map(secret_key);
        let bucket = &settings.bucket;
        settings.provider = match provider {
            Provider::Aws => {
                // The other plugins refuse a BSL with this setting.
                settings.skips_verification = skips_verification(bsl);
                ProviderSettings::Aws(AwsSettings::read(bsl, bucket)?)
            }
            Provider::Azure => ProviderSettings::Azure(AzureSettings::read(bsl, bucket)?),
            Provider::Gcp => ProviderSettings::Gcp(GcpSettings::read(bsl, bucket)?),
        };
        Ok(settings)
    }

    /// Returns the settings for a bucket of AWS that no BSL names, for the command line.
    pub fn of_bucket(namespace: &str, bucket: &str, prefix: &str) -> Result<Self, SettingsError> {
        // Velero trims both (`objectBackupStoreGetter.Get`).
        let bucket = bucket.trim_matches('/');
        let prefix = prefix.trim_matches('/');
        if bucket.is_empty() {
            return Err(SettingsError::NoBucket);
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.len() > 255 || !bucket.bytes().all(is_name) || bucket.starts_with('.') {
            return Err(SettingsError::Bucket(bucket.to_owned()));
        }
        let is_odd = |part: &str| {
            ["", ".", ".."].contains(&part) || part.chars().any(|c| c.is_ascii_control())
        };
        if !prefix.is_empty() && prefix.split('/').any(is_odd) {
            return Err(SettingsError::Prefix(prefix.to_owned()));
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            skips_verification: false,
            credential: None,
            provider: ProviderSettings::Aws(AwsSettings::default()),
        })
    }

    /// Sets the URL of a store that is not AWS, for the command line.
    pub fn at(
        mut self,
        s3_url: Option<&str>,
        region: Option<&str>,
        path_style: bool,
    ) -> Result<Self, SettingsError> {
        let addressing = Addressing::forcing_path_style(path_style);
        let aws = AwsSettings::at(s3_url, region, addressing, &self.bucket)?;
        self.provider = ProviderSettings::Aws(aws);
        Ok(self)
    }

    /// Returns its provider.
    pub const fn provider(&self) -> Provider {
        match &self.provider {
            ProviderSettings::Aws(_) => Provider::Aws,
            ProviderSettings::Azure(_) => Provider::Azure,
            ProviderSettings::Gcp(_) => Provider::Gcp,
        }
    }

    /// Whether the store is AWS itself, and nobody on the way can answer in its place. There nobody chooses
    /// the ETag and the time with which a file is listed. Of other clouds this was not seen.
    pub fn is_verified_aws(&self) -> bool {
        match &self.provider {
            ProviderSettings::Aws(aws) => aws.is_aws_over_tls() && !self.skips_verification,
            ProviderSettings::Azure(_) | ProviderSettings::Gcp(_) => false,
        }
    }

    /// Returns a digest of the store and of the folder in it. Another server can list whatever it likes.
    pub fn place(&self) -> Sha256 {
        let Self {
            bucket,
            prefix,
            skips_verification,
            provider,
            ..
        } = self;
        let place = match provider {
            ProviderSettings::Aws(AwsSettings { s3_url, region, .. }) => {
                json!([s3_url, region, skips_verification, bucket, prefix])
            }
            ProviderSettings::Azure(AzureSettings { account, uri, .. }) => {
                json!(["azure", account, uri, bucket, prefix])
            }
            ProviderSettings::Gcp(GcpSettings { endpoint, .. }) => {
                json!(["gcp", endpoint, bucket, prefix])
            }
        };
        Sha256::of(place.to_string().as_bytes())
    }

    /// Returns the key for SSE-C, if the BSL names one.
    pub(super) const fn customer_key(&self) -> Option<&SecretKey> {
        match &self.provider {
            ProviderSettings::Aws(AwsSettings {
                encryption: Encryption::CustomerKey(secret),
                ..
            }) => Some(secret),
            _ => None,
        }
    }

    /// Returns the tags of what is uploaded: names and values.
    pub(super) fn tags(&self) -> &[(String, String)] {
        match &self.provider {
            ProviderSettings::Aws(aws) => &aws.tags,
            ProviderSettings::Azure(_) | ProviderSettings::Gcp(_) => &[],
        }
    }

    /// Returns what the keys of all backups begin with: `<prefix>/backups/`.
    pub(super) fn folder(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}backups/", self.prefix)
    }

    /// Returns the key of `file` in the folder of `backup`: `<prefix>/backups/<backup>/<file>`.
    pub(super) fn key(&self, backup: &str, file: &str) -> String {
        format!("{}{backup}/{file}", self.folder())
    }
}

fn secret_key(selector: &SecretKeySelector<'_>) -> SecretKey {
    SecretKey {
        name: or_empty(selector.name.as_ref()).to_owned(),
        key: or_empty(selector.key.as_ref()).to_owned(),
    }
}

/// Whether `text` can be the value of a header.
pub(super) fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(super) fn read(spec: &Value) -> Result<BucketSettings, SettingsError> {
        let text = json!({"spec": spec}).to_string();
        BucketSettings::read("velero", &Bsl::from_json(&text))
    }

    #[test]
    fn bucket_and_prefix_are_trimmed_as_velero_does() {
        for (prefix, key) in [
            (Value::Null, "backups/n/f"),
            ("".into(), "backups/n/f"),
            ("/".into(), "backups/n/f"),
            ("p".into(), "p/backups/n/f"),
            ("//p/q//".into(), "p/q/backups/n/f"),
        ] {
            let storage = json!({"bucket": "/b//", "prefix": prefix});
            let settings = read(&json!({"provider": "velero.io/aws", "objectStorage": storage}));
            let settings = settings.unwrap();
            assert_eq!(settings.bucket, "b");
            assert_eq!(settings.key("n", "f"), key, "{prefix}");
        }
    }

    #[test]
    fn what_is_not_supported_is_told_by_its_name() {
        let storage = |bucket: &str, prefix: &str| {
            let storage = json!({"bucket": bucket, "prefix": prefix});
            read(&json!({"provider": "aws", "objectStorage": storage})).unwrap_err()
        };
        assert_eq!(storage("", ""), SettingsError::NoBucket);
        assert_eq!(storage("a/b", ""), SettingsError::Bucket("a/b".into()));
        assert_eq!(storage("a#b", ""), SettingsError::Bucket("a#b".into()));
        for prefix in ["a//b", "a/../b", "./a", "a\nb"] {
            assert_eq!(storage("b", prefix), SettingsError::Prefix(prefix.into()));
        }
        let other = read(&json!({"provider": "example.com/oss"})).unwrap_err();
        let other = other.to_string();
        assert!(
            other.contains("`example.com/oss` is not supported"),
            "{other}"
        );
    }
}
