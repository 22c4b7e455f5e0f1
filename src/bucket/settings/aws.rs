//! What the BSL of an S3 store says, as the aws plugin reads it (`velero-plugin-for-aws/object_store.go`).

pub(in crate::bucket) use crate::bucket::url::Addressing;
use crate::bucket::url::{self, BucketUrl};
use crate::ca::endpoint::{build_s3_url, parse_bool, parse_url};
use crate::velero::bsl::Bsl;

use super::{SecretKey, SettingsError, is_visible};

/// How a store encrypts what is put into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket's own settings say.
    #[default]
    Bucket,
    /// With keys of the store, by one of its algorithms (SSE-S3).
    Algorithm(&'static str),
    /// With a key of its key management service (SSE-KMS).
    Kms {
        /// The id of the key.
        key_id: String,
    },
    /// With a key that every request has to carry (SSE-C).
    CustomerKey(SecretKey),
}

/// The checksum that an upload carries, so that the store can verify it. A bucket with Object Lock
/// refuses an upload without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256.
    Sha256,
    /// CRC-64/NVME.
    Crc64Nvme,
}

/// What the BSL of an S3 store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region, if it is set.
    pub region: Option<String>,
    /// The profile in the file of credentials.
    pub profile: String,
    /// How uploads are encrypted, and what reading them needs.
    pub encryption: Encryption,
    /// The tags of what is uploaded: names and values.
    pub tags: Vec<(String, String)>,
    /// The checksum of an upload.
    pub checksum: Option<Checksum>,
    pub(super) s3_url: Option<String>,
    /// The URL by which others than Velero reach the store, if it is another one.
    public_url: Option<String>,
    addressing: Addressing,
}

impl Default for AwsSettings {
    /// What a BSL without `spec.config` says.
    fn default() -> Self {
        Self {
            region: None,
            profile: "default".to_owned(),
            encryption: Encryption::Bucket,
            tags: Vec::new(),
            checksum: Some(Checksum::Sha256),
            s3_url: None,
            public_url: None,
            addressing: Addressing::forcing_path_style(false),
        }
    }
}

impl AwsSettings {
    /// Reads the settings of `bsl`, which names `bucket`.
    pub(super) fn read(bsl: &Bsl<'_>, bucket: &str) -> Result<Self, SettingsError> {
        let text = |key| bsl.config(key).filter(|value| !value.is_empty());
        let path_style = text("s3ForcePathStyle")
            .map(|value| parse_bool(value).ok_or(SettingsError::Bool("s3ForcePathStyle")))
            .transpose()?;
        let skip = "insecureSkipTLSVerify";
        if text(skip).is_some_and(|value| parse_bool(value).is_none()) {
            return Err(SettingsError::Bool(skip));
        }
        let settings = Self {
            region: text("region").map(str::to_owned),
            profile: text("profile").unwrap_or("default").to_owned(),
            encryption: encryption(&text)?,
            tags: text("tagging").map_or(Ok(Vec::new()), tags)?,
            checksum: checksum(bsl.config("checksumAlgorithm"))?,
            s3_url: text("s3Url").map(str::to_owned),
            public_url: text("publicUrl").map(str::to_owned),
            addressing: Addressing::forcing_path_style(path_style == Some(true)),
        };
        settings.check(bucket)?;
        Ok(settings)
    }

    /// Returns the settings of a store that no BSL names.
    pub(super) fn at(
        s3_url: Option<&str>,
        region: Option<&str>,
        addressing: Addressing,
        bucket: &str,
    ) -> Result<Self, SettingsError> {
        let settings = Self {
            s3_url: s3_url.map(str::to_owned),
            region: region.map(str::to_owned),
            addressing,
            ..Self::default()
        };
        settings.check(bucket)?;
        Ok(settings)
    }

    /// Returns where the bucket is, in `region`.
    pub(in crate::bucket) fn url(
        &self,
        bucket: &str,
        region: &str,
    ) -> Result<BucketUrl, SettingsError> {
        let of_region;
        let store = if let Some(url) = &self.s3_url {
            url
        } else {
            let invalid = || SettingsError::Region(region.to_owned());
            of_region = build_s3_url(region).ok_or_else(invalid)?;
            &of_region
        };
        let setting = "s3Url";
        BucketUrl::new(store, bucket, self.addressing)
            .map_err(|error| SettingsError::Url { setting, error })
    }

    /// Whether the BSL names the URL of the store. Without it the store is AWS.
    pub(in crate::bucket) const fn has_url(&self) -> bool {
        self.s3_url.is_some()
    }

    /// Returns the URL of the store for which the plugin signs URLs for others (`CreateSignedURL`); `None` for AWS
    /// itself.
    pub(in crate::bucket) fn presigning_url(&self) -> Option<&str> {
        self.public_url.as_deref().or(self.s3_url.as_deref())
    }

    /// Whether the store is AWS itself, over https.
    pub(super) fn is_aws_over_tls(&self) -> bool {
        self.s3_url.as_deref().is_none_or(|url| {
            parse_url(url).is_ok_and(|url| url.is_https && is_host_of_s3(&url.host))
        })
    }

    fn check(&self, bucket: &str) -> Result<(), SettingsError> {
        let region = self.region.as_deref().unwrap_or("us-east-1");
        if !is_region(region) {
            return Err(SettingsError::Region(region.to_owned()));
        }
        self.url(bucket, region).map(drop)
    }
}

/// Whether `region` can be the name of a region. It becomes part of host names and of signatures.
/// Stores other than AWS choose their own.
pub(in crate::bucket) fn is_region(region: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&region.len()) && region.bytes().all(is_part)
}

/// Whether AWS serves S3 at `host`: `s3[-fips][.dualstack][.REGION].amazonaws.com`. Below that domain
/// there are also hosts of customers.
pub(in crate::bucket) fn is_host_of_s3(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let service = host.strip_suffix(".amazonaws.com");
    let service = service.or_else(|| host.strip_suffix(".amazonaws.com.cn"));
    let mut labels = service.unwrap_or_default().split('.').peekable();
    let is_s3 = labels
        .next()
        .is_some_and(|label| ["s3", "s3-fips"].contains(&label));
    labels.next_if_eq(&"dualstack");
    let is_region = |label: &str| label.contains('-');
    is_s3 && labels.next().is_none_or(is_region) && labels.next().is_none()
}

/// Reads the settings in the order of `buildPutObjectInput`.
fn encryption<'a>(
    text: &impl Fn(&'static str) -> Option<&'a str>,
) -> Result<Encryption, SettingsError> {
    let kms = text("kmsKeyId");
    let file = text("customerKeyEncryptionFile");
    let secret = text("customerKeyEncryptionSecret");
    let count = [kms, file, secret].into_iter().flatten().count();
    if count > 1 {
        return Err(SettingsError::TwoEncryptions);
    }
    if file.is_some() {
        return Err(SettingsError::CustomerKeyFile);
    }
    if let Some(key_id) = kms {
        // It is a header.
        if !is_visible(key_id) {
            return Err(SettingsError::Value("kmsKeyId"));
        }
        let key_id = key_id.to_owned();
        return Ok(Encryption::Kms { key_id });
    }
    if let Some(reference) = secret {
        let pair = reference.split_once('/');
        let pair =
            pair.filter(|(name, key)| !name.is_empty() && !key.is_empty() && !key.contains('/'));
        let (name, key) = pair.ok_or(SettingsError::Value("customerKeyEncryptionSecret"))?;
        let (name, key) = (name.to_owned(), key.to_owned());
        return Ok(Encryption::CustomerKey(SecretKey { name, key }));
    }
    match text("serverSideEncryption") {
        None => Ok(Encryption::Bucket),
        Some("AES256") => Ok(Encryption::Algorithm("AES256")),
        Some("aws:kms") => Ok(Encryption::Algorithm("aws:kms")),
        Some("aws:kms:dsse") => Ok(Encryption::Algorithm("aws:kms:dsse")),
        Some(_) => Err(SettingsError::Value("serverSideEncryption")),
    }
}

/// Reads `tagging`, which the plugin sends as it is: `name=value&name=value`, URL-encoded.
fn tags(text: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let decode = |part: &str| url::decode(part).ok_or(SettingsError::Value("tagging"));
    let tags = text.split('&').map(|tag| {
        let (name, value) = tag.split_once('=').ok_or(SettingsError::Value("tagging"))?;
        Ok((decode(name)?, decode(value)?))
    });
    tags.collect()
}

/// Reads `checksumAlgorithm`. Any checksum satisfies a bucket with Object Lock, so one that velero-trust
/// does not compute is replaced by SHA-256.
fn checksum(setting: Option<&str>) -> Result<Option<Checksum>, SettingsError> {
    match setting {
        Some("") => Ok(None),
        Some("CRC64NVME") => Ok(Some(Checksum::Crc64Nvme)),
        None | Some("CRC32" | "CRC32C" | "SHA1" | "SHA256") => Ok(Some(Checksum::Sha256)),
        Some(_) => Err(SettingsError::Value("checksumAlgorithm")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::read;
    use super::super::{BucketSettings, ProviderSettings};
    use super::*;

    fn bucket_with(config: &Value) -> Result<BucketSettings, SettingsError> {
        read(&json!({"provider": "aws", "objectStorage": {"bucket": "b"}, "config": config}))
    }

    fn with(config: &Value) -> Result<AwsSettings, SettingsError> {
        match bucket_with(config)?.provider {
            ProviderSettings::Aws(settings) => Ok(settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_supported_is_told_by_its_name() {
        for (config, error) in [
            (
                json!({"customerKeyEncryptionFile": "/k"}),
                SettingsError::CustomerKeyFile,
            ),
            (
                json!({"credentialsFile": "/c"}),
                SettingsError::CredentialsFile,
            ),
            (
                json!({"kmsKeyId": "k", "customerKeyEncryptionSecret": "s/k"}),
                SettingsError::TwoEncryptions,
            ),
            (
                json!({"customerKeyEncryptionSecret": "s"}),
                SettingsError::Value("customerKeyEncryptionSecret"),
            ),
            (
                json!({"kmsKeyId": "a\nb"}),
                SettingsError::Value("kmsKeyId"),
            ),
            (
                json!({"serverSideEncryption": "rot13"}),
                SettingsError::Value("serverSideEncryption"),
            ),
            (json!({"tagging": "a=%ff"}), SettingsError::Value("tagging")),
            (
                json!({"checksumAlgorithm": "MD5"}),
                SettingsError::Value("checksumAlgorithm"),
            ),
            (
                json!({"s3ForcePathStyle": "yes"}),
                SettingsError::Bool("s3ForcePathStyle"),
            ),
            (
                json!({"insecureSkipTLSVerify": "yes"}),
                SettingsError::Bool("insecureSkipTLSVerify"),
            ),
            (
                json!({"region": "eu/../x"}),
                SettingsError::Region("eu/../x".into()),
            ),
            // Without s3Url the region is part of the host.
            (
                json!({"region": "evil.example"}),
                SettingsError::Region("evil.example".into()),
            ),
        ] {
            assert_eq!(with(&config), Err(error), "{config}");
        }
        let error = with(&json!({"s3Url": "ftp://a"})).unwrap_err();
        assert!(matches!(error, SettingsError::Url { .. }), "{error}");
    }

    #[test]
    fn only_aws_itself_is_taken_for_aws() {
        let is_aws = |config: Value| bucket_with(&config).unwrap().is_verified_aws();
        assert!(is_aws(json!({})));
        assert!(is_aws(json!({"region": "eu-central-1"})));
        assert!(!is_aws(json!({"insecureSkipTLSVerify": "true"})));
        for (url, expected) in [
            ("https://s3.amazonaws.com", true),
            ("https://S3.eu-west-1.amazonaws.com./", true),
            (
                "https://s3-fips.dualstack.us-gov-west-1.amazonaws.com:443",
                true,
            ),
            ("https://s3.cn-north-1.amazonaws.com.cn", true),
            ("http://s3.amazonaws.com", false),
            ("https://s3.amazonaws.com.example.com", false),
            ("https://amazonaws.com", false),
            ("https://xs3.amazonaws.com", false),
            ("https://s3.evil.amazonaws.com", false),
            ("https://s3-1.eu-west-1.elb.amazonaws.com", false),
            ("https://a1b2c3.execute-api.eu-west-1.amazonaws.com", false),
            ("https://x.s3-object-lambda.eu-west-1.amazonaws.com", false),
            ("https://s3.eu-west-1.x.amazonaws.com", false),
            ("https://minio:9000", false),
        ] {
            let config = json!({"s3Url": url, "region": "eu-west-1"});
            assert_eq!(is_aws(config), expected, "{url}");
        }
    }

    #[test]
    fn the_settings_of_the_plugin_are_read() {
        let settings = with(&json!({
            "region": "minio", "s3Url": "https://minio:9000/", "s3ForcePathStyle": "true",
            "insecureSkipTLSVerify": "1", "profile": "backup", "kmsKeyId": "alias/k",
            "tagging": "a=1&b=x%20y+z", "checksumAlgorithm": "CRC64NVME",
        }));
        let settings = settings.unwrap();
        assert_eq!(settings.region.as_deref(), Some("minio"));
        assert_eq!(settings.profile, "backup");
        let key_id = "alias/k".to_owned();
        assert_eq!(settings.encryption, Encryption::Kms { key_id });
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings.tags, [tag("a", "1"), tag("b", "x y z")]);
        assert_eq!(settings.checksum, Some(Checksum::Crc64Nvme));
        let url = settings.url("b", "minio").unwrap();
        assert_eq!(url.as_str(), "https://minio:9000/b");

        let plain = with(&json!({})).unwrap();
        assert_eq!(plain.profile, "default");
        assert_eq!(plain.checksum, Some(Checksum::Sha256));
        assert_eq!(plain.region, None);
        let without = with(&json!({"checksumAlgorithm": ""})).unwrap();
        assert_eq!(without.checksum, None);
        let secret = with(&json!({"customerKeyEncryptionSecret": "s/k"})).unwrap();
        let key = SecretKey {
            name: "s".into(),
            key: "k".into(),
        };
        assert_eq!(secret.encryption, Encryption::CustomerKey(key));
    }
}
